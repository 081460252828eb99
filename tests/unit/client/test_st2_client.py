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
    deaf,
    forward,
    hang_up,
    raw,
    refusing,
    reset,
    stall,
    stall_in_body,
)

from st2actions_mistral.client import session
from st2actions_mistral.client.settings import Credential, Patience, St2Settings
from st2actions_mistral.client.st2 import Child, St2Client
from st2actions_mistral.errors import Answered, InputError, NotSent, OutcomeUnknown
from st2actions_mistral.model.context import MistralIds, Parent
from st2actions_mistral.model.workflow import WorkflowRef
from st2actions_mistral.sandbox.stackstorm import RunRequest, RunResult, StackStorm

FAST = Patience(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
# With a sleep that does not sleep, a long deadline means: as often as it takes.
PATIENT = Patience(connect_timeout=5, read_timeout=5, retry_deadline=60)
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
    url: str, key: str = "k", patience: Patience = PATIENT, pauses: Pauses | None = None
) -> Iterator[St2Client]:
    settings = St2Settings(url, Credential(api_key=key), patience=patience)
    # `or` would not do: no pauses yet are false.
    sleep = Pauses() if pauses is None else pauses
    with contextlib.closing(St2Client(settings, sleep=sleep)) as made:
        yield made


def child(ids: MistralIds = IDS, **more: Any) -> Child:
    return Child(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


def children_of(st2: StackStorm, action_execution_id: str) -> list[dict[str, Any]]:
    return [
        execution
        for execution in st2.executions.all()
        if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
    ]


# -- what cannot be sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "local",
        ".local",
        "core.",
        " core.local",
        "core.local\n",
        "core.noop\nFAKE",
        "core.noop\x1b[2K",
        "core.\u2028noop",
        None,
        5,
        ["core.local"],
    ],
)
def test_a_ref_that_names_no_action_is_refused(ref: Any) -> None:
    with pytest.raises(InputError) as caught:
        child(ref=ref)
    assert caught.value.name == "ref"


