"""What can be known beforehand of calls that stay as they are: ``st2.callback``, and workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.dsl.definition import Definition, inputs_of
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states

ST2_CALLBACK: Final = "st2.callback"

_INPUTS: Final = ("state", "result", "st2_context")

_PARAMS: Final = frozenset({"env", "evaluate_env", "namespace", "notify", "read_only", "task_name"})
"""How a workflow is to be started: Mistral takes these out of its input."""


@dataclass(frozen=True)
class Call:
    """A workflow that a task calls."""

    name: str
    called: Mapping[str, Any] | None
    """The workflow, where it is one of the same file."""
    given: Mapping[str, Any] | None
    """Its input; None where an expression makes it."""

    @classmethod
    def of(cls, task: Mapping[str, Any], definition: Definition) -> Call | None:
        """The call of a task, None where it calls none.

        :raises InputError: the line of the call cannot be read.
        """
        line = task.get("workflow")
        if not isinstance(line, str) or not line:
            return None
        name, inline = shorthand.parse(line)
        # As Mistral looks for it: first among those of the workbook.
        called = definition.workflows.get(f"{definition.name}.{name}", definition.workflows.get(name))
        written = task.get("input", {})
        return cls(name, called, {**written, **inline} if isinstance(written, Mapping) else None)


def of_callback(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the input of an ``st2.callback``, in words."""
    strange = [str(name) for name in given if name not in _INPUTS]
    if strange:
        takes = ", ".join(_INPUTS)
        yield f"{ST2_CALLBACK} has no input {', '.join(strange)}. It takes: {takes}."
    if "state" not in given:
        yield f"{ST2_CALLBACK} needs a state: SUCCESS, ERROR or CANCELLED."
        return
    state = given["state"]
    if isinstance(state, str) and shorthand.is_expression(state):
        return
    try:
        states.callback_status(state)
    except InputError as error:
        yield str(error)


def of_workflow(
    task: Mapping[str, Any], definition: Definition, in_mistral: Callable[[str], bool]
) -> Iterator[str]:
    """What is wrong with a task that calls a workflow, in words; of one elsewhere only its name counts.

    :param in_mistral: whether Mistral has a workflow of a name.
    """
    try:
        call = Call.of(task, definition)
    except InputError as error:
        yield error.reason.replace("action", "workflow")
        return
    if call is None:
        return
    name, given = call.name, call.given
    if call.called is None:
        if not shorthand.is_expression(name) and not in_mistral(name):
            yield (
                f"neither this {definition.kind.value} nor Mistral has a workflow {name:.100}. Publish"
                " it first, or call it with action: where StackStorm runs it."
            )
        return
    if given is None:
        return
    declared = inputs_of(call.called)
    strange = [str(key) for key in given if key not in declared and key not in _PARAMS]
    if strange:
        takes = ", ".join(declared) or "none"
        # Mistral would pass over them in silence.
        yield f"the workflow {name} has no input {', '.join(strange)}. It takes: {takes}."
    missing = [key for key, is_required in declared.items() if is_required and key not in given]
    if missing:
        yield f"the workflow {name} needs {', '.join(missing)}."
