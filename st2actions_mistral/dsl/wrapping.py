"""StackStorm actions by their plain names: each becomes an ``st2.action`` before Mistral sees it::

    action: core.local cmd="date"   ->   action: st2.action
                                         input: {ref: core.local, parameters: {cmd: date}}

in tasks and in the ``base`` of ad-hoc actions (``task-defaults`` hold no action). What can be known of
a call beforehand is checked on the way, in an ``st2.action`` of the author's own too.

What is to be started is also told what Mistral does not tell: an ``st2.action`` the name of its task,
and a sub-workflow the environment, which holds the execution that all runs for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from st2actions_mistral.dsl import own_calls, shorthand
from st2actions_mistral.dsl.definition import Definition, Kind, dump, inputs_of
from st2actions_mistral.errors import InputError

ST2_ACTION: Final = "st2.action"

_INPUTS: Final = ("ref", "parameters", "st2_context", "render_jinja")
"""Of ``st2.action``."""

_REF: Final = re.compile(r"[\w-]+(\.[\w-]+)+")

# Mistral looks up the defaults of the environment by the name that the task uses, which is the one of
# the ad-hoc action. Without an environment the context is null, as if it were not given.
_CONTEXT: Final = "<% env().get('__actions', {}).get('st2.action', {}).get('st2_context') %>"


_ENVIRONMENT: Final = {"env": "<% env() %>", "evaluate_env": False}


class Catalogue(Protocol):
    """What actions there are."""

    def parameters(self, ref: str) -> Mapping[str, Mapping[str, Any]] | None:
        """The parameters of a StackStorm action, its runner's included, by name, each with ``type``,
        ``required``, ``default``, ``immutable`` …; None where StackStorm has no such action."""

    def in_mistral(self, name: str) -> bool:
        """Whether Mistral has an action of this name."""

    def workflow_in_mistral(self, name: str) -> bool:
        """Whether Mistral has, or will have, a workflow of this name."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one call of an action."""

    path: tuple[str, ...]
    """The keys that lead to it in the file, see ``lines.line_of``."""
    place: str
    """The same for people: the workflow and the task, or the ad-hoc action."""
    words: str

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


def wrap(definition: Definition, catalogue: Catalogue) -> tuple[Definition, list[str]]:
    """The definition as it is to be started, and what is wrong with it.

    It depends on the file alone: runs of it that differ share what is published.

    :return: the definition itself where there is nothing to change; and problems in words, each with
        the name of its workflow and task, none where there is none.
    """
    wrapped, problems = _made(_Wrapping(definition, catalogue, to_start=True))
    return wrapped, [str(problem) for problem in problems]


def examine(definition: Definition, catalogue: Catalogue) -> tuple[Definition, list[Problem]]:
    """The definition with each StackStorm action under an ``st2.action``, and what is wrong with it.

    :return: as :func:`wrap`, with problems that say where in the file they are.
    """
    return _made(_Wrapping(definition, catalogue, to_start=False))


def _made(wrapping: _Wrapping) -> tuple[Definition, list[Problem]]:
    definition = wrapping.definition
    data = wrapping.data()
    if data is definition.data:
        return definition, wrapping.problems
    return replace(definition, text=dump(data), data=data), wrapping.problems


@dataclass(frozen=True)
class _Site:
    """Where an action is called."""

    path: tuple[str, ...]
    place: str
    name_key: str
    input_key: str
    task: str | None
    """None for the base of an ad-hoc action."""


