from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.model.context import St2Context, is_signed
from st2actions_mistral.runner.environment import environment
from st2actions_mistral.runner.request import WorkflowRequest

FIRST, SECOND = "6b03c160746e6986596007f7", "6b03c160746e6986596007f8"
NOTIFY = {"on-complete": {"routes": ["slack"], "message": "done"}, "on-failure": {"routes": ["pager"]}}


def request(execution_id: str, **given: Any) -> WorkflowRequest:
    return WorkflowRequest(execution_id, "pack.name", Path("w.yaml"), user="stanley", **given)


def merged(old: Any, new: Any) -> Any:
    """Merge environments like Mistral: recursively, with null as a value."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


def contexts(env: dict[str, Any]) -> list[dict[str, Any]]:
    return [given["st2_context"] for given in env["__actions"].values()]


@pytest.mark.parametrize("key", [None, "canary"])
@pytest.mark.parametrize("notify", [None, {"on-complete": {"routes": ["mail"]}}])
def test_signature_of_a_rerun_covers_the_merged_environment(
    key: str | None, notify: dict[str, Any] | None
) -> None:
    first = request(FIRST, notify=NOTIFY, skip_notify=["one"])
    old = environment(first, "w-1", api_url="http://127.0.0.1/v1", context_key=key)
    second = request(SECOND, notify=notify)
    new = environment(second, "w-1", api_url=None, context_key=key, before=old)
    after = merged(old, new)
    for context in contexts(after):
        assert is_signed(context, "canary") == bool(key)
        parsed = St2Context.parse(context)
        assert parsed.parent is not None
        assert parsed.parent.execution_id == SECOND
        assert parsed.notify_for("one") == notify
        assert parsed.api_url is None
    assert key is None or key not in str(after)


@pytest.mark.parametrize(
    "before", [None, {}, [], {"__actions": 5}, {"__actions": {"st2.action": None}}]
)
def test_an_invalid_environment_before_is_ignored(before: object) -> None:
    fresh = environment(request(FIRST), "w-1", api_url=None, context_key="k")
    assert environment(request(FIRST), "w-1", api_url=None, context_key="k", before=before) == fresh


def test_environment_has_the_ids_and_the_url_for_expressions() -> None:
    given = request(FIRST, liveaction_id="l")
    made = environment(given, "w-1", api_url=None, public_api_url="http://a", context_key=None)
    del made["__actions"]
    assert made == {
        "st2_execution_id": FIRST,
        "st2_liveaction_id": "l",
        "st2_action_api_url": "http://a",
    }
    reached = environment(given, "w-1", api_url="http://b", public_api_url="http://a", context_key=None)
    assert reached["st2_action_api_url"] == "http://b"


@pytest.mark.parametrize("key", [None, "canary"])
def test_parent_names_the_chat_and_is_signed_with_it(key: str | None) -> None:
    chat = {"source_channel": "ops", "api_user": "ada"}
    made = environment(request(FIRST, chatops=chat), "w-1", api_url=None, context_key=key)
    for context in contexts(made):
        assert context["parent"] == {"execution_id": FIRST, "user": "stanley", **chat}
        assert is_signed(context, "canary") == bool(key)
        forged = {**context, "parent": {**context["parent"], "api_user": "mallory"}}
        assert not is_signed(forged, "canary")
