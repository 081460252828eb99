"""Serve trigger types, the instances of triggers, and the webhook that creates them."""

from __future__ import annotations

from http import HTTPStatus

from werkzeug.wrappers import Response

from st2_mistral_sandbox.stackstorm.api_request import ApiRequest, json_response, page_response
from st2_mistral_sandbox.stackstorm.fault import bad_request, not_found
from st2_mistral_sandbox.stackstorm.query import DEFAULT_LIMIT, limit_of
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.store import Document

_KINDS = {list: "array", str: "string", bool: "boolean", int: "number", type(None): "null"}


class TriggersApi:
    """The handlers for trigger types, instances of triggers and webhooks."""

    def __init__(self, state: State) -> None:
        self._triggers = state.triggers

    def types(self, request: ApiRequest) -> Response:
        found = self._triggers.types()
        for name in ("pack", "name"):
            if request.query.get(name):
                found = [type_ for type_ in found if type_[name] == request.query[name]]
        return _page(request, found)

    def type(self, request: ApiRequest, ref_or_id: str) -> Response:
        return json_response(self._triggers.type(ref_or_id))

    def create_type(self, request: ApiRequest) -> Response:
        created = self._triggers.register(request.object_body(), replace=False)
        return json_response(created, HTTPStatus.CREATED)

    def instances(self, request: ApiRequest) -> Response:
        found = self._triggers.instances(request.query.get("trigger"))
        wanted = {"id", *request.list_parameter("include_attributes")}
        if len(wanted) > 1:
            found = [{name: i[name] for name in i if name in wanted} for i in found]
        return _page(request, found)

    def instance(self, request: ApiRequest, instance_id: str) -> Response:
        return json_response(self._triggers.instance(instance_id))

    def webhook(self, request: ApiRequest, hook: str) -> Response:
        body = request.body()
        if not isinstance(body, (dict, list)):
            raise bad_request(f"{body!r} is not of type 'object', 'array'")
        if hook not in ("st2", "st2/"):
            # Only a rule registers another one.
            raise not_found(f"Webhook {hook} not registered with st2")
        if not isinstance(body, dict):
            kind = _KINDS.get(type(body), "object")
            raise bad_request(f"Webhook body needs to be an object, got: {kind}")
        if not body.get("trigger"):
            raise bad_request("Trigger not specified.")
        self._triggers.dispatch(body["trigger"], body.get("payload"))
        return json_response(body, HTTPStatus.ACCEPTED)


def _page(request: ApiRequest, items: list[Document]) -> Response:
    limit = limit_of(request.query, DEFAULT_LIMIT)
    start = request.http.args.get("offset", 0, type=int)
    shown = items[start : start + limit if limit else None]
    return page_response(shown, total=len(items), limit=limit)
