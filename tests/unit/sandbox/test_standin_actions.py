"""Actions that are created and changed over the API, and executions that are re-run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm

JOB = {"pack": "mypack", "name": "job", "runner_type": "reader", "entry_point": "workflows/job.yaml"}


def read(request: RunRequest) -> RunResult:
    assert request.entry_point
    return RunResult("succeeded", {"text": request.entry_point.read_text()})


class Api:
    def __init__(self, st2: StackStorm) -> None:
        self.st2, self._key = st2, st2.create_api_key()

    def request(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"St2-Api-Key": self._key}
        return requests.request(method, self.st2.api_url + path, json=body, headers=headers, timeout=10)

    def run(self, action: str, **parameters: Any) -> dict[str, Any]:
        body = {"action": action, "parameters": parameters}
        posted = self.request("POST", "/executions", body)
        assert posted.status_code == 201, posted.text
        return self.st2.executions.wait(posted.json()["id"])

    def fault(self, status: int, method: str, path: str, body: Any = None) -> str:
        response = self.request(method, path, body)
        assert response.status_code == status, response.text
        return str(response.json()["faultstring"])


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    file = tmp_path / "mypack" / "actions" / "workflows" / "job.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("of a file")
    with StackStorm(runners={"reader": read, "orquesta": read}, packs=tmp_path) as st2:
        yield Api(st2)


def test_entry_point_is_in_the_pack_of_its_action(api: Api) -> None:
    assert api.request("POST", "/actions", JOB).status_code == 201
    assert api.run("mypack.job")["result"] == {"text": "of a file"}


def test_action_is_created_once_and_only_in_a_known_pack(api: Api) -> None:
    assert api.request("POST", "/actions", JOB).status_code == 201
    assert "already exists" in api.fault(409, "POST", "/actions", JOB)
    message = api.fault(400, "POST", "/actions", {**JOB, "pack": "theirs"})
    assert message.startswith(
        'Content pack "theirs" is not found or doesn\'t contain actions directory.'
    )
    for pack in ("default", "sandbox"):
        assert api.request("POST", "/actions", {**JOB, "pack": pack}).status_code == 201


def test_changed_action_keeps_its_id(api: Api) -> None:
    made = api.request("POST", "/actions", JOB).json()
    changed = api.request("PUT", "/actions/mypack.job", {**JOB, "description": "new"})
    assert (changed.status_code, changed.json()) == (200, {**made, "description": "new"})
    named = api.request("PUT", f"/actions/{made['id']}", {**JOB, "name": "task"}).json()
    assert (named["id"], named["ref"]) == (made["id"], "mypack.task")
    assert api.request("GET", "/actions/mypack.job").status_code == 404
    assert api.request("DELETE", "/actions/mypack.task").status_code == 204
    assert api.fault(404, "PUT", "/actions/mypack.task", JOB)


def test_action_cannot_be_renamed_to_an_existing_one(api: Api) -> None:
    for name in ("one", "two"):
        assert api.request("POST", "/actions", {**JOB, "name": name}).status_code == 201
    assert api.fault(409, "PUT", "/actions/mypack.one", {**JOB, "name": "two"})
    assert {action["ref"] for action in api.request("GET", "/actions?pack=mypack").json()} == {
        "mypack.one",
        "mypack.two",
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/actions", {**JOB, "pack": "core"}),
        ("PUT", "/actions/core.noop", {**JOB, "pack": "core"}),
        ("DELETE", "/actions/core.noop", None),
    ],
)
def test_pack_core_cannot_be_changed(api: Api, method: str, path: str, body: Any) -> None:
    assert "system level packs" in api.fault(400, method, path, body)
    assert api.run("core.noop")["status"] == "succeeded"


def test_execution_stays_canceling_if_its_runner_fails_to_cancel(api: Api) -> None:
    def fail_to_cancel(request: RunRequest) -> RunResult:
        raise OSError("no connection")

    api.st2.register_runner(
        "not-cancelable", Runner(lambda _: RunResult("running", {"a": 1}), fail_to_cancel)
    )
    api.st2.register_action({"name": "stay", "runner_type": "not-cancelable"})
    started = api.request("POST", "/executions", {"action": "default.stay"}).json()["id"]
    api.st2.executions.wait(started, {"running"})
    assert api.request("DELETE", f"/executions/{started}").status_code == 200
    with pytest.raises(TimeoutError):
        api.st2.executions.wait(started, timeout=0.3)
    ended = api.request("PUT", f"/executions/{started}", {"status": "canceled"})
    assert ended.json()["status"] == "canceled"


def test_runner_reads_actions_and_contexts(api: Api) -> None:
    found: dict[str, Any] = {}

    def look(request: RunRequest) -> RunResult:
        found["noop"] = request.action_of("core.noop")
        found["local"] = request.action_of("core.local")
        found["unknown"] = request.action_of("core.nope"), request.context_of("0" * 24)
        found["context"] = request.context_of(request.execution["id"])
        return RunResult("succeeded", {"a": 1})

    api.st2.register_runner("reading", look)
    api.st2.register_action({"name": "look", "runner_type": "reading"})
    assert api.run("default.look")["status"] == "succeeded"
    assert (found["noop"]["enabled"], found["noop"]["parameters"]) == (True, {})
    local = found["local"]["parameters"]
    assert local["timeout"]["default"] == 60
    # Merged from the action and its runner.
    assert local["sudo"]["immutable"] is True
    assert local["sudo"]["type"] == "boolean"
    assert found["unknown"] == (None, None)
    assert found["context"] == {"user": "st2admin", "pack": "default"}


def test_tasks_are_re_run_only_for_orquesta(api: Api) -> None:
    re_run = {"parameters": {}, "tasks": ["a", "b"], "reset": ["a"], "delay": 0}
    other = api.run("core.noop")
    message = api.fault(400, "POST", f"/executions/{other['id']}/re_run", re_run)
    assert message == "Task option is only supported for Orquesta workflows."

    assert api.request("POST", "/actions", {**JOB, "runner_type": "orquesta"}).status_code == 201
    first = api.run("mypack.job")
    second = api.request("POST", f"/executions/{first['id']}/re_run", re_run)
    assert second.status_code == 201
    assert second.json()["context"]["re-run"] == {
        "ref": first["id"],
        "tasks": ["a", "b"],
        "reset": ["a"],
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tasks": ["a"], "parameters": {"x": 1}}, "Parameters override is not supported"),
        ({"tasks": ["a"], "reset": ["b"]}, "List of tasks to reset does not match"),
        ({"tasks": "a"}, "'a' is not of type 'array'"),
    ],
)
def test_invalid_re_run_is_rejected(api: Api, body: dict[str, Any], message: str) -> None:
    first = api.run("core.noop")
    assert message in api.fault(400, "POST", f"/executions/{first['id']}/re_run", body)
    assert len(api.st2.executions.all()) == 1


def test_re_run_of_an_unknown_execution_is_rejected(api: Api) -> None:
    assert api.fault(404, "POST", f"/executions/{'0' * 24}/re_run", {"tasks": ["a"]})
