"""Resolve what ``$.name`` meant in a workflow of 2014.

In 2014, ``publish`` saw the result of its task as a part of the context, and ``$.task_name`` was the
result of another task. Today both are ``task('task-name').result``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.dsl.calls import ST2_ACTION, ST2_CALLBACK
from st2actions_mistral.dsl.definition import inputs_of, tasks_of
from st2actions_mistral.migrate.gone import HIDDEN_CREDENTIALS
from st2actions_mistral.migrate.results import MISTRAL_RUNNERS, Runner, unknown, within
from st2actions_mistral.migrate.translate import Start

# Keys of execution() in Mistral 20 to 23.
_EXECUTION_KEYS: Final = frozenset(
    ["id", "name", "spec", "input", "params", "created_at", "updated_at", "root_execution_id"]
)
_TASK_INPUT: Final = ("input", "parameters")
_BASE_INPUT: Final = ("base-input", "base-parameters")
_REF: Final = re.compile(r"(?P<pack>[\w-]+)(\.[\w-]+)+")
# Prefixes of Mistral's own actions, and of those for OpenStack since 2014: not packs of StackStorm.
_MISTRAL_PREFIXES: Final = frozenset(
    [
        "std",
        "aodh",
        "baremetal_introspection",
        "barbican",
        "ceilometer",
        "cinder",
        "designate",
        "glance",
        "glare",
        "gnocchi",
        "heat",
        "ironic",
        "keystone",
        "magnum",
        "manila",
        "mistral",
        "murano",
        "neutron",
        "nova",
        "qinling",
        "senlin",
        "swift",
        "swiftservice",
        "tacker",
        "trove",
        "vitrage",
        "zaqar",
        "zun",
    ]
)


@dataclass(frozen=True)
class Scope:
    """The names of one workflow, or of one ad-hoc action."""

    given: frozenset[str] = frozenset()
    """Inputs and vars."""
    publishers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Published variables, and the tasks that publish each."""
    refs: Mapping[str, str | None] = field(default_factory=dict)
    """Tasks by name, and the StackStorm action that each calls; see :func:`called_action`."""
    loops: frozenset[str] = frozenset()
    """Tasks with with-items: their result is a list."""
    any_name: bool = False
    """True if ``$`` is not the context of a workflow, so that any name may be valid."""
    runner: Runner = unknown

    @classmethod
    def of(
        cls,
        workflow: Mapping[str, Any],
        ad_hoc: Mapping[str, Mapping[str, Any]],
        runner: Runner = unknown,
    ) -> Scope:
        """Collect the names of a workflow.

        :param ad_hoc: the ad-hoc actions of the workbook, by each name that a task may use.
        :param runner: tells the runner types of StackStorm actions.
        """
        declared = {"input": workflow.get("input", workflow.get("parameters"))}
        constants = workflow.get("vars")
        given = {*inputs_of(declared), *(constants if isinstance(constants, dict) else ())}
        publishers: dict[str, frozenset[str]] = {}
        tasks = tasks_of(workflow)
        defaults = workflow.get("task-defaults")
        for variable in _published_by(defaults if isinstance(defaults, dict) else {}):
            publishers[variable] = frozenset(tasks)
        for name, task in tasks.items():
            for variable in _published_by(task):
                publishers[variable] = publishers.get(variable, frozenset()) | {name}
        refs = {name: called_action(task, ad_hoc) for name, task in tasks.items()}
        loops = frozenset(name for name, task in tasks.items() if "with-items" in task)
        return cls(frozenset(map(str, given)), publishers, refs, loops, runner=runner)

    @property
    def only_tasks(self) -> frozenset[str]:
        """Names of tasks that are not names of variables."""
        return frozenset(self.refs) - self.given - self.publishers.keys()

    @property
    def of_mistral(self) -> frozenset[str]:
        """Names of tasks that call ``mistral-v2`` actions."""
        return frozenset(
            name for name, ref in self.refs.items() if ref and self.runner(ref) in MISTRAL_RUNNERS
        )

    def in_context(self, names: Sequence[str], also: frozenset[str] = frozenset()) -> Start:
        """Resolve a path where ``$`` is the context.

        :param also: the variables of with-items.
        """
        if not names:
            return Start("$")
        first = names[0]
        here = f"$.{first}"
        if self.any_name or first in also:
            return Start(here)
        added = _added(names)
        if added is not None:
            return added
        if first in self.given or first in self.publishers:
            both = f"{here} was read as the variable: check that the task is not meant"
            return Start(here, both if first in self.refs else None)
        if first in self.refs:
            return self._result(first, names[1:])
        if first == "task":
            return self._published(names[1:])
        return Start(here, f"{here} is not defined: it was null in 2014, and is an error today")

    def in_result(self, task: str | None, names: Sequence[str], publishes: str | None) -> Start:
        """Resolve a path where the result of a task was a part of the context.

        :param task: the task; None in task-defaults, which apply to any task.
        :param publishes: the variable that the value is published as, if any.
        """
        if not names:
            return self._result(task, ())
        added = _added(names)
        if added is not None:
            return added
        first = names[0]
        here = f"$.{first}"
        others = {name for name in self.publishers.get(first, ()) if name != task}
        if first in self.given or others:
            if first != publishes:
                doubt = f"{here} was read as the variable: check that the task's result is not meant"
                return Start(here, doubt)
            doubt = f"{here} was read as the task's result: check that the variable is not meant"
            return Start(f"{self._result(task, names).text}.{first}", doubt)
        if first in self.refs:
            return self._result(first, names[1:])
        # Otherwise "task" is a key of the result.
        if first == "task" and self.refs.keys() & set(names[1:2]):
            return self._published(names[1:])
        start = self._result(task, names)
        return Start(f"{start.text}.{first}", start.doubt)

    def _published(self, names: Sequence[str]) -> Start:
        """Resolve ``$.task.NAME.VARIABLE``, a variable that a task published (Mistral in Juno)."""
        task, variable = [*names[:2], None, None][:2]
        here = ".".join(("$.task", *names[:2]))
        if task not in self.refs:
            doubt = f"{here} is an error today: $.task contained the variables of each task"
            return Start("$.task", doubt)
        if variable is None:
            doubt = f"{here} contained all variables that {task} publishes: name each of them"
            return Start("$.task", doubt)
        publishers = self.publishers.get(variable, frozenset())
        if task not in publishers:
            doubt = f"{task} publishes no {variable}: {here} was null in 2014, and is an error today"
            return Start("$.task", doubt)
        others = ", ".join(sorted(publishers - {task}))
        also = f"{here} was read as $.{variable}, which {others} publishes as well" if others else None
        return Start(f"$.{variable}", also, names=3)

    def _result(self, task: str | None, names: Sequence[str]) -> Start:
        """Resolve the result of a task, followed by these names."""
        key = names[0] if names else None
        if task is None:
            doubt = f"{key} was read from the result of each task: check that all of them have it"
            return Start("task().result", doubt)
        start = within(f"task('{task}').result", self.refs.get(task), key, self.runner)
        if task in self.loops:
            doubt = f"{start.text} is read from a list today, with the result of each item"
            return start._replace(doubt=doubt)
        return start


