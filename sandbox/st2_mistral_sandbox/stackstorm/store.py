"""Store executions, change their status, and publish each change."""

from __future__ import annotations

import copy
import os
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import unknown_id
from st2_mistral_sandbox.stackstorm.json_format import to_json
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.parameters import masked
from st2_mistral_sandbox.stackstorm.statuses import FINAL
from st2_mistral_sandbox.stackstorm.timestamps import iso, milliseconds, now

Document = dict[str, Any]
Publish = Callable[[str, Callable[[], Document]], None]
"""Takes the name of an event, and a function that makes its body, called only for a listener."""
PROCESS = {"hostname": socket.gethostname(), "pid": os.getpid()}


@dataclass
class Execution:
    """An execution with its live action. StackStorm stores two documents; here they never differ."""

    action: Document
    runner: Document
    parameters: Document
    context: Document
    is_workflow: bool = False
    """True if its runner can pause and resume, and has children."""
    callback: Document = field(default_factory=dict)
    notify: Document = field(default_factory=dict)
    delay: int | None = None
    parent: str | None = None
    web_base: str = ""
    id: str = ""
    liveaction_id: str = ""
    status: str = "requested"
    start: datetime = field(default_factory=now)
    end: datetime | None = None
    result: Document = field(default_factory=dict)
    result_size: int | None = None
    children: list[str] = field(default_factory=list)
    log: list[tuple[datetime, str]] = field(default_factory=list)
    runner_info: Document = field(default_factory=dict)
    output: list[tuple[str, str]] = field(default_factory=list)
    """The output of the action, as (``stdout`` or ``stderr``, text)."""

    def __post_init__(self) -> None:
        # StackStorm creates the live action first: its id is the smaller one.
        self.liveaction_id = self.liveaction_id or new_id()
        self.id = self.id or new_id()
        self.log = self.log or [(now(), "requested")]

    def view(self, *, show_secrets: bool = False) -> Document:
        """Return the body of ``GET /v1/executions/{id}``. Unknown values are absent, not null."""
        parameters = self._parameters(show_secrets)
        live: Document = {
            "action": self.action["ref"],
            "action_is_workflow": self.is_workflow,
            "parameters": parameters,
            "callback": self.callback,
            "runner_info": self.runner_info,
        }
        if self.notify:
            live["notify"] = self.notify
        live["id"] = self.liveaction_id
        shown: Document = {"action": self.action, "runner": self.runner, "liveaction": live}
        shown["status"] = self.status
        shown["start_timestamp"] = iso(self.start)
        if self.end:
            shown["end_timestamp"] = iso(self.end)
        if parameters:
            shown["parameters"] = parameters
        if self.result_size is not None:
            shown["result_size"] = self.result_size
        shown["context"] = self.context
        if self.parent:
            shown["parent"] = self.parent
        if self.children:
            shown["children"] = self.children
        shown["log"] = [{"timestamp": iso(at), "status": status} for at, status in self.log]
        if self.delay is not None:
            shown["delay"] = self.delay
        shown["web_url"] = f"{self.web_base}/#/history/{self.id}/general"
        shown["id"] = self.id
        if self.result:
            shown["result"] = self.result
        if self.end:
            shown["elapsed_seconds"] = round((self.end - self.start).total_seconds(), 6)
        return copy.deepcopy(shown)

    def liveaction_view(self) -> Document:
        """Return the body of ``st2.liveaction__*`` events, with the result as JSON in a string."""
        shown: Document = {"status": self.status, "start_timestamp": iso(self.start)}
        if self.end:
            shown["end_timestamp"] = iso(self.end)
        shown |= {
            "action": self.action["ref"],
            "action_is_workflow": self.is_workflow,
            "parameters": self._parameters(False),
            "context": self.context,
            "callback": self.callback,
            "runner_info": self.runner_info,
        }
        if self.notify:
            shown["notify"] = self.notify
        shown |= {"id": self.liveaction_id, "result": to_json(self.result)}
        return copy.deepcopy(shown)

    def _parameters(self, show_secrets: bool) -> Document:
        if show_secrets:
            return self.parameters
        return masked(self.parameters, self.runner["runner_parameters"], self.action["parameters"])


