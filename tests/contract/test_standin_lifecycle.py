"""Sequences of requests: executions that run, are changed and are cancelled."""

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
    "get_succeeded",
    "children_none",
    "output",
    "output_stdout",
    "result",
    "attribute_status",
    "get_include_attributes",
    "get_exclude_result",
    "get_max_result_size",
    "get_last",
)
def test_finished_command_in_every_view(client: Client, target: Target) -> None:
    done = target.ran("core.local", {"cmd": "date"})
    client.same("get_last", "last", "result_size", "stdout")
    for name in (
        "get_succeeded",
        "children_none",
        "result",
        "attribute_status",
        "get_include_attributes",
        "get_exclude_result",
        "get_max_result_size",
        "output",
        "output_stdout",
    ):
        client.same(name, done, "result_size", "stdout")


@pytest.mark.recordings("get_running", "get_failed_rc3")
def test_failed_command(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 2; echo hi; exit 3"})
    client.same("get_running", execution)
    target.wait(execution)
    client.same("get_failed_rc3", execution)


@pytest.mark.recordings("get_timeout", "output_of_timeout", "rerun")
def test_command_that_exceeds_its_timeout_and_is_re_run(client: Client, target: Target) -> None:
    execution = target.ran("core.local", {"cmd": "echo before; sleep 30", "timeout": 2})
    client.same("get_timeout", execution)
    client.same("output_of_timeout", execution)
    client.same("rerun", execution)


@pytest.mark.recordings("list_params_failed_exec")
def test_invalid_parameter_leaves_a_failed_execution(client: Client, target: Target) -> None:
    body = client.recordings["list_params_failed_exec"]["response"]["body"][0]
    response = target.ask(
        "POST",
        "/executions",
        {
            "action": "core.local",
            "parameters": body["parameters"],
            "notify": body["liveaction"]["notify"],
        },
        **{"st2-context": '{"mistral": {"action_execution_id": "param-fail"}}'},
    )
    assert response.status_code == 400
    client.same("list_params_failed_exec", "", totals=False)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "post_parent_async",
    "parent_running_before",
    "post_child_context_callback_notify",
    "child_final",
    "parent_after",
    "parent_children",
    "child_liveaction_id_lookup",
    "traces_of_parent",
    "traces_of_child",
    "child_with_parent_user",
    "parent_children_deep",
    "parent_children_depth1",
)
def test_parent_and_its_children(client: Client, target: Target) -> None:
    parent = client.same("post_parent_async").json()["id"]
    target.wait_for(lambda: "result" in target.shown(parent))
    client.same("parent_running_before", parent)
    child = client.same("post_child_context_callback_notify").json()
    target.wait(child["id"])
    client.same("child_final", child["id"])
    client.same("parent_after", parent)
    client.same("parent_children", parent)
    client.fill["6b03c160746e6986596007f9"] = child["liveaction"]["id"]
    client.same("child_liveaction_id_lookup")
    client.fill["6b03c160746e6986596007fa"] = child["id"]
    for name in ("traces_of_parent", "traces_of_child"):
        trace = client.same(name, "", "uid").json()[0]
        assert [e["object_id"] for e in trace["action_executions"]] == [parent, child["id"]]
    target.wait(client.same("child_with_parent_user").json()["id"])
    for name in ("parent_children_deep", "parent_children_depth1"):
        client.same(name, parent)


