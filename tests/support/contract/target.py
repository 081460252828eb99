"""What the cases are run against: the stand-in, or the server that ``ST2_API_URL`` names.

For a server, one of ``ST2_AUTH_TOKEN``, ``ST2_USERNAME`` with ``ST2_PASSWORD``, and ``ST2_API_KEY``
lets the cases in; ``ST2_AUTH_URL`` and ``ST2_STREAM_URL`` are derived where they are missing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from st2_mistral_sandbox.stackstorm import StackStorm

FINAL = frozenset({"succeeded", "failed", "timeout", "canceled", "abandoned"})
TIMEOUT = 30.0
"""Seconds for whatever a case waits for."""

NEEDS = {
    "runner": "the runner extern-async, which is the tests' own",
    "stand-in": "a stand-in that the test starts or looks into",
    "users": "tokens of a second user",
    "quiet": "a server on which a certain action never ran",
    "password": "ST2_USERNAME and ST2_PASSWORD",
    "token": "ST2_AUTH_TOKEN, or ST2_USERNAME and ST2_PASSWORD",
}
"""What a case may need that a server does not have, by the argument of the marker ``needs``."""


def missing(environment: Mapping[str, str]) -> set[str]:
    """Of NEEDS, what there is not."""
    if not environment.get("ST2_API_URL"):
        return set()
    lacking = {"runner", "stand-in", "users", "quiet"}
    if not environment.get("ST2_PASSWORD"):
        lacking.add("password")
        if not environment.get("ST2_AUTH_TOKEN"):
            lacking.add("token")
    return lacking


@dataclass
class Target:
    roots: dict[str, str]
    """Of the API (``""``, ``/api``), of ``/auth`` and of ``/stream``, without the version."""
    user: str = ""
    token: str = field(default="", repr=False)
    """Empty where only a key is known."""
    key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    stand_in: StackStorm | None = None
    pack: str = "exttest"
    """Where the actions of the recordings are."""
    undo: list[Callable[[], Any]] = field(default_factory=list)

    def url(self, path: str) -> str:
        first = next((name for name in ("/api", "/auth", "/stream") if path.startswith(f"{name}/")), "")
        return self.roots[first] + (path[len(first) :] or "/")

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token} if self.token else {"St2-Api-Key": self.key}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """A request of the test's own; ``path`` is below ``/v1``."""
        return requests.request(
            method, self.url(f"/v1{path}"), json=body, headers={**self.headers, **headers}, timeout=30
        )

    def post(
        self, action: str, parameters: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Post an execution; ``context`` goes into the header."""
        context = more.pop("context", None)
        headers = {"st2-context": json.dumps(context)} if context else {}
        action = action.replace("exttest.", f"{self.pack}.")
        body = {"action": action, "parameters": parameters or {}, **more}
        answer = self.ask("POST", "/executions", body, **headers)
        assert answer.status_code == 201, answer.text
        posted: dict[str, Any] = answer.json()
        return posted

    def shown(self, execution_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", f"/executions/{execution_id}").json()
        return document

    def wait(self, execution_id: str, statuses: Collection[str] = FINAL) -> dict[str, Any]:
        self.wait_for(lambda: self.shown(execution_id)["status"] in statuses)
        return self.shown(execution_id)

    def ran(self, action: str, *args: Any, **more: Any) -> str:
        """The id of an execution that is over."""
        execution_id: str = self.post(action, *args, **more)["id"]
        self.wait(execution_id)
        return execution_id

    def running(self, action: str, *args: Any, **more: Any) -> str:
        """The id of an execution that runs."""
        execution_id: str = self.post(action, *args, **more)["id"]
        self.wait(execution_id, {"running"})
        if action == "exttest.async_job":
            # Running already, but the runner may not have said so yet.
            self.wait_for(lambda: "result" in self.shown(execution_id))
        return execution_id

    @staticmethod
    def wait_for(condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "did not happen"
            time.sleep(0.02)

    def basic(self, password: str) -> str:
        return base64.b64encode(f"{self.user}:{password}".encode()).decode()

    def log_in(self, **wanted: Any) -> str:
        """A new token. Needs the password."""
        headers = {"Authorization": f"Basic {self.basic(self.password)}"}
        answer = requests.post(self.url("/auth/v1/tokens"), json=wanted, headers=headers, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def expired_token(self) -> str:
        if self.stand_in:
            return self.stand_in.create_token(ttl_seconds=-1)
        if not self.password:
            return ""
        token = self.log_in(ttl=1)
        time.sleep(1.5)
        return token

    def close(self) -> None:
        for step in reversed(self.undo):
            step()


def of_stand_in(st2: StackStorm) -> Target:
    return Target(
        {"": st2.base_url, **{name: st2.base_url + name for name in ("/api", "/auth", "/stream")}},
        user=st2.username,
        token=st2.create_token(),
        key=st2.create_api_key(),
        password=st2.password,
        stand_in=st2,
    )


def roots(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the services are, by the prefixes of the recordings."""
    api = _without(environment["ST2_API_URL"], "/v1")
    auth = environment.get("ST2_AUTH_URL") or _sibling(api, "auth", 9100)
    stream = environment.get("ST2_STREAM_URL") or _sibling(api, "stream", 9102)
    return {
        "": api,
        "/api": api,
        "/auth": _without(auth, "/v1"),
        "/stream": _without(stream, "/v1/stream", "/v1"),
    }


def of_environment(environment: Mapping[str, str], actions: list[dict[str, Any]]) -> Target:
    """The server that the environment names, with the actions that the recordings use."""
    target = Target(
        roots(environment),
        user=environment.get("ST2_USERNAME", ""),
        token=environment.get("ST2_AUTH_TOKEN", ""),
        key=environment.get("ST2_API_KEY", ""),
        password=environment.get("ST2_PASSWORD", ""),
        # It is there on every server; a pack has to be in the file system to get an action.
        pack="default",
    )
    if target.password and not target.token:
        target.token = target.log_in()
    answer = target.ask("GET", "/user")
    assert answer.status_code == 200, f"{answer.url}: {answer.text}"
    target.user = answer.json()["username"]
    if not target.key:
        made = target.ask("POST", "/apikeys", {"metadata": {"used_by": "contract tests"}}).json()
        target.key = made["key"]
        target.undo.append(lambda: target.ask("DELETE", f"/apikeys/{made['id']}"))
    for action in actions:
        _register(target, {**action, "pack": target.pack})
    return target


def _register(target: Target, action: dict[str, Any]) -> None:
    answer = target.ask("POST", "/actions", action)
    if answer.status_code == 201:
        target.undo.append(lambda: target.ask("DELETE", f"/actions/{answer.json()['ref']}"))
    else:
        assert answer.status_code == 409, answer.text


def _without(url: str, *endings: str) -> str:
    url = url.rstrip("/")
    return next((url.removesuffix(ending) for ending in endings if url.endswith(ending)), url)


def _sibling(api: str, name: str, port: int) -> str:
    """Where another service is: behind StackStorm's nginx, or on its own port."""
    if api.endswith("/api"):
        return api.removesuffix("api") + name
    return re.sub(r":\d+$", f":{port}", api)


def chosen(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a server was named."""
    return bool(environment.get("ST2_API_URL"))
