"""One request on its way through the stand-in: what was asked, by whom, and how to answer."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

from st2_mistral_sandbox.stackstorm.auth import Credential, Principal
from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.json_format import from_json, to_json


@dataclass
class ApiRequest:
    http: Request
    principal: Principal | None = None
    """Who was let in; None only where nobody is asked."""

    @property
    def user(self) -> str:
        return self.principal.user if self.principal else ""

    @property
    def query(self) -> dict[str, str]:
        return self.http.args.to_dict()

    def flag(self, name: str) -> bool:
        return self.http.args.get(name, "").lower() in ("true", "1", "yes")

    def list_parameter(self, name: str) -> tuple[str, ...]:
        """A list, given with commas or by repeating the parameter."""
        joined = ",".join(self.http.args.getlist(name))
        return tuple(word for word in joined.split(",") if word)

    def body(self) -> Any:
        """The decoded body; an empty one is ``{}``. Raises Fault 400."""
        kind = self.http.mimetype
        if kind not in ("", "application/json", "text/plain"):
            raise bad_request(f'Failed to parse request body: Unsupported Content-Type: "{kind}"')
        data = self.http.get_data()
        if not data:
            return {}
        try:
            return from_json(data)
        except ValueError as error:
            raise bad_request(f"Failed to parse request body: {_complaint(error, data)}") from error

    def object_body(self) -> dict[str, Any]:
        body = self.body()
        if not isinstance(body, dict):
            raise bad_request(f"{body!r} is not of type 'object'")
        return body


def _complaint(error: ValueError, data: bytes) -> str:
    # At the end of the text StackStorm's decoder says something else than Python's.
    position = getattr(error, "pos", None)
    if position is not None and position >= len(data.decode(errors="replace").rstrip()):
        return f"unexpected end of data: line {error.lineno} column {error.colno} (char {position})"  # type: ignore[attr-defined]
    return str(error)


def credential_of(request: Request) -> Credential | None:
    """Token before key, header before cookie before query, as StackStorm looks for them."""
    for kind, location, value in (
        ("token", "header", request.headers.get("X-Auth-Token")),
        ("key", "header", request.headers.get("St2-Api-Key")),
        ("token", "query_parameters", request.args.get("x-auth-token")),
        ("key", "query_parameters", request.args.get("st2-api-key")),
        ("token", "cookie", request.cookies.get("auth-token")),
    ):
        if value:
            return Credential(kind, value, location)
    return None


def json_response(body: Any, status: int = HTTPStatus.OK, kind: str = "application/json") -> Response:
    return Response(to_json(body), status=status, content_type=kind)


def no_content() -> Response:
    response = Response(status=HTTPStatus.NO_CONTENT)
    del response.headers["Content-Type"]
    return response


def page_response(items: list[Any], *, total: int, limit: int) -> Response:
    response = json_response(items)
    response.headers["X-Total-Count"] = str(total)
    if limit:
        response.headers["X-Limit"] = str(limit)
    return response
