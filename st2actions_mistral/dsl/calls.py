"""Find the calls of actions and workflows in a definition."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.dsl.definition import Definition, Kind
from st2actions_mistral.model.st2_action import St2Action

ST2_ACTION: Final = "st2.action"
ST2_CALLBACK: Final = "st2.callback"

_REF: Final = re.compile(r"[\w-]+(\.[\w-]+)+")


class Catalogue(Protocol):
    """The actions and workflows that both systems have. An implementation caches the answers."""

    def action(self, ref: str) -> St2Action | None:
        """Return a StackStorm action; None for an unknown one."""

    def in_mistral(self, name: str) -> bool:
        """Return True if Mistral has an action of this name that is not native."""

    def is_native(self, name: str) -> bool:
        """Return True if the action of this name in Mistral is StackStorm's, see ``provider``."""

    def workflow_in_mistral(self, name: str) -> bool:
        """Return True if Mistral has, or will have, a workflow of this name."""

    def allows_yaql(self) -> bool:
        """Return True if Mistral evaluates YAQL, and False if it evaluates Jinja only."""


@dataclass(frozen=True)
class Site:
    """A place in a definition that may contain a call: a task or an ad-hoc action."""

    keys: tuple[Any, ...]
    """The keys that lead to it in the parsed definition."""
    place: str
    """The workflow and the task, or the ad-hoc action, for messages."""
    spec: Mapping[str, Any]
    task: str | None
    """The name of the task; None for an ad-hoc action."""

    @property
    def path(self) -> tuple[str, ...]:
        """The keys as ``lines.line_of`` takes them."""
        return tuple(map(str, self.keys))

    @property
    def name_key(self) -> str:
        return "base" if self.task is None else "action"

    @property
    def input_key(self) -> str:
        return "base-input" if self.task is None else "input"

    @property
    def has_action(self) -> bool:
        """False also if the value of the key is not text: Mistral reports that."""
        line = self.spec.get(self.name_key)
        return isinstance(line, str) and line != ""


class Target(enum.Enum):
    """The kind of action that a call refers to."""

    EXPRESSION = enum.auto()
    """The name is known only when the task runs."""
    ST2_ACTION = enum.auto()
    ST2_CALLBACK = enum.auto()
    MISTRAL = enum.auto()
    """An action of Mistral, or an ad-hoc action of the same workbook."""
    STACKSTORM = enum.auto()
    """A StackStorm action by its plain name, native or not."""
    UNKNOWN = enum.auto()


@dataclass(frozen=True)
class ActionCall:
    """A call of an action."""

    line: str
    """The value of ``action`` or ``base``."""
    name: str
    inline: Mapping[str, Any]
    """The input in the line."""
    written: Any
    """The value of ``input`` or ``base-input``."""

    @classmethod
    def at(cls, site: Site) -> ActionCall:
        """Parse the call at a site that has one.

        :raises shorthand.InvalidCallError: the line does not start with a name.
        """
        line = site.spec[site.name_key]
        name, inline = shorthand.parse(line)
        return cls(line, name, inline, site.spec.get(site.input_key, {}))

    @property
    def given(self) -> Mapping[str, Any] | str | None:
        """The input as Mistral merges it, or an expression for all of it; None if it is invalid."""
        if isinstance(self.written, Mapping):
            # Mistral prefers the input in the line.
            return {**self.written, **self.inline}
        is_expression = isinstance(self.written, str) and shorthand.is_expression(self.written)
        return self.written if is_expression and not self.inline else None

    def target(self, definition: Definition, catalogue: Catalogue) -> Target:
        """Return what the name refers to.

        The order is Mistral's. StackStorm is asked last, and only for a name that it could have.
        """
        if shorthand.is_expression(self.name):
            return Target.EXPRESSION
        if self.name == ST2_ACTION:
            return Target.ST2_ACTION
        own = definition.actions
        if self.name in own or self.name in (f"{definition.name}.{short}" for short in own):
            return Target.MISTRAL
        if self.name == ST2_CALLBACK:
            return Target.ST2_CALLBACK
        if catalogue.in_mistral(self.name):
            return Target.MISTRAL
        known = is_ref(self.name) and catalogue.action(self.name) is not None
        return Target.STACKSTORM if known else Target.UNKNOWN


@dataclass(frozen=True)
class WorkflowCall:
    """A call of a workflow by a task."""

    name: str
    called: Mapping[str, Any] | None
    """The workflow, if it is in the same file."""
    given: Mapping[str, Any] | None
    """Its input; None if an expression makes it."""

    @classmethod
    def at(cls, site: Site, definition: Definition) -> WorkflowCall | None:
        """Parse the call at a site, or return None if it calls no workflow.

        :raises shorthand.InvalidCallError: the line does not start with a name.
        """
        line = site.spec.get("workflow")
        if site.task is None or site.has_action or not isinstance(line, str) or not line:
            return None
        name, inline = shorthand.parse(line)
        # Mistral searches the workbook first.
        called = definition.workflows.get(f"{definition.name}.{name}", definition.workflows.get(name))
        written = site.spec.get("input", {})
        return cls(name, called, {**written, **inline} if isinstance(written, Mapping) else None)


def find_sites(definition: Definition) -> Iterator[Site]:
    """Yield the tasks and the ad-hoc actions of a definition, in the order of the file.

    Parts that are not mappings are skipped: Mistral reports them.
    """
    if definition.kind is Kind.WORKFLOW:
        name = definition.name
        yield from _tasks((name,), name, definition.data[name])
        return
    for section, content in definition.data.items():
        if not isinstance(content, Mapping):
            continue
        if section == "workflows":
            for short, workflow in content.items():
                yield from _tasks((section, short), f"{definition.name}.{short}", workflow)
        elif section == "actions":
            for name, action in content.items():
                if isinstance(action, Mapping):
                    yield Site((section, name), f"action {name}", action, None)


def is_ref(name: str) -> bool:
    """Return True if a name has the form of a StackStorm action's: ``pack.action``."""
    return _REF.fullmatch(name) is not None


def _tasks(keys: tuple[Any, ...], workflow: str, spec: Any) -> Iterator[Site]:
    tasks = spec.get("tasks") if isinstance(spec, Mapping) else None
    for name, task in tasks.items() if isinstance(tasks, Mapping) else ():
        if isinstance(task, Mapping):
            yield Site((*keys, "tasks", name), f"workflow {workflow}, task {name}", task, str(name))
