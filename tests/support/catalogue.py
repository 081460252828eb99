"""A catalogue of actions and workflows for tests of definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Parameters = Mapping[str, Mapping[str, Any]]


class Catalogue:
    """A catalogue with fixed contents. It records the references that were asked for."""

    def __init__(self) -> None:
        self.st2: dict[str, Parameters] = {
            "core.local": {
                "cmd": {"type": "string", "required": True},
                "cwd": {"type": "string"},
                "timeout": {"type": "integer", "default": 60, "required": True},
                "sudo": {"immutable": True, "required": True},
            },
            "core.noop": {},
            "examples.mongo-db": {"primary": {"required": True}, "members": {"required": True}},
            # Mistral has one of this name too.
            "std.echo": {},
        }
        self.mistral = {"std.echo", "std.noop", "st2.action", "st2.callback", "other.shell"}
        self.workflows = {"other.flow"}
        self.asked: list[str] = []

    def parameters(self, ref: str) -> Parameters | None:
        self.asked.append(ref)
        return self.st2.get(ref)

    def in_mistral(self, name: str) -> bool:
        return name in self.mistral

    def workflow_in_mistral(self, name: str) -> bool:
        return name in self.workflows
