"""Workflow runners: pausing, resuming and cancelling with children, and inquiries below them.

The expected behaviour was read in the source of StackStorm 3.9.0: ``services/action.py``,
``services/inquiry.py`` and ``controllers/v1/actionexecutions.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.waiting import TIMEOUT, eventually

from st2_mistral_sandbox.call_runner import ACTION, RUNNER, call_runner
from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm

YES = {"response": {"continue": True}}


class Api:
    """A stand-in with a runner ``flow`` that leaves everything to the test."""

    def __init__(self, st2: StackStorm) -> None:
        self.st2, self._key = st2, st2.create_api_key()
        flow = Runner(
            lambda _: RunResult("running", {}),
            cancel=self._called("canceling"),
            pause=self._called("pausing"),
            resume=self._called("running"),
        )
        # Closed while a test must see what comes before the runner's own answer.
        self.gate = threading.Event()
        self.gate.set()
        st2.register_runner("flow", flow)
        st2.register_action({"pack": "tests", "name": "flow", "runner_type": "flow"})
        st2.register_runner(RUNNER, call_runner())
        st2.register_action(ACTION)
        self.calls: list[str] = []

    def _called(self, status: str) -> Any:
        def run(request: RunRequest) -> RunResult:
            assert self.gate.wait(TIMEOUT)
            self.calls.append(f"{status} {request.execution['id']}")
            return RunResult(status, {})

        return run

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        headers = {"St2-Api-Key": self._key, **headers}
        return requests.request(method, self.st2.api_url + path, json=body, headers=headers, timeout=10)

    def run(self, ref: str, parent: str | None = None, until: str = "running", **given: Any) -> str:
        context = {"parent": {"execution_id": parent}} if parent else {}
        body = {"action": ref, "parameters": given}
        made = self.request("POST", "/executions", body, **{"st2-context": json.dumps(context)})
        assert made.status_code == 201, made.text
        return str(self.st2.executions.wait(made.json()["id"], {until})["id"])

    def put(self, execution_id: str, status: str) -> str:
        changed = self.request("PUT", f"/executions/{execution_id}", {"status": status})
        assert changed.status_code == 200, changed.text
        return str(changed.json()["status"])

    def fault(self, execution_id: str, status: str) -> str:
        refused = self.request("PUT", f"/executions/{execution_id}", {"status": status})
        assert refused.status_code == 400
        return str(refused.json()["faultstring"])

    def wait(self, execution_id: str, *statuses: str) -> dict[str, Any]:
        found: dict[str, Any] = self.st2.executions.wait(execution_id, statuses)
        return found


@pytest.fixture
def api() -> Iterator[Api]:
    with StackStorm() as st2:
        yield Api(st2)


def test_workflow_is_pausing_until_its_children_have_ended(api: Api) -> None:
    parent = api.run("tests.flow")
    child = api.run("core.local", parent, cmd="sleep 60")
    assert api.put(parent, "pausing") == "pausing"
    assert api.put(parent, "paused") == "pausing"
    api.request("DELETE", f"/executions/{child}")
    api.wait(child, "canceled")
    assert api.put(parent, "paused") == "paused"
    shown = api.st2.executions.get(parent)
    assert shown["context"]["paused_by"] == api.st2.username
    assert shown["liveaction"]["action_is_workflow"] is True


def test_paused_workflow_runs_after_resume(api: Api) -> None:
    parent = api.run("tests.flow")
    api.put(parent, "pausing")
    api.put(parent, "paused")
    api.gate.clear()
    assert api.put(parent, "resuming") == "resuming"
    api.gate.set()
    api.wait(parent, "running")
    assert api.calls == [f"pausing {parent}", f"running {parent}"]


def test_status_that_does_not_allow_it_is_refused(api: Api) -> None:
    parent = api.run("tests.flow")
    assert api.put(parent, "resuming") == "running"
    api.put(parent, "pausing")
    message = 'because it is in "pausing" state and not in "paused" state.'
    assert message in api.fault(parent, "resuming")
    # StackStorm cancels at once what is not running and has no parent.
    assert api.put(parent, "canceled") == "canceled"
    parent = api.run("tests.flow")
    assert api.put(parent, "canceled") == "canceling"
    assert "because it is not in a running state." in api.fault(parent, "paused")
    other = api.run("core.local", cmd="sleep 60")
    assert 'not supported by the "local-shell-cmd" runner' in api.fault(other, "paused")


def test_workflow_is_canceling_until_its_children_have_ended(api: Api) -> None:
    parent = api.run("tests.flow")
    child = api.run("core.local", parent, cmd="sleep 60")
    api.request("DELETE", f"/executions/{parent}")
    assert api.put(parent, "canceled") == "canceling"
    api.request("DELETE", f"/executions/{child}")
    api.wait(child, "canceled")
    assert api.put(parent, "canceled") == "canceled"


def test_error_of_pause_fails_the_execution(api: Api) -> None:
    def fail(_: RunRequest) -> RunResult:
        raise ValueError("no")

    api.st2.register_runner("flow", Runner(lambda _: RunResult("running", {}), pause=fail, resume=fail))
    parent = api.run("tests.flow")
    api.put(parent, "pausing")
    assert api.wait(parent, "failed")["result"]["error"] == "no"


def test_inquiry_pauses_the_root_and_its_answer_resumes_it(api: Api) -> None:
    root = api.run("tests.flow")
    middle = api.run("tests.flow", root)
    inquiry = api.run("core.ask", middle, until="pending")
    api.wait(root, "pausing")
    assert api.st2.executions.status(middle) == "running", "its parent's runner pauses it"
    refused = api.request("PUT", f"/inquiries/{inquiry}", {"id": inquiry, **YES})
    assert refused.status_code == 500, "the root is not paused yet"
    api.put(middle, "pausing")
    assert api.put(middle, "paused") == "paused", "a pending inquiry is not active"
    assert api.put(root, "paused") == "paused"
    listed = api.request("GET", "/inquiries").json()
    assert [row["id"] for row in listed] == [inquiry]
    assert api.request("PUT", f"/inquiries/{inquiry}", {"id": inquiry, **YES}).ok
    api.wait(root, "running")
    assert api.wait(inquiry, "succeeded")["result"]["response"] == {"continue": True}


def test_inquiry_below_another_runner_fails(api: Api) -> None:
    root = api.run("core.local", cmd="sleep 60")
    inquiry = api.run("core.ask", root, until="failed")
    error = api.st2.executions.get(inquiry)["result"]["error"]
    assert 'not supported by the "local-shell-cmd" runner' in error


def test_call_passes_on_pause_resume_and_cancel(api: Api) -> None:
    outer = api.run("sandbox.call", action="tests.flow")
    children = eventually(lambda: api.st2.executions.get(outer).get("children"), "the child is created")
    (child,) = children
    api.wait(child, "running")
    api.put(outer, "pausing")
    api.wait(child, "pausing")
    api.put(child, "paused")
    api.wait(outer, "paused")
    api.put(outer, "resuming")
    api.wait(child, "running")
    api.wait(outer, "running")
    api.request("DELETE", f"/executions/{outer}")
    api.wait(child, "canceling")
    assert api.st2.executions.status(outer) == "canceling"
    api.put(child, "canceled")
    api.wait(outer, "canceled")


def test_call_ends_as_its_child(api: Api) -> None:
    outer = api.run(
        "sandbox.call", until="succeeded", action="core.local", parameters={"cmd": "echo a"}
    )
    assert api.st2.executions.get(outer)["result"]["output"]["stdout"] == "a"


def test_notify_of_the_metadata_applies(api: Api) -> None:
    """Also where the request has another one, as ``create_request`` in 3.9.0 does it."""
    notify = {"on-complete": {"message": "done", "channels": ["x"], "routes": ["slack"]}}
    made = api.st2.register_action(
        {"pack": "tests", "name": "loud", "runner_type": "noop", "notify": notify}
    )
    shown = {"on-complete": {"message": "done", "routes": ["slack"]}}
    assert made["notify"] == shown
    done = api.run("tests.loud", until="succeeded")
    assert api.st2.executions.get(done)["liveaction"]["notify"] == shown
