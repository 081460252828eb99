"""Validate the calls of a definition against the actions and workflows that both systems have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.dsl.calls import (
    ST2_ACTION,
    ST2_CALLBACK,
    ActionCall,
    Catalogue,
    Site,
    Target,
    WorkflowCall,
    find_sites,
    is_ref,
)
from st2actions_mistral.dsl.definition import Definition, Kind, inputs_of, not_text
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.st2_action import refused

_ACTION_INPUTS: Final = ("ref", "parameters", "st2_context", "render_jinja")
_CALLBACK_INPUTS: Final = ("state", "result", "st2_context")

# Mistral takes these out of the input of a sub-workflow: they say how to start it.
_START_PARAMS: Final = frozenset(
    {"env", "evaluate_env", "namespace", "notify", "read_only", "task_name"}
)


class _Below(NamedTuple):
    """A message about a place below a task or an ad-hoc action."""

    message: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """One problem of a definition."""

    path: tuple[str, ...]
    """The keys that lead to the place in the file, see ``lines.line_of``."""
    place: str
    """The workflow and the task, or the ad-hoc action, for messages."""
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def validate(definition: Definition, catalogue: Catalogue) -> list[Problem]:
    """Return all problems that can be found without running the definition.

    Calls that depend on an expression are accepted. Mistral validates the rest of the language.
    """
    problems = list(_names(definition))
    for site in find_sites(definition):
        if site.has_action:
            found = _action_call(site, definition, catalogue)
        else:
            found = _workflow_call(site, definition, catalogue)
        for item in found:
            message, keys = item if isinstance(item, _Below) else (item, ())
            problems.append(Problem((*site.path, *keys), site.place, message))
    return problems


def _names(definition: Definition) -> Iterator[Problem]:
    """Report names that YAML does not read as text. Mistral answers 500 to them."""
    book, data = definition.name, definition.data
    if definition.kind is Kind.WORKBOOK:
        for section in ("workflows", "actions"):
            yield from _names_in(data.get(section), (section,), f"{section} of {book}")
    for full, spec in definition.workflows.items():
        path = (*definition.path_of(full), "tasks")
        yield from _names_in(spec.get("tasks"), path, f"workflow {full}")


def _names_in(content: Any, path: tuple[str, ...], place: str) -> Iterator[Problem]:
    for name in content if isinstance(content, Mapping) else ():
        if not isinstance(name, str):
            yield Problem((*path, str(name)), place, not_text(name))


def _action_call(site: Site, definition: Definition, catalogue: Catalogue) -> Iterator[str | _Below]:
    try:
        call = ActionCall.at(site)
    except shorthand.InvalidCallError as error:
        yield f"{error.call!r:.100} does not start with the name of an action."
        return
    target = call.target(definition, catalogue)
    if target is Target.EXPRESSION:
        return
    yield from _input(site, call)
    if target is Target.MISTRAL:
        return
    if target is Target.UNKNOWN:
        yield (
            f"Failed to find action {call.name}: neither Mistral nor StackStorm has it."
            if is_ref(call.name)
            else f"Mistral has no action {call.name:.100}. A StackStorm action is called pack.action."
        )
        return
    for key in shorthand.ignored_inputs(call.line):
        yield f"Mistral ignores {key}=… in {site.name_key}: put the value in quotes."
    if not isinstance(call.given, Mapping):
        return
    if target is Target.ST2_ACTION:
        yield from _st2_action(call.given, catalogue, site.input_key)
    elif target is Target.ST2_CALLBACK:
        yield from _st2_callback(call.given)
    else:
        given = dict(call.given)
        if catalogue.is_native(call.name):
            given.pop("st2_context", None)
        yield from _call(call.name, given, catalogue, (site.input_key,))


def _input(site: Site, call: ActionCall) -> Iterator[str]:
    if not isinstance(call.written, str):
        return
    if not shorthand.is_expression(call.written):
        yield f"{site.input_key} must be a mapping or an expression."
    elif call.inline:
        yield (
            f"{site.input_key} is an expression, so {', '.join(call.inline)} cannot be given in"
            f" {site.name_key} as well."
        )


def _st2_action(
    given: Mapping[str, Any], catalogue: Catalogue, input_key: str
) -> Iterator[str | _Below]:
    unknown = [str(name) for name in given if name not in _ACTION_INPUTS]
    if unknown:
        yield (
            f"{ST2_ACTION} has no input {', '.join(unknown)}. Parameters of the StackStorm action go"
            " below 'parameters'."
        )
    ref = given.get("ref")
    if ref is None:
        yield f"{ST2_ACTION} needs a ref: the name of a StackStorm action."
        return
    if not isinstance(ref, str):
        yield "ref must be the name of a StackStorm action: pack.action."
        return
    if shorthand.is_expression(ref):
        return
    if not is_ref(ref) or catalogue.action(ref) is None:
        yield f"StackStorm has no action {ref:.100}."
        return
    parameters = given.get("parameters")
    if isinstance(parameters, str) and shorthand.is_expression(parameters):
        return
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        yield "parameters must be a mapping or an expression."
        return
    yield from _rendered(given.get("render_jinja"), parameters)
    yield from _call(ref, parameters, catalogue, (input_key, "parameters"))


def _rendered(names: Any, parameters: Mapping[str, Any]) -> Iterator[str]:
    if names is None or isinstance(names, bool):
        return
    if isinstance(names, str) and shorthand.is_expression(names):
        return
    if not isinstance(names, list):
        yield "render_jinja must be true, false or a list of names of parameters."
        return
    unknown = [str(name) for name in names if name not in parameters and _is_literal(name)]
    if unknown:
        yield f"render_jinja names {', '.join(unknown)}, which is not in parameters."


def _call(
    ref: str, given: Mapping[str, Any], catalogue: Catalogue, keys: tuple[str, ...]
) -> Iterator[str | _Below]:
    """Report what StackStorm would refuse.

    :param keys: the keys that lead from the task to the parameters.
    """
    action = catalogue.action(ref)
    if action is None:
        return
    if not action.enabled:
        yield f"{ref} is disabled in StackStorm."
    known = action.parameters
    immutable = {name for name, schema in known.items() if schema and schema.get("immutable")}
    missing = [
        name
        for name, schema in known.items()
        if schema
        and schema.get("required")
        and "default" not in schema
        and name not in immutable
        and given.get(name) is None
    ]
    if missing:
        yield f"{ref} needs {', '.join(missing)}."
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        takes = ", ".join(sorted(set(known) - immutable)) or "none"
        yield f"{ref} has no parameter {', '.join(unknown)}. It takes: {takes}."
    forbidden = [name for name in given if name in immutable]
    if forbidden:
        yield f"{ref} does not accept {', '.join(forbidden)}: immutable in StackStorm."
    checked = {
        str(name): value
        for name, value in given.items()
        if name not in (*missing, *forbidden) and _is_literal(value)
    }
    for name, reason in refused(checked, known).items():
        yield _Below(f"{ref} refuses the value of {name}: {reason}.", (*keys, name))


def _is_literal(value: Any) -> bool:
    """Return True for a value without an expression in it."""
    if isinstance(value, Mapping):
        return all(map(_is_literal, value.values()))
    if isinstance(value, list):
        return all(map(_is_literal, value))
    return not isinstance(value, str) or not shorthand.is_expression(value)


def _st2_callback(given: Mapping[str, Any]) -> Iterator[str]:
    unknown = [str(name) for name in given if name not in _CALLBACK_INPUTS]
    if unknown:
        takes = ", ".join(_CALLBACK_INPUTS)
        yield f"{ST2_CALLBACK} has no input {', '.join(unknown)}. It takes: {takes}."
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


def _workflow_call(site: Site, definition: Definition, catalogue: Catalogue) -> Iterator[str]:
    try:
        call = WorkflowCall.at(site, definition)
    except shorthand.InvalidCallError as error:
        yield f"{error.call!r:.100} does not start with the name of a workflow."
        return
    if call is None:
        return
    name = call.name
    if call.called is None:
        if not shorthand.is_expression(name) and not catalogue.workflow_in_mistral(name):
            yield (
                f"neither this {definition.kind.value} nor Mistral has a workflow {name:.100}. Publish"
                " it first. If StackStorm runs it, call it with 'action:'."
            )
        return
    if call.given is None:
        return
    declared = inputs_of(call.called)
    unknown = [str(key) for key in call.given if key not in declared and key not in _START_PARAMS]
    if unknown:
        # Mistral ignores them without an error.
        takes = ", ".join(declared) or "none"
        yield f"Invalid input: the workflow {name} has no {', '.join(unknown)}. It takes: {takes}."
    missing = [key for key, is_required in declared.items() if is_required and key not in call.given]
    if missing:
        yield f"Invalid input: the workflow {name} needs {', '.join(missing)}."