class ExecutionStore:
    """All executions, by id and in order of creation. Thread-safe."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._lock = threading.Condition(threading.RLock())
        self._executions: dict[str, Execution] = {}

    def add(self, execution: Execution, *, publish: bool = True) -> Document:
        """Store a new execution and return it as the API shows it."""
        with self._lock:
            self._executions[execution.id] = execution
            parent = self._executions.get(execution.parent or "")
            if parent is not None:
                parent.children.append(execution.id)
            if publish:
                self._publish("st2.liveaction__create", execution.liveaction_view)
                self._publish("st2.execution__create", execution.view)
            return execution.view()

    def remove(self, execution_id: str) -> None:
        """Delete an execution that no runner works on, as StackStorm's garbage collection does.

        :raises Fault: 404.
        """
        with self._lock:
            del self._executions[self.find(execution_id).id]

    def find(self, execution_id: str) -> Execution:
        """Return the stored object, which only this store may change.

        :param execution_id: an id, or ``last``.
        :raises Fault: 404.
        """
        with self._lock:
            if execution_id == "last" and self._executions:
                return next(reversed(self._executions.values()))
            execution = self._executions.get(execution_id)
        if execution is None:
            raise unknown_id(execution_id)
        return execution

    def get(self, execution_id: str, *, show_secrets: bool = False) -> Document:
        """Return an execution as the API shows it.

        :raises Fault: 404.
        """
        execution = self.find(execution_id)
        with self._lock:
            return execution.view(show_secrets=show_secrets)

    def all(self, *, show_secrets: bool = False) -> list[Document]:
        """Return all executions as the API shows them, oldest first."""
        with self._lock:
            return [execution.view(show_secrets=show_secrets) for execution in self.objects()]

    def objects(self) -> list[Execution]:
        """Return the stored objects, oldest first; only this store may change them."""
        with self._lock:
            return list(self._executions.values())

    def status(self, execution_id: str) -> str:
        """Return the status of an execution.

        :raises Fault: 404.
        """
        return self.find(execution_id).status

    def context(self, execution_id: str) -> Document | None:
        """Return a copy of the context of an execution, or None for an unknown one."""
        with self._lock:
            execution = self._executions.get(execution_id)
            return copy.deepcopy(execution.context) if execution else None

    def set_status(
        self,
        execution_id: str,
        status: str,
        *,
        only_from: Collection[str] | None = None,
        result: Document | None = None,
        context: Document | None = None,
        runner_info: Document | None = None,
        set_size: bool = True,
        set_end: bool = True,
    ) -> bool:
        """Set the status of an execution and publish the change.

        :param only_from: change nothing unless the present status is one of these.
        :param result: the new result; an empty one keeps the old one, as in StackStorm.
        :param context: values to add to the context.
        :param set_size: False leaves ``result_size``, as StackStorm does in some transitions.
        :param set_end: False leaves ``end_timestamp``, as StackStorm does in some transitions.
        :return: False if the status was not in ``only_from``.
        :raises Fault: 404.
        """
        with self._lock:
            execution = self.find(execution_id)
            if only_from is not None and execution.status not in only_from:
                return False
            changed = execution.status != status
            execution.status = status
            if result:
                execution.result = copy.deepcopy(result)
            if set_size and (result or status in FINAL):
                execution.result_size = len(to_json(execution.result).encode())
            if context:
                execution.context |= copy.deepcopy(context)
            if runner_info:
                execution.runner_info = dict(runner_info)
            execution.log = [(milliseconds(at), name) for at, name in execution.log]
            if not changed:
                return True
            if status in FINAL and set_end:
                execution.end = now()
            execution.log.append((milliseconds(now()), status))
            self._publish("st2.liveaction__update", execution.liveaction_view)
            self._publish("st2.execution__update", execution.view)
            self._lock.notify_all()
            return True

    def wait(
        self, execution_id: str, statuses: Collection[str] = FINAL, *, timeout: float = 10.0
    ) -> Document:
        """Wait until an execution has one of the statuses, by default a final one, and return it.

        :param timeout: in seconds.
        :raises TimeoutError: it has none of them in time.
        :raises Fault: 404.
        """
        with self._lock:
            execution = self.find(execution_id)
            if not self._lock.wait_for(lambda: execution.status in statuses, timeout):
                raise TimeoutError(
                    f"execution {execution_id} is {execution.status} after {timeout:g} s"
                )
            return execution.view()

    def write(self, execution_id: str, kind: str, text: str) -> None:
        """Add output of an action to ``stdout`` or ``stderr``."""
        with self._lock:
            execution = self.find(execution_id)
            execution.output.append((kind, text))
            event = {
                "execution_id": execution.id,
                "action_ref": execution.action["ref"],
                "runner_ref": execution.runner["name"],
                "timestamp": iso(now()),
                "output_type": kind,
                "data": text,
                "id": new_id(),
            }
            self._publish("st2.execution.output__create", lambda: event)

    def children(self, execution_id: str, depth: int = -1) -> list[Execution]:
        """Return the descendants, each before its own children.

        :param depth: the number of levels; -1: all.
        """
        with self._lock:
            found: list[Execution] = []
            for child_id in self.find(execution_id).children:
                child = self._executions.get(child_id)
                if child is None:
                    continue
                found.append(child)
                if depth != 1:
                    found += self.children(child_id, depth - 1 if depth > 0 else -1)
            return found
