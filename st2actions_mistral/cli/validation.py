"""What ``st2-mistral validate`` looks at in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl import messages
from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.lines import line_of
from st2actions_mistral.dsl.rewrite import rewrite
from st2actions_mistral.dsl.validate import validate
from st2actions_mistral.errors import InputError, OutcomeUnknown


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file."""

    line: int | None
    """From 1; None where it is not known."""
    message: str


@dataclass(frozen=True)
class Verdict:
    """What came of one file."""

    file: str
    kind: str | None
    """``workbook`` or ``workflow``; None if the file cannot be parsed."""
    name: str | None
    """The name of the workbook or the workflow."""
    problems: tuple[Problem, ...]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "valid": not self.problems}


def workflows_of(files: Iterable[Path]) -> set[str]:
    """The full names of all workflows in these files, as far as they can be read."""
    found: set[str] = set()
    for file in files:
        with suppress(OSError, ValueError, InputError):
            found.update(Definition.parse(file.read_text(encoding="utf-8"), str(file)).workflows)
    return found


def look_at(file: Path, catalogue: Catalogue, mistral: MistralClient) -> Verdict:
    """All that is wrong with a file.

    :raises RemoteError: one of the two systems cannot be asked.
    """
    try:
        text = file.read_text(encoding="utf-8")
        definition = Definition.parse(text, str(file))
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "it is not UTF-8"
        return Verdict(str(file), None, None, (Problem(None, f"cannot be read: {words}."),))
    except InputError as error:
        return Verdict(str(file), None, None, (Problem(error.line, error.reason),))
    kind, name = definition.kind.value, definition.name
    try:
        found = sorted(_problems(definition, catalogue, mistral), key=lambda problem: problem.line or 0)
    except InputError as error:
        return Verdict(str(file), kind, name, (Problem(error.line, error.reason),))
    return Verdict(str(file), kind, name, tuple(found))


def _problems(
    definition: Definition, catalogue: Catalogue, mistral: MistralClient
) -> Iterator[Problem]:
    for problem in validate(definition, catalogue):
        yield Problem(line_of(definition.text, problem.path), str(problem))
    # As it was written first: of an action's input Mistral looks at the outermost values only, and in
    # an st2.action these are not the author's.
    rewritten = rewrite(definition, catalogue, for_start=False)
    for text in dict.fromkeys((definition.text, rewritten.text)):
        words = _asked(mistral, text, definition.kind.value)
        if words is not None:
            line, short = messages.locate(words, definition.text)
            yield Problem(line, f"Mistral: {short}")
            return


def _asked(mistral: MistralClient, text: str, kind: str) -> str | None:
    try:
        return mistral.validate(text, kind)
    except OutcomeUnknown as error:
        if error.status != 500:
            raise
        return "it cannot make anything of this text, and does not say why (500)."
