"""A catalogue of actions and workflows for tests of definitions."""

from __future__ import annotations

from st2actions_mistral.model.st2_action import Parameters, St2Action


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
            "examples.off": {},
            "examples.typed": {
                "host": {"type": "string"},
                "command": {"type": "array", "items": {"type": "string"}},
                "level": {"type": "string", "enum": ["low", "high"]},
                "any": {},
            },
            "examples.mongo-db": {"primary": {"required": True}, "members": {"required": True}},
            # Mistral has one of this name too.
            "std.echo": {},
        }
        self.mistral = {"std.echo", "std.noop", "st2.action", "st2.callback", "other.shell"}
        self.native: set[str] = set()
        self.disabled = {"examples.off"}
        self.workflows = {"other.flow"}
        self.yaql = True
        self.asked: list[str] = []

    def action(self, ref: str) -> St2Action | None:
        self.asked.append(ref)
        if ref not in self.st2:
            return None
        return St2Action(self.st2[ref], enabled=ref not in self.disabled)

    def in_mistral(self, name: str) -> bool:
        return name in self.mistral

    def is_native(self, name: str) -> bool:
        return name in self.native

    def workflow_in_mistral(self, name: str) -> bool:
        return name in self.workflows

    def allows_yaql(self) -> bool:
        self.asked.append("allows_yaql")
        return self.yaql
