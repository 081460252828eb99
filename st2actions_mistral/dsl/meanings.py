"""What ``$.name`` meant in a workflow of 2014, and how today's Mistral says it.

Then, ``publish`` saw the result of its task as if it were part of the context, and ``$.task_name`` was
the result of another task. Today both are ``task('task-name').result``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.dsl.definition import inputs_of, tasks_of
from st2actions_mistral.dsl.own_calls import ST2_CALLBACK
from st2actions_mistral.dsl.wrapping import ST2_ACTION
from st2actions_mistral.dsl.yaql_2014 import Start
from st2actions_mistral.errors import InputError

# Keys of the result of a StackStorm execution: of shell commands, of Python actions and of core.http.
_OF_STACKSTORM: Final = frozenset(
    [
        "stdout",
        "stderr",
        "return_code",
        "succeeded",
        "failed",
        "exit_code",
        "result",
        "status_code",
        "body",
        "headers",
        "parsed",
    ]
)
# Actions that are no Python actions: their results are what they are.
_PLAIN: Final = frozenset(
    f"core.{name}" for name in ("local", "local_sudo", "remote", "remote_sudo", "http")
)

# What execution() gives in Mistral 20 to 23.
_OF_EXECUTION: Final = frozenset(
    ["id", "name", "spec", "input", "params", "created_at", "updated_at", "root_execution_id"]
)
_INPUTS_OF_TASK: Final = ("input", "parameters")
_INPUTS_OF_BASE: Final = ("base-input", "base-parameters")
_REF: Final = re.compile(r"(?P<pack>[\w-]+)(\.[\w-]+)+")
# Mistral's own actions, and those that it had for OpenStack from 2014 on: no packs of StackStorm.
_OF_MISTRAL: Final = frozenset(
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
class Meanings:
    """The names of one workflow, or of one ad-hoc action."""

    given: frozenset[str] = frozenset()
    """Inputs and vars."""
    publishers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What is published, and the tasks that do."""
    refs: Mapping[str, str | None] = field(default_factory=dict)
    """Tasks by name, and the StackStorm action that each calls: "" where that is not known, None where
    it calls none."""
    loops: frozenset[str] = frozenset()
    """Tasks with-items: the result is a list."""
    any_name: bool = False
    """Whether ``$`` is no context: anything may be in it."""

    @classmethod
    def of(cls, workflow: Mapping[str, Any], ad_hoc: Mapping[str, Mapping[str, Any]]) -> Meanings:
        """Read them from a workflow.

        :param ad_hoc: the ad-hoc actions of the workbook, by each name that a task may use.
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
        refs = {name: called(task, ad_hoc) for name, task in tasks.items()}
        loops = frozenset(name for name, task in tasks.items() if "with-items" in task)
        return cls(frozenset(map(str, given)), publishers, refs, loops)

    @property
    def only_tasks(self) -> frozenset[str]:
        """Names of tasks of which there is no variable."""
        return frozenset(self.refs) - self.given - self.publishers.keys()

    def in_context(self, names: Sequence[str], also: frozenset[str] = frozenset()) -> Start:
        """How ``$`` with these names begins where there is only the context.

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
            both = f"{here} was taken as the variable; or is it the task?"
            return Start(here, both if first in self.refs else None)
        if first in self.refs:
            return self._result(first, names[1:])
        if first == "task":
            return self._published(names[1:])
        return Start(here, f"nothing here defines {here}: that was null in 2014, and is an error today")

    def in_result(self, task: str | None, names: Sequence[str], publishes: str | None) -> Start:
        """How ``$`` with these names begins where the result of a task was part of the context.

        :param task: None for whichever task it is, in task-defaults.
        :param publishes: the name under which it is published, if it is.
        """
        if not names:
            return self._result(task, ())
        added = _added(names)
        if added is not None:
            return added
        first = names[0]
        here = f"$.{first}"
        others = self.publishers.get(first, frozenset()) - {task}
        if first in self.given or others:
            if first != publishes:
                return Start(here, f"{here} was taken as the variable; or is it of the task's result?")
            words = f"{here} was taken from the task's result; or is it the variable?"
            return Start(f"{self._result(task, names).text}.{first}", words)
        if first in self.refs:
            return self._result(first, names[1:])
        # Or else it is a key of the result.
        if first == "task" and self.refs.keys() & set(names[1:2]):
            return self._published(names[1:])
        text, doubt, _ = self._result(task, names)
        return Start(f"{text}.{first}", doubt)

    def _published(self, names: Sequence[str]) -> Start:
        """``$.task`` with these names behind it: what each task has published, then in Juno."""
        task, variable = [*names[:2], None, None][:2]
        here = ".".join(("$.task", *names[:2]))
        if task not in self.refs:
            words = f"$.task was what each task has published, and is an error today: {here}"
            return Start("$.task", words)
        if variable is None:
            return Start(
                "$.task", f"{here} was all that {task} publishes: name each variable of it today"
            )
        publishers = self.publishers.get(variable, frozenset())
        if task not in publishers:
            words = f"{task} publishes no {variable}: {here} was null in 2014, and is an error today"
            return Start("$.task", words)
        others = ", ".join(sorted(publishers - {task}))
        doubt = (
            f"{here} was taken as $.{variable}, which {others} publishes as well" if others else None
        )
        return Start(f"$.{variable}", doubt, names=3)

    def _result(self, task: str | None, names: Sequence[str]) -> Start:
        """The result of a task, as the path goes on."""
        key = names[0] if names else None
        if task is None:
            words = f"{key} was taken from the result of whichever task it is: is it there in all?"
            return Start("task().result", words)
        start = _within(f"task('{task}').result", self.refs.get(task), key)
        if task in self.loops:
            words = f"{start.text} is of a list today: each item of with-items has its result there"
            return start._replace(doubt=words)
        return start


