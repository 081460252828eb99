"""Workbooks, workflows and actions in Mistral."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from st2actions_mistral.client.address import segment
from st2actions_mistral.client.mistral_records import MistralRecords, any_of
from st2actions_mistral.client.session import check_shape
from st2actions_mistral.errors import Answered


class MistralDefinitions(MistralRecords):
    """The definitions in one Mistral."""

    def definition(self, name: str, kind: str = "workbook") -> str | None:
        """Return the YAML text of a definition as it was saved; None for an unknown one.

        :param kind: ``workbook`` or ``workflow``.
        """
        found = self._get(f"/{kind}s/{segment(name)}", texts=["definition"])
        return found["definition"] if found else None

    def action(self, name: str) -> dict[str, Any] | None:
        """Return an action; None for an unknown one.

        Its ``definition`` is a YAML text for an ad-hoc or a native action, otherwise empty.
        """
        return self._get(f"/actions/{segment(name)}", texts=["name"])

    def actions(self) -> list[dict[str, Any]]:
        """Return all actions in one response: Mistral repeats rows if it lists actions in pages."""
        rows = self._api.call("GET", "/actions").get("actions")
        found: list[dict[str, Any]] = check_shape(
            rows, "actions", "GET", f"{self._api.url}/actions", list, ["name"]
        )
        return found

    def action_definition(self, name: str) -> str | None:
        """Return the YAML text of an ad-hoc or native action; None for another or an unknown one."""
        found = self.action(name)
        return (found.get("definition") or None) if found else None

    def workflow_definitions(self, names: Collection[str]) -> dict[str, str]:
        """Return the YAML texts of those of these workflows that exist, by name."""
        query = {"name": any_of(names), "fields": "name,definition"}
        rows = self._list("workflows", query)
        return {str(row.get("name")): str(row.get("definition")) for row in rows}

    def knows_action(self, name: str) -> bool:
        """Return True if there is an action of this name."""
        return self.action(name) is not None

    def knows_workflow(self, name: str) -> bool:
        """Return True if there is a workflow of this name."""
        return self._get(f"/workflows/{segment(name)}", texts=["name"]) is not None

    def validate(self, definition: str, kind: str = "workbook") -> str | None:
        """Validate a definition without saving it.

        An invalid one is validated twice: Mistral 23.0.0 shares one YAQL parser between its threads, so
        that two texts that it parses at the same moment can spoil each other.

        :param kind: ``workbook`` or ``workflow``.
        :return: Mistral's message; None for a valid definition.
        :raises OutcomeUnknown: for some texts Mistral answers 500.
        """
        return self._validate_once(definition, kind) and self._validate_once(definition, kind)

    def save_definition(
        self, definition: str, kind: str = "workbook", *, validate: bool = True
    ) -> None:
        """Create or replace a workbook, or the workflows of a text.

        :param kind: ``workbook`` or ``workflow``.
        :param validate: False for a definition that is known to be valid. Mistral needs a tenth of a
            second or more to validate a task. It obeys only with ``[api] validation_mode = enabled``,
            which is not its default.
        :raises Answered: 400 with Mistral's message for an invalid definition.
        """
        request: dict[str, Any] = {
            "data": definition.encode(),
            "headers": {"Content-Type": "text/plain"},
            "params": {} if validate else {"skip_validation": "true"},
        }
        try:
            self._save(kind, request)
        except Answered as error:
            if error.status != 400:
                raise
            # Nothing was saved. See validate for the reason to try it twice.
            self._save(kind, request)

    def _validate_once(self, definition: str, kind: str) -> str | None:
        found = self._api.call(
            "POST",
            f"/{kind}s/validate",
            data=definition.encode(),
            headers={"Content-Type": "text/plain"},
        )
        return None if found.get("valid") is True else str(found.get("error") or "It is invalid.")

    def _save(self, kind: str, request: Mapping[str, Any]) -> None:
        try:
            self._api.call("POST", f"/{kind}s", **request)
        except Answered as error:
            if error.status != 409:
                raise
            self._api.call("PUT", f"/{kind}s", **request)
