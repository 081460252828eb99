"""Tell where a call comes from: the parent execution in StackStorm, and the ids in Mistral.

``st2_context`` describes the StackStorm execution that a workflow runs for::

    {"api_url": "http://127.0.0.1:9101/v1",
     "parent": {"execution_id": "6b03c160746e6986596007f7", "user": "st2admin",
                "source_channel": "ops", "api_user": "ada"},
     "notify": {…}, "skip_notify_tasks": ["task name", …],
     "workflow_execution_id": "…", "project_id": "…", "signature": "hex", "runner": "mistral-v2",
     "task_name": "of the task of the action"}

Every key is optional. ``runner`` is set if the runner ``mistral-v2`` started the workflow.
``task_name`` is in the input of one task, all other keys are in the environment for all tasks.
Therefore the signature does not cover it. It only decides which notification is skipped, and which
name of a task a child execution has. A child execution carries the header ``st2-context``, see
:func:`header_value`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.ids import is_execution_id

# Keys that a task may add to a context that was signed for all tasks, and the signature itself.
_UNSIGNED: Final = ("signature", "task_name")

# The names are left out: the runner replaces the one of the workflow if the child is a workflow itself,
# and the one of the task may be dropped, see header_value. All other keys belong to somebody else.
_SIGNED_IDS: Final = (
    "site",
    "workflow_execution_id",
    "task_execution_id",
    "action_execution_id",
    "project_id",
    "trust_id",
)

# Keeps a signature of ids from being one of a context, and the other way round: JSON begins with "{".
_IDS_DOMAIN: Final = b"st2actions-mistral ids\0"

CHATOPS_KEYS: Final = ("source_channel", "api_user")
"""Keys that ChatOps adds to the context of an execution: the chat channel, and the user in it."""

MAX_HEADER_BYTES: Final = 8150
"""StackStorm 3.9 accepts a header line of about 8,190 bytes, including the name.

Above that it answers 400 with an empty body (measured).
"""


@dataclass(frozen=True)
class Parent:
    """The StackStorm execution that a workflow runs for."""

    execution_id: str
    """24 hexadecimal digits."""
    user: str | None = None
    """The user who started it. Only a context with a valid signature may name one."""
    source_channel: str | None = None
    """The chat channel from which it was started; trusted as ``user``."""
    api_user: str | None = None
    """The user in that chat; trusted as ``user``."""

    def as_dict(self) -> dict[str, str]:
        """Return what is known, as it is under ``context.parent`` of a child execution."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class St2Context:
    """A parsed ``st2_context``; empty for a workflow that was not started from StackStorm."""

    api_url: str | None = None
    parent: Parent | None = None
    notify: Mapping[str, Any] | None = None
    skip_notify_tasks: Sequence[str] = ()
    workflow_execution_id: str | None = None
    """The only workflow execution that the context is valid for; None: any."""
    runner: str | None = None
    """The runner that started the workflow, if it names the workflow in the parent's context."""
    task_name: str | None = None
    """The name of the task, if its author or the runner added it."""
    project_id: str | None = None
    """The only OpenStack project that the context is valid for; None: any."""

    @classmethod
    def parse(cls, value: object) -> St2Context:
        """Parse the input ``st2_context``.

        :param value: an object as in the module's docstring, or None. Unknown keys are ignored.
        :raises InputError: a key is invalid; the error names it.
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
            project_id=_optional(value, "project_id", str),
            runner=_optional(value, "runner", str),
            task_name=_optional(value, "task_name", str),
        )

    def notify_for(self, task_name: str | None) -> Mapping[str, Any] | None:
        """Return the ``notify`` of a child execution; None if its task is to be skipped.

        :param task_name: None: the one in the context. Without any name, nothing is skipped.
        """
        task_name = task_name or self.task_name
        if task_name is not None and task_name in self.skip_notify_tasks:
            return None
        return _without_nulls(self.notify or {}) or None


@dataclass(frozen=True)
class MistralIds:
    """The ids of a call in Mistral.

    An action without a workflow has no workflow and no task. If it is not saved either, it has no id.
    """

    site: str
    """The name of the Mistral among several that share one StackStorm."""
    workflow_execution_id: str | None = None
    workflow_name: str | None = None
    task_execution_id: str | None = None
    action_execution_id: str | None = None
    task_name: str | None = field(default=None, compare=False)
    """The name of the task. Mistral does not pass it to actions, but ``st2_context`` may have it."""
    project_id: str | None = None
    """The OpenStack project of the action; None without keystone."""
    trust_id: str | None = None
    """The keystone trust with which the relay completes the action. It is no credential."""

    @classmethod
    def of(cls, site: str, execution: object, security: object = None) -> MistralIds:
        """Return the ids in what Mistral passes to an action; each may be missing.

        :param execution: mistral_lib's ``context.execution``.
        :param security: mistral_lib's ``context.security``; only its project is read.
        """

        def read(name: str, source: object = execution) -> str | None:
            value = getattr(source, name, None)
            return value if isinstance(value, str) and value else None

        return cls(
            site=site,
            workflow_execution_id=read("workflow_execution_id"),
            workflow_name=read("workflow_name"),
            task_execution_id=read("task_execution_id"),
            action_execution_id=read("action_execution_id"),
            task_name=read("task_name"),
            project_id=read("project_id", security),
        )

    def as_dict(self) -> dict[str, str]:
        """Return the known ids, as they are under ``context.mistral`` of a child execution."""
        known = {
            "site": self.site,
            "workflow_execution_id": self.workflow_execution_id,
            "workflow_name": self.workflow_name,
            "task_name": self.task_name,
            "task_execution_id": self.task_execution_id,
            "action_execution_id": self.action_execution_id,
            "project_id": self.project_id,
            "trust_id": self.trust_id,
        }
        return {name: value for name, value in known.items() if value is not None}


def header_value(
    parent: Parent | None, ids: MistralIds, *, chain: str | None = None, key: str | None = None
) -> str:
    """Return the value of the header ``st2-context``: one line of ASCII JSON.

    It has ``mistral``, ``parent`` where there is one, and ``chain`` with a name, as the tasks of an
    action chain have. The client of st2 3.9 cannot draw the tree of an Orquesta workflow or
    action chain above an execution that has neither ``chain`` nor ``orquesta``, and with ``orquesta``
    the workflow engine would look for the task.

    In StackStorm's services one function reads ``chain`` (3.9, from its source): it skips the
    notification of an action's own metadata if ``skip_notify`` of the parent names the task. If the
    parent no longer exists, StackStorm answers 500 when ``chain`` is set and 400 otherwise. Therefore
    the request is sent without it after a 500.

    :param chain: the name of the child execution in StackStorm's trees.
    :param key: signs the ids, see :func:`sign_ids`.
    :raises InputError: it is longer than :data:`MAX_HEADER_BYTES`.
    """
    context: dict[str, Any] = {"mistral": sign_ids(ids.as_dict(), key) if key else ids.as_dict()}
    if parent is not None:
        context["parent"] = parent.as_dict()
        if chain:
            context["chain"] = {"name": chain}
    value = json.dumps(context)
    if len(value) > MAX_HEADER_BYTES:
        # Nothing depends on the names.
        context.pop("chain", None)
        context["mistral"].pop("task_name", None)
        value = json.dumps(context)
    if len(value) > MAX_HEADER_BYTES:
        raise InputError(
            "st2_context",
            f"the context of this task has {len(value)} bytes as a header, but StackStorm accepts"
            f" {MAX_HEADER_BYTES}. Shorten the name of the workflow or the site.",
        )
    return value


def sign(context: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a ``st2_context`` with its ``signature``.

    The signature is an HMAC-SHA256 of the canonical JSON without ``task_name``.
    """
    return {**context, "signature": _signature(context, key)}


