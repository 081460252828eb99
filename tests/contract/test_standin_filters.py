"""Lists with filters, and traces."""

from __future__ import annotations

import copy
import secrets
from datetime import datetime, timedelta

import pytest
from support.contract.client import NewClient
from support.contract.recordings import load
from support.contract.target import Target

RECORDINGS = load("filters", "traces", "lifecycle")
CALLBACK = {"source": "mistral_v2", "url": "http://127.0.0.1:8989/v2/action_executions/abc"}


@pytest.mark.recordings("traces_by_tag")
def test_trace_is_found_by_its_tag(new_client: NewClient, target: Target) -> None:
    client = new_client(RECORDINGS)
    client.fill["mytag"] = f"mytag-{secrets.token_hex(4)}"
    context = {"trace_context": {"trace_tag": client.fill["mytag"]}}
    target.ran("core.noop", context=context)
    client.same("traces_by_tag", "", "uid")


@pytest.mark.needs("runner")
@pytest.mark.recordings("trace_tagged_parent", "child_of_child")
def test_child_is_in_the_trace_of_its_parent(new_client: NewClient, target: Target) -> None:
    client = new_client(RECORDINGS)
    client.fill["tagged-parent"] = f"tagged-parent-{secrets.token_hex(4)}"
    tag = {"trace_context": {"trace_tag": client.fill["tagged-parent"]}}
    parent = target.running("exttest.async_job", context=tag)
    context = copy.deepcopy(RECORDINGS["child_of_child"]["response"]["body"][0]["context"])
    target.ran("core.noop", context={**context, "parent": {"execution_id": parent}})
    client.same("trace_tagged_parent", "", "uid")
    client.same("child_of_child", parent)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "query_parent",
    "query_parent_action",
    "query_parent_include_context",
    "query_timestamp_gt",
    "query_timestamp_gt_action",
    "query_timestamp_lt",
    "query_filter_context_mistral",
    "query_filter_status",
    "query_user",
    "query_runner",
    "query_status",
    "query_id_filter",
    "query_id_single",
    "query_exclude",
    "query_limit_minus1",
    "query_traces_by_tag",
    "query_traces_filter_trace",
    "query_filter_and_parent",
    "query_filter_two_tokens",
    "query_filter_parent",
    "query_filter_liveaction_callback",
    "query_filter_value_with_colon",
    "query_timestamp_range",
)
def test_filters_select_executions(new_client: NewClient, target: Target) -> None:
    client, mark = new_client(RECORDINGS), secrets.token_hex(4)
    client.fill |= {"aex-": f"aex-{mark}-", "filter-trace": f"filter-trace-{mark}"}
    for _ in range(2):
        target.running("exttest.async_job", callback=CALLBACK)
    for _ in range(2):
        target.ran("core.noop")
    parent = target.running("exttest.async_job", context=_tagged(f"filter-trace-{mark}"))
    children = [
        target.ran(
            action, parameters, context=_mistral(f"aex-{mark}-{number}", "wf") | _child_of(parent)
        )
        for number, (action, parameters) in enumerate(
            [("core.noop", {}), ("core.local", {"cmd": "true"})], start=1
        )
    ]
    target.ran("core.noop", context=_tagged(f"tag-{children[0]}") | _mistral(f"aex-{mark}-3"))
    client.fill |= {
        "6b03c383746e6986596008e6": parent,
        "6b03c383746e6986596008e9": children[0],
        "6b03c383746e6986596008eb": children[1],
        "2026-11-23T04:39:30.000000Z": _shifted(target.shown(parent)["start_timestamp"], -1),
    }
    for name in (
        "query_parent",
        "query_parent_action",
        "query_parent_include_context",
        "query_timestamp_gt",
        "query_timestamp_gt_action",
        "query_filter_context_mistral",
        "query_id_filter",
        "query_id_single",
    ):
        client.same(name)
    for name in ("query_filter_and_parent", "query_filter_two_tokens", "query_filter_parent"):
        client.same(name)
    for name in ("query_traces_by_tag", "query_traces_filter_trace"):
        client.same(name, "", "uid")
    for name in (
        "query_timestamp_lt",
        "query_filter_status",
        "query_user",
        "query_runner",
        "query_status",
        "query_exclude",
        "query_limit_minus1",
        "query_filter_liveaction_callback",
        "query_filter_value_with_colon",
    ):
        client.same(name, totals=False)

    client.fill |= {
        "2026-11-23T04:30:00.000000Z": client.fill["2026-11-23T04:39:30.000000Z"],
        "2026-11-23T04:31:00.000000Z": _shifted(target.shown(children[1])["start_timestamp"], 1),
    }
    listed = client.send("query_timestamp_range")
    assert listed.headers["X-Limit"] == "2"
    assert listed.headers["X-Total-Count"] == "3"
    # An ascending range is listed in ascending order.
    assert [item["id"] for item in listed.json()] == [parent, children[0]]


def _tagged(tag: str) -> dict[str, object]:
    return {"trace_context": {"trace_tag": tag}}


def _mistral(action_execution_id: str, workflow: str = "") -> dict[str, object]:
    named = {"workflow_name": workflow} if workflow else {}
    return {"mistral": {"action_execution_id": action_execution_id, **named}}


def _child_of(parent: str) -> dict[str, object]:
    return {"parent": {"execution_id": parent}}


def _shifted(timestamp: str, milliseconds: int) -> str:
    moment = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (moment + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
