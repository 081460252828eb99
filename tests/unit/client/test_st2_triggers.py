"""Test the creation of trigger instances over StackStorm's API."""

from __future__ import annotations

import json

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer, hang_up, reset, stall
from support.clients import FAST, to_st2

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.errors import Answered, OutcomeUnknown

TRIGGER = {
    "pack": "tests",
    "name": "event",
    "payload_schema": {"type": "object", "properties": {"state": {"type": "string"}}},
}


def test_trigger_instance_is_created(st2: StackStorm, key: str) -> None:
    st2.register_trigger({**TRIGGER, "name": "own_event"})
    with to_st2(st2.api_url, key) as client:
        client.dispatch_trigger("tests.own_event", {"state": "ERROR"})
    (instance,) = st2.trigger_instances("tests.own_event")
    assert instance["payload"] == {"state": "ERROR"}


@pytest.mark.parametrize(("trigger", "payload"), [("tests.unknown", {}), ("tests.event", {"state": 5})])
def test_stackstorm_rejects_unknown_trigger_and_payload_of_another_shape(
    st2: StackStorm, key: str, trigger: str, payload: dict[str, object]
) -> None:
    st2.register_trigger(TRIGGER)
    before = len(st2.trigger_instances())
    with to_st2(st2.api_url, key) as client, pytest.raises(Answered) as raised:
        client.dispatch_trigger(trigger, payload)
    assert raised.value.status == 400
    assert "Trigger payload validation failed" not in raised.value.log_text()
    assert len(st2.trigger_instances()) == before


@pytest.mark.parametrize("broken", [reset(), hang_up(), stall(), answer(500), answer(503)])
def test_request_with_unknown_outcome_is_not_repeated(broken: Behaviour) -> None:
    """A second one would be a second event."""
    with BreakingServer(broken) as server, to_st2(server.url, timeouts=FAST) as client:
        with pytest.raises(OutcomeUnknown):
            client.dispatch_trigger("tests.event", {})
        assert len(server.requests) == 1


def test_request_that_is_rejected_for_the_moment_is_repeated() -> None:
    behaviours = [answer(429), answer(202, {"trigger": "tests.event"})]
    with BreakingServer(*behaviours) as server, to_st2(server.url) as client:
        client.dispatch_trigger("tests.event", {"a": 1})
        assert [request.path for request in server.requests] == ["/webhooks/st2"] * 2
        sent = json.loads(server.requests[1].body)
    assert sent == {"trigger": "tests.event", "payload": {"a": 1}}


def test_trigger_types_are_known_by_their_reference(st2: StackStorm, key: str) -> None:
    st2.register_trigger(TRIGGER)
    with to_st2(st2.api_url, key) as client:
        assert client.knows_trigger("tests.event")
        assert not client.knows_trigger("tests.unknown")
        assert not client.knows_trigger("../executions")


@pytest.mark.parametrize(("status", "expected"), [(400, True), (202, True), (403, False)])
def test_permission_is_tried_with_a_request_that_names_no_trigger(status: int, expected: bool) -> None:
    with BreakingServer(answer(status, {"faultstring": "x"})) as server, to_st2(server.url) as client:
        assert client.may_dispatch() is expected
        assert json.loads(server.requests[0].body) == {}


def test_nothing_is_created_to_try_the_permission(st2: StackStorm, key: str) -> None:
    before = len(st2.trigger_instances())
    with to_st2(st2.api_url, key) as client:
        assert client.may_dispatch()
    assert len(st2.trigger_instances()) == before


def test_other_errors_do_not_tell_the_permission() -> None:
    with (
        BreakingServer(answer(401)) as server,
        to_st2(server.url) as client,
        pytest.raises(Answered),
    ):
        client.may_dispatch()
