"""Workbooks and workflows as their authors write them: what is in a file, and what it is called."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from st2actions_mistral.errors import InputError

_VERSION: Final = "2.0"
_REVERSE: Final = "reverse"


class Kind(enum.Enum):
    """What a file holds."""

    WORKBOOK = "workbook"
    """``{version, name, workflows: {short name: …}, actions: {…}}``"""
    WORKFLOW = "workflow"
    """``{version, full name: …}``"""


@dataclass(frozen=True)
class Definition:
    """One parsed file."""

    kind: Kind
    name: str
    """Of the workbook, or of the workflow."""
    text: str
    """As Mistral gets it."""
    data: Mapping[str, Any]
    """The text, parsed."""

    @classmethod
    def parse(cls, text: str, where: str, *, of_2014: bool = False) -> Definition:
        """Read the text of a file.

        :param where: the file's name, for errors.
        :param of_2014: whether a workbook's version may be a number, as it was then.
        :raises InputError: it is no YAML (with the line), or neither a workbook nor one workflow.
        """
        data = load(text, where)
        if not isinstance(data, dict):
            raise InputError(where, "holds no workbook and no workflow: it must be a YAML mapping.")
        version = data.get("version")
        if version is None and "runner_type" in data:
            raise InputError(where, _metadata(data))
        if str(version) != _VERSION:
            raise InputError(where, f"its version must be '{_VERSION}', not {version!r:.40}.")
        if "workflows" in data:
            # Mistral finds it valid, and ends in a 500 when it is published. In a workflow it may be.
            if not isinstance(version, str) and not of_2014:
                raise InputError(
                    where, f"its version must be '{_VERSION}', in quotes: this one is a number."
                )
            name = data.get("name")
            if not isinstance(name, str) or not name:
                raise InputError(where, "a workbook needs a name.")
            return cls(Kind.WORKBOOK, name, text, data)
        names = [key for key in data if key != "version"]
        if len(names) != 1:
            found = ", ".join(str(name) for name in names) or "none"
            raise InputError(
                where,
                f"must hold a workbook (with 'workflows') or exactly one workflow, not: {found:.200}.",
            )
        return cls(Kind.WORKFLOW, str(names[0]), text, data)

    @property
    def workflows(self) -> dict[str, Mapping[str, Any]]:
        """The workflows by the full names that Mistral gives them. What is none is left out."""
        if self.kind is Kind.WORKFLOW:
            found = {self.name: self.data[self.name]}
        else:
            section = self.data.get("workflows")
            section = section if isinstance(section, dict) else {}
            found = {f"{self.name}.{short}": spec for short, spec in section.items()}
        return {name: spec for name, spec in found.items() if isinstance(spec, dict)}

    @property
    def actions(self) -> dict[str, Mapping[str, Any]]:
        """The ad-hoc actions of a workbook by their short names. What is none is left out."""
        section = self.data.get("actions") if self.kind is Kind.WORKBOOK else None
        section = section if isinstance(section, dict) else {}
        return {str(name): spec for name, spec in section.items() if isinstance(spec, dict)}

    def entry(self, wanted: str | None) -> str:
        """The full name of the workflow to start.

        :param wanted: its full or its short name; None: the only one that there is.
        :raises InputError: there is none of that name, or nothing says which of several it is.
        """
        workflows = self.workflows
        known = ", ".join(workflows) or "none"
        if wanted:
            for name in (wanted, f"{self.name}.{wanted}"):
                if name in workflows:
                    return name
            raise InputError(
                "workflow", f"{self.name} has no workflow {wanted!r:.100}. It has: {known}."
            )
        if len(workflows) != 1:
            raise InputError(
                "workflow", f"say which workflow of {self.name} is to be started. It has: {known}."
            )
        return next(iter(workflows))


def _metadata(data: Mapping[str, Any]) -> str:
    entry_point = data.get("entry_point")
    its_workbook = (
        f"{entry_point:.200}" if entry_point and isinstance(entry_point, str) else "another file"
    )
    return f"this is the metadata of an action; its workbook is {its_workbook}."


class Loader(yaml.SafeLoader):
    """Mistral's YAML has no anchors and no aliases: a text may begin with &, * and @ there."""

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return self.peek() == "@" or bool(super().check_plain())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """What a node stands for.

        :raises yaml.YAMLError: it is not what its tag says, or an integer that Python does not write.
        """
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int):
                str(made)
        except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
            # What PyYAML comes upon in !!bool maybe, !!timestamp maybe, !!int '' or 2026-99-99.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"cannot be read as {kind:.40}", node.start_mark
            ) from error
        return made


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML would write these line ends as they are, and read a blank or another line end.
    style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)

