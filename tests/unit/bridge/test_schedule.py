from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
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
    raw,
    refusing,
    reset,
    stall,
    stall_in_body,
)

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model.context import MistralIds, Parent

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
# With a sleep that does not sleep, a long deadline means: as often as it takes.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)
IDS = MistralIds("mistral", "w", "wf", "t", "a1")
EXECUTION = {"id": "6b03c160746e6986596007f7", "status": "requested"}


def row(action_execution_id: str = "a1", execution_id: str = "e1") -> dict[str, Any]:
    context = {"mistral": {"site": "mistral", "action_execution_id": action_execution_id}}
    return {"id": execution_id, "status": "running", "context": context}


def stays_running(request: RunRequest) -> RunResult:
    return RunResult("running", {"note": "started"})


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    with StackStorm(runners={"asynchronous": stays_running}) as running:
        running.register_action({"pack": "test", "name": "job", "runner_type": "asynchronous"})
        yield running


@pytest.fixture(scope="module")
def key(st2: StackStorm) -> str:
    return st2.create_api_key()


class Pauses(list[float]):
    """Stands for time.sleep: notes how long it should have slept, and really sleeps a little."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        time.sleep(0.01)


@contextlib.contextmanager
def client(
    url: str, key: str = "k", timeouts: Timeouts = RETRYING, pauses: Pauses | None = None
) -> Iterator[St2Client]:
    settings = St2Settings(url, Credential(api_key=key), timeouts=timeouts)
    # `or` would not do: no pauses yet are false.
    sleep = Pauses() if pauses is None else pauses
    with contextlib.closing(St2Client(settings, sleep=sleep)) as made:
        yield made


def child(ids: MistralIds = IDS, **more: Any) -> ExecutionRequest:
    return ExecutionRequest(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


def children_of(st2: StackStorm, action_execution_id: str) -> list[dict[str, Any]]:
    return [
        execution
        for execution in st2.executions.all()
        if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
    ]


# -- one request ---------------------------------------------------------------------------------


def test_what_is_sent_is_the_action_its_parameters_and_the_context() -> None:
    with BreakingServer(answer(201, EXECUTION)) as server, client(server.url) as st2_client:
        made = schedule(
            st2_client,
            child(
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
        "mistral": IDS.as_dict(),
    }
    assert request.headers["st2-api-key"] == "k"


def test_parameters_arrive_in_a_stackstorm_as_they_were(st2: StackStorm, key: str) -> None:
    parameters = {"cmd": "printf %s '{% raw %}{{ st2kv.system.x }}{% endraw %} 😀'"}
    with client(st2.api_url, key) as st2_client:
        made = schedule(
            st2_client,
            child(
                MistralIds("mistral", action_execution_id="arrive"),
                ref="core.local",
                parameters=parameters,
            ),
        )
    done = st2.executions.wait(made["id"])
    assert done["parameters"]["cmd"] == parameters["cmd"]
    assert done["result"]["stdout"] == "{% raw %}{{ st2kv.system.x }}{% endraw %} 😀"


# -- a parent that StackStorm does not know any more ---------------------------------------------


def test_a_500_that_the_name_of_the_task_makes_does_not_hide_the_refusal() -> None:
    script = [
        answer(500, {"faultstring": "'NoneType' object is not subscriptable"}),
        answer(200, []),
        answer(400, {"faultstring": "No trace found for execution 6b03c160746e6986596007f7"}),
    ]
    named = child(replace(IDS, task_name="say"), parent=Parent("6b03c160746e6986596007f7"))
    with (
        BreakingServer(*script) as server,
        client(server.url) as st2_client,
        pytest.raises(Answered, match="No trace found") as caught,
    ):
        schedule(st2_client, named)
    assert caught.value.is_permanent
    contexts = [json.loads(r.headers["st2-context"]) for r in server.requests if r.method == "POST"]
    assert contexts[0] == {**contexts[1], "chain": {"name": "say"}}


def test_a_name_is_sent_again_after_any_other_failure() -> None:
    script = [reset(), answer(200, []), answer(503), answer(200, []), answer(201, EXECUTION)]
    named = child(replace(IDS, task_name="say"), parent=Parent("6b03c160746e6986596007f7"))
    with BreakingServer(*script) as server, client(server.url) as st2_client:
        assert schedule(st2_client, named) == EXECUTION
    assert ["chain" in r.headers["st2-context"] for r in server.requests if r.method == "POST"] == [
        True
    ] * 3


# -- not sent ------------------------------------------------------------------------------------


def test_what_could_not_be_sent_is_sent_once_stackstorm_is_back(st2: StackStorm, key: str) -> None:
    ids = MistralIds("mistral", action_execution_id="back")
    with refusing() as url:
        port = urlsplit(url).port or 0
    # Nobody listens on that port for now; the second pause ends with somebody there.
    with contextlib.ExitStack() as stack:

        def sleep(_: float) -> None:
            pauses.append(0)
            if len(pauses) == 2:
                server = BreakingServer(forward(st2.base_url), port=port)
                stack.enter_context(server)

        pauses: list[float] = []
        settings = St2Settings(f"{url}/api/v1", Credential(api_key=key), timeouts=RETRYING)
        st2_client = stack.enter_context(contextlib.closing(St2Client(settings, sleep=sleep)))
        made = schedule(st2_client, child(ids))
    assert [execution["id"] for execution in children_of(st2, "back")] == [made["id"]]


def test_what_cannot_be_sent_before_the_deadline_is_not_sent() -> None:
    pauses = Pauses()
    with (
        refusing() as url,
        client(url, "k", FAST, pauses) as st2_client,
        pytest.raises(NotSent, match=f"POST {url}/executions"),
    ):
        schedule(st2_client, child())
    assert len(pauses) >= 2


def test_a_connection_that_is_never_made_is_tried_until_the_deadline() -> None:
    begun = time.monotonic()
    with (
        not_accepting() as url,
        client(url, "k", FAST, pauses := Pauses()) as st2_client,
        pytest.raises(NotSent, match="connect_timeout"),
    ):
        schedule(st2_client, child())
    assert len(pauses) >= 1
    assert time.monotonic() - begun < 2


# -- the outcome is unknown ----------------------------------------------------------------------

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
    """Timeouts that does not run out by itself, and is not tried by silence either."""
    return Timeouts(5, 0.3, 60) if lost in SILENT else RETRYING


@pytest.mark.parametrize("lost", LOST)
def test_an_execution_that_was_made_before_the_answer_was_lost_is_found_not_made_again(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"stored-{request.node.callspec.id}"
    with BreakingServer(forward(st2.base_url, lost), forward(st2.base_url)) as server:
        with client(f"{server.url}/api/v1", key, enough_for(lost)) as st2_client:
            made = schedule(st2_client, child(MistralIds("mistral", action_execution_id=mine)))
        assert server.calls() == ["POST /api/v1/executions", "GET /api/v1/executions"]
    assert [execution["id"] for execution in children_of(st2, mine)] == [made["id"]]


@pytest.mark.parametrize("lost", LOST)
def test_an_execution_that_was_not_made_is_made_after_a_look(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"unstored-{request.node.callspec.id}"
    with BreakingServer(lost, forward(st2.base_url)) as server:
        with client(f"{server.url}/api/v1", key, enough_for(lost)) as st2_client:
            made = schedule(st2_client, child(MistralIds("mistral", action_execution_id=mine)))
        assert [call.split()[0] for call in server.calls()] == ["POST", "GET", "POST"]
    assert [execution["id"] for execution in children_of(st2, mine)] == [made["id"]]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_an_answer_that_is_lost_on_a_later_try_is_looked_up_too(
    st2: StackStorm, key: str, tries: int
) -> None:
    mine = f"later-{tries}"
    look = forward(st2.base_url)
    script = [step for _ in range(tries - 1) for step in (reset(), look)]
    with BreakingServer(*script, forward(st2.base_url, reset()), look) as server:
        with client(f"{server.url}/api/v1", key) as st2_client:
            made = schedule(st2_client, child(MistralIds("mistral", action_execution_id=mine)))
        assert server.calls().count("POST /api/v1/executions") == tries
    assert [execution["id"] for execution in children_of(st2, mine)] == [made["id"]]


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
        answer(200, [row("somebody else's")]),
        answer(200, [row(), row("somebody else's")]),
        answer(200, [{"id": "x", "status": "running"}]),
        answer(200, [{"id": "x", "status": "running", "context": {"mistral": None}}]),
    ],
)
def test_without_a_look_nothing_is_sent_again_and_the_outcome_stays_unknown(look: Behaviour) -> None:
    pauses = Pauses()
    with BreakingServer(reset(), look) as server, client(server.url, "k", FAST, pauses) as st2_client:
        with pytest.raises(OutcomeUnknown):
            schedule(st2_client, child())
        assert server.calls().count("POST /executions") == 1
        # What a time-out takes, the deadline has less of.
        assert server.calls().count("GET /executions") >= 1
        assert len(pauses) >= 1


def test_a_look_that_cannot_be_sent_leaves_the_outcome_unknown() -> None:
    def last(exchange: Exchange) -> bool:
        server.refuse()
        return reset()(exchange)

    with BreakingServer(last) as server, client(server.url, "k", FAST) as st2_client:
        with pytest.raises(OutcomeUnknown, match="look-up"):
            schedule(st2_client, child())
        assert server.calls() == ["POST /executions"]


def test_a_second_post_that_cannot_be_sent_leaves_the_outcome_unknown() -> None:
    nothing = raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]", then=hang_up()
    )

    def last(exchange: Exchange) -> bool:
        server.refuse()
        return nothing(exchange)

    # A deadline between the first pause, and what the sleep makes of it: the second try is the last.
    with BreakingServer(reset(), last) as server:
        settings = St2Settings(server.url, timeouts=Timeouts(5, 5, 0.5))
        st2_client = St2Client(settings, sleep=lambda _: time.sleep(0.6))
        with contextlib.closing(st2_client), pytest.raises(OutcomeUnknown, match="refused"):
            schedule(st2_client, child())
        assert server.calls() == ["POST /executions", "GET /executions"]


NOTHING = answer(200, [])


@pytest.mark.parametrize(
    "refusal",
    [
        answer(429, {"faultstring": "later"}, {"Retry-After": "120"}),
        answer(401, {"faultstring": "who?"}),
        answer(302, b"", {"Location": "/maintenance"}),
        answer(407, b""),
    ],
)
def test_a_second_post_that_somebody_turns_away_leaves_the_outcome_unknown(refusal: Behaviour) -> None:
    """The first one may be on its way yet."""
    with BreakingServer(reset(), NOTHING, refusal) as server:
        settings = St2Settings(server.url, Credential(api_key="k"), timeouts=Timeouts(5, 5, 0.5))
        with contextlib.closing(St2Client(settings)) as st2_client, pytest.raises(OutcomeUnknown):
            schedule(st2_client, child())


@pytest.mark.parametrize("status", [401, 405, 409, 429])
def test_what_the_second_post_is_told_may_quote_the_first_and_is_not_logged(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoting = answer(status, {"faultstring": "refused: {'password': 'hush'}"})

    def later(exchange: Exchange) -> bool:
        assert exchange.request is not None
        return (NOTHING if exchange.request.method == "GET" else quoting)(exchange)

    with (
        BreakingServer(answer(503), later) as server,
        client(server.url, timeouts=Timeouts(5, 5, 0.5)) as st2_client,
        pytest.raises(OutcomeUnknown) as caught,
    ):
        schedule(st2_client, child(parameters={"password": "hush"}))
    assert caught.value.status == status
    assert str(status) in caplog.text
    assert "hush" not in caught.value.log_text() + caplog.text


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_the_second_post_is_refused_for_the_first_one_was_too(status: int) -> None:
    refusal = answer(status, {"faultstring": "no"})
    with (
        BreakingServer(reset(), NOTHING, refusal) as server,
        client(server.url, "k") as st2_client,
        pytest.raises(Answered, match=str(status)),
    ):
        schedule(st2_client, child())


@pytest.mark.parametrize(
    "look", [answer(503, b"", {"Retry-After": "17"}), answer(429, b"", {"Retry-After": "17"})]
)
def test_a_look_waits_as_long_as_it_is_asked_to(look: Behaviour) -> None:
    pauses = Pauses()
    with (
        BreakingServer(reset(), look, answer(200, [row()])) as server,
        client(server.url, pauses=pauses) as st2_client,
    ):
        assert schedule(st2_client, child())["id"] == "e1"
    assert pauses[1] == 17


def test_the_look_asks_for_this_action_and_no_further_back_than_a_day() -> None:
    with BreakingServer(reset(), answer(200, [row()])) as server, client(server.url) as st2_client:
        schedule(st2_client, child())
        query = parse_qs(urlsplit(server.requests[1].path).query)
    assert query["filter"] == ["context.mistral.action_execution_id:a1"]
    since = datetime.strptime(query["timestamp_gt"][0], "%Y-%m-%dT%H:%M:%S.%fZ")
    age = datetime.now(timezone.utc) - since.replace(tzinfo=timezone.utc)
    assert timedelta(hours=24) <= age < timedelta(hours=24, minutes=1)


def test_of_two_children_the_first_counts_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with (
        BreakingServer(reset(), answer(200, [row("a1", "e1"), row("a1", "e2")])) as server,
        client(server.url) as st2_client,
    ):
        assert schedule(st2_client, child())["id"] == "e1"
    assert "'e1' and 'e2'" in caplog.text


@pytest.mark.parametrize("lost", LOST)
def test_without_an_id_to_look_for_nothing_is_sent_again(lost: Behaviour) -> None:
    with BreakingServer(lost) as server, client(server.url, "k", enough_for(lost)) as st2_client:
        with pytest.raises(OutcomeUnknown):
            schedule(st2_client, child(MistralIds("mistral")))
        assert server.calls() == ["POST /executions"]


def test_without_an_id_what_was_not_sent_is_sent_again() -> None:
    pauses = Pauses()
    with refusing() as url, client(url, "k", FAST, pauses) as st2_client, pytest.raises(NotSent):
        schedule(st2_client, child(MistralIds("mistral")))
    assert len(pauses) >= 2


# -- answered ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"ref": "core.missing"}, "core.missing"),
        ({"ref": "core.local", "parameters": {}}, "cmd"),
        ({"ref": "core.local", "parameters": {"cmd": "true", "extra": 1}}, "extra"),
        ({"parent": Parent("0" * 24)}, "0" * 24),
    ],
)
def test_what_stackstorm_refuses_is_final_and_in_its_own_words(
    st2: StackStorm, key: str, wanted: dict[str, Any], words: str
) -> None:
    pauses = Pauses()
    with (
        client(st2.api_url, key, pauses=pauses) as st2_client,
        pytest.raises(Answered, match=words) as caught,
    ):
        schedule(st2_client, child(**wanted))
    assert caught.value.status == 400
    assert pauses == []


def test_an_answer_of_429_is_tried_again_when_asked_to() -> None:
    pauses = Pauses()
    busy = answer(429, b"", {"Retry-After": "18"})
    with BreakingServer(busy, answer(201, EXECUTION)) as server:
        with client(server.url, pauses=pauses) as st2_client:
            assert schedule(st2_client, child()) == EXECUTION
        # A 429 made nothing: no look is needed.
        assert server.calls() == ["POST /executions"] * 2
    assert pauses == [18]


def test_no_credential_and_no_parameter_is_in_an_error_or_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    script = [reset(), answer(500), answer(400, b"no")]
    with BreakingServer(*script) as server, client(server.url, "hush-key", FAST) as st2_client:
        for _ in range(2):
            try:
                schedule(st2_client, child(parameters={"password": "hush"}))
            except (Answered, OutcomeUnknown) as error:
                shown += f"{error}{error!r}"
        shown += repr(st2_client) + str(vars(st2_client))
    assert "POST" in shown
    assert "hush" not in shown + caplog.text


def test_who_looks_first_makes_no_second_one(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="look-first")
    with client(st2.api_url, key) as st2_client:
        made = schedule(st2_client, child(ids), lookup_first_after=0)
        assert schedule(st2_client, child(ids), lookup_first_after=0)["id"] == made["id"]
        # Further back than a day from now, but not from when the action was made.
        later = datetime.now(timezone.utc) + timedelta(hours=25)
        assert st2_client.find_children("look-first", "finder", later) == []
        doubled = schedule(st2_client, child(ids), lookup_first_after=0, since=later)
        assert [row["id"] for row in st2_client.find_children("look-first", "finder")] == [
            made["id"],
            doubled["id"],
        ]


def test_a_try_that_begins_late_looks_first() -> None:
    """Turned away, nothing is in doubt; but meanwhile the relay may have sent it."""

    def turned_away_late(exchange: Exchange) -> bool:
        time.sleep(0.3)
        return bool(answer(429, {"faultstring": "later"})(exchange))

    with (
        BreakingServer(turned_away_late, answer(200, [row("late", "e1")])) as server,
        client(server.url, "k", FAST, Pauses()) as st2_client,
    ):
        ids = MistralIds("mistral", action_execution_id="late")
        assert schedule(st2_client, child(ids), lookup_first_after=0.2)["id"] == "e1"
        assert [call.split()[0] for call in server.calls()] == ["POST", "GET"]


def test_who_looks_first_and_reaches_nobody_has_sent_nothing() -> None:
    with refusing() as url, client(url, "k", FAST, Pauses()) as st2_client, pytest.raises(NotSent):
        schedule(st2_client, child(), lookup_first_after=0)
    with (
        BreakingServer(answer(401, {"faultstring": "who?"})) as server,
        client(server.url, "k", FAST, Pauses()) as st2_client,
    ):
        with pytest.raises(Answered, match="401"):
            schedule(st2_client, child(), lookup_first_after=0)
        assert {call.split()[0] for call in server.calls()} == {"GET"}


def test_parameters_that_are_too_large_are_refused_at_once(st2: StackStorm, key: str) -> None:
    large = child(ref="core.local", parameters={"cmd": "x" * 10_000_000})
    pauses = Pauses()
    with (
        client(st2.api_url, key, Timeouts(read_timeout=30), pauses) as api,
        pytest.raises(Answered, match="document too large") as caught,
    ):
        schedule(api, large)
    assert caught.value.status == 500
    assert not pauses
