"""An identity service (keystone v3) that trades a password for a token."""

from __future__ import annotations

import datetime
import itertools
import json
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class Identity:
    """Keystone v3 as far as keystoneauth needs it for a password.

    :param project: the id of the project that its tokens are for; None for tokens without one.
    """

    def __init__(self, server: HTTPServer, project: str | None = "service") -> None:
        self.url = server.url_for("/identity/v3")
        self.issued: list[str] = []
        self.lifetime = 3600.0
        self.project = project
        self._numbers = itertools.count(1)
        server.expect_request("/identity/v3", method="GET").respond_with_handler(self._discovery)
        server.expect_request("/identity/v3/auth/tokens", method="POST").respond_with_handler(
            self._token
        )

    def _discovery(self, request: Request) -> Response:
        version = {
            "id": "v3.14",
            "status": "stable",
            "links": [{"rel": "self", "href": self.url}],
        }
        return json_response({"version": version})

    def _token(self, request: Request) -> Response:
        asked: Any = request.get_json()
        user = asked["auth"]["identity"]["password"]["user"]
        if user["password"] != "right":
            return json_response({"error": {"code": 401, "message": "Wrong password."}}, 401)
        now = datetime.datetime.now(datetime.timezone.utc)
        token = f"token-{next(self._numbers)}"
        self.issued.append(token)
        body = {
            "methods": ["password"],
            "issued_at": _timestamp(now),
            "expires_at": _timestamp(now + datetime.timedelta(seconds=self.lifetime)),
            "user": {"id": "u", "name": user["name"], "domain": {"id": "default"}},
            "catalog": [],
        }
        if self.project is not None:
            domain = {"id": "default", "name": "Default"}
            body["project"] = {"id": self.project, "name": "service", "domain": domain}
        answer = json_response({"token": body}, 201)
        answer.headers["X-Subject-Token"] = token
        return answer


def keystone_options(auth_url: str, password: str = "right") -> str:
    """Return the options for ``[st2_relay]`` with which keystoneauth asks an :class:`Identity`."""
    return f"""
auth_type = v3password
auth_url = {auth_url}
username = relay
password = {password}
user_domain_id = default
project_name = service
project_domain_id = default
"""


def json_response(body: Any, status: int = 200) -> Response:
    """Return a response with a JSON body."""
    return Response(json.dumps(body), status, content_type="application/json")


def _timestamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
