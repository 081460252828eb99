"""Exchanges recorded from a real StackStorm 3.9.0, and how an answer is compared with one.

A recording is ``{"name", "request": {"method", "path", "headers", "body"}, "response": {"status",
"headers", "body"}}``. Credentials are placeholders in braces. An action or runner that an earlier
recording of any file shows in full is only named. Ports became the prefixes of StackStorm's own
nginx. What differs from run to run (ids, times, process) is compared by its pattern.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import requests

FOLDER = Path(__file__).parent / "recordings"
_HEADERS = ("Content-Type", "X-Limit", "X-Api-Url", "X-Total-Count")
_PATTERNS = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{128}\b|\{hash\}"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "<id>"),
    (re.compile(r"https?://[^/]+(:\d+)?/#/"), "<web>/"),
    (re.compile(r"\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d [\w ]+\d{4}"), "<date>"),
    (re.compile(r"w-[0-9a-f-]{36}"), "<workflow>"),
    (re.compile(r"object at 0x[0-9a-f]+"), "<object>"),
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


def load(*groups: str) -> dict[str, dict[str, Any]]:
    """Recordings by their number, for example ``"04_01"``."""
    found = [r for group in groups for r in json.loads((FOLDER / f"{group}.json").read_text())]
    return {recording["name"][:5]: recording for recording in found}


def send(base: str, recording: dict[str, Any], fill: dict[str, str]) -> requests.Response:
    """Repeat a recorded request. ``fill`` says what stands for each ``{placeholder}`` and id."""
    request = json.dumps(recording["request"])
    for name, value in fill.items():
        request = request.replace(name, value)
    asked = json.loads(request)
    body = asked["body"]
    return requests.request(
        asked["method"],
        base + asked["path"],
        headers=asked["headers"],
        data=body if body is None or isinstance(body, str) else json.dumps(body),
        timeout=30,
    )


def assert_same(
    response: requests.Response, recording: dict[str, Any], *ignored: str, totals: bool = True
) -> None:
    """Status, the headers that matter, and the body but for what changes from run to run."""
    expected = recording["response"]
    assert response.status_code == expected["status"], response.text
    for name in _HEADERS:
        wanted = expected["headers"].get(name)
        if name in ("X-Api-Url", "X-Total-Count") and (name == "X-Api-Url" or not totals):
            assert (name in response.headers) == (wanted is not None)
        else:
            assert response.headers.get(name) == wanted, name
    assert ("Set-Cookie" in response.headers) == ("Set-Cookie" in expected["headers"])
    assert_like(_decoded(response), expected["body"], *ignored)


def assert_like(actual: Any, expected: Any, *ignored: str) -> None:
    assert _plain(actual, expected, {*_VOLATILE, *ignored}) == _plain(
        expected, expected, {*_VOLATILE, *ignored}
    )


def _decoded(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _plain(value: Any, model: Any, ignored: set[str]) -> Any:
    """A value in which nothing depends on the run; ``model`` says how much of it is recorded."""
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
