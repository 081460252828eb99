"""Call Mistral's API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from st2actions_mistral.client.address import segment
from st2actions_mistral.client.mistral_definitions import MistralDefinitions
from st2actions_mistral.client.mistral_records import any_of
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model import states

# Without task_name: with "fields", Mistral 23 puts the workflow's name there (measured).
_ACTION_FIELDS: Final = "id,name,state,created_at,task_execution_id,project_id"
_TASK_FIELDS: Final = "id,state,workflow_execution_id,workflow_name,runtime_context"


class MistralClient(MistralDefinitions):
    """Workflow, task and action executions of one Mistral, and its definitions.

    Threads may share it; connections are kept. Records are dicts as Mistral's API shows them.
    """

    def clock(self) -> datetime | None:
        """Return Mistral's time, in whole seconds; None where it does not tell."""
        # Everybody who completes actions may list them.
        return self._api.clock("/action_executions?limit=1&fields=id")

    # Action executions

    def running_actions(self) -> Iterator[dict[str, Any]]:
        """Yield all action executions in state RUNNING, the oldest first.

        Each has ``id``, ``name``, ``state``, ``created_at`` (UTC without a zone, whole seconds),
        ``task_execution_id``, ``project_id``.
        """
        return self._list("action_executions", {"state": states.RUNNING, "fields": _ACTION_FIELDS})

    def get_action(self, action_execution_id: str) -> dict[str, Any] | None:
        """Return an action execution with its ``input`` and ``output``; None for an unknown one."""
        return self._get(f"/action_executions/{segment(action_execution_id)}")

    def find_action(self, action_execution_id: str) -> dict[str, Any] | None:
        """Return an action execution without its input and output; None for an unknown one.

        It has the keys that :meth:`running_actions` returns.
        """
        path = f"/action_executions/{segment(action_execution_id)}"
        return self._get(f"{path}?fields={_ACTION_FIELDS}")

    def attempts(self, task_execution_id: str, state: str | None = None) -> list[dict[str, Any]]:
        """Return the action executions of a task, the oldest first, as :meth:`running_actions` does.

        :param state: None: in any state.
        """
        query = {"task_execution_id": task_execution_id, "fields": _ACTION_FIELDS}
        return list(self._list("action_executions", query | ({"state": state} if state else {})))

    def complete_action(self, action_execution_id: str, state: str, output: Mapping[str, Any]) -> bool:
        """Give an action execution its final state and output, once.

        :return: False if it was final already or is unknown.
        """
        path = f"/action_executions/{segment(action_execution_id)}"

        def attempt() -> bool:
            try:
                self._api.once("PUT", path, json={"state": state, "output": dict(output)})
            except OutcomeUnknown as error:
                # Mistral answers 500 if it is in trouble, but also for an action that is final or
                # unknown.
                try:
                    action = self._get_once(f"{path}?fields=id,state")
                except RemoteError:
                    # Callers judge the body by the PUT's error.
                    raise error from None
                if action is None or action["state"] in states.MISTRAL_FINAL:
                    return False
                raise
            return True

        done: bool = self._api.retrying()(attempt)
        return done

    def run_action(self, name: str, action_input: Mapping[str, Any]) -> dict[str, Any]:
        """Run an action without a workflow, and return its execution, which is saved."""
        execution: dict[str, Any] = self._api.retrying(repeat_unknown=False)(
            self._api.once,
            "POST",
            "/action_executions",
            json={"name": name, "input": dict(action_input), "params": {"save_result": True}},
            texts=["id", "state"],
        )
        return execution

    # Task executions

    def tasks(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a workflow execution without their results, the oldest first."""
        return list(self._list("tasks", {"workflow_execution_id": workflow_execution_id}))

    def tasks_of(
        self, workflow_execution_id: str, *, unfinished: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the task executions of a workflow execution without their results.

        Unlike :meth:`get_task`, this costs the same however many items a task has. Each row has ``id``,
        ``state``, ``workflow_execution_id``, ``workflow_name`` and ``runtime_context``.

        :param unfinished: leave out those in a final state.
        """
        query = {"workflow_execution_id": workflow_execution_id, "fields": _TASK_FIELDS}
        if unfinished:
            query["state"] = any_of(states.TASK_UNFINISHED)
        return self._list("tasks", query)

    def unfinished_tasks(self) -> Iterator[dict[str, Any]]:
        """Yield all active tasks, with the keys that :meth:`tasks_of` returns."""
        return self._list("tasks", {"state": any_of(states.TASK_ACTIVE), "fields": _TASK_FIELDS})

    def get_task(self, task_execution_id: str) -> dict[str, Any] | None:
        """Return a task execution with its ``result`` (JSON in a string); None for an unknown one.

        Mistral computes the result from all actions of the task, each time.
        """
        return self._get(f"/tasks/{segment(task_execution_id)}")

    def task_summary(self, task_execution_id: str) -> dict[str, Any] | None:
        """Return a task execution without its result, which may be large; None for an unknown one."""
        fields = "id,name,state,type,state_info,runtime_context"
        return self._get(f"/tasks/{segment(task_execution_id)}?fields={fields}")

    def sub_executions(self, task_execution_id: str, fields: str = "id,state") -> list[dict[str, Any]]:
        """Return the workflow executions that a task started, the oldest first."""
        path = f"tasks/{segment(task_execution_id)}/workflow_executions"
        return self._page(path, {"fields": fields}, "executions")[0]

    def rerun_task(
        self, task_execution_id: str, *, reset: bool, env: Mapping[str, Any] | None = None
    ) -> None:
        """Run a task in ERROR again, and with it its workflow. Safe to repeat.

        :param reset: run all items of a task with items again, not only those that failed.
        :param env: is merged into the workflow's environment, including nested objects. Mistral accepts
            it only while the workflow does not run.
        :raises Answered: 400 with Mistral's message if it rejects the request.
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
                    # An earlier request may still be on its way.
                    raise OutcomeUnknown.of(error) from error

        self._api.retrying()(attempt)

    # Workflow executions

    def get_execution(self, execution_id: str) -> dict[str, Any] | None:
        """Return a workflow execution with ``output`` and ``params``; None for an unknown one."""
        return self._get(f"/executions/{segment(execution_id)}")

    def execution_state(self, execution_id: str) -> str | None:
        """Return the state of a workflow execution; None for an unknown one. The request is cheap."""
        found = self._get(f"/executions/{segment(execution_id)}?fields=id,state")
        return str(found["state"]) if found else None

    def execution_summary(self, execution_id: str) -> dict[str, Any] | None:
        """Return a workflow execution without its output, which may be large; None for an unknown one.

        It has ``id``, ``state``, ``description``, ``params``, ``root_execution_id`` (null for the
        outermost one) and ``project_id``.
        """
        fields = "id,state,description,params,root_execution_id,project_id"
        return self._get(f"/executions/{segment(execution_id)}?fields={fields}")

    def unfinished_executions(self) -> Iterator[dict[str, Any]]:
        """Yield all workflow executions that are not final, the oldest first.

        Each has ``id``, ``state``, ``description``, ``root_execution_id`` (null for the outermost one)
        and ``project_id``.
        """
        fields = "id,state,description,root_execution_id,project_id"
        query = {"state": any_of(states.WORKFLOW_UNFINISHED), "fields": fields}
        return self._list("executions", query)

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

        :param execution_id: the id for the new execution (a UUID), which makes the request safe to
            repeat: Mistral responds with the execution that has it.
        :param env: the environment; Mistral evaluates no expressions in it.
        :param task_name: the target task of a reverse workflow.
        :raises Answered: 400 for invalid inputs, 404 for an unknown workflow.
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
                started: dict[str, Any] = self._api.once(
                    "POST", "/executions", json=body, texts=["id", "state"]
                )
            except OutcomeUnknown as error:
                # Mistral answers 500 for an unknown workflow too.
                if error.status == 500 and not in_doubt and self._lacks_workflow(workflow):
                    raise _unknown(error, f"There is no workflow {workflow}.") from error
                in_doubt = True
                raise
            except (Answered, NotSent) as error:
                if not in_doubt:
                    raise
                # An earlier request may have started it. This failure does not settle its outcome.
                raise OutcomeUnknown.of(error) from error
            return started

        execution: dict[str, Any] = self._api.retrying(repeat_unknown=execution_id is not None)(attempt)
        return execution

    def update_environment(self, execution_id: str, env: Mapping[str, Any]) -> None:
        """Merge an environment, including nested objects, into that of a workflow execution in ERROR.

        :raises Answered: 400 or 403 with Mistral's message if the state does not allow it.
        """
        path = f"/executions/{segment(execution_id)}"
        body = {"params": {"env": dict(env)}}
        self._api.retrying()(self._api.once, "PUT", path, json=body, texts=["id", "state"])

    def resume(self, execution_id: str) -> dict[str, Any]:
        """Resume a paused workflow execution. Safe to repeat.

        Mistral decides what comes next within the request. If that fails, for example because the
        output of the workflow cannot be evaluated, it rejects the request, and the workflow would stay
        PAUSED for ever. It ends in ERROR instead, as it does where it was not paused.

        :return: the execution as it is now.
        :raises Answered: 404 for an unknown execution.
        """
        try:
            return self.change_state(execution_id, states.RUNNING)
        except Answered as error:
            if error.status != 400:
                raise
            return self.change_state(execution_id, states.ERROR, reason=error.message)

    def change_state(
        self,
        execution_id: str,
        state: str,
        *,
        env: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """Pause, resume (RUNNING), fail or cancel a workflow execution. Safe to repeat.

        :param reason: with a final state: the new ``state_info``.
        :param env: with RUNNING: is merged into the environment, including nested objects.
        :return: the execution as it is now. It has another state if it was final already.
        :raises Answered: 404 for an unknown execution, 400 if Mistral rejects the request.
        """
        path = f"/executions/{segment(execution_id)}"
        body: dict[str, Any] = {"state": state}
        if reason is not None:
            body["state_info"] = reason
        if env is not None:
            body["params"] = {"env": dict(env)}

        def attempt() -> dict[str, Any]:
            try:
                changed: dict[str, Any] = self._api.once("PUT", path, json=body, texts=["id", "state"])
            except (Answered, OutcomeUnknown) as error:
                # Mistral answers 500 if it is in trouble, but also if the state does not allow it.
                if isinstance(error, Answered) and error.status == 404:
                    raise
                current = self._get_once(path)
                if current is None:
                    raise _unknown(error, "Mistral does not know the execution.") from error
                if current["state"] != state and current["state"] not in states.MISTRAL_FINAL:
                    raise
                return current
            return changed

        execution: dict[str, Any] = self._api.retrying()(attempt)
        return execution

    def _lacks_workflow(self, name: str) -> bool:
        """Return True if Mistral does not know a workflow; False if it knows it or cannot tell."""
        try:
            return self._get_once(f"/workflows/{segment(name)}", ["name"]) is None
        except RemoteError:
            return False

    def _is_rerun(self, path: str) -> bool:
        """Return True if a task is not in ERROR any more; False if it is or Mistral cannot tell."""
        try:
            current = self._get_once(path)
        except RemoteError:
            return False
        return current is not None and current["state"] != states.ERROR


def _unknown(error: RemoteError, message: str) -> Answered:
    return Answered(error.method, error.url, 404, message)