def _published_by(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield the variables that a task publishes, in the syntax of 2014 or of today."""
    found = [task.get(key) for key in ("publish", "publish-on-error", "publish-on-skip")]
    for clause in map(task.get, ("on-success", "on-error", "on-complete", "on-skip")):
        scopes = clause.get("publish") if isinstance(clause, dict) else None
        found += scopes.values() if isinstance(scopes, dict) else ()
    for published in found:
        yield from map(str, published if isinstance(published, dict) else ())


def _added(names: Sequence[str]) -> Start | None:
    """Resolve a path that starts with a name that Mistral adds to the context."""
    first = names[0]
    if first == "__env":
        return Start("env()")
    if first == "__execution":
        key = names[1] if len(names) > 1 else None
        known = key is None or key in _EXECUTION_KEYS
        return Start("execution()", None if known else f"execution() has no {key} today")
    if first == "openstack":
        is_hidden = "auth_token" in names[1:2] or "service_catalog" in names[1:2]
        return Start("$.openstack", HIDDEN_CREDENTIALS if is_hidden else None)
    if first.startswith("__"):
        here = f"$.{first}"
        return Start(here, f"{here}: use env() or execution() for what Mistral adds to a context")
    return None


def in_output(ref: str | None, names: Sequence[str], runner: Runner = unknown) -> Start:
    """Resolve a path in the output of an ad-hoc action, where ``$`` is the result of its base.

    :param ref: the StackStorm action that is its base, see :func:`called_action`.
    :param runner: tells the runner types of StackStorm actions.
    """
    if not names:
        return within("$", ref, None, runner)
    start = within("$", ref, names[0], runner)
    return Start(f"{start.text}.{names[0]}", start.doubt)


def called_action(
    spec: Mapping[str, Any], ad_hoc: Mapping[str, Mapping[str, Any]], *, base: bool = False
) -> str | None:
    """Return the StackStorm action that a task calls, directly or through ad-hoc actions.

    :param ad_hoc: the ad-hoc actions of the workbook, by each name that a task may use.
    :param base: the spec is that of an ad-hoc action.
    :return: "" if the name depends on an expression; None if the task calls none, or if the ``output``
        of an ad-hoc action changes the result.
    """
    # Bounded: ad-hoc actions may be based on each other in a circle.
    for _ in range(len(ad_hoc) + 1):
        line = spec.get("base" if base else "action")
        try:
            name, inline = shorthand.parse(line) if isinstance(line, str) else ("", {})
        except shorthand.InvalidCallError:
            return None
        if name == ST2_ACTION:
            return _ref(spec, inline, _BASE_INPUT if base else _TASK_INPUT)
        if name not in ad_hoc:
            match = _REF.fullmatch(name)
            plain = match and match["pack"] not in _MISTRAL_PREFIXES and name != ST2_CALLBACK
            return name if plain else None
        spec, base = ad_hoc[name], True
        if "output" in spec:
            return None
    return None


def _ref(spec: Mapping[str, Any], inline: Mapping[str, Any], input_keys: Sequence[str]) -> str:
    given = next((spec[key] for key in input_keys if key in spec), None)
    ref = inline.get("ref", given.get("ref") if isinstance(given, dict) else None)
    return ref if isinstance(ref, str) and "$" not in ref else ""
