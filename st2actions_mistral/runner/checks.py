"""What can be wrong with a workflow before it starts, all of it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.dsl.definition import Definition, inputs_of, is_reverse, tasks_of
from st2actions_mistral.dsl.rewrite import rewrite
from st2actions_mistral.dsl.validate import validate
from st2actions_mistral.errors import InputError
from st2actions_mistral.runner.request import Request


@dataclass(frozen=True)
class Ready:
    """A workflow that may be started."""

    definition: Definition
    """As Mistral gets it: each StackStorm action under an ``st2.action``."""
    workflow: str
    """Its full name in Mistral."""
    inputs: Mapping[str, Any]
    task_name: str | None
    """Of a reverse workflow."""


def check(request: Request, text: str, catalogue: Catalogue) -> Ready:
    """:raises InputError: with all that is wrong."""
    definition = Definition.parse(text, request.entry_point.name)
    if definition.name != request.ref:
        raise InputError(
            request.entry_point.name,
            f"its {definition.kind.value} is named {definition.name!r:.100}, and must be named like its"
            f" action, {request.ref}.",
        )
    name = definition.entry(request.workflow)
    workflow = definition.workflows[name]
    inputs, problems = _inputs(request.inputs, inputs_of(workflow), name)
    tasks = tasks_of(workflow)
    problems += _task_name(request.task_name, workflow, tasks, name)
    every = {task for spec in definition.workflows.values() for task in tasks_of(spec)}
    for task in request.skip_notify:
        if task not in every:
            problems.append(f"skip_notify: {request.ref} has no task {task!r:.100}.")
    problems += map(str, validate(definition, catalogue))
    if problems:
        raise InputError(request.ref, "\n".join(problems))
    return Ready(rewrite(definition, catalogue), name, inputs, request.task_name)


def _inputs(
    given: Mapping[str, Any], declared: Mapping[str, bool], workflow: str
) -> tuple[dict[str, Any], list[str]]:
    """The inputs as the workflow takes them.

    StackStorm hands over every parameter of an action, with None for those that are not given.
    """
    problems = [
        f"{workflow} has no input {name!r:.100}. Its inputs: {', '.join(declared) or 'none'}."
        for name, value in given.items()
        if name not in declared and value is not None
    ]
    inputs = {
        name: value
        for name, value in given.items()
        if name in declared and (value is not None or declared[name])
    }
    problems += [
        f"{workflow} wants the input {name!r}, which the action does not give."
        for name, is_required in declared.items()
        if is_required and name not in inputs
    ]
    return inputs, problems


def _task_name(
    wanted: str | None, workflow: Mapping[str, Any], tasks: Collection[str], name: str
) -> list[str]:
    known = ", ".join(tasks) or "none"
    if not is_reverse(workflow):
        return [f"task_name: {name} is no reverse workflow, and takes none."] if wanted else []
    if wanted is None:
        return [f"task_name: {name} is a reverse workflow: say which task it is to reach: {known}."]
    return [] if wanted in tasks else [f"task_name: {name} has no task {wanted!r:.100}: {known}."]
