"""Recordings that follow one another: executions that run, change, are cancelled and are found."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from standin_recordings import assert_same, load, send

from st2actions_mistral.sandbox.stackstorm import StackStorm

RECORDINGS = load("lifecycle", "changes", "filters", "executions")


class Client:
    """Repeats recordings against executions of its own, and compares."""

    def __init__(self, st2: StackStorm, fill: dict[str, str]) -> None:
        self.st2, self.fill = st2, dict(fill)

    def post(
        self, action: str, parameters: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        context = more.pop("context", None)
        headers = {"X-Auth-Token": self.fill["{token}"]}
        if context:
            headers["st2-context"] = json.dumps(context)
        body = {"action": action, "parameters": parameters or {}, **more}
        answer = requests.post(f"{self.st2.api_url}/executions", json=body, headers=headers, timeout=10)
        assert answer.status_code == 201, answer.text
        posted: dict[str, Any] = answer.json()
        return posted

    def running(self, action: str, *args: Any, **more: Any) -> str:
        execution_id: str = self.post(action, *args, **more)["id"]
        self.st2.executions.wait(execution_id, {"running", "pending"})
        if action == "exttest.async_job":
            # Running already, but the runner may not have said so yet.
            self.wait_for(lambda: "result" in self.st2.executions.get(execution_id))
        return execution_id

    @staticmethod
    def wait_for(condition: Callable[[], Any]) -> None:
        for _ in range(500):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("did not happen")

    def same(self, name: str, execution_id: str = "", *ignored: str) -> requests.Response:
        """Repeat recording ``name`` on the execution and expect its answer."""
        recording = copy.deepcopy(RECORDINGS[name])
        path = recording["request"]["path"]
        if execution_id:
            parts = path.split("/")
            recorded_id = parts[3].partition("?")[0]
            self.fill[recorded_id] = execution_id
        answer = send(self.st2.base_url, recording, self.fill)
        assert_same(answer, recording, *ignored)
        return answer


@pytest.fixture
def client(st2: StackStorm, fill: dict[str, str]) -> Client:
    return Client(st2, fill)


CALLBACK = {"source": "mistral_v2", "url": "http://127.0.0.1:8989/v2/action_executions/abc"}


def test_a_finished_command_in_every_view(client: Client, st2: StackStorm) -> None:
    done = client.post("core.local", {"cmd": "date"})["id"]
    st2.executions.wait(done)
    for name in ("01_02", "01_06", "01_09", "01_10", "01_11", "01_12", "01_13", "01_07", "01_08"):
        client.same(name, done, "result_size", "stdout")


def test_a_command_that_fails(client: Client, st2: StackStorm) -> None:
    execution = client.running("core.local", {"cmd": "sleep 2; echo hi; exit 3"})
    client.same("01_17", execution)
    st2.executions.wait(execution)
    client.same("01_18", execution)


def test_a_command_that_is_out_of_time_and_is_run_again(client: Client, st2: StackStorm) -> None:
    execution = client.post("core.local", {"cmd": "echo before; sleep 30", "timeout": 2})["id"]
    st2.executions.wait(execution)
    client.same("01_19", execution)
    client.same("01_20", execution)
    client.same("01_21", execution)


def test_a_parent_and_its_child(client: Client, st2: StackStorm) -> None:
    parent = client.same("02_01").json()["id"]
    client.wait_for(lambda: "result" in st2.executions.get(parent))
    client.same("02_02", parent)
    child = client.same("02_03").json()
    st2.executions.wait(child["id"])
    client.same("02_04", child["id"])
    client.same("02_05", parent)
    client.same("02_06", parent)
    client.fill["6b03c160746e6986596007f9"] = child["liveaction"]["id"]
    client.same("02_07")
    client.fill["6b03c160746e6986596007fa"] = child["id"]
    trace = client.same("02_09", "", "uid").json()[0]
    assert [e["object_id"] for e in trace["action_executions"]] == [parent, child["id"]]
    client.same("02_10")


def test_secrets_are_masked_unless_asked_for(client: Client, st2: StackStorm) -> None:
    execution = client.post("exttest.secret_echo", {"pw": "s3cret!"})["id"]
    st2.executions.wait(execution)
    for name in ("08_29", "08_30"):
        shown = client.same(name, execution, "result", "result_size").json()
        assert "pw=s3cret!" in shown["result"]["stdout"]


def test_puts_on_an_asynchronous_execution(client: Client) -> None:
    execution = client.running("exttest.async_job", callback=CALLBACK)
    client.same("03_01", execution)
    for name in ("03_07", "03_08", "03_10", "03_11", "03_12", "03_13", "03_34"):
        client.same(name, execution)
    for name in ("03_02", "03_03", "03_04", "03_05"):
        client.same(name, execution)


@pytest.mark.parametrize("name", ["03_15", "03_16"])
def test_puts_that_end_otherwise(client: Client, name: str) -> None:
    client.same(name, client.running("exttest.async_job", callback=CALLBACK))


def test_cancelling_by_put(client: Client, st2: StackStorm) -> None:
    execution = client.running("exttest.async_job", callback=CALLBACK)
    client.same("03_17", execution)
    st2.executions.wait(execution)
    client.same("03_18", execution)


def test_a_runner_that_takes_its_time_to_cancel(client: Client, st2: StackStorm) -> None:
    stay = {"cancel_mode": "stay"}
    execution = client.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("03_19", execution)
    client.wait_for(lambda: st2.executions.get(execution)["result_size"] == 56)
    client.same("03_20", execution)
    client.same("03_21", execution)
    execution = client.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("03_23", execution)
    client.same("03_24", execution)


def test_pausing_is_refused_and_requested_runs_again(client: Client, st2: StackStorm) -> None:
    execution = client.running("exttest.async_job", callback=CALLBACK)
    for name in ("03_25", "03_26", "03_27", "03_28", "03_29"):
        client.same(name, execution)
    client.wait_for(lambda: st2.executions.get(execution)["result"] == {"note": "started"})
    client.same("03_30", execution)


def test_a_put_beats_the_process(client: Client, st2: StackStorm) -> None:
    execution = client.running("core.local", {"cmd": "sleep 3; echo real"})
    client.same("03_31", execution)
    client.wait_for(lambda: st2.executions.find(execution).output)
    client.same("03_32", execution)


def test_an_empty_first_result_fails(client: Client, st2: StackStorm) -> None:
    execution = client.post("exttest.async_job", {"first_result": {}})["id"]
    st2.executions.wait(execution)
    # The size that StackStorm keeps is that of the empty result before.
    client.same("03_33", execution, "result_size")


def test_inquiries(client: Client, st2: StackStorm) -> None:
    execution = client.same("03_40").json()["id"]
    st2.executions.wait(execution, {"pending"})
    for name in ("03_41", "03_42"):
        client.same(name, execution)
    execution = client.running("core.ask")
    for name in ("03_44", "03_45", "03_46", "03_47", "03_48"):
        client.same(name, execution)


def test_cancelling_a_command(client: Client, st2: StackStorm) -> None:
    execution = client.running("core.local", {"cmd": "sleep 20"})
    client.same("04_70", execution)
    st2.executions.wait(execution)
    for name in ("04_72", "04_73"):
        client.same(name, execution)
    execution = client.post("core.noop")["id"]
    st2.executions.wait(execution)
    client.same("04_74", execution)


def test_cancelling_what_is_being_cancelled(client: Client) -> None:
    execution = client.running("exttest.async_job", {"cancel_mode": "stay"})
    client.same("03_23", execution, "callback")
    client.same("04_71", execution)


def test_cancelling_what_is_delayed(client: Client, st2: StackStorm) -> None:
    execution = client.post("core.noop", delay=8000)["id"]
    st2.executions.wait(execution, {"delayed"})
    client.same("04_76", execution)
    client.same("04_77", execution)


def test_cancelling_a_parent_leaves_its_child(client: Client, st2: StackStorm) -> None:
    parent = client.running("exttest.async_job")
    context = {"parent": {"execution_id": parent}}
    child = client.running("core.local", {"cmd": "sleep 20"}, context=context)
    client.same("04_78", parent)
    client.same("04_79", child)
    client.same("04_80", child)
    st2.executions.wait(child)
    client.same("04_81", child)


def test_filters(client: Client, st2: StackStorm) -> None:
    parent = client.running(
        "exttest.async_job", context={"trace_context": {"trace_tag": "filter-trace"}}
    )
    children = []
    for number, (action, parameters) in enumerate(
        [("core.noop", {}), ("core.local", {"cmd": "true"})], start=1
    ):
        context = {
            "parent": {"execution_id": parent},
            "mistral": {"action_execution_id": f"aex-{number}", "workflow_name": "wf"},
        }
        children.append(client.post(action, parameters, context=context)["id"])
        st2.executions.wait(children[-1])
    client.fill |= {
        "6b03c383746e6986596008e6": parent,
        "6b03c383746e6986596008e9": children[0],
        "6b03c383746e6986596008eb": children[1],
    }
    for name in ("08_01", "08_02", "08_03", "08_08", "08_15", "08_16", "08_40", "08_41", "08_45"):
        client.same(name)
