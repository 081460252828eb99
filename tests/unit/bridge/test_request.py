from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import MistralIds

IDS = MistralIds("mistral", "w", "wf", "t", "a1")


def child(ids: MistralIds = IDS, **more: Any) -> ExecutionRequest:
    return ExecutionRequest(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


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


def test_rendering_is_left_to_stackstorm_where_it_is_wanted() -> None:
    wanted = child(parameters={"cmd": "{{ 1 + 1 }}"}, render_jinja=True)
    assert wanted.body()["parameters"] == {"cmd": "{{ 1 + 1 }}"}
    assert "notify" not in wanted.body()
