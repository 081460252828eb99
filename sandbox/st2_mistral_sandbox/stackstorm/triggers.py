"""Store trigger types and the instances of triggers. There are no rules."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found, unknown_id
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.schema import (
    allow_none,
    mismatch,
    with_defaults,
)
from st2_mistral_sandbox.stackstorm.timestamps import iso, now

Document = dict[str, Any]

_MOST_INSTANCES = 10_000
"""Older instances are forgotten."""


class Triggers:
    """The trigger types, and what was dispatched to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._types: dict[str, Document] = {}
        self._instances: list[Document] = []

    def register(self, metadata: Mapping[str, Any], *, replace: bool = True) -> Document:
        """Register a trigger type.

        :param replace: replace one with the same reference; otherwise that is an error.
        :raises Fault: 400 or 500 invalid metadata, 409 it exists.
        """
        pack, name = metadata.get("pack"), metadata.get("name")
        if "pack" not in metadata or not isinstance(name or "", str):
            raise Fault(500, "Internal Server Error")
        if not pack or not name:
            raise bad_request(f"Both pack and name needed for building ref. pack={pack}, name={name}")
        ref = f"{pack}.{name}"
        found: Document = {
            "tags": list(metadata.get("tags") or []),
            "uid": f"trigger_type:{pack}:{name}",
            "name": name,
            "ref": ref,
            "pack": pack,
        }
        for key in ("payload_schema", "parameters_schema"):
            schema = metadata.get(key) or {}
            if not isinstance(schema, Mapping):
                raise bad_request(
                    "ValidationError (TriggerTypeDB:None) (Only dictionaries may be used in a"
                    f" DictField: ['{key}'])"
                )
            found[key] = copy.deepcopy(dict(schema))
        for key in ("description", "metadata_file"):
            if metadata.get(key) is not None:
                found[key] = metadata[key]
        with self._lock:
            known = self._types.get(ref)
            if known is not None and not replace:
                raise Fault(409, f"Tried to save duplicate unique keys: {ref}")
            found["id"] = known["id"] if known else new_id()
            self._types[ref] = found
        return copy.deepcopy(found)

    def types(self) -> list[Document]:
        """Return all trigger types by reference."""
        with self._lock:
            return sorted(copy.deepcopy(list(self._types.values())), key=lambda t: str(t["ref"]))

    def type(self, ref_or_id: str) -> Document:
        """Return a trigger type.

        :raises Fault: 404.
        """
        found = next((t for t in self.types() if ref_or_id in (t["ref"], t["id"])), None)
        if found is None:
            raise not_found(f'Resource with a reference or id "{ref_or_id}" not found')
        return found

    def dispatch(self, trigger: Any, payload: Any) -> None:
        """Create an instance, as the webhook ``st2`` does.

        A trigger type with parameters has no trigger until there is a rule for it, and so gets no
        instance here.

        :raises Fault: 400 unknown trigger, or a payload that does not match its schema; 500 a payload
            that is not an object.
        """
        ref = trigger.get("type") if isinstance(trigger, dict) else trigger
        with self._lock:
            known = self._types.get(ref) if isinstance(ref, str) else None
        reason = f'Trigger type with reference "{ref}" doesn\'t exist in the database'
        if isinstance(ref, str) and "." not in ref:
            reason = f"Invalid resource reference: {ref}"
        if known is not None:
            schema = known["payload_schema"]
            filled = with_defaults(payload, schema) if schema else payload
            reason = mismatch(filled, allow_none(schema)) if schema else ""
        if known is None or reason:
            raise bad_request(
                "Trigger payload validation failed and validation is enabled, not dispatching a trigger"
                f' "{trigger}" ({payload}): {reason}'
            )
        if payload and not isinstance(payload, dict):
            raise Fault(500, "Internal Server Error")
        if known["parameters_schema"]:
            return
        instance = {
            "trigger": ref,
            "occurrence_time": now(),
            "status": "processed",
            "id": new_id(),
            "payload": copy.deepcopy(payload or {}),
        }
        with self._lock:
            self._instances = [*self._instances[1 - _MOST_INSTANCES :], instance]

    def instances(self, trigger: str | None = None) -> list[Document]:
        """Return the instances of all triggers or of one, the newest first."""
        with self._lock:
            found = [i for i in reversed(self._instances) if trigger in (None, i["trigger"])]
        return [_view(instance) for instance in found]

    def instance(self, instance_id: str) -> Document:
        """Return an instance.

        :raises Fault: 404.
        """
        found = next((i for i in self.instances() if i["id"] == instance_id), None)
        if found is None:
            raise unknown_id(instance_id)
        return found


def _view(instance: Document) -> Document:
    at: datetime = instance["occurrence_time"]
    return {**copy.deepcopy(instance), "occurrence_time": iso(at)}
