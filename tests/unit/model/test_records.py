from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.model.mistral_fields import has_items
from st2actions_mistral.model.records import action_of, created_at


@pytest.mark.parametrize(
    "context",
    [
        None,
        "text",
        [],
        {"mistral": "text"},
        {"mistral": {"site": "here"}},
        {"mistral": {"site": "here", "action_execution_id": 7}},
        {"mistral": {"site": ["here"]}},
        {"mistral": {"site": "here", "action_execution_id": "a-1\nWARNING it is all over"}},
        {"mistral": {"site": "here", "action_execution_id": "a-1\n"}},
        {"mistral": {"site": "here", "action_execution_id": "a" * 37}},
    ],
)
def test_action_of_rejects_any_other_shape(context: Any) -> None:
    assert action_of({"context": context}, "here") is None
    assert action_of({}, "here") is None


def test_action_of_returns_the_id_for_its_own_site_only() -> None:
    id_ = "4b4f5be9-77b1-4f0e-9a53-2a1a4f5e6d7c"
    execution = {"context": {"mistral": {"site": "here", "action_execution_id": id_}}}
    assert action_of(execution, "here") == id_
    assert action_of(execution, "there") is None


def test_created_at_is_utc() -> None:
    row = {"created_at": "2026-11-23 04:16:07"}
    assert created_at(row) == datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc)


@pytest.mark.parametrize("context", [None, "", "{", "[]", [], 5, {}])
def test_runtime_context_of_any_shape_has_no_items(context: Any) -> None:
    assert not has_items({"runtime_context": context})
