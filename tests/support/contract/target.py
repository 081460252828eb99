"""The server for the contract tests: the stand-in, or the one that ``ST2_API_URL`` names.

For a server, set ``ST2_AUTH_TOKEN``, ``ST2_API_KEY``, or ``ST2_USERNAME`` and ``ST2_PASSWORD``. If
``ST2_AUTH_URL`` or ``ST2_STREAM_URL`` is missing, it is derived from ``ST2_API_URL``.
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
"""Seconds that any condition may take."""

NEEDS = {
    "runner": "the runner extern-async of the tests",
    "stand-in": "a stand-in that the test starts or inspects",
    "users": "tokens of a second user",
    "quiet": "a server on which a certain action never ran",
    "password": "ST2_USERNAME and ST2_PASSWORD",
    "token": "ST2_AUTH_TOKEN, or ST2_USERNAME and ST2_PASSWORD",
}
"""Requirements that a server may not meet, by the argument of the marker ``needs``."""


def missing(environment: Mapping[str, str]) -> set[str]:
    """Return the keys of NEEDS that the server of an environment does not meet."""
    if not environment.get("ST2_API_URL"):
        return set()
    unmet = {"runner", "stand-in", "users", "quiet"}
    if not environment.get("ST2_PASSWORD"):
        unmet.add("password")
        if not environment.get("ST2_AUTH_TOKEN"):
            unmet.add("token")
    return unmet


@dataclass
class Target:
    roots: dict[str, str]
    """The URLs of the API (``""``, ``/api``), ``/auth`` and ``/stream``, without the version."""
    user: str = ""
    token: str = field(default="", repr=False)
    """Empty if only an API key is known."""
    key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    stand_in: StackStorm | None = None
    version: str = "3.9.0"
    """The version of StackStorm, which decides what it must answer."""
    pack: str = "exttest"
    """The pack with the actions of the recordings."""
    undo: list[Callable[[], Any]] = field(default_factory=list)

    def url(self, path: str) -> str:
        first = next((name for name in ("/api", "/auth", "/stream") if path.startswith(f"{name}/")), "")
        return self.roots[first] + (path[len(first) :] or "/")

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token} if self.token else {"St2-Api-Key": self.key}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Send a request; ``path`` is below ``/v1``."""
        return requests.request(
            method, self.url(f"/v1{path}"), json=body, headers={**self.headers, **headers}, timeout=30
        )

    def post(
        self, action: str, parameters: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Create an execution; ``context`` is sent in the header."""
        context = more.pop("context", None)
        headers = {"st2-context": json.dumps(context)} if context else {}
        action = action.replace("exttest.", f"{self.pack}.")
        body = {"action": action, "parameters": parameters or {}, **more}
        response = self.ask("POST", "/executions", body, **headers)
        assert response.status_code == 201, response.text
        posted: dict[str, Any] = response.json()
        return posted

    def shown(self, execution_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", f"/executions/{execution_id}").json()
        return document

    def wait(self, execution_id: str, statuses: Collection[str] = FINAL) -> dict[str, Any]:
        self.wait_for(lambda: self.shown(execution_id)["status"] in statuses)
        return self.shown(execution_id)

    def ran(self, action: str, *args: Any, **more: Any) -> str:
        """Run an action to its end and return the execution id."""
        execution_id: str = self.post(action, *args, **more)["id"]
        self.wait(execution_id)
        return execution_id

    def running(self, action: str, *args: Any, **more: Any) -> str:
        """Start an action and return the id of the running execution."""
        execution_id: str = self.post(action, *args, **more)["id"]
        self.wait(execution_id, {"running"})
        if action == "exttest.async_job":
            # It is running before its runner has returned.
            self.wait_for(lambda: "result" in self.shown(execution_id))
        return execution_id

    @staticmethod
    def wait_for(condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "condition not met in time"
            time.sleep(0.02)

    def basic(self, password: str) -> str:
        return base64.b64encode(f"{self.user}:{password}".encode()).decode()

    def log_in(self, **wanted: Any) -> str:
        """Create a token with the password."""
        headers = {"Authorization": f"Basic {self.basic(self.password)}"}
        response = requests.post(self.url("/auth/v1/tokens"), json=wanted, headers=headers, timeout=30)
        assert response.status_code == 201, response.text
        return str(response.json()["token"])

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
    """Return the URLs of the services by the prefixes of the recordings."""
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
    """Return the server that the environment names, with the actions of the recordings."""
    target = Target(
        roots(environment),
        user=environment.get("ST2_USERNAME", ""),
        token=environment.get("ST2_AUTH_TOKEN", ""),
        key=environment.get("ST2_API_KEY", ""),
        password=environment.get("ST2_PASSWORD", ""),
        # Every server has this pack. Another one must be in the file system to get an action.
        pack="default",
    )
    if target.password and not target.token:
        target.token = target.log_in()
    response = target.ask("GET", "/user")
    assert response.status_code == 200, f"{response.url}: {response.text}"
    target.user = response.json()["username"]
    target.version = target.ask("GET", "/").json()["version"]
    if not target.key:
        made = target.ask("POST", "/apikeys", {"metadata": {"used_by": "contract tests"}}).json()
        target.key = made["key"]
        target.undo.append(lambda: target.ask("DELETE", f"/apikeys/{made['id']}"))
    for action in actions:
        _register(target, {**action, "pack": target.pack})
    return target


def _register(target: Target, action: dict[str, Any]) -> None:
    response = target.ask("POST", "/actions", action)
    if response.status_code == 201:
        target.undo.append(lambda: target.ask("DELETE", f"/actions/{response.json()['ref']}"))
    else:
        assert response.status_code == 409, response.text


def _without(url: str, *endings: str) -> str:
    url = url.rstrip("/")
    return next((url.removesuffix(ending) for ending in endings if url.endswith(ending)), url)


def _sibling(api: str, name: str, port: int) -> str:
    """Derive the URL of another service: behind StackStorm's nginx, or on its own port."""
    if api.endswith("/api"):
        return api.removesuffix("api") + name
    return re.sub(r":\d+$", f":{port}", api)


def chosen(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment names a server."""
    return bool(environment.get("ST2_API_URL"))
