"""What the inputs of an ``st2.action`` ask of StackStorm, the same whoever schedules it: the action, or
the relay for one that an executor lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import Child
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import payload
from st2actions_mistral.model.context import MistralIds, St2Context


@dataclass(frozen=True)
class Request:
    """One execution to be made, and where."""

    settings: St2Settings = field(repr=False)
    child: Child


def requested(conf: cfg.ConfigOpts, inputs: Mapping[str, Any], ids: MistralIds) -> Request:
    """Read the inputs of one action.

    :param inputs: ``ref``, ``parameters``, ``st2_context`` and ``render_jinja`` as a workflow's author
        gives them; each may be missing.
    :raises InputError: one of them cannot be used.
    :raises ConfigError: an option is malformed.
    """
    given = inputs.get("st2_context")
    context = St2Context.parse(given)
    settings = config.for_context(conf, context)
    # Before anybody goes through it level by level.
    payload.check("st2_context.notify", context.notify)
    parameters, render_jinja = inputs.get("parameters"), inputs.get("render_jinja")
    if render_jinja is not None and not isinstance(render_jinja, bool):
        raise InputError("render_jinja", f"must be true or false, not {render_jinja!r:.80}.")
    ref = inputs.get("ref", "")
    child = Child(
        ref=ref,
        parameters={} if parameters is None else parameters,
        # StackStorm wants some name to show the child by.
        ids=replace(ids, task_name=ids.task_name or context.task_name or ref),
        parent=config.believed_parent(conf, context, given, ids),
        notify=context.notify_for(ids.task_name),
        render_jinja=config.render_jinja(conf) if render_jinja is None else render_jinja,
    )
    return Request(settings, child)


def reader(conf: cfg.ConfigOpts) -> Callable[[Mapping[str, Any], MistralIds], Child | None]:
    """Reads the inputs of actions that were lost, for who serves the configured StackStorm.

    :return: gives None where an action is meant for another StackStorm; raises as :func:`requested`.
    """
    configured = config.st2_settings(conf)

    def read(inputs: Mapping[str, Any], ids: MistralIds) -> Child | None:
        request = requested(conf, inputs, ids)
        return request.child if request.settings == configured else None

    return read
