"""Lists and traces: executions that are found by what they are and where they come from."""

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


@pytest.mark.recordings("02_16")
def test_a_trace_by_its_tag(new_client: NewClient, target: Target) -> None:
    client = new_client(RECORDINGS)
    client.fill["mytag"] = f"mytag-{secrets.token_hex(4)}"
    context = {"trace_context": {"trace_tag": client.fill["mytag"]}}
    target.ran("core.noop", context=context)
    client.same("02_16", "", "uid")


@pytest.mark.needs("runner")
@pytest.mark.recordings("02_17", "02_18")
def test_a_child_is_in_its_parents_trace(new_client: NewClient, target: Target) -> None:
    client = new_client(RECORDINGS)
    client.fill["tagged-parent"] = f"tagged-parent-{secrets.token_hex(4)}"
    tag = {"trace_context": {"trace_tag": client.fill["tagged-parent"]}}
    parent = target.running("exttest.async_job", context=tag)
    context = copy.deepcopy(RECORDINGS["02_18"]["response"]["body"][0]["context"])
    target.ran("core.noop", context={**context, "parent": {"execution_id": parent}})
    client.same("02_17", "", "uid")
    client.same("02_18", parent)


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "08_01", "08_02", "08_03", "08_05", "08_06", "08_07", "08_08", "08_09", "08_11", "08_12",
    "08_14", "08_15", "08_16", "08_21", "08_23", "08_25", "08_26", "08_40", "08_41", "08_45",
    "08_46", "08_47", "08_49",
)  # fmt: skip
def test_filters(new_client: NewClient, target: Target) -> None:
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
    for name in ("08_01", "08_02", "08_03", "08_05", "08_06", "08_08", "08_15", "08_16"):
        client.same(name)
    for name in ("08_40", "08_41", "08_45"):
        client.same(name)
    for name in ("08_25", "08_26"):
        client.same(name, "", "uid")
    for name in ("08_07", "08_09", "08_11", "08_12", "08_14", "08_21", "08_23", "08_46", "08_47"):
        client.same(name, totals=False)

    client.fill |= {
        "2026-11-23T04:30:00.000000Z": client.fill["2026-11-23T04:39:30.000000Z"],
        "2026-11-23T04:31:00.000000Z": _shifted(target.shown(children[1])["start_timestamp"], 1),
    }
    listed = client.send("08_49")
    assert listed.headers["X-Limit"] == "2"
    assert listed.headers["X-Total-Count"] == "3"
    # A range that goes forward is listed forward.
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
