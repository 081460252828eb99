"""Read a request to the API, and make the response."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

from st2_mistral_sandbox.stackstorm.auth import Credential, Principal
from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.json_format import from_json, to_json


@dataclass
class ApiRequest:
    """A request with its authenticated user."""

    http: Request
    principal: Principal | None = None
    """None only for a route that needs no credential."""

    @property
    def user(self) -> str:
        """The name of the authenticated user; empty where there is none."""
        return self.principal.user if self.principal else ""

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one, the first value."""
        return self.http.args.to_dict()

    def flag(self, name: str) -> bool:
        """Return whether a query parameter is set."""
        return self.http.args.get(name, "").lower() in ("true", "1", "yes")

    def list_parameter(self, name: str) -> tuple[str, ...]:
        """Return a list, which is given with commas or by repeating the parameter."""
        joined = ",".join(self.http.args.getlist(name))
        return tuple(item for item in joined.split(",") if item)

    def body(self) -> Any:
        """Return the decoded body, ``{}`` for an empty one.

        :raises Fault: 400, the body is not JSON.
        """
        kind = self.http.mimetype
        if kind not in ("", "application/json", "text/plain"):
            raise bad_request(f'Failed to parse request body: Unsupported Content-Type: "{kind}"')
        data = self.http.get_data()
        if not data:
            return {}
        try:
            return from_json(data)
        except ValueError as error:
            raise bad_request(f"Failed to parse request body: {_decode_error(error, data)}") from error

    def object_body(self) -> dict[str, Any]:
        """Return the decoded body.

        :raises Fault: 400, the body is not a JSON object.
        """
        body = self.body()
        if not isinstance(body, dict):
            raise bad_request(f"{body!r} is not of type 'object'")
        return body


def _decode_error(error: ValueError, data: bytes) -> str:
    # At the end of the text, StackStorm's decoder has another message than Python's.
    if isinstance(error, json.JSONDecodeError):
        line, column, position = error.lineno, error.colno, error.pos
        if position >= len(data.decode(errors="replace").rstrip()):
            return f"unexpected end of data: line {line} column {column} (char {position})"
    return str(error)


def credential_of(request: Request) -> Credential | None:
    """Return the credential of a request, in the order in which StackStorm looks for it."""
    for kind, location, value in (
        ("token", "header", request.headers.get("X-Auth-Token")),
        ("key", "header", request.headers.get("St2-Api-Key")),
        ("token", "query", request.args.get("x-auth-token")),
        ("key", "query", request.args.get("st2-api-key")),
        ("token", "cookie", request.cookies.get("auth-token")),
    ):
        if value:
            return Credential(kind, value, location)
    return None


def json_response(body: Any, status: int = HTTPStatus.OK, kind: str = "application/json") -> Response:
    """Make a response with a JSON body."""
    return Response(to_json(body), status=status, content_type=kind)


def no_content() -> Response:
    """Make a response 204."""
    response = Response(status=HTTPStatus.NO_CONTENT)
    del response.headers["Content-Type"]
    return response


def page_response(items: list[Any], *, total: int, limit: int) -> Response:
    """Make a response with one page of a list.

    :param total: the number of items on all pages.
    :param limit: the maximum number of items on a page; 0: no limit.
    """
    response = json_response(items)
    response.headers["X-Total-Count"] = str(total)
    if limit:
        response.headers["X-Limit"] = str(limit)
    return response
