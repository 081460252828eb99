"""Recorded requests that are replayed one by one."""

from __future__ import annotations

import copy
import re
from functools import partial

import pytest
import requests
from support.contract.recordings import (
    Fill,
    Recording,
    assert_like,
    assert_same,
    cases,
    filled,
    load,
    send,
)
from support.contract.target import Target

EXECUTIONS = load("executions", "refusals")
CREDENTIALS = load("credentials")
DATASTORE = load("datastore")
CONTENT = load("content")
QUERIES = load("queries")
SIZES = load("sizes")
REPLAYED = EXECUTIONS | CREDENTIALS | DATASTORE | CONTENT | QUERIES | SIZES

TTL_TIMEOUTS = 90
"""Seconds. StackStorm's database deletes expired keys once a minute."""


@pytest.fixture(scope="module", autouse=True)
def _finished_executions(target: Target) -> None:
    target.ran("core.local", {"cmd": "date"})
    target.ran("core.noop")


@pytest.mark.parametrize("name", cases(EXECUTIONS))
def test_execution_request(target: Target, fill: Fill, name: str) -> None:
    recording = filled(EXECUTIONS[name], fill)
    answer = send(target, EXECUTIONS[name], fill)
    if isinstance(recording["response"]["body"], list):
        assert_listed(answer, recording)
    elif name == "malformed_json" and target.stand_in:
        # The two decoders differ in the position of the end of the text.
        assert answer.json()["faultstring"].startswith("Failed to parse request body: unexpected end")
    else:
        assert_same(target, answer, recording)


@pytest.mark.parametrize("name", cases(CREDENTIALS))
def test_credential_request(target: Target, fill: Fill, name: str) -> None:
    recording = filled(CREDENTIALS[name], fill)
    answer = send(target, CREDENTIALS[name], fill)
    if isinstance(recording["response"]["body"], list):
        assert_listed(answer, recording)
    else:
        assert_same(target, answer, recording)


@pytest.mark.parametrize("name", cases(QUERIES))
def test_query_request(target: Target, fill: Fill, name: str) -> None:
    recording = QUERIES[name]
    answer = send(target, recording, fill)
    expected = recording["response"]
    assert answer.status_code == expected["status"]
    assert answer.headers.get("X-Limit") == expected["headers"].get("X-Limit")
    assert ("X-Total-Count" in answer.headers) == ("X-Total-Count" in expected["headers"])
    if isinstance(expected["body"], list):
        # Recordings keep two elements of a list.
        assert min(len(answer.json()), 2) == len(expected["body"])
        for shown, recorded in zip(answer.json(), expected["body"], strict=False):
            if "include_attributes" in recording["request"]["path"]:
                assert shown.keys() == recorded.keys()
    elif "faultstring" in expected["body"]:
        assert answer.json() == expected["body"]
    else:
        assert answer.json().keys() == expected["body"].keys()


def test_datastore_requests(target: Target, fill: Fill) -> None:
    names = {
        recording["request"]["path"].split("/")[-1].partition("?")[0]
        for recording in DATASTORE.values()
    }
    existing = [item["name"] for item in target.ask("GET", "/keys?scope=all").json()]
    if names & {*existing}:
        pytest.skip(f"the server has keys that the test would overwrite: {names & {*existing}}")
    for name in ("plain", "obj", "sec", "a:b:c", "mine?scope=user"):
        target.undo.append(partial(target.ask, "DELETE", f"/keys/{name}"))
    for name, recording in DATASTORE.items():
        if name == "key_decrypt_as_other_user":
            continue
        if name == "key_get_expired_ttl":
            target.wait_for(lambda: target.ask("GET", "/keys/ttlkey").status_code == 404, TTL_TIMEOUTS)
        answer = send(target, recording, fill)
        wanted = filled(recording, fill)
        ignored = ("value",) if "{ciphertext}" in str(recording["response"]["body"]) else ()
        if isinstance(wanted["response"]["body"], list):
            recorded = [item["name"] for item in wanted["response"]["body"]]
            assert answer.status_code == wanted["response"]["status"]
            assert "X-Total-Count" not in answer.headers
            listed = [item for item in answer.json() if item["name"] in names]
            assert sorted(item["name"] for item in listed) == sorted(recorded)
            by_name = {item["name"]: item for item in listed}
            assert_like([by_name[key] for key in recorded], wanted["response"]["body"], *ignored)
        else:
            assert_same(target, answer, wanted, *ignored)
        if name == "key_get_secret_encrypted":
            assert answer.json()["value"] != "top"


@pytest.mark.needs("users")
def test_decrypt_as_another_user(target: Target, fill: Fill) -> None:
    assert target.stand_in
    target.stand_in.put_key("sec", "top", secret=True)
    token = target.stand_in.create_token(user="bob")
    answer = send(target, DATASTORE["key_decrypt_as_other_user"], {**fill, "{other-token}": token})
    assert_same(target, answer, DATASTORE["key_decrypt_as_other_user"])


@pytest.mark.parametrize("name", cases(CONTENT))
def test_content_request(target: Target, fill: Fill, name: str) -> None:
    recording = copy.deepcopy(filled(CONTENT[name], fill))
    if name == "runner_types":
        # StackStorm has not read it since 3.3, and the stand-in does not have it.
        del recording["response"]["body"][0]["query_module"]
    assert_same(target, send(target, CONTENT[name], fill), recording, "output_schema")


@pytest.mark.parametrize("name", cases(SIZES))
def test_size_limit(target: Target, fill: Fill, name: str) -> None:
    recording = filled(SIZES[name], fill)
    request = recording["request"]
    parameters = request["body"].get("parameters", {})
    if "s" in parameters:
        parameters["s"] = _repeated(parameters["s"])
    else:
        header = request["headers"]["st2-context"]
        request["headers"]["st2-context"] = re.sub(r"\w \* \d+", lambda m: _repeated(m[0]), header)
    answer = send(target, recording, {})
    if recording["response"]["body"] is None:
        assert answer.status_code == recording["response"]["status"]
        # The other parameters are defaults.
        assert parameters.items() <= answer.json()["parameters"].items()
    else:
        assert_same(target, answer, recording)


def _repeated(text: str) -> str:
    character, _, count = text.partition(" * ")
    return character * int(count)


def assert_listed(answer: requests.Response, recording: Recording) -> None:
    expected = recording["response"]
    assert answer.status_code == expected["status"]
    assert answer.headers["X-Limit"] == expected["headers"]["X-Limit"]
    assert int(answer.headers["X-Total-Count"]) > 0
    if "include_attributes" in recording["request"]["path"]:
        assert_like([item.keys() for item in answer.json()], [item.keys() for item in expected["body"]])
