"""Serve the API that clients and the ``st2`` command line need beside executions."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from st2_mistral_sandbox.stackstorm.api_request import (
    ApiRequest,
    json_response,
    no_content,
    page_response,
)
from st2_mistral_sandbox.stackstorm.auth import NO_CREDENTIAL
from st2_mistral_sandbox.stackstorm.datastore import SYSTEM, USER, Item
from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found
from st2_mistral_sandbox.stackstorm.query import DEFAULT_LIMIT, limit_of, projection
from st2_mistral_sandbox.stackstorm.schema import KEY_PUT, allow_none, validate
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.store import Document, Execution

# The attributes that a listing of actions may include or exclude.
_OF_ACTIONS = (
    "id",
    "name",
    "ref",
    "uid",
    "description",
    "enabled",
    "entry_point",
    "metadata_file",
    "pack",
    "runner_type",
    "parameters",
    "output_schema",
    "tags",
    "notify",
)


class ContentApi:
    """The handlers for actions, runner types, keys, API keys, traces and inquiries."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _page(
        self, request: ApiRequest, items: list[Document], default: int = DEFAULT_LIMIT
    ) -> Response:
        limit = limit_of(request.query, default)
        start = request.http.args.get("offset", 0, type=int)
        shown = items[start : start + limit if limit else None]
        return page_response(shown, total=len(items), limit=limit)

    def root(self, request: ApiRequest) -> Response:
        return json_response({"version": "3.9.0", "docs_url": "http://docs.stackstorm.com/3.9"})

    def current_user(self, request: ApiRequest) -> Response:
        assert request.principal is not None, "this route requires a credential"
        if request.principal.credential is NO_CREDENTIAL:
            raise Fault(500, "Internal Server Error")
        return json_response(request.principal.view())

    # Actions and runner types.

    def actions(self, request: ApiRequest) -> Response:
        found = self._state.catalog.actions()
        for name in ("pack", "name", "ref", "runner_type"):
            if request.query.get(name):
                found = [action for action in found if action[name] == request.query[name]]
        return self._page(request, found)

    def action(self, request: ApiRequest, ref_or_id: str) -> Response:
        return json_response(self._action(ref_or_id))

    def _action(self, ref_or_id: str) -> Document:
        action = self._state.catalog.action(ref_or_id)
        if action is None:
            raise not_found(f'Resource with a reference or id "{ref_or_id}" not found')
        return action

    def create_action(self, request: ApiRequest) -> Response:
        metadata = request.object_body()
        self._state.catalog.must_be_changeable(str(metadata.get("pack") or "default"))
        return json_response(self._state.catalog.add_action(metadata, replace=False), 201)

    def update_action(self, request: ApiRequest, ref_or_id: str) -> Response:
        old = self._action(ref_or_id)
        metadata = {"pack": old["pack"], **request.object_body()}
        self._state.catalog.must_be_changeable(str(metadata["pack"]))
        return json_response(self._state.catalog.add_action(metadata, replace=False, instead_of=old))

    def delete_action(self, request: ApiRequest, ref_or_id: str) -> Response:
        action = self._action(ref_or_id)
        self._state.catalog.must_be_changeable(action["pack"])
        self._state.catalog.delete_action(action["ref"])
        return no_content()

    def overview(self, request: ApiRequest, ref_or_id: str) -> Response:
        return json_response(self._overview(self._action(ref_or_id)))

    def overviews(self, request: ApiRequest) -> Response:
        """Return a page of all actions: of this view, StackStorm 3.9 filters by the name only."""
        name = request.query.get("name")
        reduced = projection(request.query, _OF_ACTIONS, _OF_ACTIONS, always=("id", "ref"))
        found = [self._overview(row) for row in self._state.catalog.actions()]
        return self._page(request, [reduced(row) for row in found if name in (None, row["name"])])

    def _overview(self, action: Document) -> Document:
        return {**action, "parameters": self._state.catalog.parameters(action["ref"])}

    def parameters(self, request: ApiRequest, ref_or_id: str) -> Response:
        action = self._action(ref_or_id)
        return json_response({"parameters": self._state.catalog.parameters(action["ref"])})

    def runner_types(self, request: ApiRequest) -> Response:
        name = request.query.get("name")
        found = [r for r in self._state.catalog.runners() if not name or r["name"] == name]
        return self._page(request, found)

    def runner_type(self, request: ApiRequest, name_or_id: str) -> Response:
        runner = self._state.catalog.runner(name_or_id)
        if runner is None:
            raise not_found(f'Unable to identify resource with name_or_id "{name_or_id}".')
        return json_response(runner)

    # Keys and values.

    def keys(self, request: ApiRequest) -> Response:
        scope, user = self._owner(request).values()
        prefix = request.query.get("prefix", "")
        found = self._state.datastore.list(scope=scope, user=user, prefix=prefix)
        return json_response([item.view(decrypt=request.flag("decrypt")) for item in found])

    def key(self, request: ApiRequest, name: str) -> Response:
        item = self._state.datastore.get(name, **self._owner(request))
        return json_response(item.view(decrypt=request.flag("decrypt")))

    def put_key(self, request: ApiRequest, name: str) -> Response:
        body = request.object_body()
        validate(body, KEY_PUT)
        item: Item = self._state.datastore.put(
            name,
            body["value"],
            scope=body.get("scope") or request.query.get("scope") or SYSTEM,
            user=body.get("user") or request.user,
            secret=bool(body.get("secret")),
            ttl=body.get("ttl"),
        )
        return json_response(item.view(decrypt=False))

    def delete_key(self, request: ApiRequest, name: str) -> Response:
        self._state.datastore.delete(name, **self._owner(request))
        return no_content()

    def _owner(self, request: ApiRequest) -> dict[str, str]:
        user = request.query.get("user") or request.user
        if user != request.user:
            # Without RBAC, as here, StackStorm shows nobody the keys of another user.
            raise Fault(403, '"user" attribute can only be provided by admins when RBAC is enabled')
        # A user implies the scope.
        scope = USER if request.query.get("user") else request.query.get("scope")
        return {"scope": scope or SYSTEM, "user": user}

    # API keys.

    def api_keys(self, request: ApiRequest) -> Response:
        return self._page(request, [key.view() for key in self._state.authenticator.api_keys()], 50)

    def api_key(self, request: ApiRequest, key_id: str) -> Response:
        return json_response(self._state.authenticator.key(key_id).view())

    def create_api_key(self, request: ApiRequest) -> Response:
        body = request.object_body()
        user = body.get("user") or request.user
        key, value = self._state.authenticator.create_key(user, body.get("metadata"))
        if "enabled" in body:
            key.enabled = bool(body["enabled"])
        shown = key.view(masked=False)
        del shown["key_hash"]
        return json_response({**shown, "key": value}, 201)

    def put_api_key(self, request: ApiRequest, key_id: str) -> Response:
        return json_response(self._state.authenticator.change_key(key_id, request.object_body()))

    def delete_api_key(self, request: ApiRequest, key_id: str) -> Response:
        self._state.authenticator.delete_key(key_id)
        return no_content()

    # Traces.

    def traces(self, request: ApiRequest) -> Response:
        found = self._state.traces.list(
            execution=request.query.get("execution", ""), tag=request.query.get("trace_tag", "")
        )
        return self._page(request, found)

    def trace(self, request: ApiRequest, trace_id: str) -> Response:
        found = self._state.traces.get(trace_id)
        if found is None:
            raise not_found(f'Unable to identify resource with id "{trace_id}".')
        return json_response(found)

    # Inquiries.

    def inquiries(self, request: ApiRequest) -> Response:
        pending = [e for e in self._state.executions.objects() if _is_inquiry(e)]
        return self._page(request, [_inquiry(e) for e in pending if e.status == "pending"], 20)

    def inquiry(self, request: ApiRequest, inquiry_id: str) -> Response:
        return json_response(_inquiry(self._find_inquiry(inquiry_id)))

    def respond(self, request: ApiRequest, inquiry_id: str) -> Response:
        body = request.object_body()
        inquiry = self._find_inquiry(inquiry_id)
        response: Any = body.get("response")
        validate(response, allow_none(inquiry.result["schema"]))
        self._state.control.resume_root_of(inquiry, request.user)
        moved = self._state.executions.set_status(
            inquiry.id,
            "succeeded",
            only_from={"pending"},
            result={**inquiry.result, "response": response},
            set_size=False,
        )
        if not moved:
            raise bad_request(f'Inquiry "{inquiry_id}" has already been responded to.')
        return json_response({"id": inquiry_id, "response": response})

    def _find_inquiry(self, inquiry_id: str) -> Execution:
        try:
            found = self._state.executions.find(inquiry_id)
        except Fault as fault:
            raise not_found(f"Inquiry with id {inquiry_id} not found.") from fault
        if not _is_inquiry(found) or not found.result.get("schema"):
            raise bad_request(f'"{inquiry_id}" is not an inquiry.')
        if found.status != "pending":
            raise bad_request(f'Inquiry "{inquiry_id}" has already been responded to.')
        return found


def _is_inquiry(execution: Execution) -> bool:
    return bool(execution.runner["name"] == "inquirer")


def _inquiry(execution: Execution) -> Document:
    fields = {key: execution.result.get(key) for key in ("route", "ttl", "users", "roles", "schema")}
    return {"id": execution.id, **fields}
