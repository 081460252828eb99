from __future__ import annotations

import json
from typing import Any

import pytest
from mistral_lib.actions.context import ExecutionContext, SecurityContext

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import (
    MAX_HEADER_BYTES,
    MistralIds,
    Parent,
    St2Context,
    header_value,
    ids_are_signed,
    is_signed,
    sign,
    sign_ids,
)

PARENT_ID = "6b03c160746e6986596007f7"


def test_parse_of_nothing_is_an_empty_context() -> None:
    assert St2Context.parse(None) == St2Context()
    assert St2Context.parse({}) == St2Context()


def test_parse_reads_every_key() -> None:
    context = St2Context.parse(
        {
            "api_url": "http://st2:9101/v1",
            "parent": {
                "execution_id": PARENT_ID,
                "user": "stanley",
                "source_channel": "ops",
                "api_user": "ada",
                "more": 1,
            },
            "notify": {"on-complete": {"routes": ["slack"]}},
            "skip_notify_tasks": ["one", "two"],
            "workflow_execution_id": "w",
            "signature": "x",
            "runner": "mistral-v2",
            "task_name": "one",
            "project_id": "p",
            "unknown": "ignored",
        }
    )
    assert context == St2Context(
        "http://st2:9101/v1",
        Parent(PARENT_ID, "stanley", "ops", "ada"),
        {"on-complete": {"routes": ["slack"]}},
        ("one", "two"),
        "w",
        "mistral-v2",
        "one",
        "p",
    )


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_parse_reads_empty_values_as_missing(nothing: Any) -> None:
    context = {"api_url": nothing or None, "notify": nothing or None, "parent": None}
    assert St2Context.parse(context) == St2Context()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("text", "st2_context"),
        ([], "st2_context"),
        (5, "st2_context"),
        (True, "st2_context"),
        ({"api_url": 5}, "st2_context.api_url"),
        ({"api_url": ["http://x"]}, "st2_context.api_url"),
        ({"notify": "me"}, "st2_context.notify"),
        ({"workflow_execution_id": 5}, "st2_context.workflow_execution_id"),
        ({"task_name": 5}, "st2_context.task_name"),
        ({"parent": PARENT_ID}, "st2_context.parent"),
        ({"parent": [PARENT_ID]}, "st2_context.parent"),
        ({"parent": {}}, "st2_context.parent.execution_id"),
        ({"parent": {"execution_id": None}}, "st2_context.parent.execution_id"),
        ({"parent": {"execution_id": 5}}, "st2_context.parent.execution_id"),
        ({"parent": {"execution_id": PARENT_ID, "api_user": 5}}, "st2_context.parent.api_user"),
        ({"parent": {"execution_id": PARENT_ID + "\n"}}, "st2_context.parent.execution_id"),
        ({"parent": {"execution_id": PARENT_ID + "/../x"}}, "st2_context.parent.execution_id"),
        ({"parent": {"execution_id": PARENT_ID, "user": 5}}, "st2_context.parent.user"),
        ({"skip_notify_tasks": "one"}, "st2_context.skip_notify_tasks"),
        ({"skip_notify_tasks": [1]}, "st2_context.skip_notify_tasks"),
    ],
)
def test_parse_rejects_invalid_values_by_name(value: Any, name: str) -> None:
    with pytest.raises(InputError) as caught:
        St2Context.parse(value)
    assert caught.value.name == name


def test_notify_for_skips_named_tasks() -> None:
    context = St2Context(notify={"on-failure": {}}, skip_notify_tasks=("quiet",))
    assert context.notify_for("loud") == {"on-failure": {}}
    assert context.notify_for("quiet") is None
    assert context.notify_for(None) == {"on-failure": {}}
    assert St2Context().notify_for("loud") is None


def test_notify_for_uses_the_task_of_the_context() -> None:
    context = St2Context.parse(
        {"notify": {"on-failure": {}}, "skip_notify_tasks": ["quiet"], "task_name": "quiet"}
    )
    assert context.notify_for(None) is None
    # Mistral's own name has precedence.
    assert context.notify_for("loud") == {"on-failure": {}}


def test_ids_of_mistrals_context() -> None:
    execution = ExecutionContext(
        workflow_execution_id="w",
        task_execution_id="t",
        action_execution_id="a",
        workflow_name="wf",
        callback_url="/v2/action_executions/a",
    )
    ids = MistralIds.of("site", execution)
    assert ids == MistralIds("site", "w", "wf", "t", "a")
    assert ids.as_dict() == {
        "site": "site",
        "workflow_execution_id": "w",
        "workflow_name": "wf",
        "task_execution_id": "t",
        "action_execution_id": "a",
    }