@pytest.mark.parametrize("parameters", [None, "cmd=date", ["date"], 5])
def test_parameters_that_are_no_object_are_refused(parameters: Any) -> None:
    with pytest.raises(InputError) as caught:
        child(parameters=parameters)
    assert caught.value.name == "parameters"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_parameters_that_json_cannot_say_are_refused(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        child(parameters={"p": [value]})
    assert caught.value.name == "parameters"
    with pytest.raises(InputError) as caught:
        child(notify={"p": value})
    assert caught.value.name == "st2_context.notify"


def test_a_context_that_is_too_long_for_a_header_is_refused() -> None:
    with pytest.raises(InputError, match="header"):
        child(MistralIds("s", workflow_name="x" * 9_000))


def test_a_childs_repr_shows_no_parameter() -> None:
    assert "hush" not in repr(child(parameters={"password": "hush"}))


# -- one request ---------------------------------------------------------------------------------


def test_what_is_sent_is_the_action_its_parameters_and_the_context() -> None:
    with BreakingServer(answer(201, EXECUTION)) as server, client(server.url) as st2_client:
        made = st2_client.schedule(
            child(
                parameters={"cmd": "{{ 1 + 1 }}", "n": 5},
                parent=Parent("6b03c160746e6986596007f7", "stanley"),
                notify={"on-complete": {"routes": ["x"]}},
            )
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


def test_rendering_is_left_to_stackstorm_where_it_is_wanted() -> None:
    wanted = child(parameters={"cmd": "{{ 1 + 1 }}"}, render_jinja=True)
    assert wanted.body()["parameters"] == {"cmd": "{{ 1 + 1 }}"}
    assert "notify" not in wanted.body()


def test_parameters_arrive_in_a_stackstorm_as_they_were(st2: StackStorm, key: str) -> None:
    parameters = {"cmd": "printf %s '{% raw %}{{ st2kv.system.x }}{% endraw %} 😀'"}
    with client(st2.api_url, key) as st2_client:
        made = st2_client.schedule(
            child(
                MistralIds("mistral", action_execution_id="arrive"),
                ref="core.local",
                parameters=parameters,
            )
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
        st2_client.schedule(named)
    assert caught.value.judges_the_request
    contexts = [json.loads(r.headers["st2-context"]) for r in server.requests if r.method == "POST"]
    assert contexts[0] == {**contexts[1], "chain": {"name": "say"}}


def test_a_name_is_sent_again_after_any_other_failure() -> None:
    script = [reset(), answer(200, []), answer(503), answer(200, []), answer(201, EXECUTION)]
    named = child(replace(IDS, task_name="say"), parent=Parent("6b03c160746e6986596007f7"))
    with BreakingServer(*script) as server, client(server.url) as st2_client:
        assert st2_client.schedule(named) == EXECUTION
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
        settings = St2Settings(f"{url}/api/v1", Credential(api_key=key), patience=PATIENT)
        st2_client = stack.enter_context(contextlib.closing(St2Client(settings, sleep=sleep)))
        made = st2_client.schedule(child(ids))
    assert [execution["id"] for execution in children_of(st2, "back")] == [made["id"]]


def test_what_cannot_be_sent_before_the_deadline_is_not_sent() -> None:
    pauses = Pauses()
    with (
        refusing() as url,
        client(url, "k", FAST, pauses) as st2_client,
        pytest.raises(NotSent, match=f"POST {url}/executions"),
    ):
        st2_client.schedule(child())
    assert len(pauses) >= 2


def test_a_connection_that_is_never_made_is_tried_until_the_deadline() -> None:
    begun = time.monotonic()
    with (
        deaf() as url,
        client(url, "k", FAST, pauses := Pauses()) as st2_client,
        pytest.raises(NotSent, match="connect_timeout"),
    ):
        st2_client.schedule(child())
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


def enough_for(lost: Behaviour) -> Patience:
    """Patience that does not run out by itself, and is not tried by silence either."""
    return Patience(5, 0.3, 60) if lost in SILENT else PATIENT


@pytest.mark.parametrize("lost", LOST)
def test_an_execution_that_was_made_before_the_answer_was_lost_is_found_not_made_again(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"stored-{request.node.callspec.id}"
    with BreakingServer(forward(st2.base_url, lost), forward(st2.base_url)) as server:
        with client(f"{server.url}/api/v1", key, enough_for(lost)) as st2_client:
            made = st2_client.schedule(child(MistralIds("mistral", action_execution_id=mine)))
        assert server.calls() == ["POST /api/v1/executions", "GET /api/v1/executions"]
    assert [execution["id"] for execution in children_of(st2, mine)] == [made["id"]]


@pytest.mark.parametrize("lost", LOST)
def test_an_execution_that_was_not_made_is_made_after_a_look(
    st2: StackStorm, key: str, lost: Behaviour, request: pytest.FixtureRequest
) -> None:
    mine = f"unstored-{request.node.callspec.id}"
    with BreakingServer(lost, forward(st2.base_url)) as server:
        with client(f"{server.url}/api/v1", key, enough_for(lost)) as st2_client:
            made = st2_client.schedule(child(MistralIds("mistral", action_execution_id=mine)))
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
            made = st2_client.schedule(child(MistralIds("mistral", action_execution_id=mine)))
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
            st2_client.schedule(child())
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
            st2_client.schedule(child())
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
        settings = St2Settings(server.url, patience=Patience(5, 5, 0.5))
        st2_client = St2Client(settings, sleep=lambda _: time.sleep(0.6))
        with contextlib.closing(st2_client), pytest.raises(OutcomeUnknown, match="refused"):
            st2_client.schedule(child())
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
        settings = St2Settings(server.url, Credential(api_key="k"), patience=Patience(5, 5, 0.5))
        with contextlib.closing(St2Client(settings)) as st2_client, pytest.raises(OutcomeUnknown):
            st2_client.schedule(child())


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
        client(server.url, patience=Patience(5, 5, 0.5)) as st2_client,
        pytest.raises(OutcomeUnknown) as caught,
    ):
        st2_client.schedule(child(parameters={"password": "hush"}))
    assert caught.value.status == status
    assert str(status) in caplog.text
    assert "hush" not in caught.value.brief() + caplog.text


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_the_second_post_is_refused_for_the_first_one_was_too(status: int) -> None:
    refusal = answer(status, {"faultstring": "no"})
    with (
        BreakingServer(reset(), NOTHING, refusal) as server,
        client(server.url, "k") as st2_client,
        pytest.raises(Answered, match=str(status)),
    ):
        st2_client.schedule(child())


@pytest.mark.parametrize(
    "look", [answer(503, b"", {"Retry-After": "17"}), answer(429, b"", {"Retry-After": "17"})]
)
def test_a_look_waits_as_long_as_it_is_asked_to(look: Behaviour) -> None:
    pauses = Pauses()
    with (
        BreakingServer(reset(), look, answer(200, [row()])) as server,
        client(server.url, pauses=pauses) as st2_client,
    ):
        assert st2_client.schedule(child())["id"] == "e1"
    assert pauses[1] == 17


def test_the_look_asks_for_this_action_and_no_further_back_than_a_day() -> None:
    with BreakingServer(reset(), answer(200, [row()])) as server, client(server.url) as st2_client:
        st2_client.schedule(child())
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
        assert st2_client.schedule(child())["id"] == "e1"
    assert "'e1' and 'e2'" in caplog.text


@pytest.mark.parametrize("lost", LOST)
def test_without_an_id_to_look_for_nothing_is_sent_again(lost: Behaviour) -> None:
    with BreakingServer(lost) as server, client(server.url, "k", enough_for(lost)) as st2_client:
        with pytest.raises(OutcomeUnknown):
            st2_client.schedule(child(MistralIds("mistral")))
        assert server.calls() == ["POST /executions"]


def test_without_an_id_what_was_not_sent_is_sent_again() -> None:
    pauses = Pauses()
    with refusing() as url, client(url, "k", FAST, pauses) as st2_client, pytest.raises(NotSent):
        st2_client.schedule(child(MistralIds("mistral")))
    assert len(pauses) >= 2


def test_an_execution_for_nobody_is_not_made_twice() -> None:
    with BreakingServer(reset()) as server, client(server.url) as st2_client:
        with pytest.raises(OutcomeUnknown):
            st2_client.create_execution("core.noop", {})
        assert len(server.requests) == 1


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
        st2_client.schedule(child(**wanted))
    assert caught.value.status == 400
    assert pauses == []


def test_an_answer_of_429_is_tried_again_when_asked_to() -> None:
    pauses = Pauses()
    busy = answer(429, b"", {"Retry-After": "18"})
    with BreakingServer(busy, answer(201, EXECUTION)) as server:
        with client(server.url, pauses=pauses) as st2_client:
            assert st2_client.schedule(child()) == EXECUTION
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
                st2_client.schedule(child(parameters={"password": "hush"}))
            except (Answered, OutcomeUnknown) as error:
                shown += f"{error}{error!r}"
        shown += repr(st2_client) + str(vars(st2_client))
    assert "POST" in shown
    assert "hush" not in shown + caplog.text


# -- reading -------------------------------------------------------------------------------------


def test_a_child_is_found_by_its_action(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="find-me")
    with client(st2.api_url, key) as st2_client:
        assert st2_client.find_children("find-me", "finder") == []
        made = st2_client.schedule(child(ids))
        [found] = st2_client.find_children("find-me", "finder")
    assert found["id"] == made["id"]
    assert found["context"]["mistral"] == ids.as_dict()


def test_no_id_of_a_stranger_begins_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    twice = [row("a\nb", "e1\nFAKE"), row("a\nb", "e2\nFAKE")]
    with BreakingServer(answer(200, twice)) as server, client(server.url) as st2_client:
        assert len(st2_client.find_children("a\nb", "mistral")) == 2
    assert "has two children" in caplog.text
    assert "\nFAKE" not in caplog.text
    assert "a\nb" not in caplog.text


def test_the_child_of_a_copy_of_mistral_is_not_found(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client:
        theirs = st2_client.schedule(child(MistralIds("original", action_execution_id="copied")))
        assert st2_client.find_children("copied", "copy") == []
        ours = st2_client.schedule(
            child(MistralIds("copy", action_execution_id="copied")), look_after=0
        )
        assert [row["id"] for row in st2_client.find_children("copied", "copy")] == [ours["id"]]
    assert ours["id"] != theirs["id"]


def test_who_looks_first_makes_no_second_one(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="look-first")
    with client(st2.api_url, key) as st2_client:
        made = st2_client.schedule(child(ids), look_after=0)
        assert st2_client.schedule(child(ids), look_after=0)["id"] == made["id"]
        # Further back than a day from now, but not from when the action was made.
        later = datetime.now(timezone.utc) + timedelta(hours=25)
        assert st2_client.find_children("look-first", "finder", later) == []
        doubled = st2_client.schedule(child(ids), look_after=0, since=later)
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
        assert st2_client.schedule(child(ids), look_after=0.2)["id"] == "e1"
        assert [call.split()[0] for call in server.calls()] == ["POST", "GET"]


def test_who_looks_first_and_reaches_nobody_has_sent_nothing() -> None:
    with refusing() as url, client(url, "k", FAST, Pauses()) as st2_client, pytest.raises(NotSent):
        st2_client.schedule(child(), look_after=0)
    with (
        BreakingServer(answer(401, {"faultstring": "who?"})) as server,
        client(server.url, "k", FAST, Pauses()) as st2_client,
    ):
        with pytest.raises(Answered, match="401"):
            st2_client.schedule(child(), look_after=0)
        assert {call.split()[0] for call in server.calls()} == {"GET"}


def test_a_child_is_canceled_and_what_has_ended_is_left_alone(st2: StackStorm, key: str) -> None:
    ids = MistralIds("finder", action_execution_id="cancel")
    with client(st2.api_url, key) as st2_client:
        made = st2_client.schedule(child(ids, ref="core.local", parameters={"cmd": "sleep 60"}))
        st2.executions.wait(made["id"], {"running"})
        assert st2_client.cancel(made["id"])
        assert st2.executions.wait(made["id"])["status"] == "canceled"
        assert st2_client.cancel(made["id"])
        assert not st2_client.cancel("0" * 24)


def test_parents_are_listed_by_site() -> None:
    def workflow(request: RunRequest) -> RunResult:
        return RunResult("running", {"note": "x"}, WorkflowRef("here", "w-1", "n").as_context())

    with StackStorm(runners={"mistral-v2": workflow}) as st2:
        st2.register_action({"pack": "test", "name": "wf", "runner_type": "mistral-v2"})
        with client(st2.api_url, st2.create_api_key()) as st2_client:
            made = [st2_client.create_execution("test.wf", {})["id"] for _ in range(2)]
            while not all("mistral_workflow" in st2.executions.get(id_)["context"] for id_ in made):
                time.sleep(0.01)
            st2_client.finish(made[1], "succeeded", {"x": 1})
            assert [row["id"] for row in st2_client.parents("here")] == made[:1]
            assert list(st2_client.parents("elsewhere")) == []


def test_all_children_of_a_site_are_listed_page_by_page(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key, Patience(5, 5, 10)) as st2_client:
        made = [
            st2_client.schedule(child(MistralIds(site, action_execution_id=f"{site}{i}")))["id"]
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


def test_the_children_of_a_workflow_are_listed(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client:
        above = [st2_client.create_execution("core.noop", {})["id"] for _ in range(2)]
        made = [
            st2_client.schedule(
                Child("core.noop", {}, MistralIds("s", workflow_execution_id=workflow), Parent(parent))
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
    """A StackStorm with a max_page_size of its own."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        query = parse_qs(urlsplit(exchange.request.path).query)
        limit, offset = int(query["limit"][0]), int(query.get("offset", ["0"])[0])
        if limit > largest:
            words = f'Limit "{limit}" specified, maximum value is "{largest}"'
            return answer(status, {"faultstring": words})(exchange)
        ids = query["id"][0].split(",") if "id" in query else [entry["id"] for entry in rows]
        found = [entry for entry in rows if entry["id"] in ids]
        return answer(200, found[offset : offset + limit])(exchange)

    return act


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("largest", [1, 7, 50, 99])
def test_pages_are_as_small_as_stackstorm_wants_them(largest: int, status: int) -> None:
    rows = [row("a1", f"{n:024x}") for n in range(120)]
    script = _small_pages(rows, largest, status)
    with BreakingServer(script) as server, client(server.url) as st2:
        assert [found["id"] for found in st2.find_children("a1", "mistral")] == [
            e["id"] for e in rows[:largest]
        ]
        assert list(st2.parents("here"))[:120] == rows
        assert [id_ for id_, _ in st2.statuses([e["id"] for e in rows])] == [e["id"] for e in rows]
        # It has to be told once.
        limits = [parse_qs(urlsplit(r.path).query)["limit"] for r in server.requests]
        assert limits[0] == ["100"]
        assert limits[1:] == [[str(largest)]] * (len(limits) - 1)


@pytest.mark.parametrize("allowed", ["100", "1000", "0", "x"])
def test_a_page_size_that_is_no_help_is_an_answer(allowed: str) -> None:
    words = f'Limit "100" specified, maximum value is "{allowed}"'
    with BreakingServer(answer(403, {"faultstring": words})) as server:
        with client(server.url) as st2, pytest.raises(Answered, match="maximum value"):
            list(st2.parents("here"))
        assert len(server.requests) == 1


def _page(first: int, length: int = 100) -> Behaviour:
    return answer(200, [{"id": str(first + n), "status": "running"} for n in range(length)])


def test_a_listing_without_an_end_is_an_error() -> None:
    with BreakingServer(_page(0)) as server:
        with client(server.url) as st2, pytest.raises(OutcomeUnknown, match="brings nothing new"):
            list(st2.parents("here"))
        assert len(server.requests) == 4


def test_a_listing_that_goes_round_in_circles_is_an_error() -> None:
    script = [_page(0), _page(100)] * 10
    with (
        BreakingServer(*script) as server,
        client(server.url) as st2,
        pytest.raises(OutcomeUnknown, match="brings nothing new"),
    ):
        list(st2.children_since("here", datetime.now(timezone.utc)))


def test_a_listing_that_shifts_meanwhile_comes_to_its_end() -> None:
    """What is made at its front moves its rows on, at worst by whole pages."""
    script = [_page(0), _page(95), _page(95), _page(95), _page(195), _page(195, 5)]
    with BreakingServer(*script) as server, client(server.url) as st2:
        rows = st2.children_since("here", datetime.now(timezone.utc))
        assert {row["id"] for row in rows} == {str(n) for n in range(295)}


def test_a_status_is_asked_only_of_what_may_be_an_id() -> None:
    """One that StackStorm does not take would cost the answer about all the others."""
    id_ = "6b03c160746e6986596007f7"
    rows = [{"id": id_, "status": "running"}]
    with BreakingServer(answer(200, rows)) as server, client(server.url) as st2_client:
        strange = ["x" * 70_000, "last", id_, f"{id_},{id_}"]
        assert dict(st2_client.statuses(strange)) == {id_: "running"}
        assert dict(st2_client.statuses(["x"])) == {}
        [request] = server.requests
    assert parse_qs(urlsplit(request.path).query)["id"] == [id_]


@pytest.mark.parametrize("body", [[5], [{"id": "x"}], [{"status": "running"}], {}, None])
def test_a_listing_of_another_shape_is_of_unknown_outcome(body: Any) -> None:
    with (
        BreakingServer(answer(200, body)) as server,
        client(server.url, patience=Patience(1, 1, 0)) as st2_client,
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


def test_a_large_result_is_left_out_where_that_is_asked_for(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client:
        id_ = _ended_with(st2_client, "x" * 5_000)
        small = st2_client.get_execution(id_, max_result_size=10_000)
        large = st2_client.get_execution(id_, max_result_size=1_000)
    assert small is not None
    assert large is not None
    assert small == {**large, "result": {"output": "x" * 5_000}}
    assert "result" not in large
    assert large["result_size"] > 5_000


def test_what_is_too_large_to_be_read_is_read_without_its_result(
    st2: StackStorm, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses()
    with client(st2.api_url, key, pauses=pauses) as st2_client:
        id_ = _ended_with(st2_client, "x" * 50_000)
        monkeypatch.setattr(session, "_LARGEST_ANSWER", 20_000)
        found = st2_client.get_execution(id_)
    assert found is not None
    assert (found["status"], found["result_size"] > 50_000) == ("succeeded", True)
    assert "result" not in found
    assert pauses == []


def test_a_server_that_speaks_of_something_large_keeps_no_result_from_us() -> None:
    """Only that we have read too much makes an answer too large."""
    said = answer(503, {"faultstring": "the queue is larger than 5 MB"})
    with (
        BreakingServer(said, answer(200, {"id": "e1", "status": "succeeded", "result": 1})) as server,
        client(server.url, "k", FAST, Pauses()) as st2_client,
    ):
        found = st2_client.get_execution("e1")
        assert found is not None
        assert found["result"] == 1
        assert not any("exclude_attributes" in request.path for request in server.requests)


def _ended_with(st2_client: St2Client, output: str) -> str:
    made = str(st2_client.create_execution("test.job", {})["id"])
    st2_client.finish(made, "succeeded", {"output": output})
    return made


def test_an_execution_is_read_whole_or_not_at_all(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client:
        made = st2_client.create_execution("core.noop", {})
        st2.executions.wait(made["id"])
        found = st2_client.get_execution(made["id"])
        assert found is not None
        assert found["status"] == "succeeded"
        assert "result" in found
        assert st2_client.get_execution("0" * 24) is None


def test_an_execution_that_may_not_be_read_is_an_answer() -> None:
    with (
        BreakingServer(answer(403)) as server,
        client(server.url) as st2_client,
        pytest.raises(Answered) as caught,
    ):
        st2_client.get_execution("x")
    assert caught.value.status == 403


def test_an_id_from_elsewhere_cannot_reach_another_path() -> None:
    with BreakingServer(answer(404)) as server, client(server.url) as st2_client:
        assert st2_client.get_execution("../keys/x?decrypt=true") is None
        assert server.requests[0].path == "/executions/..%2Fkeys%2Fx%3Fdecrypt%3Dtrue"


def test_the_children_of_an_execution_are_listed(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client:
        parent = st2_client.create_execution("test.job", {})
        made = st2_client.schedule(
            child(MistralIds("m", action_execution_id="c"), parent=Parent(parent["id"]))
        )
        assert [entry["id"] for entry in st2_client.children(parent["id"])] == [made["id"]]
        with pytest.raises(Answered) as caught:
            st2_client.children("0" * 24)
    assert caught.value.status == 404


# -- finishing a parent --------------------------------------------------------------------------


@pytest.fixture
def parent(st2: StackStorm, key: str) -> str:
    with client(st2.api_url, key) as st2_client:
        made = st2_client.create_execution("test.job", {})
    # As long as its runner has not said so, StackStorm may overwrite what it is told.
    while st2.executions.get(made["id"]).get("result") != {"note": "started"}:
        time.sleep(0.001)
    return str(made["id"])


@pytest.mark.parametrize("status", ["succeeded", "failed", "timeout", "abandoned"])
def test_a_running_parent_gets_status_and_result(
    st2: StackStorm, key: str, parent: str, status: str
) -> None:
    with client(st2.api_url, key) as st2_client:
        told = st2_client.finish(parent, status, {"output": 5})
    assert told["status"] == status
    assert st2.executions.get(parent)["status"] == status
    assert st2.executions.get(parent)["result"] == {"output": 5}


def test_a_running_parent_is_cancelled_by_way_of_canceling(
    st2: StackStorm, key: str, parent: str
) -> None:
    with client(st2.api_url, key) as st2_client:
        assert st2_client.finish(parent, "canceled", {"output": 5})["status"] == "canceling"
        assert st2.executions.wait(parent)["status"] == "canceled"
        assert st2_client.finish(parent, "canceled", {"output": 5})["status"] == "canceled"


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_a_parent_that_stackstorm_is_canceling_can_be_finished(
    st2: StackStorm, key: str, parent: str, status: str
) -> None:
    st2.executions.move(parent, "canceling")
    with client(st2.api_url, key) as st2_client:
        assert st2_client.finish(parent, status, {"output": 5})["status"] == status
    assert st2.executions.get(parent)["result"] == {"output": 5}


@pytest.mark.parametrize("lost", LOST)
def test_finishing_again_after_a_lost_answer_finishes_once(
    st2: StackStorm, key: str, parent: str, lost: Behaviour
) -> None:
    with (
        BreakingServer(forward(st2.base_url, lost), forward(st2.base_url)) as server,
        client(f"{server.url}/api/v1", key, enough_for(lost)) as st2_client,
    ):
        told = st2_client.finish(parent, "succeeded", {"output": 5})
    assert told["status"] == "succeeded"
    assert st2.executions.get(parent)["result"] == {"output": 5}


@pytest.mark.parametrize("again", ["succeeded", "failed", "canceled"])
def test_a_parent_that_is_final_is_left_as_it_is(
    st2: StackStorm, key: str, parent: str, again: str
) -> None:
    with client(st2.api_url, key) as st2_client:
        st2_client.finish(parent, "succeeded", {"output": "first"})
        told = st2_client.finish(parent, again, {"output": "second"})
    assert told["status"] == "succeeded"
    assert st2.executions.get(parent)["result"] == {"output": "first"}


def test_an_unknown_parent_is_an_answer_of_404(st2: StackStorm, key: str) -> None:
    with client(st2.api_url, key) as st2_client, pytest.raises(Answered) as caught:
        st2_client.finish("0" * 24, "succeeded", {})
    assert caught.value.status == 404


@pytest.mark.parametrize("current", [answer(404), answer(200, {**EXECUTION, "status": "running"})])
def test_a_400_for_a_parent_that_is_not_final_is_an_answer(current: Behaviour) -> None:
    with (
        BreakingServer(answer(400, {"faultstring": "Bad."}), current) as server,
        client(server.url) as st2_client,
        pytest.raises(Answered, match="Bad"),
    ):
        st2_client.finish("x", "succeeded", {})


def test_a_parent_that_is_out_of_reach_is_not_sent_to() -> None:
    with refusing() as url, client(url, "k", FAST) as st2_client, pytest.raises(NotSent):
        st2_client.finish("x", "succeeded", {})


# -- size and shape ------------------------------------------------------------------------------


def test_an_execution_is_read_although_its_result_is_more_than_python_reads() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"id": "e", "status": "failed", "result": {"n": %s, "d": %s, "x": NaN}}' % (
        b"9" * 5000,
        deep,
    )
    with BreakingServer(answer(200, body)) as server, client(server.url) as st2:
        execution = st2.get_execution("e")
    assert execution is not None
    assert (execution["id"], execution["status"]) == ("e", "failed")
    assert execution["result"]["n"] == "9" * 5000
    assert "nested deeper" in json.dumps(execution["result"]["d"])


def test_parameters_that_are_too_large_are_refused_at_once(st2: StackStorm, key: str) -> None:
    large = child(ref="core.local", parameters={"cmd": "x" * 10_000_000})
    pauses = Pauses()
    with (
        client(st2.api_url, key, Patience(read_timeout=30), pauses) as api,
        pytest.raises(Answered, match="document too large") as caught,
    ):
        api.schedule(large)
    assert caught.value.status == 500
    assert not pauses


def test_the_parameters_of_an_action() -> None:
    parameters = {"cmd": {"type": "string", "required": True}, "odd": None}
    script = [answer(200, {"ref": "core.local", "parameters": parameters}), answer(404)]
    with BreakingServer(*script) as server, client(server.url) as st2:
        assert st2.action_parameters("core.local") == {"cmd": parameters["cmd"], "odd": {}}
        assert st2.action_parameters("a/../b") is None
        assert server.calls() == [
            "GET /actions/views/overview/core.local",
            "GET /actions/views/overview/a%2F..%2Fb",
        ]


@pytest.mark.parametrize("found", [{}, {"ref": "core.local"}, {"ref": "core.local", "parameters": []}])
def test_parameters_of_something_else(found: dict[str, Any]) -> None:
    with (
        BreakingServer(answer(200, found)) as server,
        client(server.url, patience=Patience(5, 5, 0)) as st2,
        pytest.raises(OutcomeUnknown),
    ):
        st2.action_parameters("core.local")


def test_parameters_that_we_may_not_see() -> None:
    with BreakingServer(answer(403)) as server, client(server.url) as st2, pytest.raises(Answered):
        st2.action_parameters("core.local")
