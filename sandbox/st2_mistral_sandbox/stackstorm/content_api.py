"""The rest of the API that clients and the ``st2`` command line need beside executions."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from st2_mistral_sandbox.stackstorm.api_request import Call, answer, listing, no_content
from st2_mistral_sandbox.stackstorm.auth import NOBODY
from st2_mistral_sandbox.stackstorm.datastore import SYSTEM, Item
from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found
from st2_mistral_sandbox.stackstorm.query import DEFAULT_LIMIT, limit_of
from st2_mistral_sandbox.stackstorm.schema import KEY_PUT, allow_none, validate
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.store import Document, Execution


class ContentApi:
    def __init__(self, state: State) -> None:
        self._state = state

    def _page(self, call: Call, items: list[Document], default: int = DEFAULT_LIMIT) -> Response:
        limit = limit_of(call.query, default)
        start = call.request.args.get("offset", 0, type=int)
        shown = items[start : start + limit if limit else None]
        return listing(shown, total=len(items), limit=limit)

    def root(self, call: Call) -> Response:
        return answer({"version": "3.9.0", "docs_url": "http://docs.stackstorm.com/3.9"})

    def who(self, call: Call) -> Response:
        assert call.visitor is not None, "only an open route has no visitor"
        if call.visitor.credential is NOBODY:
            raise Fault(500, "Internal Server Error")
        return answer(call.visitor.view())

    # Actions and runner types.

    def actions(self, call: Call) -> Response:
        found = self._state.catalog.actions()
        for name in ("pack", "name", "ref", "runner_type"):
            if call.query.get(name):
                found = [action for action in found if action[name] == call.query[name]]
        return self._page(call, found)

    def action(self, call: Call, ref_or_id: str) -> Response:
        return answer(self._action(ref_or_id))

    def _action(self, ref_or_id: str) -> Document:
        action = self._state.catalog.action(ref_or_id)
        if action is None:
            raise not_found(f'Resource with a reference or id "{ref_or_id}" not found')
        return action

    def create_action(self, call: Call) -> Response:
        metadata = call.object_body()
        self._state.catalog.must_be_changeable(str(metadata.get("pack") or "default"))
        return answer(self._state.catalog.add_action(metadata, replace=False), 201)

    def update_action(self, call: Call, ref_or_id: str) -> Response:
        old = self._action(ref_or_id)
        metadata = {"pack": old["pack"], **call.object_body()}
        self._state.catalog.must_be_changeable(str(metadata["pack"]))
        return answer(self._state.catalog.add_action(metadata, replace=False, instead_of=old))

    def delete_action(self, call: Call, ref_or_id: str) -> Response:
        action = self._action(ref_or_id)
        self._state.catalog.must_be_changeable(action["pack"])
        self._state.catalog.delete_action(action["ref"])
        return no_content()

    def overview(self, call: Call, ref_or_id: str) -> Response:
        action = self._action(ref_or_id)
        return answer({**action, "parameters": self._state.catalog.parameters(action["ref"])})

    def parameters(self, call: Call, ref_or_id: str) -> Response:
        action = self._action(ref_or_id)
        return answer({"parameters": self._state.catalog.parameters(action["ref"])})

    def runner_types(self, call: Call) -> Response:
        name = call.query.get("name")
        found = [r for r in self._state.catalog.runners() if not name or r["name"] == name]
        return self._page(call, found)

    def runner_type(self, call: Call, name_or_id: str) -> Response:
        runner = self._state.catalog.runner(name_or_id)
        if runner is None:
            raise not_found(f'Unable to identify resource with name_or_id "{name_or_id}".')
        return answer(runner)

    # Keys and values.

    def keys(self, call: Call) -> Response:
        scope = call.query.get("scope") or SYSTEM
        user = call.query.get("user") or call.user
        found = self._state.datastore.list(scope=scope, user=user, prefix=call.query.get("prefix", ""))
        return answer([item.view(decrypt=call.flag("decrypt")) for item in found])

    def key(self, call: Call, name: str) -> Response:
        item = self._state.datastore.get(name, **self._owner(call))
        return answer(item.view(decrypt=call.flag("decrypt")))

    def put_key(self, call: Call, name: str) -> Response:
        body = call.object_body()
        validate(body, KEY_PUT)
        item: Item = self._state.datastore.put(
            name,
            body["value"],
            scope=body.get("scope") or call.query.get("scope") or SYSTEM,
            user=body.get("user") or call.user,
            secret=bool(body.get("secret")),
            ttl=body.get("ttl"),
        )
        return answer(item.view(decrypt=False))

    def delete_key(self, call: Call, name: str) -> Response:
        self._state.datastore.delete(name, **self._owner(call))
        return no_content()

    def _owner(self, call: Call) -> dict[str, str]:
        return {
            "scope": call.query.get("scope") or SYSTEM,
            "user": call.query.get("user") or call.user,
        }

    # API keys.

    def api_keys(self, call: Call) -> Response:
        return self._page(call, [key.view() for key in self._state.gatekeeper.api_keys()], 50)

    def api_key(self, call: Call, key_id: str) -> Response:
        return answer(self._state.gatekeeper.key(key_id).view())

    def create_api_key(self, call: Call) -> Response:
        body = call.object_body()
        user = body.get("user") or call.user
        key, value = self._state.gatekeeper.create_key(user, body.get("metadata"))
        if "enabled" in body:
            key.enabled = bool(body["enabled"])
        shown = key.view(masked=False)
        del shown["key_hash"]
        return answer({**shown, "key": value}, 201)

    def put_api_key(self, call: Call, key_id: str) -> Response:
        return answer(self._state.gatekeeper.change_key(key_id, call.object_body()))

    def delete_api_key(self, call: Call, key_id: str) -> Response:
        self._state.gatekeeper.delete_key(key_id)
        return no_content()

    # Traces.

    def traces(self, call: Call) -> Response:
        found = self._state.traces.list(
            execution=call.query.get("execution", ""), tag=call.query.get("trace_tag", "")
        )
        return self._page(call, found)

    def trace(self, call: Call, trace_id: str) -> Response:
        found = self._state.traces.get(trace_id)
        if found is None:
            raise not_found(f'Unable to identify resource with id "{trace_id}".')
        return answer(found)

    # Inquiries: executions that wait for an answer.

    def inquiries(self, call: Call) -> Response:
        pending = [e for e in self._state.executions.live() if _is_inquiry(e)]
        return self._page(call, [_inquiry(e) for e in pending if e.status == "pending"], 20)

    def inquiry(self, call: Call, inquiry_id: str) -> Response:
        return answer(_inquiry(self._find_inquiry(inquiry_id)))

    def respond(self, call: Call, inquiry_id: str) -> Response:
        body = call.object_body()
        inquiry = self._find_inquiry(inquiry_id)
        response: Any = body.get("response")
        validate(response, allow_none(inquiry.result["schema"]))
        moved = self._state.executions.move(
            inquiry.id,
            "succeeded",
            only_from={"pending"},
            result={**inquiry.result, "response": response},
            sized=False,
        )
        if not moved:
            raise bad_request(f'Inquiry "{inquiry_id}" has already been responded to.')
        return answer({"id": inquiry_id, "response": response})

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
    asked = {key: execution.result.get(key) for key in ("route", "ttl", "users", "roles", "schema")}
    return {"id": execution.id, **asked}