def test_ids_without_a_workflow() -> None:
    assert MistralIds.of("s", ExecutionContext(action_execution_id="a")).as_dict() == {
        "site": "s",
        "action_execution_id": "a",
    }
    assert MistralIds.of("s", ExecutionContext()).as_dict() == {"site": "s"}
    assert MistralIds.of("s", None).as_dict() == {"site": "s"}


def test_ids_ignore_values_that_are_no_string() -> None:
    assert MistralIds.of("s", ExecutionContext(workflow_name=5, action_execution_id="")).as_dict() == {
        "site": "s"
    }


def test_ids_have_the_project_of_the_action_and_no_credential() -> None:
    security = SecurityContext(project_id="p", auth_token="hush", trust_id="of a cron trigger")
    ids = MistralIds.of("s", ExecutionContext(action_execution_id="a"), security)
    assert ids == MistralIds("s", action_execution_id="a", project_id="p")
    assert "hush" not in repr(ids)
    assert MistralIds.of("s", None, SecurityContext()).project_id is None


def test_header_is_one_line_of_ascii() -> None:
    ids = MistralIds("s", workflow_name="é\r\nX-Auth-Token: x")
    value = header_value(Parent(PARENT_ID, "stanley"), ids)
    assert value.isascii()
    assert value.isprintable()
    assert json.loads(value) == {
        "parent": {"execution_id": PARENT_ID, "user": "stanley"},
        "mistral": {"site": "s", "workflow_name": "é\r\nX-Auth-Token: x"},
    }


def test_header_omits_missing_ids() -> None:
    assert json.loads(header_value(None, MistralIds("s"))) == {"mistral": {"site": "s"}}
    assert json.loads(header_value(Parent(PARENT_ID), MistralIds("s")))["parent"] == {
        "execution_id": PARENT_ID
    }


def test_header_above_stackstorms_limit_is_rejected() -> None:
    room = MAX_HEADER_BYTES - len(header_value(None, MistralIds("s", workflow_name="")))
    assert len(header_value(None, MistralIds("s", workflow_name="x" * room))) == MAX_HEADER_BYTES
    with pytest.raises(InputError, match=str(MAX_HEADER_BYTES + 1)):
        header_value(None, MistralIds("s", workflow_name="x" * (room + 1)))


def test_header_names_the_task_of_a_child() -> None:
    named = MistralIds("s", task_name="say")
    of_task = {"site": "s", "task_name": "say"}
    assert json.loads(header_value(Parent(PARENT_ID), named, chain="shown")) == {
        "parent": {"execution_id": PARENT_ID},
        "chain": {"name": "shown"},
        "mistral": of_task,
    }
    # Without a parent there is no tree.
    assert json.loads(header_value(None, named, chain="shown")) == {"mistral": of_task}


def test_header_has_the_chat_that_the_parent_came_from() -> None:
    parent = Parent(PARENT_ID, "stanley", source_channel="ops", api_user="ada")
    assert json.loads(header_value(parent, MistralIds("s")))["parent"] == {
        "execution_id": PARENT_ID,
        "user": "stanley",
        "source_channel": "ops",
        "api_user": "ada",
    }


def test_header_omits_a_task_name_that_does_not_fit() -> None:
    bare = header_value(Parent(PARENT_ID), MistralIds("s"))
    room = MAX_HEADER_BYTES - len(header_value(Parent(PARENT_ID), MistralIds("s", task_name="x"))) + 1
    fits, does_not = (MistralIds("s", task_name="x" * length) for length in (room, room + 1))
    assert len(header_value(Parent(PARENT_ID), fits)) == MAX_HEADER_BYTES
    assert header_value(Parent(PARENT_ID), does_not) == bare
    assert header_value(Parent(PARENT_ID), MistralIds("s"), chain="x" * 9000) == bare


CONTEXT: dict[str, Any] = {
    "api_url": "http://st2:9101/v1",
    "parent": {"execution_id": PARENT_ID, "user": "stanley"},
    "notify": {"é": [1, 2.5, None]},
}


def test_signature_does_not_depend_on_the_order_of_keys() -> None:
    signed = sign(CONTEXT, "key")
    assert is_signed(signed, "key")
    assert is_signed(dict(reversed(list(signed.items()))), "key")
    assert is_signed(json.loads(json.dumps(signed)), "key")
    assert "signature" not in CONTEXT


def test_signature_does_not_cover_the_task_name() -> None:
    signed = sign(CONTEXT, "key")
    assert is_signed({**signed, "task_name": "say"}, "key")
    assert sign({**CONTEXT, "task_name": "say"}, "key") == {**signed, "task_name": "say"}
    # No other key may be added.
    assert not is_signed({**signed, "task_names": "say"}, "key")


def test_sign_is_idempotent() -> None:
    signed = sign(CONTEXT, "key")
    assert sign(signed, "key") == signed


