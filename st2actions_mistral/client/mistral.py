"""Mistral's API, as far as the bridge needs it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from st2actions_mistral.client import retry
from st2actions_mistral.client.address import segment
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import Anonymous, MistralCredential
from st2actions_mistral.client.limits import Progress
from st2actions_mistral.client.session import check_shape, new_session
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import Scope

# Rows of one listing. Mistral's own bound ([api] max_limit) may be lower; its answer says whether
# there is more.
_PAGE: Final = 200

# With "fields", Mistral 23 puts the workflow's name into task_name (measured); neither is asked for.
_LISTED: Final = "id,name,state,created_at,task_execution_id,project_id"


class MistralClient:
    """Action executions, workbooks and workflows of one Mistral. Safe to share between threads.

    Everything is returned as Mistral's API shows it.
    """

    def __init__(
        self,
        settings: MistralSettings,
        *,
        credential: MistralCredential | None = None,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self._credential = credential
        self._api = Api(
            settings.url,
            new_session(settings.tls),
            credential or Anonymous("Mistral wants to know who asks."),
            settings.timeouts,
            sleep=sleep,
            stop=stop,
        )

    def scope(self) -> Scope | None:
        """Return the project of the token; None where Mistral has no authentication.

        :raises RemoteError: keystone cannot be asked, or does not accept the credential.
        """
        return self._credential.scope() if self._credential else None

    def running_actions(self) -> Iterator[dict[str, Any]]:
        """All action executions in state RUNNING, the oldest first.

        Each has ``id``, ``name``, ``state``, ``created_at`` (UTC without a zone, whole seconds),
        ``task_execution_id``, ``project_id``.
        """
        return self._all("action_executions", {"state": states.RUNNING, "fields": _LISTED})

    def get_action(self, action_execution_id: str) -> dict[str, Any] | None:
        """One action execution with its ``input`` and ``output``, or None where there is none."""
        return self._get(f"/action_executions/{segment(action_execution_id)}")

    def unfinished_tasks(self) -> Iterator[dict[str, Any]]:
        """``id``, ``state`` and ``workflow_execution_id`` of all tasks that are at work: RUNNING, or
        PAUSED with one below that is."""
        fields = "id,state,workflow_execution_id"
        return self._all("tasks", {"state": _any_of(states.TASK_ACTIVE), "fields": fields})

    def cancelled_among(self, workflow_execution_ids: Collection[str]) -> set[str]:
        """Those of these workflow executions that are CANCELLED."""
        wanted = set(workflow_execution_ids)
        unfinished = {"state": _any_of(states.WORKFLOW_UNFINISHED), "fields": "id,state"}
        if wanted:
            wanted -= {row["id"] for row in self._all("executions", unfinished)}
        found = {id_: self.get_execution(id_) for id_ in wanted}
        return {id_ for id_, row in found.items() if row and row["state"] == states.CANCELLED}

    def get_task(self, task_execution_id: str) -> dict[str, Any] | None:
        """One task execution with its ``result`` (JSON in a text), or None where there is none."""
        return self._get(f"/tasks/{segment(task_execution_id)}")

    def attempts(self, task_execution_id: str) -> list[dict[str, Any]]:
        """``id``, ``name``, ``state`` and ``created_at`` of all action executions of a task, the oldest
        first."""
        fields = "id,name,state,created_at"
        return list(
            self._all("action_executions", {"task_execution_id": task_execution_id, "fields": fields})
        )

    def action_definition(self, name: str) -> str | None:
        """Return the YAML text of an ad-hoc action; None for any other, and for an unknown one."""
        found = self._get(f"/actions/{segment(name)}", texts=["name"])
        return (found.get("definition") or None) if found else None

    def complete_action(
        self,
        action_execution_id: str,
        state: str,
        output: Mapping[str, Any],
    ) -> bool:
        """Give an action execution its final state and output, once.

        :return: False where it was final already (by whoever), or is not known.
        """
        path = f"/action_executions/{segment(action_execution_id)}"

        def attempt() -> bool:
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

        done: bool = self._api.retrying()(attempt)
        return done

    def get_execution(self, execution_id: str) -> dict[str, Any] | None:
        """One workflow execution with its ``output`` and ``params``, or None where there is none."""
        return self._get(f"/executions/{segment(execution_id)}")

    def execution_state(self, execution_id: str) -> str | None:
        """The state of one workflow execution, or None where there is none. Costs little."""
        found = self._get(f"/executions/{segment(execution_id)}?fields=id,state")
        return str(found["state"]) if found else None

    def execution_summary(self, execution_id: str) -> dict[str, Any] | None:
        """Return one workflow execution without its output, or None where there is none.

        It has ``id``, ``state``, ``description``, ``params`` and ``project_id``.
        """
        fields = "id,state,description,params,project_id"
        return self._get(f"/executions/{segment(execution_id)}?fields={fields}")

    def unfinished_executions(self) -> Iterator[dict[str, Any]]:
        """``id``, ``state``, ``description``, ``root_execution_id`` and ``project_id`` of all workflow
        executions that have not ended, the oldest first. The root of an outermost one is null."""
        fields = "id,state,description,root_execution_id,project_id"
        return self._all("executions", {"state": _any_of(states.WORKFLOW_UNFINISHED), "fields": fields})

    def tasks(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        """The tasks of one workflow execution without their results, the oldest first."""
        return list(self._all("tasks", {"workflow_execution_id": workflow_execution_id}))

    def task_summary(self, task_execution_id: str) -> dict[str, Any] | None:
        """One task execution without its result, however large that is."""
        fields = "id,name,state,type,state_info,runtime_context"
        return self._get(f"/tasks/{segment(task_execution_id)}?fields={fields}")

    def sub_executions(self, task_execution_id: str) -> list[dict[str, Any]]:
        """``id`` and ``state`` of the workflow executions that a task has started."""
        path = f"tasks/{segment(task_execution_id)}/workflow_executions"
        return self._rows(path, {"fields": "id,state"}, "executions")[0]

    def definition(self, name: str, kind: str = "workbook") -> str | None:
        """The YAML text of a definition as it was saved, or None where there is none of the name.

        :param kind: ``workbook`` or ``workflow``.
        """
        found = self._get(f"/{kind}s/{segment(name)}", texts=["definition"])
        return found["definition"] if found else None

    def workflow_definitions(self, names: Collection[str]) -> dict[str, str]:
        """The YAML texts of the workflows that there are of these names."""
        wanted = {"name": _any_of(names), "fields": "name,definition"}
        return {
            str(row.get("name")): str(row.get("definition")) for row in self._all("workflows", wanted)
        }

    def save_definition(
        self, definition: str, kind: str = "workbook", *, validate: bool = True
    ) -> None:
        """Create a workbook, or the workflows of a text, or replace those of the same name.

        :param kind: ``workbook`` or ``workflow``.
        :param validate: False for one that is known to be valid: Mistral takes a tenth of a second and
            more for each task that it validates. It heeds that with ``[api] validation_mode =
            enabled`` only, which is not its default.
        :raises Answered: 400 with Mistral's words where it is not valid.
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
            # What was refused was not saved; see validate for why it is asked again.
            self._save(kind, request)

    def _save(self, kind: str, request: Mapping[str, Any]) -> None:
        try:
            self._api.call("POST", f"/{kind}s", **request)
        except Answered as error:
            if error.status != 409:
                raise
            self._api.call("PUT", f"/{kind}s", **request)

    def validate(self, definition: str, kind: str = "workbook") -> str | None:
        """Have a text looked at by Mistral, which saves nothing.

        What is refused is asked again: Mistral 23.0.0 shares one YAQL parser between its threads, so
        that two texts that it reads at the same moment can spoil each other.

        :param kind: ``workbook`` or ``workflow``.
        :return: what Mistral finds wrong, in its words; None where it is valid.
        :raises OutcomeUnknown: some texts make Mistral answer 500.
        """
        return self._complaint(definition, kind) and self._complaint(definition, kind)

    def _complaint(self, definition: str, kind: str) -> str | None:
        found = self._api.call(
            "POST",
            f"/{kind}s/validate",
            data=definition.encode(),
            headers={"Content-Type": "text/plain"},
        )
        return None if found.get("valid") is True else str(found.get("error") or "It is not valid.")

    def start_workflow(
        self,
        workflow: str,
        workflow_input: Mapping[str, Any],
        *,
        execution_id: str | None = None,
        env: Mapping[str, Any] | None = None,
        description: str = "",
        task_name: str | None = None,
    ) -> dict[str, Any]:
        """Start a workflow.

        :param execution_id: the id for the new execution (a UUID). With one, starting is safe to
            repeat: Mistral answers with the execution that has it.
        :param env: the environment; nothing in it is evaluated as an expression.
        :param task_name: the task that a reverse workflow is to reach.
        :raises Answered: 400 for inputs that it does not take, 404 for an unknown workflow.
        """
        params: dict[str, Any] = {"env": dict(env or {}), "evaluate_env": False}
        if task_name:
            params["task_name"] = task_name
        body: dict[str, Any] = {
            "workflow_name": workflow,
            "input": dict(workflow_input),
            "params": params,
            "description": description,
        }
        if execution_id:
            body["id"] = execution_id
        in_doubt = False

        def attempt() -> dict[str, Any]:
            nonlocal in_doubt
            try:
                made: dict[str, Any] = self._api.once(
                    "POST", "/executions", json=body, texts=["id", "state"]
                )
            except OutcomeUnknown as error:
                # Mistral answers 500 for an unknown workflow too.
                if error.status == 500 and not in_doubt and self._lacks_workflow(workflow):
                    raise Answered(
                        error.method, error.url, 404, f"There is no workflow {workflow}."
                    ) from error
                in_doubt = True
                raise
            except (Answered, NotSent) as error:
                if not in_doubt:
                    raise
                # An earlier request may have begun it: this one's failure settles nothing.
                raise OutcomeUnknown.of(error) from error
            return made

        execution: dict[str, Any] = self._api.retrying(repeat_unknown=execution_id is not None)(attempt)
        return execution

    def change_state(
        self, execution_id: str, state: str, *, env: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Pause, resume (RUNNING) or cancel a workflow. Safe to repeat.

        :param env: with RUNNING: merged into the environment, objects within it too.
        :return: the execution as it is now; in another state where it was final already.
        :raises Answered: 404 for an unknown execution; 400 where Mistral does not do it.
        """
        path = f"/executions/{segment(execution_id)}"
        body: dict[str, Any] = {"state": state}
        if env is not None:
            body["params"] = {"env": dict(env)}

        def attempt() -> dict[str, Any]:
            try:
                changed: dict[str, Any] = self._api.once("PUT", path, json=body, texts=["id", "state"])
            except (Answered, OutcomeUnknown) as error:
                # Mistral answers 500 both when it is in trouble and when the state does not allow it.
                if isinstance(error, Answered) and error.status == 404:
                    raise
                current = self._api_get_once(path)
                if current is None:
                    raise Answered(
                        error.method, error.url, 404, "Mistral knows no such execution."
                    ) from error
                if current["state"] != state and current["state"] not in states.MISTRAL_FINAL:
                    raise
                return current
            return changed

        execution: dict[str, Any] = self._api.retrying()(attempt)
        return execution

    def rerun_task(
        self, task_execution_id: str, *, reset: bool, env: Mapping[str, Any] | None = None
    ) -> None:
        """Run a task in ERROR again, and with it its workflow. Safe to repeat.

        :param reset: run all items of a task with items again; else those that failed.
        :param env: merged into the workflow's environment, objects within it too; Mistral takes it only
            while the workflow is not at work.
        :raises Answered: 400 where Mistral does not do it, with its words.
        """
        path = f"/tasks/{segment(task_execution_id)}"
        body: dict[str, Any] = {"id": task_execution_id, "state": states.RUNNING, "reset": reset}
        if env is not None:
            body["env"] = json.dumps(dict(env))

        in_doubt = False

        def attempt() -> None:
            nonlocal in_doubt
            try:
                self._api.once("PUT", path, json=body, texts=["id", "state"])
            except RemoteError as error:
                in_doubt = in_doubt or isinstance(error, OutcomeUnknown)
                if not in_doubt:
                    raise
                if not self._is_rerun(path):
                    # Mistral may be at it yet.
                    raise OutcomeUnknown.of(error) from error

        self._api.retrying()(attempt)

    def knows_action(self, name: str) -> bool:
        """Whether Mistral has an action of this name."""
        return self._get(f"/actions/{segment(name)}", texts=["name"]) is not None

    def knows_workflow(self, name: str) -> bool:
        """Whether Mistral has a workflow of this name."""
        return self._get(f"/workflows/{segment(name)}", texts=["name"]) is not None

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
        # Something that whoever completes actions may list.
        return self._api.clock("/action_executions?limit=1&fields=id")

    def last_contact(self) -> float:
        """When the service answered last; seconds as ``time.time``, 0 for never."""
        return self._api.last_contact

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()

    def _lacks_workflow(self, name: str) -> bool:
        """Whether Mistral says that it has no such workflow; not where it cannot be asked."""
        try:
            return self._api_get_once(f"/workflows/{segment(name)}", ["name"]) is None
        except RemoteError:
            return False

    def _is_rerun(self, path: str) -> bool:
        """Whether a task that was in ERROR is so no more, as far as that can be seen."""
        try:
            current = self._api_get_once(path)
        except RemoteError:
            return False
        return current is not None and current["state"] != states.ERROR

    def _all(self, name: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All rows of a listing, page by page, the oldest first."""
        progress = Progress(f"{self._api.url}/{name}")
        marker: str | None = None
        while True:
            page = {**params, "limit": _PAGE, **({"marker": marker} if marker else {})}
            rows, more = self._rows(name, page)
            yield from rows
            if not rows or not more:
                return
            progress.add(rows)
            marker = rows[-1]["id"]

    def _rows(
        self, path: str, params: Mapping[str, Any], key: str | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """One page of a listing, and whether there is more.

        :param key: the rows' in the answer; None: the path.
        """
        page = self._api.call("GET", f"/{path}", params=params)
        name = key or path
        return check_shape(
            page.get(name), name, "GET", f"{self._api.url}/{path}", list, ["id"]
        ), "next" in page

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


def _any_of(values: Iterable[str]) -> str:
    """Return the filter that matches any of these values."""
    return f"in:{','.join(values)}"
