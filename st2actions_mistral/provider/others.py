"""Ask the other action providers of this Mistral, whose actions win."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from stevedore import ExtensionManager

GROUP: Final = "mistral.action.providers"

# Of this process: threads that start at the same moment may make several providers.
_ASKING: Final[ContextVar[bool]] = ContextVar("asking", default=False)


class Others:
    """The providers of the entry point group, without this one.

    Mistral asks them in the order of the installed distributions, which is not the same on every host.

    :param name: the entry point of this provider.
    """

    def __init__(self, name: str) -> None:
        # As Mistral itself finds them.
        names = ExtensionManager(GROUP, invoke_on_load=False).names()
        self._are_first = names[-1:] == [name]

    @property
    def are_asked(self) -> bool:
        """True while the others are asked, on behalf of this provider."""
        return _ASKING.get()

    def find_first(self, name: str, namespace: str | None) -> Any:
        """Return the action that wins over one of this provider; None if there is none."""
        # If this provider is the last one, Mistral has asked all others.
        return None if self._are_first else self.find(name, namespace)

    def find(self, name: str, namespace: str | None) -> Any:
        """Return the action of another provider; None if there is none."""
        with _asking():
            return _system().find(name, namespace)

    def names(self, **query: Any) -> set[str]:
        """Return the names of the actions of the other providers.

        :param query: as Mistral lists actions.
        """
        with _asking():
            found: Iterable[Any] = _system().find_all(**query)
        return {action.name for action in found}


@contextmanager
def _asking() -> Iterator[None]:
    token = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(token)


def _system() -> Any:
    # Not at the top: Mistral must be configured before.
    from mistral.services.actions import get_system_action_provider

    return get_system_action_provider()
