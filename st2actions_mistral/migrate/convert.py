"""Convert a workbook in Mistral's DSL v2 of 2014 to today's language.

The changes: ``policies`` move up into their task, ``on-finish``, ``parameters`` and others have new
names, expressions are put between ``<%`` and ``%>``, and the result of a task is
``task('name').result`` (:mod:`scope`). Places that only the author can decide are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import yaml

from st2actions_mistral.dsl.definition import Definition, Kind
from st2actions_mistral.dsl.mistral_yaml import load
from st2actions_mistral.errors import InputError
from st2actions_mistral.migrate.expressions import Expressions, variable_of
from st2actions_mistral.migrate.results import Runner, unknown
from st2actions_mistral.migrate.scope import Scope, called_action, in_output
from st2actions_mistral.migrate.translate import Resolve
from st2actions_mistral.migrate.yaml_edit import YamlEdit

# Keys that a workflow or an action must have. Mistral reports them if they have no value.
_REQUIRED: Final = frozenset(("name", "version", "tasks", "base"))

# Top-level keys of DSL v1.
_DSL_V1_KEYS: Final = frozenset(
    ("Version", "Namespaces", "Workflow", "Workflows", "Actions", "Services", "services", "Triggers")
)

_POLICIES: Final = ("wait-before", "wait-after", "timeout", "pause-before", "concurrency", "fail-on")
_TRANSITIONS: Final = ("on-success", "on-error", "on-complete", "on-skip")
_VALUES: Final = ("input", "target", "keep-result", "safe-rerun")
_PUBLISH: Final = ("publish", "publish-on-error", "publish-on-skip")
_UNCHANGED: Final = ("name", "description", "type", "tags", "version", "requires", "join")
_TASK_KEYS: Final = frozenset(
    (
        *_POLICIES,
        *_TRANSITIONS,
        *_VALUES,
        *_PUBLISH,
        *_UNCHANGED,
        "action",
        "workflow",
        "with-items",
        "retry",
    )
)
_WORKFLOW_KEYS: Final = frozenset(
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
_ACTION_KEYS: Final = frozenset(
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
    """A place that the author must check."""

    line: int
    """Line in the original text, from 1."""
    message: str


@dataclass(frozen=True)
class Converted:
    """The result of a conversion."""

    text: str
    undecided: list[Undecided]
    """Sorted by line."""


def convert(text: str, where: str, runner: Runner = unknown) -> Converted:
    """Convert a workbook or a workflow of 2014. Text in today's language is not changed.

    :param where: the name of the file, for errors.
    :param runner: tells the runner types of StackStorm actions.
    :raises InputError: the text is not valid YAML, or not DSL v2.
    """
    data = load(text, where)
    if isinstance(data, dict) and (found := sorted(_DSL_V1_KEYS & {str(key) for key in data})):
        raise InputError(
            where,
            f"is written in DSL v1, as it has {', '.join(found)}. That cannot be converted: write the"
            " workflow again in DSL v2.",
        )
    conversion = _Conversion(Definition.parse(text, where, numeric_version=True), runner)
    return conversion.converted()


class _Conversion:
    """One conversion of a definition."""

    def __init__(self, definition: Definition, runner: Runner) -> None:
        self._runner = runner
        self._definition = definition
        self._edit = YamlEdit(definition.text)
        self._undecided: set[Undecided] = set()
        self._expressions = Expressions(self._edit, self._report)
        actions = definition.actions
        self._actions = actions | {f"{definition.name}.{name}": it for name, it in actions.items()}

    def converted(self) -> Converted:
        self._expressions.report_anchors(self._edit.root)
        if self._definition.kind is Kind.WORKBOOK:
            self._drop_empty(self._edit.root)
        for key, value in _pairs(self._edit.root):
            if key.value == "version":
                if isinstance(value, yaml.ScalarNode) and not value.tag.endswith(":str"):
                    self._edit.set(value, "2.0")
            elif self._definition.kind is Kind.WORKFLOW:
                self._workflow(value, self._definition.data.get(key.value))
            elif key.value == "workflows":
                section = self._definition.data["workflows"]
                # Mistral reports a section that is not a mapping, such as a !!set.
                for name, spec in _pairs(value) if isinstance(section, Mapping) else ():
                    found = section.get(name.value)
                    if found is None and isinstance(spec, yaml.MappingNode):
                        self._report(name.start_mark.line + 1, "the name is not text: put it in quotes")
                    self._workflow(spec, found)
            elif key.value == "actions":
                for name, spec in _pairs(value):
                    self._ad_hoc(spec, self._definition.actions.get(name.value, {}))
        text, kept = self._edit.finish()
        if not kept:
            self._report(
                1, "the layout could not be kept, so the file was written again without its comments"
            )
        return Converted(text, sorted(self._undecided))

    def _workflow(self, spec: yaml.Node, data: object) -> None:
        if not isinstance(data, Mapping):
            return
        scope = Scope.of(data, self._actions, self._runner)
        context: Resolve = scope.in_context
        self._drop_empty(spec)
        self._rename(spec)
        self._report_unknown(spec, _WORKFLOW_KEYS, "a workflow")
        for key, value in _pairs(spec):
            if key.value in ("output", "output-on-error", "vars"):
                self._expressions.report_outdated(value, scope.only_tasks, scope.of_mistral)
                self._expressions.value(value, context, alone=key.value != "vars")
            elif key.value == "task-defaults":
                self._task(value, scope, None)
            elif key.value == "tasks":
                for name, task in _pairs(value):
                    self._task(task, scope, name.value)

    def _ad_hoc(self, spec: yaml.Node, data: Mapping[str, Any]) -> None:
        self._expressions.report_outdated(spec, ())
        # Today an output may be null.
        self._drop_empty(spec, but=frozenset(("output",)))
        self._rename(spec)
        self._report_unknown(spec, _ACTION_KEYS, "an action")
        context = Scope(any_name=True).in_context
        base = called_action(data, self._actions, base=True)
        result: Resolve = partial(in_output, base, runner=self._runner)
        for key, value in _pairs(spec):
            if key.value == "base":
                self._expressions.line(value, context)
            elif key.value == "base-input":
                self._expressions.value(value, context)
            elif key.value == "output":
                self._expressions.value(value, result, alone=True)

    def _task(self, spec: yaml.Node, scope: Scope, task: str | None) -> None:
        """Convert a task, or the task-defaults, which have no name."""
        self._drop_empty(spec)
        self._hoist(spec)
        self._rename(spec)
        if task is not None and _is_empty(spec):
            self._report(
                _line(spec), f"the task {task} has no keys: give it an action, such as std.noop"
            )
        self._report_unknown(spec, _TASK_KEYS, "a task")
        items = frozenset(filter(None, map(variable_of, _items(spec))))
        self._expressions.report_outdated(spec, scope.only_tasks - items, scope.of_mistral, task)
        context: Resolve = partial(scope.in_context, also=items)

        def result(publishes: str | None) -> Resolve:
            return lambda path: (
                context(path)
                if items.intersection(path[:1])
                else scope.in_result(task, path, publishes)
            )

        for key, value in _pairs(spec):
            if key.value in ("action", "workflow"):
                self._expressions.line(value, context)
            elif key.value in _VALUES:
                self._expressions.value(value, context)
            elif key.value in _PUBLISH:
                for variable, published in _pairs(value):
                    self._expressions.value(published, result(variable.value), alone=True)
            elif key.value == "with-items":
                for item in _items(spec):
                    self._expressions.with_items(item, context)
            elif key.value in _TRANSITIONS:
                self._expressions.conditions(self._transitions(value), context)
            elif key.value in _POLICIES:
                self._expressions.conditions(value, context)
            elif key.value == "retry" and isinstance(value, yaml.ScalarNode):
                self._expressions.line(value, context, result(None))
            elif key.value == "retry":
                for name, setting in _pairs(value):
                    own = name.value in ("break-on", "continue-on")
                    self._expressions.conditions(setting, result(None) if own else context)

    def _hoist(self, spec: yaml.Node) -> None:
        pairs = _pairs(spec)
        present = {key.value for key, _ in pairs}
        for at, (key, inner) in enumerate(pairs):
            if key.value != "policies":
                continue
            both = sorted(present & {name.value for name, _ in _pairs(inner)})
            if both:
                self._report(
                    _line(key), f"{', '.join(both)} is in policies and in the task: keep one of them"
                )
            elif not isinstance(spec, yaml.MappingNode):
                return
            elif isinstance(inner, yaml.MappingNode):
                self._edit.hoist(spec, at)
                return
            else:
                self._report(_line(key), "policies is not a mapping: move each policy up into the task")

    def _drop_empty(self, spec: yaml.Node | None, but: frozenset[str] = frozenset()) -> None:
        """Remove keys without a value, which meant nothing in 2014 and which Mistral rejects today."""
        if not isinstance(spec, yaml.MappingNode):
            return
        for key, value in _pairs(spec):
            if key.value in ("policies", "retry", "task-defaults"):
                self._drop_empty(value)
        kept = _REQUIRED | but
        for at, (key, value) in reversed(list(enumerate(spec.value))):
            if isinstance(key, yaml.ScalarNode) and key.value not in kept and _is_empty(value):
                self._edit.drop(spec, at)

    def _transitions(self, clause: yaml.Node) -> yaml.Node:
        """Remove the colon of ``- b:``, a next task without a condition. Return the new clause."""
        if isinstance(clause, yaml.SequenceNode):
            clause.value[:] = [
                self._edit.bare(item) if _is_bare(item) else item for item in clause.value
            ]
        return clause

    def _rename(self, spec: yaml.Node) -> None:
        present = {key.value for key, _ in _pairs(spec)}
        for key, _ in _pairs(spec):
            new = _RENAMED.get(key.value)
            if new and new in present:
                self._report(
                    _line(key),
                    f"{key.value} is called {new} today, which the task has as well: keep one of them",
                )
            elif new:
                self._edit.set(key, new)

    def _report_unknown(self, spec: yaml.Node, known: frozenset[str], what: str) -> None:
        for key, _ in _pairs(spec):
            if key.value not in known and key.value not in _RENAMED and key.value != "policies":
                self._report(_line(key), f"{key.value} is not a key of {what} today")

    def _report(self, line: int, message: str) -> None:
        self._undecided.add(Undecided(line, message))


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """Return the pairs of a mapping whose keys are scalars, or none for any other node."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return [(key, value) for key, value in pairs if isinstance(key, yaml.ScalarNode)]


def _is_empty(value: yaml.Node) -> bool:
    return not value.value or value.tag.endswith(":null")


def _is_bare(item: yaml.Node) -> bool:
    """Return True for a mapping of one key without a value."""
    pairs = _pairs(item)
    return len(pairs) == 1 and _is_empty(pairs[0][1])


def _items(task: yaml.Node) -> list[yaml.Node]:
    """Return the values of with-items: one, or a list of them."""
    for key, value in _pairs(task):
        if key.value == "with-items":
            return list(value.value) if isinstance(value, yaml.SequenceNode) else [value]
    return []


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
