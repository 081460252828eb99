from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import replace
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
    not_accepting,
    refusing,
    reset,
    stall,
    stall_in_body,
)
from support.clients import EXECUTION, FAST, IDS, RETRYING, Pauses, child_row, to_st2

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model.context import MistralIds, Parent


def request_for(ids: MistralIds = IDS, **more: Any) -> ExecutionRequest:
    return ExecutionRequest(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


def executions_of(st2: StackStorm, action_execution_id: str) -> list[dict[str, Any]]:
    return [
        execution
        for execution in st2.executions.all()
        if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
    ]


# -- one POST ------------------------------------------------------------------------------------


def test_post_has_action_parameters_and_context() -> None:
    with BreakingServer(answer(201, EXECUTION)) as server, to_st2(server.url) as st2client:
        made = schedule(
            st2client,
            request_for(
                parameters={"cmd": "{{ 1 + 1 }}", "n": 5},
                parent=Parent("6b03c160746e6986596007f7", "stanley"),
                notify={"on-complete": {"routes": ["x"]}},
            ),
        )
        [request] = server.requests
    assert made == EXECUTION
    assert (request.method, request.path) == ("POST", "/executions")
    assert request.json() == {
        "action": "core.noop",
        "parameters": {"cmd": '{{ "{{ 1 + 1 }}" }}', "n": 5},
        "notify": {"on-complete": {"routes": ["x"]}},
    }
    assert json.loads(request.headers["st2-context"]) == {
        "parent": {"execution_id": "6b03c160746e6986596007f7", "user": "stanley"},
        "chain": {"name": "core.noop"},
        "mistral": IDS.as_dict(),
    }
    assert request.headers["st2-api-key"] == "k"


def test_parameters_arrive_unchanged(st2: StackStorm, key: str) -> None:
    parameters = {"cmd": "printf %s '{% raw %}{{ st2kv.system.x }}{% endraw %} 😀'"}
    with to_st2(st2.api_url, key) as st2client:
        made = schedule(
            st2client,
            request_for(
                MistralIds("mistral", action_execution_id="arrive"),
                ref="core.local",
                parameters=parameters,
            ),
        )
    done = st2.executions.wait(made["id"])
    assert done["parameters"]["cmd"] == parameters["cmd"]
    assert done["result"]["stdout"] == "{% raw %}{{ st2kv.system.x }}{% endraw %} 😀"


# -- a parent that no longer exists --------------------------------------------------------------


def test_chain_is_omitted_after_a_500_so_that_the_reason_is_seen() -> None:
    script = [
        answer(500, {"faultstring": "'NoneType' object is not subscriptable"}),
        answer(200, []),
        answer(400, {"faultstring": "No trace found for execution 6b03c160746e6986596007f7"}),
    ]
    named = request_for(replace(IDS, task_name="say"), parent=Parent("6b03c160746e6986596007f7"))
    with (
        BreakingServer(*script) as server,
        to_st2(server.url) as st2client,
        pytest.raises(Answered, match="No trace found") as caught,
    ):
        schedule(st2client, named)
    assert caught.value.is_permanent
    contexts = [json.loads(r.headers["st2-context"]) for r in server.requests if r.method == "POST"]
    assert contexts[0] == {**contexts[1], "chain": {"name": "say"}}


def test_chain_is_kept_after_other_failures() -> None:
    script = [reset(), answer(200, []), answer(503), answer(200, []), answer(201, EXECUTION)]
    named = request_for(replace(IDS, task_name="say"), parent=Parent("6b03c160746e6986596007f7"))
    with BreakingServer(*script) as server, to_st2(server.url) as st2client:
        assert schedule(st2client, named) == EXECUTION
    assert ["chain" in r.headers["st2-context"] for r in server.requests if r.method == "POST"] == [
        True
    ] * 3


# -- not sent ------------------------------------------------------------------------------------


def test_post_is_retried_until_stackstorm_responds(st2: StackStorm, key: str) -> None:
    ids = MistralIds("mistral", action_execution_id="back")
    with refusing() as url:
        port = urlsplit(url).port or 0
    # The port is free at first; a server listens on it from the second pause on.
    with contextlib.ExitStack() as stack:

        def sleep(_: float) -> None:
            pauses.append(0)
            if len(pauses) == 2:
                server = BreakingServer(forward(st2.base_url), port=port)
                stack.enter_context(server)

        pauses: list[float] = []
        settings = St2Settings(f"{url}/api/v1", Credential(api_key=key), timeouts=RETRYING)
        st2client = stack.enter_context(contextlib.closing(St2Client(settings, sleep=sleep)))
        made = schedule(st2client, request_for(ids))
    assert [execution["id"] for execution in executions_of(st2, "back")] == [made["id"]]


def test_refused_connection_is_not_sent_after_the_deadline() -> None:
    pauses = Pauses()
    with (
        refusing() as url,
        to_st2(url, "k", FAST, pauses) as st2client,
        pytest.raises(NotSent, match=f"POST {url}/executions"),
    ):
        schedule(st2client, request_for())
    assert len(pauses) >= 2


def test_connect_timeout_is_not_sent_after_the_deadline() -> None:
    begun = time.monotonic()
    with (
        not_accepting() as url,
        to_st2(url, "k", FAST, pauses := Pauses()) as st2client,
        pytest.raises(NotSent, match="no connection within"),
    ):
        schedule(st2client, request_for())
    assert len(pauses) >= 1
    assert time.monotonic() - begun < 2


# -- unknown outcome -----------------------------------------------------------------------------

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


def enough_for(lost: Behaviour) -> Timeouts:
    """Return timeouts that allow a retry, with a short read timeout for silent servers."""
    return Timeouts(5, 0.3, 60) if lost in SILENT else RETRYING


@pytest.mark.parametrize("lost", LOST)
def test_execution_is_found_after_a_lost_response(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"stored-{request.node.callspec.id}"
    with BreakingServer(forward(st2.base_url, lost), forward(st2.base_url)) as server:
        with to_st2(f"{server.url}/api/v1", key, enough_for(lost)) as st2client:
            made = schedule(st2client, request_for(MistralIds("mistral", action_execution_id=mine)))
        assert server.calls() == ["POST /api/v1/executions", "GET /api/v1/executions"]
    assert [execution["id"] for execution in executions_of(st2, mine)] == [made["id"]]


@pytest.mark.parametrize("lost", LOST)
def test_execution_is_created_after_a_lost_request(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"unstored-{request.node.callspec.id}"
    with BreakingServer(lost, forward(st2.base_url)) as server:
        with to_st2(f"{server.url}/api/v1", key, enough_for(lost)) as st2client:
            made = schedule(st2client, request_for(MistralIds("mistral", action_execution_id=mine)))
        assert [call.split()[0] for call in server.calls()] == ["POST", "GET", "POST"]
    assert [execution["id"] for execution in executions_of(st2, mine)] == [made["id"]]


def test_look_up_with_a_key_finds_signed_executions_only(st2: StackStorm, key: str) -> None:
    """Whoever may create executions could otherwise keep an action from getting its own."""
    ids = MistralIds("mistral", action_execution_id="signed")
    with to_st2(st2.api_url, key) as st2client:
        forged = schedule(st2client, request_for(ids))
        assert schedule(st2client, request_for(ids), lookup_first_after=0)["id"] == forged["id"]
        signed = request_for(ids, context_key="old")
        given = {"lookup_first_after": 0, "context_keys": ("new", "old")}
        made = schedule(st2client, signed, **given)
        assert schedule(st2client, signed, **given)["id"] == made["id"]
    assert made["id"] != forged["id"]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_response_that_is_lost_on_a_later_attempt_is_looked_up(
    st2: StackStorm, key: str, attempts: int
) -> None:
    mine = f"later-{attempts}"
    look = forward(st2.base_url)
    script = [step for _ in range(attempts - 1) for step in (reset(), look)]
    with BreakingServer(*script, forward(st2.base_url, reset()), look) as server:
        with to_st2(f"{server.url}/api/v1", key) as st2client:
            made = schedule(st2client, request_for(MistralIds("mistral", action_execution_id=mine)))
        assert server.calls().count("POST /api/v1/executions") == attempts
    assert [execution["id"] for execution in executions_of(st2, mine)] == [made["id"]]


@pytest.mark.parametrize(
    "look",
    [
        reset(),
        stall(),
        answer(500),
        answer(404),
        answer(401),
        answer(302, b"", {"Location": "/login"}),
        answer(200, b"<html>"),
        answer(200, {}),
        answer(200, [5]),
        answer(200, [{"id": "x"}]),
        answer(200, [child_row("another")]),
        answer(200, [child_row(), child_row("another")]),
        answer(200, [{"id": "x", "status": "running"}]),
        answer(200, [{"id": "x", "status": "running", "context": {"mistral": None}}]),
    ],
)
def test_failed_lookup_prevents_a_second_post(look: Behaviour) -> None:
    pauses = Pauses()
    with BreakingServer(reset(), look) as server, to_st2(server.url, "k", FAST, pauses) as st2client:
        with pytest.raises(OutcomeUnknown):
            schedule(st2client, request_for())
        assert server.calls().count("POST /executions") == 1
        # A timeout uses up most of the deadline, so there may be only one look-up.
        assert server.calls().count("GET /executions") >= 1
        assert len(pauses) >= 1


def test_lookup_that_is_not_sent_leaves_the_outcome_unknown() -> None:
    def last(exchange: Exchange) -> bool:
        server.refuse()
        return reset()(exchange)

    with BreakingServer(last) as server, to_st2(server.url, "k", FAST) as st2client:
        with pytest.raises(OutcomeUnknown, match="look-up"):
            schedule(st2client, request_for())
        assert server.calls() == ["POST /executions"]


NOTHING = answer(200, [])


def test_second_post_that_is_not_sent_leaves_the_outcome_unknown() -> None:
    # The second POST needs a new token, and the login is rejected for longer than the deadline.
    token = answer(201, {"token": "t"})
    later = answer(503, {"faultstring": "no login"}, {"Retry-After": "120"})
    with BreakingServer(token, reset(), NOTHING, answer(401), later) as server:
        login = Credential(username="u", password="p", auth_url=server.url)
        st2client = St2Client(St2Settings(server.url, login, timeouts=RETRYING), sleep=Pauses())
        with contextlib.closing(st2client), pytest.raises(OutcomeUnknown, match="no login"):
            schedule(st2client, request_for())
        assert server.calls()[1:] == [
            "POST /executions",
            "GET /executions",
            "POST /executions",
            "POST /tokens",
        ]


@pytest.mark.parametrize(
    "rejection",
    [
        answer(429, {"faultstring": "later"}, {"Retry-After": "120"}),
        answer(401, {"faultstring": "who?"}),
        answer(302, b"", {"Location": "/maintenance"}),
        answer(407, b""),
    ],
)
def test_transient_error_of_the_second_post_leaves_the_outcome_unknown(rejection: Behaviour) -> None:
    # The first POST may still be on its way.
    with BreakingServer(reset(), NOTHING, rejection) as server:
        settings = St2Settings(server.url, Credential(api_key="k"), timeouts=Timeouts(5, 5, 0.5))
        with contextlib.closing(St2Client(settings)) as st2client, pytest.raises(OutcomeUnknown):
            schedule(st2client, request_for())


@pytest.mark.parametrize("status", [401, 405, 409, 429])
def test_error_of_the_second_post_may_quote_the_first_and_is_not_logged(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoting = answer(status, {"faultstring": "refused: {'password': 'hush'}"})

    def later(exchange: Exchange) -> bool:
        assert exchange.request is not None
        return (NOTHING if exchange.request.method == "GET" else quoting)(exchange)

    with (
        BreakingServer(answer(503), later) as server,
        to_st2(server.url, timeouts=Timeouts(5, 5, 5)) as st2client,
        pytest.raises(OutcomeUnknown) as caught,
    ):
        schedule(st2client, request_for(parameters={"password": "hush"}))
    assert caught.value.status == status
    assert str(status) in caplog.text
    assert "hush" not in caught.value.log_text() + caplog.text


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_permanent_error_of_the_second_post_counts_for_the_first(status: int) -> None:
    rejection = answer(status, {"faultstring": "no"})
    with (
        BreakingServer(reset(), NOTHING, rejection) as server,
        to_st2(server.url, "k") as st2client,
        pytest.raises(Answered, match=str(status)),
    ):
        schedule(st2client, request_for())


@pytest.mark.parametrize(
    "look", [answer(503, b"", {"Retry-After": "17"}), answer(429, b"", {"Retry-After": "17"})]
)
def test_lookup_waits_as_long_as_retry_after(look: Behaviour) -> None:
    pauses = Pauses()
    with (
        BreakingServer(reset(), look, answer(200, [child_row()])) as server,
        to_st2(server.url, pauses=pauses) as st2client,
    ):
        assert schedule(st2client, request_for())["id"] == "e1"
    assert pauses[1] == 17


def test_lookup_filters_by_action_and_by_time() -> None:
    with BreakingServer(reset(), answer(200, [child_row()])) as server, to_st2(server.url) as st2client:
        schedule(st2client, request_for())
        query = parse_qs(urlsplit(server.requests[1].path).query)
    assert query["filter"] == ["context.mistral.action_execution_id:a1"]
    since = datetime.strptime(query["timestamp_gt"][0], "%Y-%m-%dT%H:%M:%S.%fZ")
    age = datetime.now(timezone.utc) - since.replace(tzinfo=timezone.utc)
    assert timedelta(hours=24) <= age < timedelta(hours=24, minutes=1)


def test_oldest_of_two_executions_is_returned_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        BreakingServer(reset(), answer(200, [child_row("a1", "e1"), child_row("a1", "e2")])) as server,
        to_st2(server.url) as st2client,
    ):
        assert schedule(st2client, request_for())["id"] == "e1"
    assert "'e1' and 'e2'" in caplog.text


@pytest.mark.parametrize("lost", LOST)
def test_unknown_outcome_without_an_id_is_not_retried(lost: Behaviour) -> None:
    with BreakingServer(lost) as server, to_st2(server.url, "k", enough_for(lost)) as st2client:
        with pytest.raises(OutcomeUnknown):
            schedule(st2client, request_for(MistralIds("mistral")))
        assert server.calls() == ["POST /executions"]


def test_not_sent_without_an_id_is_retried() -> None:
    pauses = Pauses()
    with refusing() as url, to_st2(url, "k", FAST, pauses) as st2client, pytest.raises(NotSent):
        schedule(st2client, request_for(MistralIds("mistral")))
    assert len(pauses) >= 2


# -- rejected ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"ref": "core.missing"}, "core.missing"),
        ({"ref": "core.local", "parameters": {}}, "cmd"),
        ({"ref": "core.local", "parameters": {"cmd": "true", "extra": 1}}, "extra"),
        ({"parent": Parent("0" * 24)}, "0" * 24),
    ],
)
def test_rejected_request_is_not_retried_and_has_stackstorms_message(
    st2: StackStorm, key: str, wanted: dict[str, Any], words: str
) -> None:
    pauses = Pauses()
    with (
        to_st2(st2.api_url, key, pauses=pauses) as st2client,
        pytest.raises(Answered, match=words) as caught,
    ):
        schedule(st2client, request_for(**wanted))
    assert caught.value.status == 400
    assert pauses == []


def test_429_is_retried_after_retry_after() -> None:
    pauses = Pauses()
    busy = answer(429, b"", {"Retry-After": "18"})
    with BreakingServer(busy, answer(201, EXECUTION)) as server:
        with to_st2(server.url, pauses=pauses) as st2client:
            assert schedule(st2client, request_for()) == EXECUTION
        # A 429 created nothing, so no look-up is needed.
        assert server.calls() == ["POST /executions"] * 2
    assert pauses == [18]


def test_error_and_log_show_no_credential_and_no_parameter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    script = [reset(), answer(500), answer(400, b"no")]
    with BreakingServer(*script) as server, to_st2(server.url, "hush-key", FAST) as st2client:
        for _ in range(2):
            try:
                schedule(st2client, request_for(parameters={"password": "hush"}))
            except (Answered, OutcomeUnknown) as error:
                shown += f"{error}{error!r}"
        shown += repr(st2client) + str(vars(st2client))
    assert "POST" in shown
    assert "hush" not in shown + caplog.text


def test_lookup_first_finds_an_existing_execution(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="look-first")
    with to_st2(st2.api_url, key) as st2client:
        made = schedule(st2client, request_for(ids), lookup_first_after=0)
        assert schedule(st2client, request_for(ids), lookup_first_after=0)["id"] == made["id"]
        # The look-up ignores what is a day older than the action.
        later = datetime.now(timezone.utc) + timedelta(hours=25)
        assert st2client.find_children("look-first", "finder", later) == []
        duplicate = schedule(st2client, request_for(ids), lookup_first_after=0, since=later)
        assert [row["id"] for row in st2client.find_children("look-first", "finder")] == [
            made["id"],
            duplicate["id"],
        ]


def test_late_attempt_looks_up_first() -> None:
    # The 429 created nothing, but the relay may have created the execution since.

    def reject_late(exchange: Exchange) -> bool:
        time.sleep(0.6)
        return bool(answer(429, {"faultstring": "later"})(exchange))

    with (
        BreakingServer(reject_late, answer(200, [child_row("late", "e1")])) as server,
        to_st2(server.url) as st2client,
    ):
        ids = MistralIds("mistral", action_execution_id="late")
        assert schedule(st2client, request_for(ids), lookup_first_after=0.5)["id"] == "e1"
        assert [call.split()[0] for call in server.calls()] == ["POST", "GET"]


def test_failed_first_lookup_is_not_an_unknown_outcome() -> None:
    with refusing() as url, to_st2(url, "k", FAST, Pauses()) as st2client, pytest.raises(NotSent):
        schedule(st2client, request_for(), lookup_first_after=0)
    with (
        BreakingServer(answer(401, {"faultstring": "who?"})) as server,
        to_st2(server.url, "k", FAST, Pauses()) as st2client,
    ):
        with pytest.raises(Answered, match="401"):
            schedule(st2client, request_for(), lookup_first_after=0)
        assert {call.split()[0] for call in server.calls()} == {"GET"}


def test_too_large_parameters_are_rejected_without_a_retry(st2: StackStorm, key: str) -> None:
    large = request_for(ref="core.local", parameters={"cmd": "x" * 10_000_000})
    pauses = Pauses()
    with (
        to_st2(st2.api_url, key, Timeouts(read_timeout=30), pauses) as api,
        pytest.raises(Answered, match="document too large") as caught,
    ):
        schedule(api, large)
    assert caught.value.status == 500
    assert not pauses


# -- refused parameters --------------------------------------------------------------------------


def test_a_refused_parameter_is_named(st2: StackStorm, key: str) -> None:
    # StackStorm's own message names none.
    with (
        to_st2(st2.api_url, key) as st2client,
        pytest.raises(
            Answered, match=r"400 None is not of type 'string'\. .* the value of cmd\.$"
        ) as caught,
    ):
        schedule(st2client, request_for(ref="core.local", parameters={"cmd": None, "timeout": 5}))
    assert caught.value.message.endswith("StackStorm refuses the value of cmd.")
    assert caught.value.log_text().endswith("400 StackStorm refuses the value of cmd.")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({}, "'cmd' is a required property"), ({"cmd": "date", "x": 1}, "x")],
)
def test_the_message_about_other_parameters_stays(
    st2: StackStorm, key: str, parameters: dict[str, Any], words: str
) -> None:
    with to_st2(st2.api_url, key) as st2client, pytest.raises(Answered, match=words) as caught:
        schedule(st2client, request_for(ref="core.local", parameters=parameters))
    assert "refuses the value" not in str(caught.value)


def test_a_rejection_stays_if_the_action_cannot_be_looked_up() -> None:
    rejection = answer(400, {"faultstring": "None is not of type 'string'"})
    with (
        BreakingServer(rejection, answer(403)) as server,
        to_st2(server.url) as st2client,
        pytest.raises(Answered) as caught,
    ):
        schedule(st2client, request_for(parameters={"cmd": None}))
    assert (caught.value.status, caught.value.message) == (400, "None is not of type 'string'")
