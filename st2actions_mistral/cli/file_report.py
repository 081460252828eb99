"""Report what is wrong in one file with a workbook or a workflow, for ``st2-mistral validate``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl import messages
from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.functions import find_unknown
from st2actions_mistral.dsl.lines import line_of
from st2actions_mistral.dsl.rewrite import resolved_places, rewrite
from st2actions_mistral.dsl.validate import validate
from st2actions_mistral.errors import InputError, OutcomeUnknown


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file."""

    line: int | None
    """From 1; None where it is unknown."""
    message: str


@dataclass(frozen=True)
class FileReport:
    """The problems of one file."""

    file: str
    kind: str | None
    """``workbook`` or ``workflow``; None where the file cannot be read."""
    name: str | None
    """Of the workbook or the workflow; None where the file cannot be read."""
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    """Possible mistakes; the file is valid."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON shows it."""
        return {**asdict(self), "valid": not self.problems}


def workflows_of(files: Iterable[Path]) -> set[str]:
    """Return the full names of all workflows in these files. Unreadable files have none."""
    found: set[str] = set()
    for file in files:
        with suppress(OSError, ValueError, InputError):
            found.update(Definition.parse(file.read_text(encoding="utf-8"), str(file)).workflows)
    return found


def report(
    file: Path, catalogue: Catalogue, mistral: MistralClient, functions: Collection[str] = ()
) -> FileReport:
    """Find everything that is wrong in a file.

    :param functions: the expression functions that plugins of Mistral bring.

    :raises RemoteError: one of the two systems does not respond.
    """
    try:
        text = file.read_text(encoding="utf-8")
        definition = Definition.parse(text, str(file))
    except OSError as error:
        return _unreadable(file, Problem(None, f"cannot be read: {error.strerror}."))
    except UnicodeDecodeError:
        return _unreadable(file, Problem(None, "cannot be read: it is not UTF-8."))
    except InputError as error:
        return _unreadable(file, Problem(error.line, error.reason))
    unknown: dict[bool, list[Problem]] = {True: [], False: []}
    for one in find_unknown(definition, functions, resolved_places(definition, catalogue)):
        line = line_of(definition.text, one.problem.path)
        unknown[one.is_certain].append(Problem(line, str(one.problem)))
    try:
        found = [*_problems(definition, catalogue, mistral), *unknown[True]]
    except InputError as error:
        found = [Problem(error.line, error.reason)]
    kind, name = definition.kind.value, definition.name
    return FileReport(str(file), kind, name, _by_line(found), _by_line(unknown[False]))


def _by_line(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _unreadable(file: Path, problem: Problem) -> FileReport:
    return FileReport(str(file), None, None, (problem,))


def _problems(
    definition: Definition, catalogue: Catalogue, mistral: MistralClient
) -> Iterator[Problem]:
    for problem in validate(definition, catalogue):
        yield Problem(line_of(definition.text, problem.path), str(problem))
    # The author's text first: Mistral checks only the outermost values of an action's input, and in a
    # rewritten st2.action these are not the author's.
    rewritten = rewrite(definition, catalogue, for_start=False)
    for text in dict.fromkeys((definition.text, rewritten.text)):
        message = _validated(mistral, text, definition.kind.value)
        if message is not None:
            line, short = messages.locate(message, definition.text)
            yield Problem(line, f"Mistral: {short}")
            return


def _validated(mistral: MistralClient, text: str, kind: str) -> str | None:
    """Return why Mistral does not accept a text; None where it does."""
    try:
        return mistral.validate(text, kind)
    except OutcomeUnknown as error:
        if error.status != 500:
            raise
        return "it cannot validate this text, and gives no reason (500)."
