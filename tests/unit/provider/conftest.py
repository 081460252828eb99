"""A Mistral with several action providers, without Mistral."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from mistral_lib import actions as mistral

from st2actions_mistral.provider import others, shared
from st2actions_mistral.provider.provider import St2ActionProvider

Install = Callable[..., "System"]


class Known:
    """An action of another provider."""

    def __init__(self, name: str) -> None:
        self.name = name


class OtherProvider(mistral.ActionProvider):
    """Has some actions, and counts the questions for them."""

    def __init__(self, *names: str) -> None:
        super().__init__("other")
        self.names = set(names)
        self.asked: list[str] = []

    def find(self, action_name: str, namespace: str | None = None) -> Known | None:
        self.asked.append(action_name)
        return Known(action_name) if action_name in self.names else None

    def find_all(self, **query: Any) -> list[Known]:
        return [Known(name) for name in sorted(self.names)]


class System:
    """All providers of this Mistral."""

    def __init__(self, other: OtherProvider, *, last: bool) -> None:
        self.other = other
        self.provider = St2ActionProvider("st2")
        delegates = [other, self.provider] if last else [self.provider, other]
        self.composite = mistral.CompositeActionProvider("system", delegates)

    def find(self, name: str, namespace: str | None = None) -> Any:
        return self.composite.find(name, namespace)

    def names(self) -> list[str]:
        # As Mistral's API asks.
        found = self.composite.find_all(
            namespace="", limit=None, sort_fields=["name"], sort_dirs=["asc"], filters={}
        )
        return [action.name for action in found]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that makes the providers, this one first or last."""

    def make(*names: str, last: bool = True) -> System:
        order = ["adhoc", "st2"] if last else ["st2", "adhoc"]

        class Manager:
            def __init__(self, group: str, *, invoke_on_load: bool) -> None:
                assert (group, invoke_on_load) == ("mistral.action.providers", False)

            def names(self) -> list[str]:
                return order

        monkeypatch.setattr(others, "ExtensionManager", Manager)
        system = System(OtherProvider(*names), last=last)
        module = ModuleType("mistral.services.actions")
        vars(module)["get_system_action_provider"] = lambda: system.composite
        for name in ("mistral", "mistral.services"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return system

    yield make
    shared.stop_all()
