"""Trigger types, and the webhook that creates instances of triggers."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from support.contract.target import Target

WEBHOOK = "/webhooks/st2"
SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "required": True},
        "state": {"type": "string"},
    },
    "additionalProperties": False,
}


@pytest.fixture
def trigger(target: Target) -> str:
    """Create a trigger type with a schema, and return its reference."""
    name = f"contract_{secrets.token_hex(4)}"
    metadata = {"pack": "default", "name": name, "payload_schema": SCHEMA}
    response = target.ask("POST", "/triggertypes", metadata)
    assert response.status_code == 201, response.text
    target.undo.append(lambda: target.ask("DELETE", f"/triggertypes/default.{name}"))
    expected = {
        "tags": [],
        "uid": f"trigger_type:default:{name}",
        "ref": f"default.{name}",
        "parameters_schema": {},
        "id": response.json()["id"],
        **metadata,
    }
    assert response.json() == expected
    assert target.ask("GET", f"/triggertypes/default.{name}").json() == expected
    return f"default.{name}"


def test_payload_reaches_the_trigger(target: Target, trigger: str) -> None:
    body = {"trigger": trigger, "payload": {"event": "E", "state": None}}
    response = target.ask("POST", WEBHOOK, body)
    assert (response.status_code, response.json()) == (202, body)
    path = f"/triggerinstances?trigger={trigger}"
    target.wait_for(lambda: [i["status"] for i in target.ask("GET", path).json()] == ["processed"])
    (instance,) = target.ask("GET", path).json()
    assert instance.keys() == {"id", "trigger", "occurrence_time", "payload", "status"}
    assert (instance["trigger"], instance["payload"]) == (trigger, body["payload"])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"event": 1}, "1 is not of type 'string'"),
        ({}, "'event' is a required property"),
        (None, "None is not of type 'object'"),
        ({"event": "E", "more": 1}, "Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_payload_that_does_not_match_is_rejected(
    target: Target, trigger: str, payload: Any, reason: str
) -> None:
    response = target.ask("POST", WEBHOOK, {"trigger": trigger, "payload": payload})
    assert response.status_code == 400
    assert response.json()["faultstring"].startswith(
        "Trigger payload validation failed and validation is enabled, not dispatching a trigger"
        f' "{trigger}" ({payload}): {reason}'
    )


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "Trigger not specified."),
        ([1], 400, "Webhook body needs to be an object, got: array"),
        (
            {"trigger": "default.none", "payload": {}},
            400,
            "Trigger payload validation failed and validation is enabled, not dispatching a trigger"
            ' "default.none" ({}): Trigger type with reference "default.none" doesn\'t exist in the'
            " database",
        ),
        (
            {"trigger": "nodot", "payload": {}},
            400,
            "Trigger payload validation failed and validation is enabled, not dispatching a trigger"
            ' "nodot" ({}): Invalid resource reference: nodot',
        ),
    ],
)
def test_invalid_request_to_the_webhook_is_rejected(
    target: Target, body: Any, status: int, reason: str
) -> None:
    response = target.ask("POST", WEBHOOK, body)
    assert (response.status_code, response.json()) == (status, {"faultstring": reason})


@pytest.mark.parametrize(
    ("metadata", "status", "reason"),
    [
        ({"name": "x"}, 500, "Internal Server Error"),
        (
            {"pack": "default"},
            400,
            "Both pack and name needed for building ref. pack=default, name=None",
        ),
        (
            {"pack": "default", "name": "x", "payload_schema": 5},
            400,
            "ValidationError (TriggerTypeDB:None) (Only dictionaries may be used in a DictField:"
            " ['payload_schema'])",
        ),
    ],
)
def test_invalid_trigger_type_is_rejected(
    target: Target, metadata: dict[str, Any], status: int, reason: str
) -> None:
    response = target.ask("POST", "/triggertypes", metadata)
    assert (response.status_code, response.json()) == (status, {"faultstring": reason})
