"""Group executions into traces. A child execution belongs to its parent's trace."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.timestamps import iso, now


@dataclass
class Trace:
    """The executions with one trace tag."""

    tag: str
    id: str = field(default_factory=new_id)
    start: datetime = field(default_factory=now)
    executions: list[dict[str, Any]] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """Return the trace as ``/v1/traces`` shows it."""
        return {
            "uid": f"trace:{hashlib.md5(self.tag.encode(), usedforsecurity=False).hexdigest()}",
            "trace_tag": self.tag,
            "trigger_instances": [],
            "rules": [],
            "action_executions": list(self.executions),
            "start_timestamp": iso(self.start),
            "id": self.id,
        }


class Traces:
    """All traces, and the trace of each execution."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: dict[str, Trace] = {}
        self._of_execution: dict[str, Trace] = {}

    def trace_for(self, context: dict[str, Any], liveaction_id: str) -> Trace:
        """Return the trace for a new execution, which :meth:`add` stores.

        :raises Fault: 400, the context names an unknown trace, or a parent without one.
        """
        requested = context.get("trace_context")
        parent = (context.get("parent") or {}).get("execution_id")
        with self._lock:
            if requested and requested.get("id_"):
                known = self._traces.get(requested["id_"])
                if known is None:
                    raise bad_request(f'Unable to find Trace with id="{requested["id_"]}"')
                return known
            if requested:
                return Trace(str(requested.get("trace_tag")))
            if parent:
                inherited = self._of_execution.get(str(parent))
                if inherited is None:
                    raise bad_request(f"No trace found for execution {parent}")
                return inherited
            return Trace(f"execution-{liveaction_id}")

    def add(self, trace: Trace, execution_id: str, ref: str, parent: str | None) -> None:
        """Store a trace and add an execution to it."""
        with self._lock:
            self._traces[trace.id] = trace
            self._of_execution[execution_id] = trace
            trace.executions.append(
                {
                    "object_id": execution_id,
                    "ref": ref,
                    "updated_at": iso(now()),
                    "caused_by": {"type": "action_execution", "id": parent} if parent else {},
                }
            )

    def id_of(self, execution_id: str) -> str | None:
        """Return the id of an execution's trace, or None."""
        with self._lock:
            trace = self._of_execution.get(execution_id)
            return trace.id if trace else None

    def list(self, *, execution: str = "", tag: str = "") -> list[dict[str, Any]]:
        """Return the traces of an execution or with a tag, newest first."""
        with self._lock:
            return [
                trace.view()
                for trace in reversed(self._traces.values())
                if (not tag or trace.tag == tag)
                and (not execution or self._of_execution.get(execution) is trace)
            ]

    def get(self, trace_id: str) -> dict[str, Any] | None:
        """Return a trace, or None."""
        with self._lock:
            trace = self._traces.get(trace_id)
            return trace.view() if trace else None