@pytest.mark.recordings("query_secret_masked", "query_secret_shown")
def test_secrets_are_masked_unless_requested(client: Client, target: Target) -> None:
    execution = target.ran("exttest.secret_echo", {"pw": "s3cret!"})
    for name in ("query_secret_masked", "query_secret_shown"):
        shown = client.same(name, execution, "result", "result_size").json()
        assert "pw=s3cret!" in shown["result"]["stdout"]


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "running_async",
    "put_succeeded_running_async",
    "get_after",
    "put_completed",
    "put_completed_failed",
    "put_invalid_status",
    "put_no_status",
    "get_after_no_status",
    "put_end_timestamp",
    "put_result_string",
    "put_result_list",
    "put_running_partial_result",
    "get_after_partial",
    "put_empty_body",
)
def test_put_changes_an_asynchronous_execution(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    for name in (
        "running_async",
        "put_invalid_status",
        "put_no_status",
        "get_after_no_status",
        "put_end_timestamp",
        "put_result_string",
        "put_result_list",
        "put_running_partial_result",
        "get_after_partial",
    ):
        client.same(name, execution)
    for name in (
        "put_empty_body",
        "put_succeeded_running_async",
        "get_after",
        "put_completed",
        "put_completed_failed",
    ):
        client.same(name, execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("put_failed", "put_timeout")
def test_put_failed_and_timeout(client: Client, target: Target) -> None:
    for name in ("put_failed", "put_timeout"):
        client.same(name, target.running("exttest.async_job", callback=CALLBACK))


@pytest.mark.needs("runner")
@pytest.mark.recordings("put_canceled_running", "get_after_canceled")
def test_put_canceled(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    client.same("put_canceled_running", execution)
    target.wait(execution)
    client.same("get_after_canceled", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "put_canceling_stay",
    "get_canceling",
    "put_canceled_from_canceling",
    "get_canceled",
    "delete_running_async_stay",
    "put_succeeded_from_canceling",
)
def test_runner_that_stays_canceling(client: Client, target: Target) -> None:
    stay = {"cancel_mode": "stay"}
    execution = target.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("put_canceling_stay", execution)
    target.wait_for(lambda: target.shown(execution)["result_size"] == 56)
    for name in ("get_canceling", "put_canceled_from_canceling", "get_canceled"):
        client.same(name, execution)
    execution = target.running("exttest.async_job", stay, callback=CALLBACK)
    client.same("delete_running_async_stay", execution)
    client.same("put_succeeded_from_canceling", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "put_pausing_nonworkflow",
    "put_paused_nonworkflow",
    "put_resuming_nonworkflow",
    "put_pending",
    "put_requested",
    "get_after_requested",
)
def test_put_rejects_pausing_and_requested_runs_again(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", callback=CALLBACK)
    for name in (
        "put_pausing_nonworkflow",
        "put_paused_nonworkflow",
        "put_resuming_nonworkflow",
        "put_pending",
        "put_requested",
    ):
        client.same(name, execution)
    target.wait_for(lambda: target.shown(execution)["result"] == {"note": "started"})
    client.same("get_after_requested", execution)


@pytest.mark.recordings("put_succeeded_running_corelocal", "get_after_process_end")
def test_put_wins_over_the_result_of_the_process(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 3; echo real"})
    client.same("put_succeeded_running_corelocal", execution)
    target.wait_for(lambda: target.ask("GET", f"/executions/{execution}/output").text)
    client.same("get_after_process_end", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings("async_runner_empty_result")
def test_empty_first_result_fails(client: Client, target: Target) -> None:
    execution = target.ran("exttest.async_job", {"first_result": {}})
    # StackStorm stores the size of the empty result.
    client.same("async_runner_empty_result", execution, "result_size")


@pytest.mark.recordings(
    "post_core_ask",
    "get_pending",
    "put_pending_succeeded",
    "get_pending_after",
    "delete_pending",
    "put_canceled_pending",
    "inquiry_get",
    "inquiry_respond",
    "get_after_respond",
)
def test_inquiry_is_answered(client: Client, target: Target) -> None:
    execution = client.same("post_core_ask").json()["id"]
    target.wait(execution, {"pending"})
    for name in ("get_pending", "put_pending_succeeded", "get_pending_after"):
        client.same(name, execution)
    execution = target.post("core.ask")["id"]
    # It is running for a moment before it is pending.
    target.wait(execution, {"pending"})
    for name in (
        "delete_pending",
        "put_canceled_pending",
        "inquiry_get",
        "inquiry_respond",
        "get_after_respond",
    ):
        client.same(name, execution)


@pytest.mark.recordings("delete_running", "get_after_delete", "delete_canceled", "delete_succeeded")
def test_cancel_a_command(client: Client, target: Target) -> None:
    execution = target.running("core.local", {"cmd": "sleep 20"})
    client.same("delete_running", execution)
    target.wait(execution)
    for name in ("get_after_delete", "delete_canceled"):
        client.same(name, execution)
    client.same("delete_succeeded", target.ran("core.noop"))


@pytest.mark.needs("runner")
@pytest.mark.recordings("delete_again_immediately")
def test_cancel_an_execution_that_is_canceling(client: Client, target: Target) -> None:
    execution = target.running("exttest.async_job", {"cancel_mode": "stay"})
    target.ask("DELETE", f"/executions/{execution}")
    client.same("delete_again_immediately", execution)


@pytest.mark.recordings("delete_delayed", "get_delayed_deleted")
def test_cancel_a_delayed_execution(client: Client, target: Target) -> None:
    execution = target.post("core.noop", delay=8000)["id"]
    target.wait(execution, {"delayed"})
    client.same("delete_delayed", execution)
    client.same("get_delayed_deleted", execution)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "delete_parent_async", "child_after_parent_cancel", "delete_child", "child_canceled"
)
def test_cancelled_parent_leaves_its_child_running(client: Client, target: Target) -> None:
    parent = target.running("exttest.async_job")
    context = {"parent": {"execution_id": parent}}
    child = target.running("core.local", {"cmd": "sleep 20"}, context=context)
    client.same("delete_parent_async", parent)
    client.same("child_after_parent_cancel", child)
    client.same("delete_child", child)
    target.wait(child)
    client.same("child_canceled", child)
