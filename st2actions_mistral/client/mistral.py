"""Mistral's API, as far as the bridge needs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import yaml

from st2actions_mistral.client import retry
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.credentials import Anonymous, HeaderSource
from st2actions_mistral.client.session import new_session, shaped
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import result as results
from st2actions_mistral.model import states

# Rows of one listing. Mistral's own bound ([api] max_limit) may be lower; its answer says whether
# there is more.
_PAGE: Final = 200

# With "fields", Mistral 23 puts the workflow's name into task_name (measured); neither is asked for.
_LISTED: Final = "id,name,state,created_at,task_execution_id"

# Ad-hoc actions based on ad-hoc actions; Mistral itself refuses a cycle.
_DEEPEST_BASE: Final = 10


class MistralClient:
    """Action executions, workbooks and workflows of one Mistral. Safe to share between threads.

    Everything is returned as Mistral's API shows it.
    """

    def __init__(
        self,
        settings: MistralSettings,
        *,
        credential: HeaderSource | None = None,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self._api = Api(
            settings.url,
            new_session(settings.tls),
            credential or Anonymous("Mistral wants to know who asks."),
            settings.patience,
            sleep=sleep,
            stop=stop,
        )

    def running_actions(self) -> Iterator[dict[str, Any]]:
        """All action executions in state RUNNING, the oldest first.

        Each has ``id``, ``name``, ``state``, ``created_at`` (UTC without a zone, whole seconds),
        ``task_execution_id``.
        """
        return self._all("action_executions", {"state": states.RUNNING, "fields": _LISTED})

    def get_action(self, action_execution_id: str) -> dict[str, Any] | None:
        """One action execution with its ``input`` and ``output``, or None where there is none."""
        return self._get(f"/action_executions/{quote(action_execution_id, safe='')}")

    def unfinished_tasks(self) -> Iterator[dict[str, Any]]:
        """``id``, ``state`` and ``workflow_execution_id`` of all tasks that are at work: RUNNING, or
        PAUSED with one below that is."""
        fields = "id,state,workflow_execution_id"
        return self._all("tasks", {"state": "in:RUNNING,PAUSED", "fields": fields})

    def cancelled_among(self, workflow_execution_ids: Collection[str]) -> set[str]:
        """Those of these workflow executions that are CANCELLED."""
        wanted = set(workflow_execution_ids)
        unfinished = {"state": "in:RUNNING,PAUSED,IDLE", "fields": "id,state"}
        if wanted:
            wanted -= {row["id"] for row in self._all("executions", unfinished)}
        found = {id_: self.get_execution(id_) for id_ in wanted}
        return {id_ for id_, row in found.items() if row and row["state"] == states.CANCELLED}

    def get_task(self, task_execution_id: str) -> dict[str, Any] | None:
        """One task execution, or None where there is none."""
        return self._get(f"/tasks/{quote(task_execution_id, safe='')}")

    def attempts(self, task_execution_id: str) -> list[dict[str, Any]]:
        """``id``, ``state`` and ``created_at`` of all action executions of a task, the oldest first."""
        fields = "id,state,created_at"
        return list(
            self._all("action_executions", {"task_execution_id": task_execution_id, "fields": fields})
        )

    def base_of(self, action_name: str) -> str:
        """The name of the action that does the work: the end of the chain of ``base`` where the name
        is one of an ad-hoc action, else the name itself.

        The executions of an ad-hoc action bear its name, not the name of its base.
        """
        for _ in range(_DEEPEST_BASE):
            action = self._get(f"/actions/{quote(action_name, safe='')}", texts=["name"])
            base = _base(action["definition"]) if action and action.get("definition") else None
            if base is None:
                break
            action_name = base
        return action_name

    def complete_action(self, action_execution_id: str, state: str, output: Mapping[str, Any]) -> bool:
        """Give an action execution its final state and output, once.

        An output that Mistral refuses, or a proxy in front of it for its size, is cut to its link.

        :param output: as ``model.result.fit`` makes it.
        :return: False where it was final already (by whoever), or is not known.
        """
        path = f"/action_executions/{quote(action_execution_id, safe='')}"

        def attempt(output: Mapping[str, Any]) -> bool:
            try:
                self._api.once("PUT", path, json={"state": state, "output": dict(output)})
            except OutcomeUnknown:
                # Mistral answers 500 both when it is in trouble and for an action that is completed
                # or unknown; only a look tells. The look's own failure says nothing new.
                action = self._api_get_once(path)
                if action is None or action["state"] in states.MISTRAL_FINAL:
                    return False
                raise
            return True

        done: bool
        try:
            done = self._api.retrying()(attempt, output)
        except Answered as error:
            if error.status not in (400, 413) or "st2" not in output:
                raise
            done = self._api.retrying()(attempt, results.refused(output, error.status))
        return done

    def get_execution(self, execution_id: str) -> dict[str, Any] | None:
        """One workflow execution, or None where there is none."""
        return self._get(f"/executions/{quote(execution_id, safe='')}")

    def tasks(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        """The tasks of one workflow execution, the oldest first."""
        return self._rows("tasks", {"workflow_execution_id": workflow_execution_id})[0]

    def workbook_definition(self, name: str) -> str | None:
        """The YAML text of a workbook as it was saved, or None where there is none of the name."""
        workbook = self._get(f"/workbooks/{quote(name, safe='')}", texts=["definition"])
        return workbook["definition"] if workbook else None

    def save_workbook(self, definition: str) -> dict[str, Any]:
        """Create a workbook from its YAML text, or replace the one of its name.

        :raises Answered: 400 with Mistral's words where it is not valid.
        """
        request = {
            "data": definition.encode(),
            "headers": {"Content-Type": "text/plain"},
        }
        try:
            workbook: dict[str, Any] = self._api.call("POST", "/workbooks", **request)
        except Answered as error:
            if error.status != 409:
                raise
            workbook = self._api.call("PUT", "/workbooks", **request)
        return workbook

    def start_workflow(
        self,
        workflow: str,
        workflow_input: Mapping[str, Any],
        *,
        execution_id: str | None = None,
        env: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> dict[str, Any]:
        """Start a workflow.

        :param execution_id: the id for the new execution (a UUID). With one, starting is safe to
            repeat: Mistral answers with the execution that has it.
        :param env: the environment; nothing in it is evaluated as an expression.
        """
        body: dict[str, Any] = {
            "workflow_name": workflow,
            "input": dict(workflow_input),
            "params": {"env": dict(env or {}), "evaluate_env": False},
            "description": description,
        }
        if execution_id:
            body["id"] = execution_id
        execution: dict[str, Any] = self._api.retrying(repeat_unknown=execution_id is not None)(
            self._api.once, "POST", "/executions", json=body, texts=["id", "state"]
        )
        return execution

    def knows_action(self, name: str) -> bool:
        """Whether Mistral has an action of this name."""
        return self._get(f"/actions/{quote(name, safe='')}", texts=["name"]) is not None

    def run_action(self, name: str, action_input: Mapping[str, Any]) -> dict[str, Any]:
        """Run an action without a workflow; its execution, which is saved."""
        execution: dict[str, Any] = self._api.retrying(repeat_unknown=False)(
            self._api.once,
            "POST",
            "/action_executions",
            json={"name": name, "input": dict(action_input), "params": {"save_result": True}},
            texts=["id", "state"],
        )
        return execution

    def clock(self) -> datetime | None:
        """Mistral's time, in whole seconds."""
        return self._api.clock("/workbooks?limit=1")

    def last_contact(self) -> float:
        """When the service answered last; seconds as ``time.time``, 0 for never."""
        return self._api.last_contact

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()

    def _all(self, name: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All rows of a listing, page by page, the oldest first."""
        marker: str | None = None
        while True:
            page = {**params, "limit": _PAGE, **({"marker": marker} if marker else {})}
            rows, more = self._rows(name, page)
            yield from rows
            if not rows or not more:
                return
            marker = rows[-1]["id"]

    def _rows(self, name: str, params: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        """One page of a listing, and whether there is more."""
        page = self._api.call("GET", f"/{name}", params=params)
        what = f"GET {self._api.url}/{name}"
        return shaped(page.get(name), name, what, list, ["id"]), "next" in page

    def _get(self, path: str, texts: Collection[str] = ("id", "state")) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._api.retrying()(self._api_get_once, path, texts)
        return found

    def _api_get_once(
        self, path: str, texts: Collection[str] = ("id", "state")
    ) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._api.once("GET", path, texts=texts)
        except Answered as error:
            if error.status == 404:
                return None
            raise
        return found


def _base(definition: str) -> str | None:
    """The ``base`` in the YAML text of an ad-hoc action, ``NAME: {base: …}``."""
    try:
        parsed = yaml.safe_load(definition)
    except yaml.YAMLError:
        return None
    for action in parsed.values() if isinstance(parsed, dict) else ():
        base = action.get("base") if isinstance(action, dict) else None
        # It may be followed by inputs: "std.echo output='…'".
        words = base.split() if isinstance(base, str) else []
        if words:
            return str(words[0])
    return None
