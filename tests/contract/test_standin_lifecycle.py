"""Recordings that follow one another: executions that run, change and are cancelled."""

from __future__ import annotations

import pytest
from support.contract.client import Client, NewClient
from support.contract.recordings import load
from support.contract.target import Target

RECORDINGS = load("lifecycle", "changes", "traces")
CALLBACK = {"source": "mistral_v2", "url": "http://127.0.0.1:8989/v2/action_executions/abc"}


@pytest.fixture
def client(new_client: NewClient) -> Client:
    return new_client(RECORDINGS)


@pytest.mark.recordings(
    "01_02", "01_06", "01_07", "01_08", "01_09", "01_10", "01_11", "01_12", "01_13", "01_16"
)
def test_a_finished_command_in_every_view(client: Client, target: Target) -> None:
    done = target.ran("core.local", {"cmd": "date"})
    client.same("01_16", "last", "result_size", "stdout")
    for name in ("01_02", "01_06", "01_09", "01_10", "01_11", "01_12", "01_13", "01_07", "01_08"):
        client.same(name, done, "result_size", "stdout")


@pytest.mark.recordings("01_17", "01_18")
def test_a_command_that_fails(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 2; echo hi; exit 3"})
    client.same("01_17", execution)
    target.wait(execution)
    client.same("01_18", execution)


@pytest.mark.recordings("01_19", "01_20", "01_21")
def test_a_command_that_is_out_of_time_and_is_run_again(client: Client, target: Target) -> None:
    execution = target.ran("core.local", {"cmd": "echo before; sleep 30", "timeout": 2})
    client.same("01_19", execution)
    client.same("01_20", execution)
    client.same("01_21", execution)


@pytest.mark.recordings("07_06")
def test_what_cannot_be_rendered_is_kept_as_failed(client: Client, target: Target) -> None:
    body = client.recordings["07_06"]["response"]["body"][0]
    refused = target.ask(
        "POST",
        "/executions",
        {
            "action": "core.local",
            "parameters": body["parameters"],
            "notify": body["liveaction"]["notify"],
        },
        **{"st2-context": '{"mistral": {"action_execution_id": "param-fail"}}'},
    )
    assert refused.status_code == 400
    client.same("07_06", "", totals=False)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "02_01", "02_02", "02_03", "02_04", "02_05", "02_06", "02_07", "02_08", "02_09", "02_10",
    "02_25", "02_26",
)  # fmt: skip
def test_a_parent_and_its_children(client: Client, target: Target) -> None:
    parent = client.same("02_01").json()["id"]
    target.wait_for(lambda: "result" in target.shown(parent))
    client.same("02_02", parent)
    child = client.same("02_03").json()
    target.wait(child["id"])
    client.same("02_04", child["id"])
    client.same("02_05", parent)
    client.same("02_06", parent)
    client.fill["6b03c160746e6986596007f9"] = child["liveaction"]["id"]
    client.same("02_07")
    client.fill["6b03c160746e6986596007fa"] = child["id"]
    for name in ("02_08", "02_09"):
        trace = client.same(name, "", "uid").json()[0]
        assert [e["object_id"] for e in trace["action_executions"]] == [parent, child["id"]]
    target.wait(client.same("02_10").json()["id"])
    for name in ("02_25", "02_26"):
        client.same(name, parent)


