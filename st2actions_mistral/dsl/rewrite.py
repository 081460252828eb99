"""Rewrite a definition so that Mistral can run its calls of StackStorm actions.

A StackStorm action may be called by its plain name, in a task or as the ``base`` of an ad-hoc action::

    action: core.local cmd="date"   ->   action: st2.action
                                         input: {ref: core.local, parameters: {cmd: date}}

Where Mistral has the action itself (a native action, see ``provider``), the call keeps its name.

A parameter that reads StackStorm's datastore as ``{{ st2kv.system.x }}`` is passed on as it is, and
StackStorm resolves it. That needs an ``st2.action`` in any case.

Before a start, rewriting also adds what Mistral does not pass on: the task name to each ``st2.action``
and native action, and the environment, which has the parent execution, to each sub-workflow of the same
file.

What it adds is written in the language of the file's own expressions, see ``languages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from st2actions_mistral.dsl.calls import (
    ST2_ACTION,
    ActionCall,
    Catalogue,
    Site,
    Target,
    WorkflowCall,
    find_sites,
)
from st2actions_mistral.dsl.definition import Definition, inputs_of
from st2actions_mistral.dsl.jinja import resolve_in_stackstorm
from st2actions_mistral.dsl.languages import Language, language_of
from st2actions_mistral.dsl.mistral_yaml import dump
from st2actions_mistral.dsl.shorthand import InvalidCallError

# Mistral finds the environment's defaults for an action by the name in the task, which is that of the
# ad-hoc action. Without an environment the context is null, as if it were missing.
_CONTEXT: Final = "env().get('__actions', {}).get('st2.action', {}).get('st2_context')"

_ENVIRONMENT: Final = "env()"
_ENVIRONMENT_KEYS: Final = {"env", "evaluate_env"}


def rewrite(definition: Definition, catalogue: Catalogue, *, for_start: bool = True) -> Definition:
    """Return a definition with each StackStorm action that Mistral lacks below an ``st2.action``.

    The result depends only on the file and the catalogue: all runs share what is published. Invalid
    calls stay as they are.

    :param for_start: also add the task names and the environments of sub-workflows.
    :return: the same object if there is nothing to change.
    """
    changes: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    expression = _Expressions(definition, catalogue)
    for site in find_sites(definition):
        try:
            spec = _wrap(site, definition, catalogue, expression)
            if for_start:
                spec = _add_context(replace(site, spec=spec), definition, catalogue, expression)
        except InvalidCallError:
            continue
        if spec is not site.spec:
            changes[site.keys] = spec
    if not changes:
        return definition
    data = _with_changes(definition.data, changes)
    return replace(definition, text=dump(data), data=data)


class _Expressions:
    """Writes expressions. Mistral is asked for a language only if the file has no expression."""

    def __init__(self, definition: Definition, catalogue: Catalogue) -> None:
        self._definition = definition
        self._catalogue = catalogue

    def __call__(self, code: str) -> str:
        language = language_of(self._definition)
        if language is None:
            language = Language.YAQL if self._catalogue.allows_yaql() else Language.JINJA
        return language.expression(code)


def _wrap(
    site: Site, definition: Definition, catalogue: Catalogue, expression: _Expressions
) -> Mapping[str, Any]:
    if not site.has_action:
        return site.spec
    call = ActionCall.at(site)
    given = call.given
    target = call.target(definition, catalogue)
    if target is Target.ST2_ACTION and isinstance(call.written, Mapping):
        resolved, names = resolve_in_stackstorm(call.written)
        return _with_call(site, call.line, resolved) if names else site.spec
    if given is None or target is not Target.STACKSTORM:
        return site.spec
    is_native = catalogue.is_native(call.name)
    made, names = resolve_in_stackstorm({"ref": call.name, "parameters": given})
    if is_native and not names:
        return site.spec
    if is_native and "st2_context" in made["parameters"]:
        parameters = dict(made["parameters"])
        made = {**made, "st2_context": parameters.pop("st2_context"), "parameters": parameters}
    elif site.task is None:
        made = {**made, "st2_context": expression(_CONTEXT)}
    return _with_call(site, ST2_ACTION, made)


def resolved_places(definition: Definition, catalogue: Catalogue) -> set[tuple[str, ...]]:
    """Return the paths of the parameters that StackStorm resolves, see ``resolve_in_stackstorm``."""
    found: set[tuple[str, ...]] = set()
    for site in find_sites(definition):
        if not site.has_action:
            continue
        with suppress(InvalidCallError):
            call = ActionCall.at(site)
            target = call.target(definition, catalogue)
            if target is Target.ST2_ACTION and isinstance(call.written, Mapping):
                _, names = resolve_in_stackstorm(call.written)
                found |= {(*site.path, site.input_key, "parameters", name) for name in names}
            elif target is Target.STACKSTORM:
                _, names = resolve_in_stackstorm({"parameters": call.given})
                for name in names:
                    inline = name in call.inline
                    keys = (site.name_key,) if inline else (site.input_key, name)
                    found.add((*site.path, *keys))
    return found


def _add_context(
    site: Site, definition: Definition, catalogue: Catalogue, expression: _Expressions
) -> Mapping[str, Any]:
    if site.task is None:
        return site.spec
    if not site.has_action:
        return _add_environment(site, definition, expression)
    call = ActionCall.at(site)
    if not isinstance(call.given, Mapping) or "st2_context" in call.inline:
        return site.spec
    # All other calls of StackStorm actions are wrapped.
    if call.target(definition, catalogue) not in (Target.ST2_ACTION, Target.STACKSTORM):
        return site.spec
    context = call.given.get("st2_context")
    if context is not None and not isinstance(context, Mapping):
        return site.spec
    named = {**(context or {}), "task_name": site.task}
    if named == context:
        return site.spec
    return _with_call(site, call.line, {**call.written, "st2_context": named})


def _add_environment(site: Site, definition: Definition, expression: _Expressions) -> Mapping[str, Any]:
    """Pass the environment to a workflow of the same file: Mistral starts that with an empty one.

    A workflow of another file may have an input of this name, so it is not changed.
    """
    call = WorkflowCall.at(site, definition)
    if call is None or call.called is None or call.given is None:
        return site.spec
    if _ENVIRONMENT_KEYS & {*call.given, *inputs_of(call.called)}:
        return site.spec
    environment = {"env": expression(_ENVIRONMENT), "evaluate_env": False}
    return {**site.spec, "input": {**site.spec.get("input", {}), **environment}}


def _with_call(site: Site, line: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task, or ad-hoc action, with another call. All other keys keep their order."""
    made: dict[str, Any] = {}
    for key, value in site.spec.items():
        if key == site.name_key:
            made[key] = line
            made[site.input_key] = given
        elif key != site.input_key:
            made[key] = value
    return made


def _with_changes(
    data: Mapping[str, Any], changes: Mapping[tuple[Any, ...], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a copy of nested mappings with the values at some paths replaced."""
    below: dict[Any, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for (key, *rest), value in changes.items():
        below.setdefault(key, {})[tuple(rest)] = value
    made = dict(data)
    for key, inner in below.items():
        made[key] = inner[()] if () in inner else _with_changes(made[key], inner)
    return made
