"""Load, replay and compare exchanges recorded from a real StackStorm 3.9.0.

A recording is ``{"name", "request": {"method", "path", "headers", "body"}, "response": {"status",
"headers", "body"}}``. Credentials are placeholders in braces. An action or runner that an earlier
recording of any file shows in full is only named. Ports became the prefixes of StackStorm's own
nginx. Of a list with ``"cut": true`` the first two elements are stored; a stream has ``"frames"``
instead of a body. ``"other_versions"`` has the responses of later versions that differ, by the start
of the version. Values that change from run to run (ids, times, processes) are compared by pattern.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from support.contract.target import Target

FOLDER = Path(__file__).parents[2] / "contract" / "recordings"
Recording = dict[str, Any]
Fill = dict[str, str]

_HEADERS = ("Content-Type", "X-Limit", "X-Api-Url", "X-Total-Count")
_PATTERNS = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{128}\b|\{hash\}"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "<id>"),
    (re.compile(r"https?://[^/]+(:\d+)?/#/"), "<web>/"),
    (re.compile(r"\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d [\w ]+\d{4}"), "<date>"),
    (re.compile(r"w-[0-9a-f-]{36}"), "<workflow>"),
    (re.compile(r"object at 0x[0-9a-f]+"), "<object>"),
    (re.compile(r"too large \(\d+ bytes\)"), "<size>"),
]
_VOLATILE = {
    "hostname",
    "pid",
    "elapsed_seconds",
    "token",
    "key",
    "traceback",
    "trigger_instances",
}


def load(*groups: str) -> dict[str, Recording]:
    """Return the recordings of some files by name."""
    found = [r for group in groups for r in json.loads((FOLDER / f"{group}.json").read_text())]
    return {recording["name"]: recording for recording in found}


def cases(recordings: dict[str, Recording]) -> list[Any]:
    """Return one test parameter per recording, marked with what it needs."""
    return [
        pytest.param(name, marks=[pytest.mark.needs(need) for need in sorted(_needs(recording))])
        for name, recording in recordings.items()
    ]


def _needs(recording: Recording) -> set[str]:
    request, exchange = json.dumps(recording["request"]), json.dumps(recording)
    found = set()
    if "async_job" in exchange or "extern-async" in exchange:
        found.add("runner")
    if any(word in request for word in ("{basic}", "{wrong-basic}", "{expired}")):
        found.add("password")
    if (
        "{token}" in request.replace('"X-Auth-Token": "{token}"', "")
        or '"authentication token"' in exchange
    ):
        found.add("token")
    if recording["name"] == "query_show_secrets":
        found.add("quiet")
    return found


def filled(recording: Recording, fill: Fill) -> Recording:
    """Replace each placeholder, id and name in the request and the response."""
    text = json.dumps(recording)
    for name, value in fill.items():
        text = text.replace(name, value)
    done: Recording = json.loads(text)
    return done


def response_of(recording: Recording, version: str) -> dict[str, Any]:
    """Return the recorded response of a version of StackStorm."""
    others: dict[str, dict[str, Any]] = recording.get("other_versions", {})
    recorded: dict[str, Any] = recording["response"]
    return next((other for start, other in others.items() if version.startswith(start)), recorded)


def send(target: Target, recording: Recording, fill: Fill) -> requests.Response:
    """Replay a recorded request."""
    request = filled(recording, fill)["request"]
    body, headers = request["body"], request["headers"]
    if headers.get("X-Auth-Token") == "":
        headers = {**headers, **target.headers}
        del headers["X-Auth-Token"]
    return requests.request(
        request["method"],
        target.url(request["path"]),
        headers=headers,
        data=body if body is None or isinstance(body, str) else json.dumps(body),
        timeout=60,
    )


def assert_same(
    target: Target,
    response: requests.Response,
    recording: Recording,
    *ignored: str,
    totals: bool = True,
) -> None:
    """Check the status, the relevant headers, and the parts of the body that do not change."""
    expected = response_of(recording, target.version)
    assert response.status_code == expected["status"], response.text
    for name in _HEADERS:
        wanted = expected["headers"].get(name)
        if name in ("X-Api-Url", "X-Total-Count") and (name == "X-Api-Url" or not totals):
            assert (name in response.headers) == (wanted is not None), name
        else:
            assert response.headers.get(name) == wanted, name
    assert_cookie(target, response, recording)
    body = decoded(response)
    if expected.get("cut"):
        body = body[: len(expected["body"])]
    if target.stand_in is None:
        # An action that was created over the API has no file, and default values in its output schema.
        ignored = (*ignored, "metadata_file", "output_schema")
    assert_like(body, expected["body"], *ignored)


def assert_cookie(target: Target, response: requests.Response, recording: Recording) -> None:
    headers = response_of(recording, target.version)["headers"]
    if target.token or not headers.get("Set-Cookie"):
        wanted = "Set-Cookie" in headers
        assert ("Set-Cookie" in response.headers) == wanted


def assert_like(actual: Any, expected: Any, *ignored: str) -> None:
    assert _plain(actual, expected, {*_VOLATILE, *ignored}) == _plain(
        expected, expected, {*_VOLATILE, *ignored}
    )


def decoded(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _plain(value: Any, model: Any, ignored: set[str]) -> Any:
    """Return a value without the parts that change from run to run.

    :param model: the recorded value, which may name an action or runner only.
    """
    if isinstance(value, dict):
        if isinstance(model, str) and "uid" in value:
            return value.get("ref") or value["name"]
        model = model if isinstance(model, dict) else {}
        return {
            key: "<any>" if key in ignored else _plain(item, model.get(key), ignored)
            for key, item in value.items()
        }
    if isinstance(value, list):
        models = model if isinstance(model, list) else []
        models = [*models, *[None] * len(value)]
        return [_plain(item, models[i], ignored) for i, item in enumerate(value)]
    if isinstance(value, str):
        for pattern, replacement in _PATTERNS:
            value = pattern.sub(replacement, value)
    return value
