from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from st2actions_mistral.bridge.request import ExecutionRequest, parse_request, request_parser
from st2actions_mistral.config import BridgeSettings
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import MistralIds, Parent, ids_are_signed
from st2actions_mistral.model.literals import as_literals

PARENT_ID = "6b03c160746e6986596007f7"
IDS = MistralIds("mistral", "w", "wf", "t", "a1")


def request_for(ids: MistralIds = IDS, **more: Any) -> ExecutionRequest:
    return ExecutionRequest(**{"ref": "core.noop", "parameters": {}, "ids": ids, **more})


# -- ExecutionRequest ----------------------------------------------------------------------------


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
def test_invalid_ref_is_rejected(ref: Any) -> None:
    with pytest.raises(InputError) as caught:
        request_for(ref=ref)
    assert caught.value.name == "ref"


@pytest.mark.parametrize("parameters", [None, "cmd=date", ["date"], 5])
def test_parameters_must_be_an_object(parameters: Any) -> None:
    with pytest.raises(InputError) as caught:
        request_for(parameters=parameters)
    assert caught.value.name == "parameters"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_values_that_are_not_json_are_rejected(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        request_for(parameters={"p": [value]})
    assert caught.value.name == "parameters"
    with pytest.raises(InputError) as caught:
        request_for(notify={"p": value})
    assert caught.value.name == "st2_context.notify"


def test_too_long_context_is_rejected() -> None:
    with pytest.raises(InputError, match="header"):
        request_for(MistralIds("s", workflow_name="x" * 9_000))


def test_repr_shows_no_parameter() -> None:
    assert "hush" not in repr(request_for(parameters={"password": "hush"}))


def test_render_jinja_sends_parameters_without_literals() -> None:
    request = request_for(parameters={"cmd": "{{ 1 + 1 }}"}, render_jinja=True)
    assert request.body()["parameters"] == {"cmd": "{{ 1 + 1 }}"}
    assert "notify" not in request.body()


def test_render_jinja_renders_the_named_parameters_only() -> None:
    parameters = {"cmd": "{{ 1 + 1 }}", "text": "{{ 2 }}", "more": ["{{ 3 }}"], "n": 4}
    _, request = parse_request(
        SETTINGS,
        {"ref": "core.local", "parameters": parameters, "render_jinja": ["cmd"]},
        IDS,
    )
    sent = request.body()["parameters"]
    assert list(sent) == list(parameters)
    assert sent["cmd"] == "{{ 1 + 1 }}"
    assert sent["n"] == 4
    assert {**sent, "cmd": None} == {**as_literals(parameters), "cmd": None}
    assert sent["text"] != parameters["text"]
    assert request_for(parameters=parameters, render_jinja=()).body()["parameters"] == as_literals(
        parameters
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("cmd", "must be true, false or a list of names of parameters, not 'cmd'"),
        ([1], "must be true, false or a list of names"),
        (["cmd", "nope"], "render_jinja: names 'nope', which is not in parameters"),
    ],
)
def test_invalid_render_jinja(given: Any, reason: str) -> None:
    inputs = {"ref": "core.local", "parameters": {"cmd": "x"}, "render_jinja": given}
    with pytest.raises(InputError, match=reason):
        parse_request(SETTINGS, inputs, IDS)


def test_lost_action_renders_the_named_parameters_only() -> None:
    inputs = {
        "ref": "core.local",
        "parameters": {"a": "{{ 1 }}", "b": "{{ 1 }}"},
        "render_jinja": ["a"],
    }
    request = request_parser(SETTINGS)(inputs, IDS)
    assert request is not None
    assert request.body()["parameters"]["a"] == "{{ 1 }}"
    assert request.body()["parameters"]["b"] != "{{ 1 }}"


def test_header_without_chain_keeps_the_rest() -> None:
    request = request_for(replace(IDS, task_name="say"), parent=Parent(PARENT_ID))
    header = json.loads(request.header)
    assert header.pop("chain") == {"name": "say"}
    assert json.loads(request.header_without_chain()) == header


def test_both_headers_are_signed() -> None:
    request = request_for(parent=Parent(PARENT_ID), context_key="hush-context")
    for header in (request.header, request.header_without_chain()):
        assert ids_are_signed(json.loads(header)["mistral"], "hush-context")
    assert "hush" not in repr(request)
    assert "hush" not in request.header


# -- parse_request -------------------------------------------------------------------------------

OTHER = "https://other.example/v1"
SETTINGS = BridgeSettings(allowed_api_urls=(OTHER,))


def test_parse_request_applies_the_defaults() -> None:
    st2, request = parse_request(SETTINGS, {"ref": "core.noop"}, IDS)
    assert st2 == SETTINGS.st2
    assert request == request_for()
    assert request.ids.task_name is None


def test_task_name_of_the_context_is_the_name_of_the_execution() -> None:
    parent = {"execution_id": PARENT_ID}

    def header_for(**context: Any) -> Any:
        inputs = {"ref": "core.noop", "st2_context": {"parent": parent, **context}}
        return json.loads(parse_request(SETTINGS, inputs, IDS)[1].header)

    named = header_for(task_name="say")
    assert (named["chain"], named["mistral"]["task_name"]) == ({"name": "say"}, "say")
    # StackStorm's trees need a name.
    unnamed = header_for()
    assert (unnamed["chain"], unnamed["mistral"]) == ({"name": "core.noop"}, IDS.as_dict())


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("given", [True, False, None])
def test_input_render_jinja_overrides_the_option(default: bool, given: bool | None) -> None:
    settings = replace(SETTINGS, render_jinja=default)
    _, request = parse_request(settings, {"ref": "core.noop", "render_jinja": given}, IDS)
    assert request.render_jinja is (default if given is None else given)


def test_request_parser_returns_none_for_another_stackstorm() -> None:
    parse = request_parser(SETTINGS)
    assert parse({"ref": "core.noop"}, IDS) == request_for()
    assert parse({"ref": "core.noop", "st2_context": {"api_url": OTHER}}, IDS) is None
    with pytest.raises(InputError):
        parse({"ref": "noop"}, IDS)


def test_first_context_key_signs_the_ids_of_lost_actions_too() -> None:
    settings = replace(SETTINGS, context_keys=("new", "old"))
    inputs = {"ref": "core.noop", "st2_context": {"task_name": "say"}}
    ids = replace(IDS, project_id="p")
    made = [parse_request(settings, inputs, ids)[1], request_parser(settings)(inputs, ids)]
    for request in made:
        assert request is not None
        sent = json.loads(request.header)["mistral"]
        assert {**ids.as_dict(), "task_name": "say", "signature": sent["signature"]} == sent
        assert ids_are_signed(sent, "new")
        assert not ids_are_signed(sent, "old")
    assert "signature" not in json.loads(parse_request(SETTINGS, inputs, ids)[1].header)["mistral"]
