"""Check a workflow before it starts, and report all problems at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.dsl.definition import Definition, inputs_of, is_reverse, tasks_of
from st2actions_mistral.dsl.functions import find_unknown
from st2actions_mistral.dsl.lines import line_of
from st2actions_mistral.dsl.rewrite import resolved_places, rewrite
from st2actions_mistral.dsl.validate import Problem, validate
from st2actions_mistral.errors import InputError
from st2actions_mistral.runner.items import tasks_with_text
from st2actions_mistral.runner.request import WorkflowRequest


@dataclass(frozen=True)
class Ready:
    """A valid workflow, ready to start."""

    definition: Definition
    """The definition for Mistral: each StackStorm action is called by an ``st2.action``."""
    workflow: str
    """Its full name in Mistral."""
    inputs: Mapping[str, Any]
    task_name: str | None
    """The target of a reverse workflow."""


def check(
    request: WorkflowRequest, text: str, catalogue: Catalogue, functions: Collection[str] = ()
) -> Ready:
    """Return the workflow of a definition, ready to start.

    :param text: the workbook or workflow that the request names.
    :param functions: the expression functions that plugins of Mistral bring.
    :raises InputError: with all problems.
    :raises RemoteError: a system does not respond.
    """
    definition = Definition.parse(text, request.entry_point.name)
    if definition.name != request.ref:
        raise InputError(
            request.entry_point.name,
            f"its {definition.kind.value} is named {definition.name!r:.100}. It must have the name of"
            f" its action, {request.ref}.",
        )
    name = definition.entry(request.workflow)
    workflow = definition.workflows[name]
    inputs, problems = _inputs(request.inputs, inputs_of(workflow), name)
    tasks = tasks_of(workflow)
    problems += _task_name(request.task_name, workflow, tasks, name)
    all_tasks = {task for spec in definition.workflows.values() for task in tasks_of(spec)}
    for task in request.skip_notify:
        if task not in all_tasks:
            problems.append(f"skip_notify: {request.ref} has no task {task!r:.100}.")
    resolved = resolved_places(definition, catalogue)
    found = find_unknown(definition, functions, resolved)
    unknown = [one.problem for one in found if one.is_certain]
    for problem in [*validate(definition, catalogue), *unknown, *_items(definition, name, inputs)]:
        line = line_of(text, problem.path)
        problems.append(f"line {line}: {problem}" if line else str(problem))
    if problems:
        raise InputError(request.ref, "\n".join(problems))
    return Ready(rewrite(definition, catalogue), name, inputs, request.task_name)


def _inputs(
    given: Mapping[str, Any], declared: Mapping[str, bool], workflow: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the inputs that the workflow takes, and the problems.

    StackStorm passes every parameter of an action, with None for those that are not given.
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
        f"{workflow} requires the input {name!r}, which the action does not give."
        for name, is_required in declared.items()
        if is_required and name not in inputs
    ]
    return inputs, problems


def _items(definition: Definition, name: str, inputs: Mapping[str, Any]) -> Iterator[Problem]:
    for task, variable in tasks_with_text(definition.workflows[name], inputs):
        yield Problem(
            (*definition.path_of(name), "tasks", task, "with-items"),
            f"workflow {name}, task {task}",
            f"Wrong input format: with-items needs a list, and the input {variable} is a text.",
        )


def _task_name(
    wanted: str | None, workflow: Mapping[str, Any], tasks: Collection[str], name: str
) -> list[str]:
    known = ", ".join(tasks) or "none"
    if not is_reverse(workflow):
        return [f"task_name: {name} is not a reverse workflow and takes none."] if wanted else []
    if wanted is None:
        return [f"task_name: {name} is a reverse workflow: name its target task, one of: {known}."]
    if wanted not in tasks:
        return [f"task_name: {name} has no task {wanted!r:.100}. Its tasks: {known}."]
    return []
