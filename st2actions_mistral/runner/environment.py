"""The environment of a workflow that runs for a StackStorm execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from st2actions_mistral.model.context import is_signed, sign
from st2actions_mistral.model.workflow import RUNNER
from st2actions_mistral.runner.request import Request


def environment(
    request: Request,
    workflow_execution_id: str,
    *,
    api_url: str | None,
    context_key: str | None,
    before: object = None,
) -> dict[str, Any]:
    """It gives ``st2.action`` and ``st2.callback`` their ``st2_context`` as a default input.

    Mistral starts a sub-workflow with an empty environment unless the task that starts it passes ours
    on, see ``docs/actions.md``.

    :param api_url: how Mistral reaches StackStorm; None: as its own options say.
    :param context_key: signs the contexts. The one that can end the execution is then good for
        ``workflow_execution_id`` only.
    :param before: the environment that the workflow has, where it is to be changed. Mistral merges the
        new one into it: what is to go is null in the new one, and the signature covers that.
    """
    context: dict[str, Any] = {"parent": {"execution_id": request.execution_id, "user": request.user}}
    if api_url:
        context["api_url"] = api_url
    if request.notify:
        context["notify"] = dict(request.notify)
    if request.skip_notify:
        context["skip_notify_tasks"] = list(request.skip_notify)
    to_end_it = {**context, "runner": RUNNER}
    context = _over(_given(before, "st2.action"), context)
    to_end_it = _over(_given(before, "st2.callback"), to_end_it)
    if context_key:
        to_end_it = sign({**to_end_it, "workflow_execution_id": workflow_execution_id}, context_key)
        context = sign(context, context_key)
    return {
        "__actions": {
            "st2.action": {"st2_context": context},
            "st2.callback": {"st2_context": to_end_it},
        }
    }


def is_from_us(env: object, workflow_execution_id: str, context_key: str) -> bool:
    """Whether :func:`environment` made an environment for this workflow execution, with this key."""
    context, to_end_it = _context(env, "st2.action"), _context(env, "st2.callback")
    if to_end_it.get("workflow_execution_id") != workflow_execution_id:
        return False
    return is_signed(context, context_key) and is_signed(to_end_it, context_key)


def _given(before: object, action: str) -> dict[str, Any]:
    """As :func:`_context`, unsigned."""
    return {k: v for k, v in _context(before, action).items() if k != "signature"}


def _context(env: object, action: str) -> Mapping[str, Any]:
    """The ``st2_context`` that an environment gives to an action; empty for none."""
    for name in ("__actions", action, "st2_context"):
        env = env.get(name) if isinstance(env, Mapping) else None
    return env if isinstance(env, Mapping) else {}


def _over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` with null for what only ``old`` has: ``old`` merged with it is the same."""
    merged: dict[str, Any] = dict.fromkeys(old)
    for name, value in new.items():
        known = old.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _over(known, value)
        merged[name] = value
    return merged
