"""Actions that are made and changed over the API, and executions that are run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm

JOB = {"pack": "ours", "name": "job", "runner_type": "reader", "entry_point": "workflows/job.yaml"}


def read(request: RunRequest) -> RunResult:
    assert request.entry_point
    return RunResult("succeeded", {"text": request.entry_point.read_text()})


class Api:
    def __init__(self, st2: StackStorm) -> None:
        self.st2, self._key = st2, st2.create_api_key()

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"St2-Api-Key": self._key}
        return requests.request(method, self.st2.api_url + path, json=body, headers=headers, timeout=10)

    def run(self, action: str, **parameters: Any) -> dict[str, Any]:
        body = {"action": action, "parameters": parameters}
        posted = self.ask("POST", "/executions", body)
        assert posted.status_code == 201, posted.text
        return self.st2.executions.wait(posted.json()["id"])

    def refused(self, status: int, method: str, path: str, body: Any = None) -> str:
        answer = self.ask(method, path, body)
        assert answer.status_code == status, answer.text
        return str(answer.json()["faultstring"])


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    file = tmp_path / "ours" / "actions" / "workflows" / "job.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("of a file")
    with StackStorm(runners={"reader": read, "orquesta": read}, packs=tmp_path) as st2:
        yield Api(st2)


def test_the_entry_point_of_an_action_is_in_its_pack(api: Api) -> None:
    assert api.ask("POST", "/actions", JOB).status_code == 201
    assert api.run("ours.job")["result"] == {"text": "of a file"}


def test_an_action_is_made_once_and_only_in_a_pack(api: Api) -> None:
    assert api.ask("POST", "/actions", JOB).status_code == 201
    assert "already exists" in api.refused(409, "POST", "/actions", JOB)
    told = api.refused(400, "POST", "/actions", {**JOB, "pack": "theirs"})
    assert told.startswith('Content pack "theirs" is not found or doesn\'t contain actions directory.')
    for pack in ("default", "sandbox"):
        assert api.ask("POST", "/actions", {**JOB, "pack": pack}).status_code == 201


def test_an_action_is_changed_and_keeps_its_id(api: Api) -> None:
    made = api.ask("POST", "/actions", JOB).json()
    changed = api.ask("PUT", "/actions/ours.job", {**JOB, "description": "new"})
    assert (changed.status_code, changed.json()) == (200, {**made, "description": "new"})
    named = api.ask("PUT", f"/actions/{made['id']}", {**JOB, "name": "task"}).json()
    assert (named["id"], named["ref"]) == (made["id"], "ours.task")
    assert api.ask("GET", "/actions/ours.job").status_code == 404
    assert api.ask("DELETE", "/actions/ours.task").status_code == 204
    assert api.refused(404, "PUT", "/actions/ours.task", JOB)


def test_a_changed_action_takes_no_name_of_another(api: Api) -> None:
    for name in ("one", "two"):
        assert api.ask("POST", "/actions", {**JOB, "name": name}).status_code == 201
    assert api.refused(409, "PUT", "/actions/ours.one", {**JOB, "name": "two"})
    assert {action["ref"] for action in api.ask("GET", "/actions?pack=ours").json()} == {
        "ours.one",
        "ours.two",
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/actions", {**JOB, "pack": "core"}),
        ("PUT", "/actions/core.noop", {**JOB, "pack": "core"}),
        ("DELETE", "/actions/core.noop", None),
    ],
)
def test_the_pack_core_is_not_changed(api: Api, method: str, path: str, body: Any) -> None:
    assert "system level packs" in api.refused(400, method, path, body)
    assert api.run("core.noop")["status"] == "succeeded"


def test_an_execution_stays_canceling_where_its_runner_cannot_cancel(api: Api) -> None:
    def refuse(request: RunRequest) -> RunResult:
        raise OSError("cannot be told")

    api.st2.register_runner("stubborn", Runner(lambda _: RunResult("running", {"a": 1}), refuse))
    api.st2.register_action({"name": "stay", "runner_type": "stubborn"})
    started = api.ask("POST", "/executions", {"action": "default.stay"}).json()["id"]
    api.st2.executions.wait(started, {"running"})
    assert api.ask("DELETE", f"/executions/{started}").status_code == 200
    with pytest.raises(TimeoutError):
        api.st2.executions.wait(started, timeout=0.3)
    ended = api.ask("PUT", f"/executions/{started}", {"status": "canceled"})
    assert ended.json()["status"] == "canceled"


def test_a_runner_finds_what_is_in_the_database(api: Api) -> None:
    found: dict[str, Any] = {}

    def look(request: RunRequest) -> RunResult:
        found["noop"] = request.parameters_of("core.noop")
        found["local"] = request.parameters_of("core.local")
        found["none"] = request.parameters_of("core.nope"), request.context_of("0" * 24)
        found["context"] = request.context_of(request.execution["id"])
        return RunResult("succeeded", {"a": 1})

    api.st2.register_runner("curious", look)
    api.st2.register_action({"name": "look", "runner_type": "curious"})
    assert api.run("default.look")["status"] == "succeeded"
    assert found["noop"] == {}
    assert found["local"]["timeout"]["default"] == 60
    # What its runner says of it stands beside what the action says.
    assert found["local"]["sudo"]["immutable"] is True
    assert found["local"]["sudo"]["type"] == "boolean"
    assert found["none"] == (None, None)
    assert found["context"] == {"user": "st2admin", "pack": "default"}


def test_tasks_are_run_again_of_orquesta_workflows_only(api: Api) -> None:
    again = {"parameters": {}, "tasks": ["a", "b"], "reset": ["a"], "delay": 0}
    other = api.run("core.noop")
    told = api.refused(400, "POST", f"/executions/{other['id']}/re_run", again)
    assert told == "Task option is only supported for Orquesta workflows."

    assert api.ask("POST", "/actions", {**JOB, "runner_type": "orquesta"}).status_code == 201
    first = api.run("ours.job")
    second = api.ask("POST", f"/executions/{first['id']}/re_run", again)
    assert second.status_code == 201
    assert second.json()["context"]["re-run"] == {
        "ref": first["id"],
        "tasks": ["a", "b"],
        "reset": ["a"],
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"tasks": ["a"], "parameters": {"x": 1}}, "Parameters override is not supported"),
        ({"tasks": ["a"], "reset": ["b"]}, "List of tasks to reset does not match"),
        ({"tasks": "a"}, "'a' is not of type 'array'"),
    ],
)
def test_what_cannot_be_run_again(api: Api, body: dict[str, Any], told: str) -> None:
    first = api.run("core.noop")
    assert told in api.refused(400, "POST", f"/executions/{first['id']}/re_run", body)
    assert len(api.st2.executions.all()) == 1


def test_an_unknown_execution_is_not_run_again(api: Api) -> None:
    assert api.refused(404, "POST", f"/executions/{'0' * 24}/re_run", {"tasks": ["a"]})