def _within(text: str, ref: str | None, key: str | None) -> Start:
    """Where ``key`` is in what StackStorm says of an execution."""
    if ref is None or ref in _PLAIN or key in _OF_STACKSTORM:
        return Start(text)
    if key is None:
        return Start(
            text, f"{text} is StackStorm's: what a Python action returned is below its 'result'"
        )
    doubt = (
        f"{key} was taken for what a Python action returned; write {text}.{key} if"
        f" {ref or 'the action'} is none"
    )
    return Start(f"{text}.result", doubt)


def _published_by(task: Mapping[str, Any]) -> Iterator[str]:
    """The variables that a task publishes, in its words of 2014 or in those of today."""
    found = [task.get(key) for key in ("publish", "publish-on-error", "publish-on-skip")]
    for clause in map(task.get, ("on-success", "on-error", "on-complete", "on-skip")):
        scopes = clause.get("publish") if isinstance(clause, dict) else None
        found += scopes.values() if isinstance(scopes, dict) else ()
    for published in found:
        yield from map(str, published if isinstance(published, dict) else ())


def _added(names: Sequence[str]) -> Start | None:
    """What Mistral adds to a context, if that is how a path begins."""
    first = names[0]
    if first == "__env":
        return Start("env()")
    if first == "__execution":
        key = names[1] if len(names) > 1 else None
        known = key is None or key in _OF_EXECUTION
        return Start("execution()", None if known else f"execution() has no {key} today")
    if first.startswith("__") or first == "openstack":
        here = f"$.{first}"
        return Start(here, f"{here}: today env() and execution() give what Mistral adds to a context")
    return None


def in_output(ref: str | None, names: Sequence[str]) -> Start:
    """How ``$`` with these names begins in the output of an ad-hoc action: the result of its base.

    :param ref: the StackStorm action that is its base, see :func:`called`.
    """
    if not names:
        return _within("$", ref, None)
    text, doubt, _ = _within("$", ref, names[0])
    return Start(f"{text}.{names[0]}", doubt)


def called(
    spec: Mapping[str, Any], ad_hoc: Mapping[str, Mapping[str, Any]], *, base: bool = False
) -> str | None:
    """The StackStorm action that a task calls, itself or by ad-hoc actions that have no output of their
    own: "" where that is not known, None where it is none.

    :param ad_hoc: the ad-hoc actions of the workbook, by each name that a task may use.
    :param base: whether the spec is of an ad-hoc action.
    """
    # Not for ever: they may be based on each other in a circle.
    for _ in range(len(ad_hoc) + 1):
        line = spec.get("base" if base else "action")
        try:
            name, inline = shorthand.parse(line) if isinstance(line, str) else ("", {})
        except InputError:
            return None
        if name == ST2_ACTION:
            return _ref(spec, inline, _INPUTS_OF_BASE if base else _INPUTS_OF_TASK)
        if name not in ad_hoc:
            match = _REF.fullmatch(name)
            plain = match and match["pack"] not in _OF_MISTRAL and name != ST2_CALLBACK
            return name if plain else None
        spec, base = ad_hoc[name], True
        # Its result is what its output makes of it.
        if "output" in spec:
            return None
    return None


def _ref(spec: Mapping[str, Any], inline: Mapping[str, Any], input_keys: Sequence[str]) -> str:
    given = next((spec[key] for key in input_keys if key in spec), None)
    ref = inline.get("ref", given.get("ref") if isinstance(given, dict) else None)
    return ref if isinstance(ref, str) and "$" not in ref else ""
