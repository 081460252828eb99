from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    break_in_body,
    forward,
    hang_up,
    refusing,
    reset,
    stall,
    stall_in_body,
)
from support.clients import EXECUTION, FAST, IDS, RETRYING, Pauses, child_row, to_st2

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.limits import Limits
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model.context import MistralIds, Parent
from st2actions_mistral.model.links import WorkflowRef
from st2actions_mistral.model.st2_action import St2Action


def child(ids: MistralIds = IDS, **more: Any) -> ExecutionRequest:
    return ExecutionRequest(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


def children_of(st2: StackStorm, action_execution_id: str) -> list[dict[str, Any]]:
    return [
        execution
        for execution in st2.executions.all()
        if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
    ]


def test_create_execution_is_not_repeated() -> None:
    with BreakingServer(reset()) as server, to_st2(server.url) as st2_client:
        with pytest.raises(OutcomeUnknown):
            st2_client.create_execution("core.noop", {})
        assert len(server.requests) == 1


# -- reads -----------------------------------------------------------------------------------------


def test_find_children_by_action(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="find-me")
    with to_st2(st2.api_url, key) as st2_client:
        assert st2_client.find_children("find-me", "finder") == []
        made = schedule(st2_client, child(ids))
        [found] = st2_client.find_children("find-me", "finder")
    assert found["id"] == made["id"]
    assert found["context"]["mistral"] == ids.as_dict()


def test_log_escapes_ids_from_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    twice = [child_row("a\nb", "e1\nFAKE"), child_row("a\nb", "e2\nFAKE")]
    with BreakingServer(answer(200, twice)) as server, to_st2(server.url) as st2_client:
        assert len(st2_client.find_children("a\nb", "mistral")) == 2
    assert "has two executions" in caplog.text
    assert "\nFAKE" not in caplog.text
    assert "a\nb" not in caplog.text


def test_find_children_ignores_other_sites(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        theirs = schedule(st2_client, child(MistralIds("original", action_execution_id="copied")))
        assert st2_client.find_children("copied", "copy") == []
        ours = schedule(
            st2_client, child(MistralIds("copy", action_execution_id="copied")), lookup_first_after=0
        )
        assert [row["id"] for row in st2_client.find_children("copied", "copy")] == [ours["id"]]
    assert ours["id"] != theirs["id"]


def test_cancel_leaves_a_final_execution_alone(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="cancel")
    with to_st2(st2.api_url, key) as st2_client:
        made = schedule(st2_client, child(ids, ref="core.local", parameters={"cmd": "sleep 60"}))
        st2.executions.wait(made["id"], {"running"})
        assert st2_client.cancel(made["id"]) == "canceling"
        assert st2.executions.wait(made["id"])["status"] == "canceled"
        assert st2_client.cancel(made["id"]) == "canceled"
        assert st2_client.cancel("0" * 24) is None


def test_refused_cancel_returns_the_status(st2: StackStorm, key: str) -> None:
    ids = MistralIds("asker", action_execution_id="ask")
    with to_st2(st2.api_url, key) as st2_client:
        made = schedule(st2_client, child(ids, ref="core.ask", parameters={}))
        st2.executions.wait(made["id"], {"pending"})
        assert st2_client.cancel(made["id"]) == "pending"
        assert [row["id"] for row in st2_client.pending("asker")] == [made["id"]]
        assert list(st2_client.pending("other")) == []


@pytest.mark.parametrize("body", [{}, {"faultstring": "no"}, {"faultstring": 1}])
def test_cancel_without_a_status_is_unknown(body: dict[str, Any]) -> None:
    with (
        BreakingServer(answer(200, body)) as server,
        to_st2(server.url) as st2_client,
        pytest.raises(OutcomeUnknown),
    ):
        st2_client.cancel("0" * 24)


def test_parents_of_a_site() -> None:
    def workflow(request: RunRequest) -> RunResult:
        return RunResult("running", {"note": "x"}, WorkflowRef("here", "w-1", "n").as_context({}))

    with StackStorm(runners={"mistral-v2": workflow}) as st2:
        st2.register_action({"pack": "test", "name": "wf", "runner_type": "mistral-v2"})
        with to_st2(st2.api_url, st2.create_api_key()) as st2_client:
            made = [st2_client.create_execution("test.wf", {})["id"] for _ in range(2)]
            while not all("mistral_workflow" in st2.executions.get(id_)["context"] for id_ in made):
                time.sleep(0.01)
            st2_client.finish(made[1], "succeeded", {"x": 1})
            assert [row["id"] for row in st2_client.parents("here")] == made[:1]
            assert list(st2_client.parents("elsewhere")) == []


def test_children_since_reads_all_pages(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key, Timeouts(5, 5, 10)) as st2_client:
        made = [
            schedule(st2_client, child(MistralIds(site, action_execution_id=f"{site}{i}")))["id"]
            for site in ("one", "other")
            for i in range(101 if site == "one" else 2)
        ]
        since = datetime.now(timezone.utc)
        listed = list(st2_client.children_since("one", since))
        assert [entry["id"] for entry in listed] == made[100::-1]
        assert {"id", "status", "context"} <= listed[0].keys()
        assert len(list(st2_client.children_since("other", since))) == 2
        assert list(st2_client.children_since("none", since)) == []
        later = since + timedelta(hours=25)
        assert list(st2_client.children_since("one", later)) == []
        statuses = dict(st2_client.statuses([*made, "0" * 24]))
        assert set(statuses) == set(made)
        assert dict(st2_client.statuses([])) == {}


def test_children_of_a_workflow(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        above = [st2_client.create_execution("core.noop", {})["id"] for _ in range(2)]
        made = [
            schedule(
                st2_client,
                ExecutionRequest(
                    "core.noop", {}, MistralIds("s", workflow_execution_id=workflow), Parent(parent)
                ),
            )["id"]
            for workflow, parent in (("w", above[0]), ("w", above[1]), ("other", above[0]))
        ]
        now = datetime.now(timezone.utc)
        listed = list(st2_client.children_of("w", since=now))
        assert [row["id"] for row in listed] == made[:2]
        assert {"id", "status", "context"} <= listed[0].keys()
        assert [row["id"] for row in st2_client.children_of("w", below=above[1])] == made[1:2]
        assert list(st2_client.children_of("w", since=now + timedelta(hours=25))) == []


def _small_pages(rows: list[dict[str, Any]], largest: int, status: int) -> Behaviour:
    """Behave as a StackStorm with a max_page_size of its own."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        query = parse_qs(urlsplit(exchange.request.path).query)
        limit, offset = int(query["limit"][0]), int(query.get("offset", ["0"])[0])
        if limit > largest:
            message = f'Limit "{limit}" specified, maximum value is "{largest}"'
            return answer(status, {"faultstring": message})(exchange)
        ids = query["id"][0].split(",") if "id" in query else [entry["id"] for entry in rows]
        found = [entry for entry in rows if entry["id"] in ids]
        return answer(200, found[offset : offset + limit])(exchange)

    return act


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("largest", [1, 7, 50, 99])
def test_page_size_adapts_to_max_page_size(largest: int, status: int) -> None:
    rows = [child_row("a1", f"{n:024x}") for n in range(120)]
    script = _small_pages(rows, largest, status)
    with BreakingServer(script) as server, to_st2(server.url) as st2:
        assert [found["id"] for found in st2.find_children("a1", "mistral")] == [
            e["id"] for e in rows[:largest]
        ]
        assert list(st2.parents("here"))[:120] == rows
        assert [id_ for id_, _ in st2.statuses([e["id"] for e in rows])] == [e["id"] for e in rows]
        # The first page is rejected once.
        limits = [parse_qs(urlsplit(r.path).query)["limit"] for r in server.requests]
        assert limits[0] == ["100"]
        assert limits[1:] == [[str(largest)]] * (len(limits) - 1)


@pytest.mark.parametrize("allowed", ["100", "1000", "0", "x"])
def test_useless_page_size_is_raised(allowed: str) -> None:
    message = f'Limit "100" specified, maximum value is "{allowed}"'
    with BreakingServer(answer(403, {"faultstring": message})) as server:
        with to_st2(server.url) as st2, pytest.raises(Answered, match="maximum value"):
            list(st2.parents("here"))
        assert len(server.requests) == 1


def _page(first: int, length: int = 100) -> Behaviour:
    return answer(200, [{"id": str(first + n), "status": "running"} for n in range(length)])


def test_endless_listing_is_an_error() -> None:
    with BreakingServer(_page(0)) as server:
        with to_st2(server.url) as st2, pytest.raises(OutcomeUnknown, match="without a new row"):
            list(st2.parents("here"))
        assert len(server.requests) == 4


def test_repeating_listing_is_an_error() -> None:
    script = [_page(0), _page(100)] * 10
    with (
        BreakingServer(*script) as server,
        to_st2(server.url) as st2,
        pytest.raises(OutcomeUnknown, match="without a new row"),
    ):
        list(st2.children_since("here", datetime.now(timezone.utc)))


def test_shifting_listing_ends() -> None:
    """Executions that are created at its front shift its rows, at worst by whole pages."""
    script = [_page(0), _page(95), _page(95), _page(95), _page(195), _page(195, 5)]
    with BreakingServer(*script) as server, to_st2(server.url) as st2:
        rows = st2.children_since("here", datetime.now(timezone.utc))
        assert {row["id"] for row in rows} == {str(n) for n in range(295)}


def test_statuses_ignores_invalid_ids() -> None:
    """StackStorm rejects the whole request for one invalid id."""
    id_ = "6b03c160746e6986596007f7"
    rows = [{"id": id_, "status": "running"}]
    with BreakingServer(answer(200, rows)) as server, to_st2(server.url) as st2_client:
        strange = ["x" * 70_000, "last", id_, f"{id_},{id_}"]
        assert dict(st2_client.statuses(strange)) == {id_: "running"}
        assert dict(st2_client.statuses(["x"])) == {}
        [request] = server.requests
    assert parse_qs(urlsplit(request.path).query)["id"] == [id_]


@pytest.mark.parametrize("body", [[5], [{"id": "x"}], [{"status": "running"}], {}, None])
def test_listing_of_another_shape_is_unknown(body: Any) -> None:
    with (
        BreakingServer(answer(200, body)) as server,
        to_st2(server.url, timeouts=Timeouts(1, 1, 0)) as st2_client,
    ):
        for read in (
            lambda: list(st2_client.children_since("s", datetime.now(timezone.utc))),
            lambda: dict(st2_client.statuses(["0" * 24])),
            lambda: st2_client.children("x"),
            lambda: st2_client.find_children("x", "m"),
            lambda: st2_client.get_execution("x"),
            lambda: st2_client.finish("x", "succeeded", {}),
        ):
            with pytest.raises(OutcomeUnknown):
                read()


def test_get_execution_leaves_out_a_result_above_max_result_size(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        id_ = _ended_with(st2_client, "x" * 5_000)
        small = st2_client.get_execution(id_, max_result_size=10_000)
        large = st2_client.get_execution(id_, max_result_size=1_000)
    assert small is not None
    assert large is not None
    assert small == {**large, "result": {"output": "x" * 5_000}}
    assert "result" not in large
    assert large["result_size"] > 5_000


def test_get_execution_leaves_out_a_result_that_exceeds_the_limits(st2: StackStorm, key: str) -> None:
    pauses = Pauses()
    with to_st2(st2.api_url, key) as st2_client:
        id_ = _ended_with(st2_client, "x" * 50_000)
    with to_st2(st2.api_url, key, pauses=pauses, bounds=Limits(response_bytes=20_000)) as st2_client:
        found = st2_client.get_execution(id_)
    assert found is not None
    assert (found["status"], found["result_size"] > 50_000) == ("succeeded", True)
    assert "result" not in found
    assert pauses == []


def test_message_about_size_does_not_drop_the_result() -> None:
    """Only the limits make a response too large."""
    rejecting = answer(503, {"faultstring": "the queue is larger than 5 MB"})
    with (
        BreakingServer(
            rejecting, answer(200, {"id": "e1", "status": "succeeded", "result": 1})
        ) as server,
        to_st2(server.url, "k", FAST, Pauses()) as st2_client,
    ):
        found = st2_client.get_execution("e1")
        assert found is not None
        assert found["result"] == 1
        assert not any("exclude_attributes" in request.path for request in server.requests)


def _ended_with(st2_client: St2Client, output: str) -> str:
    made = str(st2_client.create_execution("test.job", {})["id"])
    st2_client.finish(made, "succeeded", {"output": output})
    return made


def test_get_execution_returns_none_for_an_unknown_one(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        made = st2_client.create_execution("core.noop", {})
        st2.executions.wait(made["id"])
        found = st2_client.get_execution(made["id"])
        assert found is not None
        assert found["status"] == "succeeded"
        assert "result" in found
        assert st2_client.get_execution("0" * 24) is None


def test_get_execution_raises_a_403() -> None:
    with (
        BreakingServer(answer(403)) as server,
        to_st2(server.url) as st2_client,
        pytest.raises(Answered) as caught,
    ):
        st2_client.get_execution("x")
    assert caught.value.status == 403


def test_id_cannot_reach_another_path() -> None:
    with BreakingServer(answer(404)) as server, to_st2(server.url) as st2_client:
        assert st2_client.get_execution("../keys/x?decrypt=true") is None
        assert server.requests[0].path == "/executions/..%2Fkeys%2Fx%3Fdecrypt%3Dtrue"


def test_children_of_an_execution(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        parent = st2_client.create_execution("test.job", {})
        made = schedule(
            st2_client, child(MistralIds("m", action_execution_id="c"), parent=Parent(parent["id"]))
        )
        assert [entry["id"] for entry in st2_client.children(parent["id"])] == [made["id"]]
        with pytest.raises(Answered) as caught:
            st2_client.children("0" * 24)
    assert caught.value.status == 404


SILENT: list[Behaviour] = [stall(), stall_in_body(201)]
LOST: list[Behaviour] = [
    *SILENT,
    reset(),
    hang_up(),
    break_in_body(201),
    answer(500, {"faultstring": "Internal"}),
    answer(503, b"", {"Retry-After": "0"}),
    answer(201, b"<html>"),
    answer(200, []),
    answer(200, {"faultstring": "no id"}),
    answer(200, {"id": None}),
]


def timeouts_for(lost: Behaviour) -> Timeouts:
    """Return timeouts that allow retries after a lost response, with a short one for silence."""
    return Timeouts(5, 1, 60) if lost in SILENT else RETRYING


# -- finish ----------------------------------------------------------------------------------------


@pytest.fixture
def parent(st2: StackStorm, key: str) -> str:
    with to_st2(st2.api_url, key) as st2_client:
        made = st2_client.create_execution("test.job", {})
    # Before its runner has set it to running, StackStorm may overwrite the status.
    while st2.executions.get(made["id"]).get("result") != {"note": "started"}:
        time.sleep(0.001)
    return str(made["id"])


@pytest.mark.parametrize("status", ["succeeded", "failed", "timeout", "abandoned"])
def test_finish_sets_status_and_result(st2: StackStorm, key: str, parent: str, status: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        finished = st2_client.finish(parent, status, {"output": 5})
    assert finished["status"] == status
    assert st2.executions.get(parent)["status"] == status
    assert st2.executions.get(parent)["result"] == {"output": 5}


def test_finish_with_canceled_passes_canceling(st2: StackStorm, key: str, parent: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        assert st2_client.finish(parent, "canceled", {"output": 5})["status"] == "canceling"
        assert st2.executions.wait(parent)["status"] == "canceled"
        assert st2_client.finish(parent, "canceled", {"output": 5})["status"] == "canceled"


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_finish_accepts_a_canceling_execution(
    st2: StackStorm, key: str, parent: str, status: str
) -> None:
    st2.executions.set_status(parent, "canceling")
    with to_st2(st2.api_url, key) as st2_client:
        assert st2_client.finish(parent, status, {"output": 5})["status"] == status
    assert st2.executions.get(parent)["result"] == {"output": 5}


@pytest.mark.parametrize("lost", LOST)
def test_finish_is_idempotent_after_a_lost_response(
    st2: StackStorm, key: str, parent: str, lost: Behaviour
) -> None:
    with (
        BreakingServer(forward(st2.base_url, lost), forward(st2.base_url)) as server,
        to_st2(f"{server.url}/api/v1", key, timeouts_for(lost)) as st2_client,
    ):
        finished = st2_client.finish(parent, "succeeded", {"output": 5})
    assert finished["status"] == "succeeded"
    assert st2.executions.get(parent)["result"] == {"output": 5}


@pytest.mark.parametrize("again", ["succeeded", "failed", "canceled"])
def test_finish_leaves_a_final_execution_alone(
    st2: StackStorm, key: str, parent: str, again: str
) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        st2_client.finish(parent, "succeeded", {"output": "first"})
        finished = st2_client.finish(parent, again, {"output": "second"})
    assert finished["status"] == "succeeded"
    assert st2.executions.get(parent)["result"] == {"output": "first"}


def test_finish_raises_404_for_an_unknown_execution(st2: StackStorm, key: str) -> None:
    with to_st2(st2.api_url, key) as st2_client, pytest.raises(Answered) as caught:
        st2_client.finish("0" * 24, "succeeded", {})
    assert caught.value.status == 404


@pytest.mark.parametrize("current", [answer(404), answer(200, {**EXECUTION, "status": "running"})])
def test_finish_raises_a_400_for_an_unfinished_execution(current: Behaviour) -> None:
    with (
        BreakingServer(answer(400, {"faultstring": "Bad."}), current) as server,
        to_st2(server.url) as st2_client,
        pytest.raises(Answered, match="Bad"),
    ):
        st2_client.finish("x", "succeeded", {})


def test_finish_is_not_sent_to_an_unreachable_stackstorm() -> None:
    with refusing() as url, to_st2(url, "k", FAST) as st2_client, pytest.raises(NotSent):
        st2_client.finish("x", "succeeded", {})


# -- size and shape --------------------------------------------------------------------------------


def test_get_execution_reads_a_result_that_python_cannot() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"id": "e", "status": "failed", "result": {"n": %s, "d": %s, "x": NaN}}' % (
        b"9" * 5000,
        deep,
    )
    with BreakingServer(answer(200, body)) as server, to_st2(server.url) as st2:
        execution = st2.get_execution("e")
    assert execution is not None
    assert (execution["id"], execution["status"]) == ("e", "failed")
    assert execution["result"]["n"] == "9" * 5000
    assert "nested deeper" in json.dumps(execution["result"]["d"])


def test_action_is_returned() -> None:
    parameters = {"cmd": {"type": "string", "required": True}, "other": None}
    shown = {"ref": "core.local", "parameters": parameters, "enabled": False}
    script = [answer(200, shown), answer(404)]
    with BreakingServer(*script) as server, to_st2(server.url) as st2:
        expected = St2Action({"cmd": {"type": "string", "required": True}, "other": {}}, enabled=False)
        assert st2.action("core.local") == expected
        assert st2.action("a/../b") is None
        assert server.calls() == [
            "GET /actions/views/overview/core.local",
            "GET /actions/views/overview/a%2F..%2Fb",
        ]


@pytest.mark.parametrize("found", [{}, {"ref": "core.local"}, {"ref": "core.local", "parameters": []}])
def test_action_of_another_shape_are_unknown(found: dict[str, Any]) -> None:
    with (
        BreakingServer(answer(200, found)) as server,
        to_st2(server.url, timeouts=Timeouts(5, 5, 0)) as st2,
        pytest.raises(OutcomeUnknown),
    ):
        st2.action("core.local")


def test_action_raises_a_403() -> None:
    with BreakingServer(answer(403)) as server, to_st2(server.url) as st2, pytest.raises(Answered):
        st2.action("core.local")


def test_change_status_returns_what_stackstorm_made_of_it() -> None:
    observed = threading.Event()

    def resume(_: RunRequest) -> RunResult:
        assert observed.wait(10)
        return RunResult("running", {})

    flow = Runner(
        lambda _: RunResult("running", {}),
        pause=lambda _: RunResult("pausing", {}),
        resume=resume,
    )
    with StackStorm(runners={"flow": flow}) as st2:
        st2.register_action({"pack": "test", "name": "wf", "runner_type": "flow"})
        with to_st2(st2.api_url, st2.create_api_key()) as st2_client:
            parent = st2_client.create_execution("test.wf", {})["id"]
            st2.executions.wait(parent, {"running"})
            for status in ("pausing", "paused", "resuming"):
                changed = st2_client.change_status(parent, status)
                assert changed is not None
                assert changed["status"] == status
            observed.set()
            st2.executions.wait(parent, {"running"})
            st2_client.finish(parent, "succeeded", {"a": 1})
            refused = st2_client.change_status(parent, "pausing")
            assert refused is not None
            assert refused["status"] == "succeeded"
            assert st2_client.change_status("0" * 24, "pausing") is None


def test_children_below_an_execution(st2: StackStorm, key: str, parent: str) -> None:
    with to_st2(st2.api_url, key) as st2_client:
        assert list(st2_client.children_below(parent)) == []
