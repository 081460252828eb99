"""Serve ``/v1/executions``: create, read, list, update, cancel and re-run."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from st2_mistral_sandbox.stackstorm import parameters as parameters_
from st2_mistral_sandbox.stackstorm import query as query_
from st2_mistral_sandbox.stackstorm.api_request import ApiRequest, json_response, page_response
from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request
from st2_mistral_sandbox.stackstorm.json_format import from_json
from st2_mistral_sandbox.stackstorm.notify import notify_view
from st2_mistral_sandbox.stackstorm.rendering import RenderingError
from st2_mistral_sandbox.stackstorm.schema import (
    EXECUTION_CREATE,
    EXECUTION_UPDATE,
    RE_RUN,
    validate,
)
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.statuses import CANCELABLE, FINAL
from st2_mistral_sandbox.stackstorm.store import Document, Execution

MAX_DOCUMENT = 16_793_598
"""Maximum bytes of a document in MongoDB. StackStorm stores the parameters twice in one document."""


class ExecutionsApi:
    """The handlers for executions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._store = state.executions

    def list(self, request: ApiRequest) -> Response:
        page = query_.select_page(self._store.objects(), request.query)
        show = query_.projection(request.query)
        secrets = request.flag("show_secrets")
        shown = [show(self._store.get(e.id, show_secrets=secrets)) for e in page.executions]
        return page_response(shown, total=page.total, limit=page.limit)

    def get(self, request: ApiRequest, execution_id: str) -> Response:
        show = query_.projection(request.query)
        document = self._store.get(execution_id, show_secrets=request.flag("show_secrets"))
        limit = request.http.args.get("max_result_size", 0, type=int)
        if limit and document.get("result_size", 0) > limit:
            document.pop("result", None)
        return json_response(show(document))

    def filters(self, request: ApiRequest) -> Response:
        """Return the distinct values that st2web offers for filtering."""
        executions = self._store.objects()
        values: dict[str, list[str]] = {
            "action": [e.action["ref"] for e in executions],
            "status": [e.status for e in executions],
            "rule": [],
            "runner": [e.runner["name"] for e in executions],
            "trigger": [],
            "trigger_type": [],
            "user": [str(e.context.get("user")) for e in executions],
        }
        return json_response({name: list(dict.fromkeys(found)) for name, found in values.items()})

    def children(self, request: ApiRequest, execution_id: str) -> Response:
        depth = request.http.args.get("depth", -1, type=int)
        found = self._store.children(execution_id, depth)
        secrets = request.flag("show_secrets")
        return json_response([self._store.get(e.id, show_secrets=secrets) for e in found])

    def attribute(self, request: ApiRequest, execution_id: str, name: str) -> Response:
        if name not in query_.EXCLUDABLE:
            raise bad_request(
                f'Invalid attribute "{name}" specified. '
                f"Valid attributes are: {', '.join(query_.EXCLUDABLE)}"
            )
        return json_response(self._store.get(execution_id).get(name))

    def result(self, request: ApiRequest, execution_id: str) -> Response:
        return json_response(self._store.get(execution_id).get("result", {}), kind="text/json")

    def output(self, request: ApiRequest, execution_id: str) -> Response:
        wanted = request.http.args.get("output_type", "all")
        lines = self._store.find(execution_id).output
        text = "".join(text for kind, text in lines if wanted in ("all", kind))
        return Response(text, content_type="text/plain; charset=UTF-8")

    def post(self, request: ApiRequest) -> Response:
        body = request.body()
        validate(body, EXECUTION_CREATE)
        _check_size(len(request.http.get_data()))
        header = request.http.headers.get("st2-context")
        return self._schedule(request, body, _header_context(header) if header else {})

    def re_run(self, request: ApiRequest, execution_id: str) -> Response:
        body = request.object_body()
        validate(body, RE_RUN)
        tasks, reset = body.get("tasks") or [], body.get("reset") or []
        if (tasks or reset) and body.get("parameters"):
            raise bad_request(
                "Parameters override is not supported when re-running task(s) for a workflow."
            )
        if any(task not in tasks for task in reset):
            raise bad_request("List of tasks to reset does not match the tasks to rerun.")
        old = self._store.find(execution_id)
        # Other runners get the tasks as parameters, if they have such parameters.
        if tasks and old.runner["name"] != "orquesta":
            raise bad_request("Task option is only supported for Orquesta workflows.")
        inherited = {} if request.flag("no_merge") else old.parameters
        named = {name: names for name, names in (("tasks", tasks), ("reset", reset)) if names}
        context: Document = {"re-run": {"ref": execution_id, **named}}
        trace = self._state.traces.id_of(old.id)
        if trace:
            context["trace_context"] = {"id_": trace}
        return self._schedule(
            request,
            {
                "action": old.action["ref"],
                "parameters": {**inherited, **(body.get("parameters") or {})},
                "context": context,
                "delay": body.get("delay"),
                "user": body.get("user"),
            },
            {},
        )

    def _schedule(self, request: ApiRequest, body: Document, header_context: Document) -> Response:
        catalog = self._state.catalog
        action = catalog.action(body["action"])
        if action is None or action["ref"] != body["action"]:
            raise bad_request(f'Action "{body["action"]}" cannot be found.')
        runner = catalog.runner(action["runner_type"])
        assert runner is not None, "every registered action has a runner"
        context = {
            **body.get("context", {}),
            "user": body.get("user") or request.user,
            "pack": action["pack"],
            **header_context,
        }
        execution = Execution(
            action=action,
            runner=runner,
            parameters=body.get("parameters") or {},
            context=context,
            is_workflow=self._state.worker.is_workflow(action["runner_type"]),
            callback=body.get("callback") or {},
            notify=action["notify"] or notify_view(body.get("notify") or {}),
            delay=body.get("delay"),
            web_base=self._state.base_url,
            result=body["result"] if isinstance(body.get("result"), dict) else {},
        )
        try:
            execution.parameters = self._rendered(execution)
        except RenderingError as error:
            self._add(execution, publish=False)
            self._store.set_status(
                execution.id, "failed", result={"error": str(error), "traceback": ""}, set_size=False
            )
            raise bad_request(str(error)) from error
        self._add(execution, check=True)
        shown = execution.view(show_secrets=request.flag("show_secrets"))
        self._state.worker.schedule(execution.id)
        return json_response(shown, 201)

    def _rendered(self, execution: Execution) -> Document:
        try:
            return self._state.renderer.live_parameters(
                execution.parameters,
                execution.context,
                execution.action["parameters"],
                execution.runner["runner_parameters"],
            )
        except ValueError as error:
            raise bad_request(str(error)) from error
        except (TypeError, SyntaxError) as error:
            raise Fault(500, str(error)) from error

    def _add(self, execution: Execution, *, check: bool = False, publish: bool = True) -> None:
        """Store an execution with its parent and trace.

        :raises Fault: StackStorm rejects it at this point.
        """
        parent = execution.context.get("parent") or {}
        if not isinstance(parent, dict):
            raise Fault(500, f"'{type(parent).__name__}' object has no attribute 'get'")
        if parent.get("user"):
            execution.context["user"] = parent["user"]
        ref = execution.action["ref"]
        if not execution.action["enabled"]:
            raise bad_request(f'Unable to execute. Action "{ref}" is disabled.')
        execution.context["pack"] = execution.action["pack"]
        if check:
            parameters_.check(execution.parameters, execution.action, execution.runner)
        trace = self._state.traces.trace_for(execution.context, execution.liveaction_id)
        execution.parent = parent.get("execution_id")
        self._store.add(execution, publish=publish)
        self._state.traces.add(trace, execution.id, ref, execution.parent)

    def put(self, request: ApiRequest, execution_id: str) -> Response:
        body = request.body()
        validate(body, EXECUTION_UPDATE)
        execution = self._store.find(execution_id)
        status, wanted = execution.status, body.get("status")
        if status in FINAL:
            raise bad_request("Execution is already in completed state.")
        if wanted is None:
            raise Fault(500, "Failed updating execution due to unexpected error.")
        if (status, wanted) in (("canceling", "canceled"), ("pausing", "paused")):
            if self._state.control.has_active_children(execution):
                wanted = status
        elif wanted in ("canceling", "canceled"):
            # StackStorm breaks on "canceling" while it is canceling.
            if status not in CANCELABLE:
                raise Fault(500, "Failed updating execution due to unexpected error.")
            return json_response(self._cancel(request, execution))
        elif wanted in ("pausing", "paused", "resuming"):
            control = self._state.control
            change = control.request_resume if wanted == "resuming" else control.request_pause
            try:
                change(execution, request.user)
            except Fault as fault:
                raise bad_request(f"Failed updating execution. {fault.text}") from fault
            wanted = status = execution.status
        if len(request.http.get_data()) > MAX_DOCUMENT:
            raise Fault(500, "'update' command document too large")
        if wanted != status and not self._store.set_status(
            execution.id, wanted, only_from={status}, result=body.get("result")
        ):
            return self.put(request, execution_id)
        shown = self._store.get(execution.id, show_secrets=request.flag("show_secrets"))
        if wanted == "requested" and wanted != status:
            # After the response is made, which shows this status: the worker may be quick.
            self._state.worker.schedule(execution.id)
        return json_response(shown)

    def delete(self, request: ApiRequest, execution_id: str) -> Response:
        execution = self._store.find(execution_id)
        if execution.status == "canceled":
            return json_response(self._store.get(execution.id))
        if execution.status not in CANCELABLE:
            raise Fault(200, f"Action cannot be canceled. State = {execution.status}.")
        return json_response(self._cancel(request, execution))

    def _cancel(self, request: ApiRequest, execution: Execution) -> Document:
        immediately = execution.status != "running" and "parent" not in execution.context
        moved = self._store.set_status(
            execution.id,
            "canceled" if immediately else "canceling",
            only_from={execution.status},
            result={"message": "Action canceled by user.", "user": request.user},
            context={"cancelled_by": request.user},
            set_size=False,
        )
        if not moved:
            raise Fault(200, f"Action cannot be canceled. State = {execution.status}.")
        # Read now: the worker may finish before the response is written.
        shown = self._store.get(execution.id, show_secrets=request.flag("show_secrets"))
        if not immediately:
            self._state.worker.cancel(execution.id)
        return shown


def _check_size(size: int) -> None:
    if size > MAX_DOCUMENT:
        raise Fault(
            500,
            f"BSON document too large ({size} bytes) - the connected server supports "
            f"BSON document sizes up to {MAX_DOCUMENT} bytes.",
        )
    if 2 * size > MAX_DOCUMENT:
        raise Fault(500, "'update' command document too large")


def _header_context(text: str) -> Document:
    try:
        context: Any = from_json(text)
    except ValueError:
        context = text
    if not isinstance(context, dict):
        raise bad_request(
            f"Unable to convert st2-context from the headers into JSON (was {type(context)})."
        )
    return context