@pytest.mark.recordings("08_29", "08_30")
def test_secrets_are_masked_unless_asked_for(client: Client, target: Target) -> None:
    execution = target.ran("exttest.secret_echo", {"pw": "s3cret!"})
    for name in ("08_29", "08_30"):
        shown = client.same(name, execution, "result", "result_size").json()
        assert "pw=s3cret!" in shown["result"]["stdout"]


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "03_01", "03_02", "03_03", "03_04", "03_05", "03_07", "03_08", "03_09", "03_10", "03_11",
    "03_12", "03_13", "03_14", "03_34",
)  # fmt: skip
def test_puts_on_an_asynchronous_execution(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    for name in ("03_01", "03_07", "03_08", "03_09", "03_10", "03_11", "03_12", "03_13", "03_14"):
        client.same(name, execution)
    for name in ("03_34", "03_02", "03_03", "03_04", "03_05"):
        client.same(name, execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("03_15", "03_16")
def test_puts_that_end_otherwise(client: Client, target: Target) -> None:
    for name in ("03_15", "03_16"):
        client.same(name, target.running("exttest.async_job", callback=CALLBACK))


@pytest.mark.needs("runner")
@pytest.mark.recordings("03_17", "03_18")
def test_cancelling_by_put(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    client.same("03_17", execution)
    target.wait(execution)
    client.same("03_18", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("03_19", "03_20", "03_21", "03_22", "03_23", "03_24")
def test_a_runner_that_takes_its_time_to_cancel(client: Client, target: Target) -> None:
    stay = {"cancel_mode": "stay"}
    execution = target.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("03_19", execution)
    target.wait_for(lambda: target.shown(execution)["result_size"] == 56)
    for name in ("03_20", "03_21", "03_22"):
        client.same(name, execution)
    execution = target.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("03_23", execution)
    client.same("03_24", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("03_25", "03_26", "03_27", "03_28", "03_29", "03_30")
def test_pausing_is_refused_and_requested_runs_again(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    for name in ("03_25", "03_26", "03_27", "03_28", "03_29"):
        client.same(name, execution)
    target.wait_for(lambda: target.shown(execution)["result"] == {"note": "started"})
    client.same("03_30", execution)


@pytest.mark.recordings("03_31", "03_32")
def test_a_put_beats_the_process(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 3; echo real"})
    client.same("03_31", execution)
    target.wait_for(lambda: target.ask("GET", f"/executions/{execution}/output").text)
    client.same("03_32", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("03_33")
def test_an_empty_first_result_fails(client: Client, target: Target) -> None:
    execution = target.ran("exttest.async_job", {"first_result": {}})
    # The size that StackStorm keeps is that of the empty result before.
    client.same("03_33", execution, "result_size")


@pytest.mark.recordings("03_40", "03_41", "03_42", "03_43", "03_44", "03_45", "03_46", "03_47", "03_48")
def test_inquiries(client: Client, target: Target) -> None:
    execution = client.same("03_40").json()["id"]
    target.wait(execution, {"pending"})
    for name in ("03_41", "03_42", "03_43"):
        client.same(name, execution)
    execution = target.post("core.ask")["id"]
    # It runs for a moment before it waits for the answer.
    target.wait(execution, {"pending"})
    for name in ("03_44", "03_45", "03_46", "03_47", "03_48"):
        client.same(name, execution)


@pytest.mark.recordings("04_70", "04_72", "04_73", "04_74")
def test_cancelling_a_command(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 20"})
    client.same("04_70", execution)
    target.wait(execution)
    for name in ("04_72", "04_73"):
        client.same(name, execution)
    client.same("04_74", target.ran("core.noop"))


@pytest.mark.needs("runner")
@pytest.mark.recordings("04_71")
def test_cancelling_what_is_being_cancelled(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", {"cancel_mode": "stay"})
    target.ask("DELETE", f"/executions/{execution}")
    client.same("04_71", execution)


@pytest.mark.recordings("04_76", "04_77")
def test_cancelling_what_is_delayed(client: Client, target: Target) -> None:
    execution = target.post("core.noop", delay=8000)["id"]
    target.wait(execution, {"delayed"})
    client.same("04_76", execution)
    client.same("04_77", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("04_78", "04_79", "04_80", "04_81")
def test_cancelling_a_parent_leaves_its_child(client: Client, target: Target) -> None:
    parent = target.running("exttest.async_job")
    context = {"parent": {"execution_id": parent}}
    child = target.running("core.local", {"cmd": "sleep 20"}, context=context)
    client.same("04_78", parent)
    client.same("04_79", child)
    client.same("04_80", child)
    target.wait(child)
    client.same("04_81", child)
