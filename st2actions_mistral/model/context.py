"""StackStorm's side of a call, and Mistral's.

``st2_context`` is what a workflow is given about the StackStorm execution that it runs for::

    {"api_url": "http://127.0.0.1:9101/v1",
     "parent": {"execution_id": "6b03c160746e6986596007f7", "user": "st2admin"},
     "notify": {…}, "skip_notify_tasks": ["task name", …],
     "workflow_execution_id": "…", "signature": "hex", "runner": "mistral-v2",
     "task_name": "of the task that the action belongs to"}

Every key is optional. ``runner`` stands where a runner of ours started the workflow. ``task_name``
stands in the input of a task, beside what the environment gives to all of them. So the signature does
not cover it: all that it decides is which notification is skipped, and what a child is shown by.
What a child carries back is the header ``st2-context``, see :func:`header_value`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.ids import is_execution_id

# What a task may add to a context that was signed for all of them, and the signature itself.
_UNSIGNED: Final = ("signature", "task_name")

# StackStorm 3.9 takes a header line of about 8,190 bytes, the name included; above that it answers
# 400 with an empty body (measured).
MAX_HEADER_BYTES: Final = 8150


@dataclass(frozen=True)
class Parent:
    """The StackStorm execution that a workflow runs for."""

    execution_id: str
    """24 hexadecimal digits."""
    user: str | None = None
    """Who started it. Forwarded only from a context whose signature was checked."""


@dataclass(frozen=True)
class St2Context:
    """A parsed ``st2_context``; an empty one stands for a workflow that nobody in StackStorm began."""

    api_url: str | None = None
    parent: Parent | None = None
    notify: Mapping[str, Any] | None = None
    skip_notify_tasks: Sequence[str] = ()
    workflow_execution_id: str | None = None
    """The only one that the context is meant for; None: all that it is handed to."""
    runner: str | None = None
    """What started the workflow, where the parent is going to name that workflow."""
    task_name: str | None = None
    """Of the task, where its author or the runner has put it there."""

    @classmethod
    def parse(cls, value: object) -> St2Context:
        """Read a ``st2_context`` input.

        :param value: an object as in the module's docstring, or None. Unknown keys are ignored.
        :raises InputError: naming the key that cannot be used.
        """
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise InputError("st2_context", f"must be an object, not {_kind(value)}.")
        return cls(
            api_url=_optional(value, "api_url", str),
            parent=_parent(value.get("parent")),
            notify=_optional(value, "notify", Mapping),
            skip_notify_tasks=_task_names(value.get("skip_notify_tasks")),
            workflow_execution_id=_optional(value, "workflow_execution_id", str),
            runner=_optional(value, "runner", str),
            task_name=_optional(value, "task_name", str),
        )

    def notify_for(self, task_name: str | None) -> Mapping[str, Any] | None:
        """What to put into a child's ``notify``; None where the task is to be skipped.

        :param task_name: as Mistral tells it, which it does not do by itself; None: the one in the
            context. A name that is not known at all skips nothing.
        """
        task_name = task_name or self.task_name
        if task_name is not None and task_name in self.skip_notify_tasks:
            return None
        return _without_nulls(self.notify or {}) or None


@dataclass(frozen=True)
class MistralIds:
    """Where in Mistral a call comes from. Ad hoc, there is no workflow and no task; an action that
    is run without being saved has no id at all."""

    site: str
    """Marks the Mistral among several that share one StackStorm."""
    workflow_execution_id: str | None = None
    workflow_name: str | None = None
    task_execution_id: str | None = None
    action_execution_id: str | None = None
    task_name: str | None = field(default=None, compare=False)
    """What a child is shown by in StackStorm's trees; Mistral itself does not tell it."""

    @classmethod
    def of(cls, site: str, execution: object) -> MistralIds:
        """Read the attributes of mistral_lib's ``context.execution``; each may be missing."""

        def read(name: str) -> str | None:
            value = getattr(execution, name, None)
            return value if isinstance(value, str) and value else None

        return cls(
            site=site,
            workflow_execution_id=read("workflow_execution_id"),
            workflow_name=read("workflow_name"),
            task_execution_id=read("task_execution_id"),
            action_execution_id=read("action_execution_id"),
            task_name=read("task_name"),
        )

    def as_dict(self) -> dict[str, str]:
        """The ids that are known, as they stand under ``context.mistral`` of a child."""
        known = {
            "site": self.site,
            "workflow_execution_id": self.workflow_execution_id,
            "workflow_name": self.workflow_name,
            "task_execution_id": self.task_execution_id,
            "action_execution_id": self.action_execution_id,
        }
        return {name: value for name, value in known.items() if value is not None}


