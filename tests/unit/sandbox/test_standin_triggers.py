"""Trigger types, instances of triggers and webhooks of the stand-in.

The expected answers follow the source of StackStorm 3.9.0: ``controllers/v1/webhooks.py``,
``controllers/v1/triggers.py`` and ``validators/api/reactor.py``. Those of trigger instances are
recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.stackstorm import StackStorm

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "required": True},
        "note": {"type": "string"},
        "count": {"type": "integer", "default": 1},
    },
    "additionalProperties": False,
}
EVENT = {"pack": "tests", "name": "event", "payload_schema": SCHEMA}


@pytest.fixture
def st2() -> Iterator[StackStorm]:
    with StackStorm() as stackstorm:
        stackstorm.register_trigger(EVENT)
        yield stackstorm


def ask(
    st2: StackStorm, method: str, path: str, body: Any = None, key: str | None = None
) -> requests.Response:
    headers = {"St2-Api-Key": key or st2.create_api_key()}
    return requests.request(method, f"{st2.api_url}{path}", json=body, headers=headers, timeout=30)


def dispatch(st2: StackStorm, payload: Any, trigger: Any = "tests.event") -> requests.Response:
    return ask(st2, "POST", "/webhooks/st2", {"trigger": trigger, "payload": payload})


def test_webhook_creates_an_instance(st2: StackStorm) -> None:
    body = {"trigger": "tests.event", "payload": {"name": "a", "note": None}, "more": 1}
    answer = ask(st2, "POST", "/webhooks/st2", body)
    assert (answer.status_code, answer.json()) == (202, body)
    (found,) = ask(st2, "GET", "/triggerinstances?trigger=tests.event").json()
    assert list(found) == ["trigger", "occurrence_time", "status", "id", "payload"]
    assert (found["trigger"], found["status"]) == ("tests.event", "processed")
    # The defaults of the schema count for the check only.
    assert found["payload"] == {"name": "a", "note": None}
    assert ask(st2, "GET", f"/triggerinstances/{found['id']}").json() == found
    assert ask(st2, "GET", "/triggerinstances?trigger=tests.other").json() == []
    (part,) = ask(st2, "GET", "/triggerinstances?include_attributes=trigger,status").json()
    assert part == {"trigger": "tests.event", "status": "processed", "id": found["id"]}
    assert ask(st2, "GET", f"/triggerinstances/{'0' * 24}").status_code == 404


def test_newest_instance_comes_first(st2: StackStorm) -> None:
    for name in "abc":
        dispatch(st2, {"name": name})
    answer = ask(st2, "GET", "/triggerinstances?limit=2")
    assert [instance["payload"]["name"] for instance in answer.json()] == ["c", "b"]
    assert answer.headers["X-Total-Count"] == "3"
    assert [i["payload"]["name"] for i in st2.trigger_instances()] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "'name' is a required property"),
        ({"name": 5}, "5 is not of type 'string'"),
        ({"name": "a", "other": 1}, "Additional properties are not allowed"),
        ([], "[] is not of type 'object'"),
        (None, "None is not of type 'object'"),
    ],
)
def test_payload_that_does_not_match_the_schema_is_rejected(
    st2: StackStorm, payload: Any, reason: str
) -> None:
    answer = dispatch(st2, payload)
    assert answer.status_code == 400
    text = answer.json()["faultstring"]
    assert text.startswith(
        "Trigger payload validation failed and validation is enabled, not dispatching a trigger"
        f' "tests.event" ({payload}): '
    )
    assert reason in text
    assert not st2.trigger_instances()


@pytest.mark.parametrize("trigger", ["tests.unknown", {"type": "tests.unknown"}])
def test_unknown_trigger_is_rejected(st2: StackStorm, trigger: Any) -> None:
    answer = dispatch(st2, {}, trigger)
    assert answer.status_code == 400
    assert answer.json()["faultstring"].endswith(
        'Trigger type with reference "tests.unknown" doesn\'t exist in the database'
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("st2", {}, 400, "Trigger not specified."),
        ("st2", {"payload": {}}, 400, "Trigger not specified."),
        ("st2", [], 400, "Webhook body needs to be an object, got: array"),
        ("mine", {}, 404, "Webhook mine not registered with st2"),
        ("a/b", {}, 404, "Webhook a/b not registered with st2"),
    ],
)
def test_other_requests_are_rejected(
    st2: StackStorm, path: str, body: Any, status: int, text: str
) -> None:
    answer = ask(st2, "POST", f"/webhooks/{path}", body)
    assert (answer.status_code, answer.json()) == (status, {"faultstring": text})


def test_webhook_needs_a_credential(st2: StackStorm) -> None:
    answer = ask(st2, "POST", "/webhooks/st2", {"trigger": "tests.event"}, key="wrong")
    assert answer.status_code == 401
    url = f"{st2.api_url}/webhooks/st2"
    assert requests.post(url, json={}, timeout=30).status_code == 401


def test_trigger_without_schema_takes_any_object(st2: StackStorm) -> None:
    st2.register_trigger({"pack": "tests", "name": "any"})
    for payload in ({"a": [1]}, {}, None):
        assert dispatch(st2, payload, "tests.any").status_code == 202
    assert dispatch(st2, [1], "tests.any").status_code == 500
    assert [i["payload"] for i in st2.trigger_instances("tests.any")] == [{}, {}, {"a": [1]}]


def test_trigger_with_parameters_has_no_instance_without_a_rule(st2: StackStorm) -> None:
    parameters = {"type": "object", "properties": {"url": {"type": "string"}}}
    st2.register_trigger({"pack": "tests", "name": "timer", "parameters_schema": parameters})
    assert dispatch(st2, {}, "tests.timer").status_code == 202
    assert not st2.trigger_instances()


def test_trigger_types_are_created_and_shown(st2: StackStorm) -> None:
    created = ask(st2, "POST", "/triggertypes", {"pack": "default", "name": "new", "description": "d"})
    assert created.status_code == 201
    shown = created.json()
    assert (shown["ref"], shown["uid"]) == ("default.new", "trigger_type:default:new")
    for name in ("default.new", shown["id"]):
        assert ask(st2, "GET", f"/triggertypes/{name}").json() == shown
    assert ask(st2, "GET", "/triggertypes?pack=default").json() == [shown]
    assert "metadata_file" not in shown
    again = ask(st2, "POST", "/triggertypes", {"pack": "default", "name": "new"})
    assert again.status_code == 409
    assert ask(st2, "GET", "/triggertypes/default.none").status_code == 404


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({}, 500),
        ({"name": "x"}, 500),
        ({"pack": "default", "name": 5}, 500),
        ({"pack": "default"}, 400),
        ({"pack": "default", "name": "x", "payload_schema": 5}, 400),
        ({"pack": "none", "name": "x", "unknown": 1}, 201),
    ],
)
def test_metadata_of_a_trigger_type_is_checked(
    st2: StackStorm, metadata: dict[str, Any], status: int
) -> None:
    assert ask(st2, "POST", "/triggertypes", metadata).status_code == status
