"""Make the environment of a workflow that runs for a StackStorm execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from st2actions_mistral.model.context import is_signed, sign
from st2actions_mistral.model.links import RUNNER
from st2actions_mistral.runner.request import WorkflowRequest


def environment(
    request: WorkflowRequest,
    workflow_execution_id: str,
    *,
    api_url: str | None,
    public_api_url: str | None = None,
    context_key: str | None,
    project_id: str | None = None,
    before: object = None,
) -> dict[str, Any]:
    """Return an environment that gives ``st2.action`` and ``st2.callback`` a default ``st2_context``.

    It also has ``st2_execution_id``, ``st2_liveaction_id`` and ``st2_action_api_url`` for expressions,
    as in StackStorm 3.2.

    Mistral starts a sub-workflow with an empty environment unless the task that starts it passes this
    one on.

    :param api_url: the URL under which Mistral reaches StackStorm; None: the one in Mistral's options.
    :param public_api_url: the value of ``st2_action_api_url`` if ``api_url`` is None.
    :param context_key: signs the contexts. The context of ``st2.callback`` is then valid for
        ``workflow_execution_id`` only.
    :param project_id: the OpenStack project that the contexts are valid for; None: any.
    :param before: the current environment of a workflow whose tasks are re-run. Mistral merges the new
        environment into it, so keys to remove are null in the new one. The signature covers them.
    """
    parent = {"execution_id": request.execution_id, "user": request.user, **request.chatops}
    context: dict[str, Any] = {"parent": parent}
    if api_url:
        context["api_url"] = api_url
    if project_id:
        context["project_id"] = project_id
    if request.notify:
        context["notify"] = dict(request.notify)
    if request.skip_notify:
        context["skip_notify_tasks"] = list(request.skip_notify)
    for_completion = {**context, "runner": RUNNER}
    context = _replacement(_unsigned(before, "st2.action"), context)
    for_completion = _replacement(_unsigned(before, "st2.callback"), for_completion)
    if context_key:
        bound = {**for_completion, "workflow_execution_id": workflow_execution_id}
        for_completion = sign(bound, context_key)
        context = sign(context, context_key)
    return {
        "st2_execution_id": request.execution_id,
        "st2_liveaction_id": request.liveaction_id,
        "st2_action_api_url": api_url or public_api_url,
        "__actions": {
            "st2.action": {"st2_context": context},
            "st2.callback": {"st2_context": for_completion},
        },
    }


def is_from_us(env: object, workflow_execution_id: str, context_key: str) -> bool:
    """Return True if :func:`environment` made ``env`` for this workflow execution with this key."""
    context, for_completion = _context(env, "st2.action"), _context(env, "st2.callback")
    if for_completion.get("workflow_execution_id") != workflow_execution_id:
        return False
    return is_signed(context, context_key) and is_signed(for_completion, context_key)


def names_parent(env: object) -> bool:
    """Return True if an environment names the StackStorm execution that its workflow runs for."""
    return bool(_context(env, "st2.action").get("parent"))


def _unsigned(before: object, action: str) -> dict[str, Any]:
    """Return the context of an action without its signature."""
    return {k: v for k, v in _context(before, action).items() if k != "signature"}


def _context(env: object, action: str) -> Mapping[str, Any]:
    """Return the ``st2_context`` that an environment gives to an action; empty if it gives none."""
    for name in ("__actions", action, "st2_context"):
        env = env.get(name) if isinstance(env, Mapping) else None
    return env if isinstance(env, Mapping) else {}


def _replacement(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``new`` with null for each key that only ``old`` has.

    Merging it into ``old``, as Mistral does, gives the same again.
    """
    merged: dict[str, Any] = dict.fromkeys(old)
    for name, value in new.items():
        known = old.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _replacement(known, value)
        merged[name] = value
    return merged