class _Wrapping:
    """One pass over a definition. What does not change comes back as the same object."""

    def __init__(self, definition: Definition, catalogue: Catalogue, *, to_start: bool) -> None:
        self.definition = definition
        self._catalogue = catalogue
        self._to_start = to_start
        name = definition.name
        self._own = {*definition.actions, *(f"{name}.{short}" for short in definition.actions)}
        self.problems: list[Problem] = []

    def data(self) -> Mapping[str, Any]:
        self._names()
        if self.definition.kind is Kind.WORKFLOW:
            return _each(self.definition.data, lambda name, spec: self._workflow((name,), name, spec))
        return _each(self.definition.data, self._section)

    def _names(self) -> None:
        """Mistral answers 500 to names that YAML makes something else of: 1, or true of "on"."""
        book, data = self.definition.name, self.definition.data
        named: list[tuple[tuple[str, ...], str, Any]] = []
        prefix: tuple[str, ...] = ()
        if self.definition.kind is Kind.WORKBOOK:
            prefix = ("workflows",)
            named += [
                ((part,), f"{part} of {book}", data.get(part)) for part in ("workflows", "actions")
            ]
        for full, spec in self.definition.workflows.items():
            path = (*prefix, full.removeprefix(f"{book}."), "tasks")
            named.append((path, f"workflow {full}", spec.get("tasks")))
        for path, place, content in named:
            for name in content if isinstance(content, Mapping) else ():
                if not isinstance(name, str):
                    words = f"the name {name!r:.40} is no text: put it in quotes."
                    self.problems.append(Problem((*path, str(name)), place, words))

    def _section(self, section: str, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        if section == "workflows":
            return _each(
                content,
                lambda short, spec: self._workflow(
                    (section, short), f"{self.definition.name}.{short}", spec
                ),
            )
        if section == "actions":
            return _each(content, self._ad_hoc)
        return content

    def _workflow(self, path: tuple[str, ...], name: str, spec: Any) -> Any:
        def tasks(key: str, content: Any) -> Any:
            if key != "tasks" or not isinstance(content, Mapping):
                return content
            return _each(content, task)

        def task(task_name: str, task_spec: Any) -> Any:
            place = f"workflow {name}, task {task_name}"
            site = _Site((*path, "tasks", task_name), place, "action", "input", task_name)
            return self._call(site, task_spec)

        return _each(spec, tasks) if isinstance(spec, Mapping) else spec

    def _ad_hoc(self, name: str, spec: Any) -> Any:
        site = _Site(("actions", name), f"action {name}", "base", "base-input", None)
        return self._call(site, spec)

    def _call(self, site: _Site, spec: Any) -> Any:
        line = spec.get(site.name_key) if isinstance(spec, Mapping) else None
        if not isinstance(line, str) or not line:
            if isinstance(spec, Mapping) and site.task is not None:
                for words in own_calls.of_workflow(
                    spec, self.definition, self._catalogue.workflow_in_mistral
                ):
                    self._problem(site, words)
                return self._with_environment(spec)
            return spec
        try:
            name, inline = shorthand.parse(line)
        except InputError as error:
            self._problem(site, error.reason)
            return spec
        if shorthand.is_expression(name):
            return spec
        given = self._given(site, spec, inline)
        if name == ST2_ACTION:
            self._check_line(site, line)
            return self._explicit(site, spec, given, inline)
        if name == own_calls.ST2_CALLBACK and name not in self._own:
            self._check_line(site, line)
            if isinstance(given, Mapping):
                for words in own_calls.of_callback(given):
                    self._problem(site, words)
            return spec
        if name in self._own or self._catalogue.in_mistral(name):
            return spec
        is_ref = _REF.fullmatch(name) is not None
        known = self._catalogue.parameters(name) if is_ref else None
        if known is None:
            self._problem(
                site,
                f"neither Mistral nor StackStorm has an action {name}."
                if is_ref
                else f"Mistral has no action {name:.100}; one of StackStorm is called pack.action.",
            )
            return spec
        self._check_line(site, line)
        if given is None:
            return spec
        self._check(site, name, given, known)
        return _replaced(spec, site, ST2_ACTION, self._wrapped(site, name, given))

    def _given(
        self, site: _Site, spec: Mapping[str, Any], inline: Mapping[str, Any]
    ) -> Mapping[str, Any] | str | None:
        """The input of a call as Mistral merges it, or the expression that makes it; None where it is
        something else, which is told here or by Mistral."""
        given = spec.get(site.input_key, {})
        if isinstance(given, Mapping):
            # What is in the line wins.
            return {**given, **inline}
        if not isinstance(given, str):
            return None
        if not shorthand.is_expression(given):
            self._problem(site, f"{site.input_key} must be names and values, or an expression.")
            return None
        if inline:
            self._problem(
                site,
                f"{site.input_key} is an expression, so {', '.join(inline)} cannot be given in"
                f" {site.name_key} as well.",
            )
            return None
        return given

    def _wrapped(self, site: _Site, ref: str, given: Mapping[str, Any] | str) -> dict[str, Any]:
        made: dict[str, Any] = {"ref": ref, "parameters": given}
        if site.task is None:
            made["st2_context"] = _CONTEXT
        elif self._to_start:
            made["st2_context"] = {"task_name": site.task}
        return made

    def _explicit(
        self,
        site: _Site,
        spec: Mapping[str, Any],
        given: Mapping[str, Any] | str | None,
        inline: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """An ``st2.action`` that the author wrote: it stays as it is, but for the name of its task."""
        if not isinstance(given, Mapping):
            return spec
        self._check_explicit(site, given)
        context = given.get("st2_context")
        if not self._to_start or site.task is None or "st2_context" in inline:
            return spec
        if context is not None and not isinstance(context, Mapping):
            return spec
        told = {**(context or {}), "task_name": site.task}
        if told == context:
            return spec
        changed = {**spec.get(site.input_key, {}), "st2_context": told}
        return _replaced(spec, site, spec[site.name_key], changed)

    def _with_environment(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        """A task that calls a workflow of this file: Mistral starts that with an empty environment, so
        that its actions would have no parent. Of other workflows it is not known whether they have an
        input of this name."""
        call = own_calls.Call.of(task, self.definition) if self._to_start else None
        if call is None or call.called is None or call.given is None:
            return task
        if _ENVIRONMENT.keys() & {*call.given, *inputs_of(call.called)}:
            return task
        return {**task, "input": {**task.get("input", {}), **_ENVIRONMENT}}

    def _check_line(self, site: _Site, line: str) -> None:
        for key in shorthand.passed_over(line):
            self._problem(
                site, f"Mistral passes over {key}=… in {site.name_key}: put a text there in quotes."
            )

    def _check_explicit(self, site: _Site, given: Mapping[str, Any]) -> None:
        strange = [str(name) for name in given if name not in _INPUTS]
        if strange:
            self._problem(
                site,
                f"{ST2_ACTION} has no input {', '.join(strange)}. What is meant for the StackStorm"
                " action goes below parameters.",
            )
        ref = given.get("ref")
        if ref is None:
            self._problem(site, f"{ST2_ACTION} needs a ref, the name of a StackStorm action.")
            return
        if not isinstance(ref, str):
            self._problem(site, "ref must be the name of a StackStorm action, as pack.action.")
            return
        if shorthand.is_expression(ref):
            return
        known = self._catalogue.parameters(ref) if _REF.fullmatch(ref) else None
        if known is None:
            self._problem(site, f"StackStorm has no action {ref:.100}.")
            return
        parameters = given.get("parameters")
        if parameters is None:
            parameters = {}
        if isinstance(parameters, str) and shorthand.is_expression(parameters):
            return
        if not isinstance(parameters, Mapping):
            self._problem(site, "parameters must be names and values, or an expression.")
            return
        self._check(site, ref, parameters, known)

    def _check(
        self,
        site: _Site,
        ref: str,
        given: Mapping[str, Any] | str,
        known: Mapping[str, Mapping[str, Any]],
    ) -> None:
        if not isinstance(given, Mapping):
            return
        fixed = {name for name, about in known.items() if about and about.get("immutable")}
        missing = [
            name
            for name, about in known.items()
            if about
            and about.get("required")
            and "default" not in about
            and name not in fixed
            and given.get(name) is None
        ]
        if missing:
            self._problem(site, f"{ref} needs {', '.join(missing)}.")
        strange = [str(name) for name in given if name not in known]
        if strange:
            takes = ", ".join(sorted(set(known) - fixed)) or "none"
            self._problem(site, f"{ref} has no parameter {', '.join(strange)}. It takes: {takes}.")
        forbidden = [name for name in given if name in fixed]
        if forbidden:
            self._problem(
                site, f"{ref} does not let itself be given {', '.join(forbidden)}: immutable."
            )

    def _problem(self, site: _Site, words: str) -> None:
        self.problems.append(Problem(site.path, site.place, words))


def _each(mapping: Mapping[str, Any], change: Callable[[str, Any], Any]) -> Mapping[str, Any]:
    """A mapping with its values changed; the same one where none is."""
    # YAML makes other things of some names: 1, or true of "on".
    changed = {name: change(str(name), value) for name, value in mapping.items()}
    if all(changed[name] is value for name, value in mapping.items()):
        return mapping
    return changed


def _replaced(
    spec: Mapping[str, Any], site: _Site, name: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """A task, or an ad-hoc action, that calls something else; the rest of it stays in its order."""
    made: dict[str, Any] = {}
    for key, value in spec.items():
        if key == site.name_key:
            made[key] = name
            made[site.input_key] = given
        elif key != site.input_key:
            made[key] = value
    return made