@pytest.mark.parametrize(
    "change",
    [
        {"parent": {"execution_id": PARENT_ID, "user": "root"}},
        {"parent": {"execution_id": "0" * 24, "user": "stanley"}},
        {"api_url": "http://evil/v1"},
        {"notify": None},
        {"more": 1},
        {"signature": ""},
        {"signature": None},
        {"signature": 5},
        {"signature": "0" * 64},
        {"signature": "é"},
        {"signature": "\ud800"},
    ],
)
def test_is_signed_rejects_a_changed_context(change: dict[str, Any]) -> None:
    assert not is_signed({**sign(CONTEXT, "key"), **change}, "key")


def test_is_signed_accepts_any_of_the_keys() -> None:
    signed = sign(CONTEXT, "old")
    assert is_signed(signed, "new", "old")
    assert is_signed(signed, "old", "new")
    assert not is_signed(signed, "new", "newer")
    assert not is_signed(signed)


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [_deep(), 10**5000, {1}], ids=["deep", "digits", "set"])
def test_is_signed_rejects_what_is_no_json(value: Any) -> None:
    assert not is_signed({**CONTEXT, "more": value, "signature": "0" * 64}, "key")


def test_is_signed_compares_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda given, made: bool(compared.append((given, made))))
    assert not is_signed(sign(CONTEXT, "key"), "key", "other")
    assert len(compared) == 2
    assert compared[0][0] == compared[0][1]


IDS = {
    "site": "s",
    "workflow_execution_id": "w",
    "workflow_name": "wf",
    "task_name": "say",
    "task_execution_id": "t",
    "action_execution_id": "a",
    "project_id": "p",
    "trust_id": "tr",
}


def test_header_signs_the_ids() -> None:
    ids = MistralIds("s", "w", "wf", "t", "a", "say", "p", "tr")
    assert ids.as_dict() == IDS
    [signed] = json.loads(header_value(None, ids, key="key")).values()
    assert signed == sign_ids(IDS, "key")
    assert ids_are_signed(signed, "other", "key")
    assert not ids_are_signed(signed, "other")
    assert not ids_are_signed(signed)
    assert not ids_are_signed(IDS, "key")


def test_signature_counts_for_the_length_of_the_header() -> None:
    room = MAX_HEADER_BYTES - len(header_value(None, MistralIds("s", workflow_name=""), key="k"))
    header_value(None, MistralIds("s", workflow_name="x" * room), key="k")
    with pytest.raises(InputError, match=str(MAX_HEADER_BYTES + 1)):
        header_value(None, MistralIds("s", workflow_name="x" * (room + 1)), key="k")


def test_signature_of_ids_survives_what_others_add() -> None:
    signed = sign_ids(IDS, "key")
    # The header drops a long name of a task, and the runner names the workflow of its own.
    del signed["task_name"]
    signed |= {"execution_id": "x", "workflow_name": "below", "parent": {"workflow_name": "wf"}}
    assert ids_are_signed(signed, "key")


@pytest.mark.parametrize(
    "name",
    ["site", *(name for name in IDS if name.endswith("_id"))],
)
@pytest.mark.parametrize("value", ["other", "", None, 5, {"a": 1}, "\ud800", {1}])
def test_ids_are_signed_rejects_changed_ids(name: str, value: Any) -> None:
    signed = sign_ids(IDS, "key")
    assert not ids_are_signed({**signed, name: value}, "key")
    del signed[name]
    assert not ids_are_signed(signed, "key")


@pytest.mark.parametrize("name", ["project_id", "trust_id"])
def test_ids_are_signed_rejects_added_ids(name: str) -> None:
    signed = sign_ids({"site": "s", "action_execution_id": "a"}, "key")
    assert ids_are_signed(signed, "key")
    assert not ids_are_signed({**signed, name: "other"}, "key")


def test_signatures_of_contexts_and_of_ids_are_not_exchangeable() -> None:
    # Whoever starts workflows from StackStorm gets contexts signed.
    values = {"site": "s", "action_execution_id": "a"}
    assert not ids_are_signed(sign(values, "key"), "key")
    assert not is_signed(sign_ids(values, "key"), "key")


@pytest.mark.parametrize("signature", [None, 5, "", "0" * 64, "é", "\ud800"])
def test_ids_are_signed_rejects_what_is_no_signature(signature: Any) -> None:
    assert not ids_are_signed({**IDS, "signature": signature}, "key")


def test_ids_are_signed_compares_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda given, made: bool(compared.append((given, made))))
    assert not ids_are_signed(sign_ids(IDS, "key"), "key", "other")
    assert len(compared) == 2
    assert compared[0][0] == compared[0][1]


def test_is_signed_rejects_another_key_and_no_signature() -> None:
    assert not is_signed(sign(CONTEXT, "other"), "key")
    assert not is_signed(CONTEXT, "key")
