"""Route requests to StackStorm's three services, with the paths of StackStorm's nginx.

``/api/…``, also without the prefix, is the API; ``/auth/…`` issues tokens; ``/stream/…`` streams
events. Each accepts its paths with and without ``/v1``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from st2_mistral_sandbox.stackstorm.api_request import ApiRequest, credential_of, json_response
from st2_mistral_sandbox.stackstorm.auth import Principal
from st2_mistral_sandbox.stackstorm.content_api import ContentApi
from st2_mistral_sandbox.stackstorm.executions_api import ExecutionsApi
from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found
from st2_mistral_sandbox.stackstorm.schema import TOKEN_CREATE, allow_none, validate
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.stream import DEFAULT_EVENTS, Subscription
from st2_mistral_sandbox.stackstorm.timestamps import now
from st2_mistral_sandbox.stackstorm.triggers_api import TriggersApi

Handler = Callable[..., Response]
Route = tuple[str, str, Handler]
_CORS = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,DELETE,OPTIONS",
    "Access-Control-Allow-Headers": (
        "Content-Type,Authorization,X-Auth-Token,St2-Api-Key,X-Request-ID"
    ),
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Content-Type,X-Limit,X-Total-Count,X-Request-ID",
}


class Service:
    """One of the three services: its paths and their handlers.

    :param public: the handlers that need no credential.
    """

    def __init__(self, state: State, routes: list[Route], *, public: tuple[Handler, ...] = ()) -> None:
        self._state, self._public = state, public
        rules = [
            Rule(f"{version}{path}", methods=[method], endpoint=handler)
            for method, path, handler in routes
            for version in ("", "/v1")
        ]
        self._map = Map(rules, strict_slashes=False, merge_slashes=False)

    def handle(self, request: Request, path: str) -> Response:
        """Call the handler of a path.

        :raises Fault: 401 or 404, or from the handler.
        """
        if request.method == "OPTIONS":
            return Response(content_type="text/html; charset=UTF-8")
        try:
            handler, arguments = self._map.bind("st2").match(path, method=request.method)
        except HTTPException:
            # StackStorm answers 404, not 405, also for another method of a known path.
            raise not_found() from None
        if handler in self._public:
            return cast(Response, handler(ApiRequest(request), **arguments))
        principal = self._state.authenticator.authenticate(credential_of(request))
        response: Response = handler(ApiRequest(request, principal), **arguments)
        _set_cookie(response, principal)
        return response


def services(state: State) -> dict[str, Service]:
    """Return the services by prefix; ``""`` is the API."""
    executions, content, triggers = ExecutionsApi(state), ContentApi(state), TriggersApi(state)

    def create_token(request: ApiRequest) -> Response:
        user = state.authenticator.authenticate_password(request.http.headers.get("Authorization"))
        body: dict[str, Any] = request.object_body()
        validate(body, allow_none(TOKEN_CREATE))
        if body.get("user") and body["user"] != user:
            raise bad_request("Current user is not a service and cannot request impersonated tokens")
        token = state.authenticator.create_token(user, body.get("ttl"))
        response = json_response(token.view(), 201)
        response.headers["X-Api-Url"] = f"{state.base_url}/api"
        return response

    def validate_token(request: ApiRequest) -> Response:
        value = request.object_body().get("token", "")
        return json_response({"valid": state.authenticator.token_is_valid(str(value))})

    def stream(request: ApiRequest) -> Response:
        subscription = Subscription(
            events=request.list_parameter("events") or DEFAULT_EVENTS,
            action_refs=request.list_parameter("action_refs"),
            execution_ids=request.list_parameter("execution_ids"),
            end_event=request.query.get("end_event", ""),
            end_execution_id=request.query.get("end_execution_id", ""),
        )
        response = Response(
            state.broadcaster.listen(subscription), content_type="text/event-stream; charset=UTF-8"
        )
        response.headers["X-Accel-Buffering"] = "no"
        response.headers["Cache-Control"] = "no-cache"
        return response

    one = "/executions/<execution_id>"
    api: list[Route] = [
        ("GET", "/", content.root),
        ("GET", "/user", content.current_user),
        ("GET", "/executions", executions.list),
        ("POST", "/executions", executions.post),
        ("GET", "/executions/views/filters", executions.filters),
        ("GET", one, executions.get),
        ("PUT", one, executions.put),
        ("DELETE", one, executions.delete),
        ("GET", f"{one}/children", executions.children),
        ("GET", f"{one}/attribute/<name>", executions.attribute),
        ("GET", f"{one}/result", executions.result),
        ("GET", f"{one}/output", executions.output),
        ("POST", f"{one}/re_run", executions.re_run),
        ("GET", "/inquiries", content.inquiries),
        ("GET", "/inquiries/<inquiry_id>", content.inquiry),
        ("PUT", "/inquiries/<inquiry_id>", content.respond),
        ("GET", "/actions", content.actions),
        ("POST", "/actions", content.create_action),
        ("GET", "/actions/<ref_or_id>", content.action),
        ("PUT", "/actions/<ref_or_id>", content.update_action),
        ("DELETE", "/actions/<ref_or_id>", content.delete_action),
        ("GET", "/actions/views/overview", content.overviews),
        ("GET", "/actions/views/overview/<ref_or_id>", content.overview),
        ("GET", "/actions/views/parameters/<ref_or_id>", content.parameters),
        ("GET", "/runnertypes", content.runner_types),
        ("GET", "/runnertypes/<name_or_id>", content.runner_type),
        ("GET", "/keys", content.keys),
        ("GET", "/keys/<name>", content.key),
        ("PUT", "/keys/<name>", content.put_key),
        ("DELETE", "/keys/<name>", content.delete_key),
        ("GET", "/apikeys", content.api_keys),
        ("POST", "/apikeys", content.create_api_key),
        ("GET", "/apikeys/<key_id>", content.api_key),
        ("PUT", "/apikeys/<key_id>", content.put_api_key),
        ("DELETE", "/apikeys/<key_id>", content.delete_api_key),
        ("GET", "/traces", content.traces),
        ("GET", "/traces/<trace_id>", content.trace),
        ("GET", "/triggertypes", triggers.types),
        ("POST", "/triggertypes", triggers.create_type),
        ("GET", "/triggertypes/<ref_or_id>", triggers.type),
        ("GET", "/triggerinstances", triggers.instances),
        ("GET", "/triggerinstances/<instance_id>", triggers.instance),
        ("POST", "/webhooks/<path:hook>", triggers.webhook),
    ]
    return {
        "": Service(state, api),
        "/auth": Service(
            state,
            [
                ("POST", "/tokens", create_token),
                ("POST", "/tokens/validate", validate_token),
            ],
            public=(create_token,),
        ),
        "/stream": Service(state, [("GET", "/stream", stream)]),
    }


class Router:
    """Handle the requests of all services on one port."""

    def __init__(self, state: State) -> None:
        self._services = services(state)

    def __call__(self, request: Request) -> Response:
        """Return the response to a request; a fault becomes a response too."""
        path = request.path
        first = f"/{path.split('/')[1]}" if path.count("/") else ""
        if first in ("/auth", "/stream", "/api"):
            service, path = self._services["" if first == "/api" else first], path[len(first) :]
        else:
            service = self._services[""]
        try:
            response = service.handle(request, path or "/")
        except Fault as fault:
            response = json_response({"faultstring": fault.text}, fault.status)
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
        response.headers.extend(_CORS)
        response.headers["X-Request-Id"] = request.headers.get("X-Request-ID") or str(uuid.uuid4())
        return response


def _set_cookie(response: Response, principal: Principal) -> None:
    credential = principal.credential
    if credential.kind != "token" or credential.location == "cookie" or principal.expiry is None:
        return
    response.set_cookie(
        "auth-token",
        credential.value,
        max_age=max(0, int((principal.expiry - now()).total_seconds())),
        expires=principal.expiry,
        secure=True,
        httponly=True,
        samesite="lax",
    )