def is_signed(context: Mapping[str, Any], *keys: str) -> bool:
    """Return True if the signature of a ``st2_context`` is valid for one of the keys."""
    return _is_valid(context, keys, _signature)


def sign_ids(ids: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the ids of a child execution, see :meth:`MistralIds.as_dict`, with their ``signature``.

    The signature is an HMAC-SHA256 of the canonical JSON of site, ids, project and trust. It shows that
    somebody with the key created the child for this action. Whoever may create executions in StackStorm
    could otherwise give one of them the ids of any action, and with it a result. The signature covers
    no other key: not the names, and not what the runner adds if the child is a workflow itself.
    """
    return {**ids, "signature": _signature_of_ids(ids, key)}


def ids_are_signed(ids: Mapping[str, Any], *keys: str) -> bool:
    """Return True if the signature of a child's ids is valid for one of the keys.

    :param ids: ``context.mistral`` of the child.
    """
    return _is_valid(ids, keys, _signature_of_ids)


def _is_valid(
    signed: Mapping[str, Any], keys: Sequence[str], sign_: Callable[[Mapping[str, Any], str], str]
) -> bool:
    given = signed.get("signature")
    if not isinstance(given, str):
        return False
    # A string from JSON may hold half a surrogate pair.
    signature = given.encode(errors="replace")
    try:
        # Every key is tried, so that the time does not tell which one matches.
        matches = [hmac.compare_digest(signature, sign_(signed, key).encode()) for key in keys]
    except (RecursionError, TypeError, ValueError):
        # A value that is not JSON was never signed.
        return False
    return any(matches)


def _signature(context: Mapping[str, Any], key: str) -> str:
    return _hmac({n: v for n, v in context.items() if n not in _UNSIGNED}, key)


def _signature_of_ids(ids: Mapping[str, Any], key: str) -> str:
    return _hmac({name: ids[name] for name in _SIGNED_IDS if name in ids}, key, _IDS_DOMAIN)


def _hmac(value: Mapping[str, Any], key: str, domain: bytes = b"") -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), domain + canonical.encode(), hashlib.sha256).hexdigest()


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
    about = {}
    for name in ("user", *CHATOPS_KEYS):
        about[name] = value.get(name) or None
        if about[name] is not None and not isinstance(about[name], str):
            raise InputError(
                f"st2_context.parent.{name}", f"must be a string, not {_kind(value[name])}."
            )
    return Parent(execution_id, **about)


def _optional(context: Mapping[str, Any], name: str, kind: type) -> Any:
    value = context.get(name)
    if value is not None and not isinstance(value, kind):
        wanted = "a string" if kind is str else "an object"
        raise InputError(f"st2_context.{name}", f"must be {wanted}, not {_kind(value)}.")
    return value or None


def _task_names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise InputError("st2_context.skip_notify_tasks", "must be a list of task names.")
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
    """Return ``notify`` without nulls, which a re-run leaves for removed keys.

    See ``runner.environment``.
    """
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else value
        for name, value in notify.items()
        if value is not None
    }
