"""Parse a file that contains a workbook or a workflow."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.dsl.mistral_yaml import load
from st2actions_mistral.errors import InputError

_VERSION: Final = "2.0"
_REVERSE: Final = "reverse"


class Kind(enum.Enum):
    """The kind of content in a file."""

    WORKBOOK = "workbook"
    """``{version, name, workflows: {short name: …}, actions: {…}}``"""
    WORKFLOW = "workflow"
    """``{version, full name: …}``"""


@dataclass(frozen=True)
class Definition:
    """One parsed file."""

    kind: Kind
    name: str
    """Name of the workbook or of the workflow."""
    text: str
    """The text that Mistral gets."""
    data: Mapping[str, Any]
    """The text, parsed."""

    @classmethod
    def parse(cls, text: str, where: str, *, numeric_version: bool = False) -> Definition:
        """Parse the text of a file.

        :param where: the name of the file, for errors.
        :param numeric_version: accept a workbook whose version is a number, as Mistral did in 2014.
        :raises InputError: the text is not valid YAML (with the line), or is neither a workbook nor
            exactly one workflow.
        """
        data = load(text, where)
        if not isinstance(data, dict):
            raise InputError(
                where, "contains no workbook and no workflow: the top level must be a YAML mapping."
            )
        version = data.get("version")
        if version is None and "runner_type" in data:
            raise InputError(where, _metadata_message(data))
        if str(version) != _VERSION:
            raise InputError(where, f"the version must be '{_VERSION}', not {version!r:.40}.")
        if "workflows" in data:
            # Mistral validates such a workbook, and answers 500 when it is published. A workflow's
            # version may be a number.
            if not isinstance(version, str) and not numeric_version:
                raise InputError(
                    where, f"the version must be '{_VERSION}', in quotes. Here it is a number."
                )
            name = data.get("name")
            if not isinstance(name, str) or not name:
                raise InputError(where, "the workbook has no name. Add 'name:'.")
            return cls(Kind.WORKBOOK, name, text, data)
        names = [key for key in data if key != "version"]
        if len(names) != 1:
            found = ", ".join(str(name) for name in names) or "none"
            raise InputError(
                where,
                "must contain a workbook (with 'workflows') or exactly one workflow. Found:"
                f" {found:.200}.",
            )
        if not isinstance(names[0], str):
            raise InputError(where, not_text(names[0]))
        return cls(Kind.WORKFLOW, names[0], text, data)

    @property
    def workflows(self) -> dict[str, Mapping[str, Any]]:
        """The workflows by the full names that Mistral gives them. Invalid ones are left out."""
        if self.kind is Kind.WORKFLOW:
            found = {self.name: self.data[self.name]}
        else:
            section = self.data.get("workflows")
            section = section if isinstance(section, dict) else {}
            found = {f"{self.name}.{short}": spec for short, spec in section.items()}
        return {name: spec for name, spec in found.items() if isinstance(spec, dict)}

    def path_of(self, workflow: str) -> tuple[str, ...]:
        """Return the keys that lead to a workflow in the file."""
        if self.kind is Kind.WORKFLOW:
            return (self.name,)
        return ("workflows", workflow.removeprefix(f"{self.name}."))

    @property
    def actions(self) -> dict[str, Mapping[str, Any]]:
        """The ad-hoc actions of a workbook by their short names. Invalid ones are left out."""
        section = self.data.get("actions") if self.kind is Kind.WORKBOOK else None
        section = section if isinstance(section, dict) else {}
        return {str(name): spec for name, spec in section.items() if isinstance(spec, dict)}

    def entry(self, wanted: str | None) -> str:
        """Return the full name of the workflow to start.

        :param wanted: the full or the short name; None for the only workflow of the file.
        :raises InputError: the file has no such workflow, or has several and ``wanted`` is None.
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
            raise InputError("workflow", f"name the workflow of {self.name} to start. It has: {known}.")
        return next(iter(workflows))


def tasks_of(workflow: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the tasks of a workflow by name, without invalid ones."""
    tasks = workflow.get("tasks")
    tasks = tasks if isinstance(tasks, dict) else {}
    return {str(name): spec for name, spec in tasks.items() if isinstance(spec, dict)}


def is_reverse(workflow: Mapping[str, Any]) -> bool:
    """Return True for a reverse workflow, which runs a target task and the tasks that it requires."""
    return workflow.get("type") == _REVERSE


def inputs_of(workflow: Mapping[str, Any]) -> dict[str, bool]:
    """Return the inputs of a workflow by name; True if the input has no default and is required."""
    declared = workflow.get("input")
    found: dict[str, bool] = {}
    for item in declared if isinstance(declared, list) else ():
        if isinstance(item, dict):
            found |= {str(name): False for name in item}
        else:
            found[str(item)] = True
    return found


def not_text(name: object) -> str:
    """Return the message for a name that YAML does not read as text, such as 1 or yes."""
    return f"the name {name!r:.40} is not text: put it in quotes."


def _metadata_message(data: Mapping[str, Any]) -> str:
    entry_point = data.get("entry_point")
    workbook = f"{entry_point:.200}" if entry_point and isinstance(entry_point, str) else "another file"
    return f"is the metadata of an action. Its workbook is in {workbook}."