def header_value(parent: Parent | None, ids: MistralIds) -> str:
    """The value of the header ``st2-context``: one line of ASCII JSON.

    Beside ``mistral``, and ``parent`` where there is one, a child has ``chain``, with the name of its
    task, as the tasks of an action chain do: st2 3.9 cannot draw the tree of an Orquesta workflow or
    action chain with anything below it that has neither ``chain`` nor ``orquesta``. Of StackStorm's
    services one function reads it (3.9, by reading): by it the notification in an action's own
    metadata is left out where ``skip_notify`` of the parent names the task. For a parent that is gone
    that function ends in a 500, where there is a 400 without ``chain``: so after a 500 a child is sent
    without it. ``orquesta`` would make the workflow engine look for the task.

    :raises InputError: above :data:`MAX_HEADER_BYTES`.
    """
    context: dict[str, Any] = {"mistral": ids.as_dict()}
    if parent is not None:
        context["parent"] = {"execution_id": parent.execution_id}
        if parent.user:
            context["parent"]["user"] = parent.user
        if ids.task_name:
            context["chain"] = {"name": ids.task_name}
    value = json.dumps(context)
    if len(value) > MAX_HEADER_BYTES and context.pop("chain", None):
        # It is for show: nothing fails for it.
        value = json.dumps(context)
    if len(value) > MAX_HEADER_BYTES:
        raise InputError(
            "st2_context",
            f"the context of this task takes {len(value)} bytes as a header, StackStorm accepts"
            f" {MAX_HEADER_BYTES}. Shorten the name of the workflow or the site.",
        )
    return value


def sign(context: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A copy of a ``st2_context`` with its ``signature``: HMAC-SHA256 over its canonical JSON, without
    ``task_name``."""
    return {**context, "signature": _signature(context, key)}


def is_signed(context: Mapping[str, Any], *keys: str) -> bool:
    """Whether a ``st2_context`` holds the signature that one of ``keys`` makes of the rest of it."""
    given = context.get("signature")
    if not isinstance(given, str):
        return False
    # A text from JSON may hold half a surrogate pair.
    signature = given.encode(errors="replace")
    try:
        # Every key is tried: how long it takes tells nothing of which one it was.
        fits = [hmac.compare_digest(signature, _signature(context, key).encode()) for key in keys]
    except (RecursionError, TypeError, ValueError):
        # What has no JSON was never signed.
        return False
    return any(fits)


def _signature(context: Mapping[str, Any], key: str) -> str:
    bare = {name: value for name, value in context.items() if name not in _UNSIGNED}
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()


def _parent(value: object) -> Parent | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InputError("st2_context.parent", f"must be an object, not {_kind(value)}.")
    execution_id = value.get("execution_id")
    if not is_execution_id(execution_id):
        raise InputError(
            "st2_context.parent.execution_id",
            f"must be the id of a StackStorm execution (24 hexadecimal digits),"
            f" not {execution_id!r:.80}.",
        )
    user = value.get("user")
    if user is not None and not isinstance(user, str):
        raise InputError("st2_context.parent.user", f"must be a string, not {_kind(user)}.")
    return Parent(execution_id, user or None)


def _optional(context: Mapping[str, Any], name: str, kind: type) -> Any:
    value = context.get(name)
    if value is not None and not isinstance(value, kind):
        wanted = "a string" if kind is str else "an object"
        raise InputError(f"st2_context.{name}", f"must be {wanted}, not {_kind(value)}.")
    return value or None


def _task_names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise InputError("st2_context.skip_notify_tasks", "must be a list of names of tasks.")
    return tuple(value)


def _kind(value: object) -> str:
    return {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "an object",
        type(None): "null",
    }.get(type(value), type(value).__name__)


def _without_nulls(notify: Mapping[str, Any]) -> dict[str, Any]:
    """A re-run leaves null where the run before it had something, see ``runner.environment``."""
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else value
        for name, value in notify.items()
        if value is not None
    }
