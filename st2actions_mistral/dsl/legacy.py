"""Workbooks in Mistral's DSL v2 of 2014 as today's Mistral reads that language.

What changed since, and is changed here: ``policies`` moved up into their task, ``on-finish``,
``parameters`` and the like have other names, expressions stand between ``<%`` and ``%>``, and the
result of a task is ``task('name').result`` (:mod:`meanings`). What only the author can know is listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import yaml

from st2actions_mistral.dsl.definition import Definition, Kind, load
from st2actions_mistral.dsl.draft import Draft
from st2actions_mistral.dsl.meanings import Meanings, called, in_output
from st2actions_mistral.dsl.texts_2014 import Texts, variable_of
from st2actions_mistral.dsl.yaql_2014 import Root
from st2actions_mistral.errors import InputError

_EARLIER: Final = frozenset(
    ("Version", "Namespaces", "Workflow", "Workflows", "Actions", "Services", "services", "Triggers")
)

_TIMES: Final = ("wait-before", "wait-after", "timeout", "pause-before", "concurrency", "fail-on")
_CHAIN: Final = ("on-success", "on-error", "on-complete", "on-skip")
_VALUES: Final = ("input", "target", "keep-result", "safe-rerun")
_PUBLISH: Final = ("publish", "publish-on-error", "publish-on-skip")
_PASSED: Final = ("name", "description", "type", "tags", "version", "requires", "join")
_OF_TASK: Final = frozenset(
    (*_TIMES, *_CHAIN, *_VALUES, *_PUBLISH, *_PASSED, "action", "workflow", "with-items", "retry")
)
_OF_WORKFLOW: Final = frozenset(
    [
        "name",
        "description",
        "type",
        "tags",
        "version",
        "input",
        "output",
        "output-on-error",
        "vars",
        "task-defaults",
        "tasks",
    ]
)
_OF_ACTION: Final = frozenset(
    ("name", "description", "tags", "version", "base", "base-input", "input", "output")
)
_RENAMED: Final = {
    "on-finish": "on-complete",
    "parameters": "input",
    "workflow-parameters": "input",
    "base-parameters": "base-input",
}


@dataclass(frozen=True, order=True)
class Undecided:
    """What somebody has to look at."""

    line: int
    """In the text as it was given, from 1."""
    words: str


@dataclass(frozen=True)
class Converted:
    """A text of today."""

    text: str
    undecided: list[Undecided]
    """In the order of the lines."""


def convert(text: str, where: str) -> Converted:
    """A workbook or a workflow of 2014 in today's language; what is of today comes back as it is.

    :param where: the file's name, for errors.
    :raises InputError: it is no YAML, or no DSL v2.
    """
    data = load(text, where)
    if isinstance(data, dict) and (found := sorted(_EARLIER & {str(key) for key in data})):
        raise InputError(
            where,
            f"is not in DSL v2 but older, for it has {', '.join(found)}. That language has no way"
            " into today's: write the workflow anew.",
        )
    conversion = _Conversion(Definition.parse(text, where, of_2014=True))
    return conversion.converted()


class _Conversion:
    """One pass over a definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._draft = Draft(definition.text)
        self._undecided: set[Undecided] = set()
        self._texts = Texts(self._draft, self._tell)
        actions = definition.actions
        self._actions = actions | {f"{definition.name}.{name}": it for name, it in actions.items()}

    def converted(self) -> Converted:
        self._texts.anchors(self._draft.root)
        for key, value in _pairs(self._draft.root):
            if key.value == "version":
                if isinstance(value, yaml.ScalarNode) and not value.tag.endswith(":str"):
                    self._draft.set(value, "2.0")
            elif self._definition.kind is Kind.WORKFLOW:
                self._workflow(value, self._definition.data.get(key.value))
            elif key.value == "workflows":
                section = self._definition.data["workflows"]
                # What is no mapping, a !!set say, Mistral complains of.
                for name, spec in _pairs(value) if isinstance(section, Mapping) else ():
                    found = section.get(name.value)
                    if found is None and isinstance(spec, yaml.MappingNode):
                        self._tell(name.start_mark.line + 1, "the name is no text: put it in quotes")
                    self._workflow(spec, found)
            elif key.value == "actions":
                for name, spec in _pairs(value):
                    self._ad_hoc(spec, self._definition.actions.get(name.value, {}))
        text, kept = self._draft.finish()
        if not kept:
            self._tell(1, "written anew, for its layout could not be kept: comments are gone")
        return Converted(text, sorted(self._undecided))

    def _workflow(self, spec: yaml.Node, data: object) -> None:
        if not isinstance(data, Mapping):
            return
        names = Meanings.of(data, self._actions)
        context: Root = names.in_context
        self._rename(spec)
        self._strange(spec, _OF_WORKFLOW, "a workflow")
        for key, value in _pairs(spec):
            if key.value in ("output", "output-on-error", "vars"):
                self._texts.leftovers(value, names.only_tasks)
                self._texts.value(value, context, alone=key.value != "vars")
            elif key.value == "task-defaults":
                self._task(value, names, None)
            elif key.value == "tasks":
                for name, task in _pairs(value):
                    self._task(task, names, name.value)

    def _ad_hoc(self, spec: yaml.Node, data: Mapping[str, Any]) -> None:
        self._texts.leftovers(spec, ())
        self._rename(spec)
        self._strange(spec, _OF_ACTION, "an action")
        names = Meanings(any_name=True).in_context
        result: Root = partial(in_output, called(data, self._actions, base=True))
        for key, value in _pairs(spec):
            if key.value == "base":
                self._texts.line(value, names)
            elif key.value == "base-input":
                self._texts.value(value, names)
            elif key.value == "output":
                self._texts.value(value, result, alone=True)

    def _task(self, spec: yaml.Node, names: Meanings, task: str | None) -> None:
        """A task, or the task-defaults, where there is no name."""
        self._hoist(spec)
        self._rename(spec)
        self._strange(spec, _OF_TASK, "a task")
        items = frozenset(filter(None, map(variable_of, _items(spec))))
        self._texts.leftovers(spec, names.only_tasks - items)
        context: Root = partial(names.in_context, also=items)

        def result(publishes: str | None) -> Root:
            return lambda path: (
                context(path)
                if items.intersection(path[:1])
                else names.in_result(task, path, publishes)
            )

        for key, value in _pairs(spec):
            if key.value in ("action", "workflow"):
                self._texts.line(value, context)
            elif key.value in _VALUES:
                self._texts.value(value, context)
            elif key.value in _PUBLISH:
                for variable, published in _pairs(value):
                    self._texts.value(published, result(variable.value), alone=True)
            elif key.value == "with-items":
                for item in _items(spec):
                    self._texts.with_items(item, context)
            elif key.value in _TIMES or key.value in _CHAIN:
                self._texts.expressions(value, context)
            elif key.value == "retry" and isinstance(value, yaml.ScalarNode):
                self._texts.line(value, context, result(None))
            elif key.value == "retry":
                for name, setting in _pairs(value):
                    own = name.value in ("break-on", "continue-on")
                    self._texts.expressions(setting, result(None) if own else context)

    def _hoist(self, spec: yaml.Node) -> None:
        pairs = _pairs(spec)
        present = {key.value for key, _ in pairs}
        for at, (key, inner) in enumerate(pairs):
            if key.value != "policies":
                continue
            both = sorted(present & {name.value for name, _ in _pairs(inner)})
            if both:
                self._tell(_line(key), f"the task has {', '.join(both)} as well: keep one of both")
            elif not isinstance(spec, yaml.MappingNode):
                return
            elif not inner.value or inner.tag.endswith(":null"):
                self._draft.drop(spec, at)
                return
            elif isinstance(inner, yaml.MappingNode):
                self._draft.hoist(spec, at)
                return
            else:
                self._tell(_line(key), "policies is not known today, and what is in it are none")

    def _rename(self, spec: yaml.Node) -> None:
        present = {key.value for key, _ in _pairs(spec)}
        for key, _ in _pairs(spec):
            new = _RENAMED.get(key.value)
            if new and new in present:
                self._tell(_line(key), f"{key.value} is {new} today, which is there as well")
            elif new:
                self._draft.set(key, new)

    def _strange(self, spec: yaml.Node, known: frozenset[str], what: str) -> None:
        for key, _ in _pairs(spec):
            if key.value not in known and key.value not in _RENAMED and key.value != "policies":
                self._tell(_line(key), f"today's Mistral knows no {key.value} in {what}")

    def _tell(self, line: int, words: str) -> None:
        self._undecided.add(Undecided(line, words))


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """The pairs of a mapping whose keys are names; none where it is no mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return [(key, value) for key, value in pairs if isinstance(key, yaml.ScalarNode)]


def _items(task: yaml.Node) -> list[yaml.Node]:
    """What with-items holds, one or a list."""
    for key, value in _pairs(task):
        if key.value == "with-items":
            return list(value.value) if isinstance(value, yaml.SequenceNode) else [value]
    return []


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
