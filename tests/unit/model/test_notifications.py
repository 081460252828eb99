"""Test who gets Mistral's notifications."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mistral.notifiers import notification_events

from st2actions_mistral.model import states
from st2actions_mistral.model.notifications import ENDS, PAUSED, RESUMED, announces_end


def ended(notify: object, state: str = "ERROR") -> dict[str, Any]:
    return {"id": "w", "state": state, "params": json.dumps({"env": {}, "notify": notify})}


def test_events_are_mistrals() -> None:
    assert {*ENDS, PAUSED, RESUMED} < set(notification_events.WORKFLOWS)
    assert {
        notification_events.identify_workflow_event(states.RUNNING, state)
        for state in states.MISTRAL_FINAL
    } == ENDS


@pytest.mark.parametrize(
    "notify",
    [
        [{"type": "st2"}],
        [{"type": "noop"}, {"type": "st2", "event_types": []}],
        [{"type": "st2", "event_types": ["WORKFLOW_PAUSED", "WORKFLOW_FAILED"]}],
        # Mistral accepts these, because it only looks for the name in them.
        [{"type": "st2", "event_types": "WORKFLOW_FAILED"}],
        [{"type": "st2", "event_types": {"WORKFLOW_FAILED": 1}}],
    ],
)
def test_end_is_announced(notify: object) -> None:
    assert announces_end(ended(notify))


@pytest.mark.parametrize(
    "notify",
    [
        None,
        [],
        "st2",
        {"type": "st2"},
        ["st2", None, 5],
        [{"type": "webhook"}],
        [{"type": ["st2"]}],
        [{"type": "st2", "event_types": ["WORKFLOW_SUCCEEDED"]}],
        [{"type": "st2", "event_types": 5}],
    ],
)
def test_end_is_not_announced(notify: object) -> None:
    assert not announces_end(ended(notify))


@pytest.mark.parametrize("params", [None, "", "{", "[]", "5", {"notify": None}])
def test_params_of_any_shape_announce_nothing(params: object) -> None:
    assert not announces_end({"id": "w", "state": "SUCCESS", "params": params})