# How many anchors are told at once, behind the first.
_MANY: Final = 20

# Columns. Nothing is folded: a line that is broken in two is harder to read than a long one.
_WIDTH: Final = 100_000


def load(text: str, where: str) -> Any:
    """YAML as Mistral reads it.

    :raises InputError: it cannot be read; with the line, from 1, where that is known.
    """
    try:
        return yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if _is_of_anchors(text, error) and (anchors := _anchors(text)):
            raise InputError(where, _of_anchors(anchors), line=anchors[0][0]) from error
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = f"is no YAML: {line}{error.problem or error.context}."
        raise InputError(where, reason, line=mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(where, f"is no YAML: {error!s:.200}.") from error


def _is_of_anchors(text: str, error: yaml.MarkedYAMLError) -> bool:
    """Whether it may be for want of anchors that a text cannot be read."""
    if isinstance(error, yaml.constructor.ConstructorError):
        # Of "<<: *a": a text cannot be merged.
        mark = error.problem_mark
        return mark is not None and text.startswith("*", mark.index)
    return isinstance(error, (yaml.scanner.ScannerError, yaml.parser.ParserError))


def _anchors(text: str) -> list[tuple[int, str]]:
    """The anchors and aliases of a text, "&a" and "*a", with their lines from 1; none if with them it
    cannot be read either. Nothing is made of them: what they would come to does not matter."""
    found = []
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None and event.start_mark:
                sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
                found.append((event.start_mark.line + 1, f"{sign}{event.anchor:.40}"))
    except (yaml.YAMLError, ValueError):
        return []
    return found


def _of_anchors(anchors: list[tuple[int, str]]) -> str:
    (line, first), *others = anchors
    what = "alias" if first.startswith("*") else "anchor"
    also = ", ".join(f"{name} (line {at})" for at, name in others[:_MANY])
    rest = ", …" if len(others) > _MANY else ""
    more = f" So too: {also}{rest}." if also else ""
    return f"line {line}: has the {what} {first}, which Mistral does not read: write it out.{more}"


def dump(data: Any) -> str:
    """The text of which :func:`load` makes ``data``.

    :raises InputError: it is nested too deeply for that.
    """
    try:
        return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH))
    except RecursionError as error:
        raise InputError("definition", "is nested too deeply.") from error


def tasks_of(workflow: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tasks of a workflow by name. What is none is left out."""
    tasks = workflow.get("tasks")
    tasks = tasks if isinstance(tasks, dict) else {}
    return {str(name): spec for name, spec in tasks.items() if isinstance(spec, dict)}


def is_reverse(workflow: Mapping[str, Any]) -> bool:
    """Whether it is started with the name of a task, and runs what that requires."""
    return workflow.get("type") == _REVERSE


def inputs_of(workflow: Mapping[str, Any]) -> dict[str, bool]:
    """The inputs of a workflow by name, and whether each has to be given: without a default."""
    declared = workflow.get("input")
    found: dict[str, bool] = {}
    for item in declared if isinstance(declared, list) else ():
        if isinstance(item, dict):
            found |= {str(name): False for name in item}
        else:
            found[str(item)] = True
    return found
