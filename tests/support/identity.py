"""Stand in for keystone where a test decides how it fails: tokens that expire or are refused, outages.

Tests with a real Mistral use a real keystone, see ``support.keystone``.
"""

from __future__ import annotations

import datetime
import itertools
import json
from typing import Any, Final

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

_DOMAIN: Final = {"id": "default", "name": "Default"}


class Identity:
    """Keystone v3 as far as keystoneauth needs it to trade a password for a token.

    :param project: the id of the project that its tokens are for; None for tokens without one.
    """

    def __init__(self, server: HTTPServer, project: str | None = "service") -> None:
        self.url = server.url_for("/identity/v3")
        self.issued: list[str] = []
        self.lifetime = 3600.0
        self.password = "right"
        self.broken = False
        """True: it issues no tokens."""
        self.project = project
        self.members: dict[str, tuple[str, str]] = {}
        """Project id and role by user name; for users with another project than the default one."""
        self.roles: dict[str, list[str]] = {}
        """By project id: the roles of every user there; none for any other project."""
        self.trusts: dict[str, tuple[str, list[str]]] = {}
        """By trust id: its project's id, and its roles."""
        self.scopes: list[str] = []
        """The projects and trusts by id that tokens were asked for."""
        self._bodies: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        for path, method, handler in (
            ("/identity/v3", "GET", self._discovery),
            ("/identity/v3/auth/tokens", "POST", self._issue),
        ):
            server.expect_request(path, method=method).respond_with_handler(handler)

    def project_of(self, token: str) -> str | None:
        """Return the id of a token's project."""
        project = self._bodies.get(token, {"token": {}})["token"].get("project")
        return str(project["id"]) if project else None

    def _discovery(self, request: Request) -> Response:
        version = {
            "id": "v3.14",
            "status": "stable",
            "links": [{"rel": "self", "href": self.url}],
        }
        return json_response({"version": version})

    def _issue(self, request: Request) -> Response:
        if self.broken:
            return json_response({"error": {"code": 503, "message": "Later."}}, 503)
        asked: Any = request.get_json()
        identity = asked["auth"]["identity"]
        user = {"name": "relay", "password": self.password}
        if "password" in identity:
            user = identity["password"]["user"]
        if user["password"] != self.password:
            return json_response({"error": {"code": 401, "message": "Wrong password."}}, 401)
        project, role = self.members.get(user["name"], (self.project, "member"))
        roles: list[str] | None = [role]
        scope = asked["auth"].get("scope", {})
        if "OS-TRUST:trust" in scope:
            self.scopes.append(scope["OS-TRUST:trust"]["id"])
            project, roles = self.trusts.get(self.scopes[-1], (None, None))
        elif "id" in scope.get("project", {}):
            project = scope["project"]["id"]
            self.scopes.append(project)
            roles = self.roles.get(project)
        if roles is None:
            return json_response({"error": {"code": 401, "message": "No access."}}, 401)
        now = datetime.datetime.now(datetime.timezone.utc)
        token = f"token-{next(self._numbers)}"
        self.issued.append(token)
        body = {
            "methods": ["password"],
            "issued_at": _timestamp(now),
            "expires_at": _timestamp(now + datetime.timedelta(seconds=self.lifetime)),
            "user": {"id": user["name"], "name": user["name"], "domain": _DOMAIN},
            "roles": [{"id": name, "name": name} for name in roles],
            "catalog": [],
        }
        if project is not None:
            body["project"] = {"id": project, "name": project, "domain": _DOMAIN}
        self._bodies[token] = {"token": body}
        return _with_token(json_response(self._bodies[token], 201), token)


def keystone_options(auth_url: str, password: str = "right", user: str = "relay") -> str:
    """Return the options with which keystoneauth gets a token of an :class:`Identity`."""
    return f"""
auth_type = v3password
auth_url = {auth_url}
username = {user}
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


def _with_token(response: Response, token: str) -> Response:
    response.headers["X-Subject-Token"] = token
    return response
