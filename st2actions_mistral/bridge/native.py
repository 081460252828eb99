"""Native actions: a StackStorm action that is an action of Mistral under its own name.

The provider makes an ``st2.action`` of each, with :func:`inputs_of`. The relay makes the same inputs
again, from Mistral's records, if an executor lost the action.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl import stored
from st2actions_mistral.dsl.calls import ST2_ACTION
from st2actions_mistral.model.mistral_fields import decoded

CONTEXT: Final = "st2_context"
"""The one input of a native action that is not a parameter. Mistral does not list it."""

_DEFINITION: Final = """\
# This StackStorm action is provided by st2actions-mistral. Mistral runs it like this ad-hoc action.
{ref}:
  base: st2.action
  base-input:
    ref: {ref}
    parameters: <% $ %>
"""


def definition(ref: str) -> str:
    """Return the definition that Mistral shows for a native action.

    :func:`is_native` recognizes it, and so does whoever looks for the base of an ad-hoc action.
    """
    return _DEFINITION.format(ref=json.dumps(ref, ensure_ascii=False))


def is_native(record: Mapping[str, Any] | None) -> bool:
    """Return True if an action as Mistral's API shows it is native.

    An ad-hoc action of a user may have the same definition, but its id is a UUID.

    :param record: None: Mistral has no such action.
    """
    if record is None or record.get("id") != record.get("name"):
        return False
    text = record.get("definition")
    if not isinstance(text, str) or not text:
        return False
    # That of another version of this package may differ.
    return text == definition(str(record["name"])) or stored.base(text) == ST2_ACTION


def inputs_of(ref: str, given: Mapping[str, Any], environment: object) -> dict[str, Any]:
    """Return the inputs of the ``st2.action`` that runs a native action.

    It gets the defaults that the environment of the workflow has for ``st2.action``. Of a list of
    parameters for StackStorm to render, those count that are given.

    :param given: the input of the native action: parameters, and perhaps ``st2_context``.
    :param environment: of the outermost workflow; whatever its author put there.
    """
    defaults = environment
    for name in ("__actions", ST2_ACTION):
        defaults = defaults.get(name) if isinstance(defaults, Mapping) else None
    if not isinstance(defaults, Mapping):
        defaults = {}
    parameters = {name: value for name, value in given.items() if name != CONTEXT}
    context, own = defaults.get(CONTEXT), given.get(CONTEXT)
    if own is not None:
        if isinstance(context, Mapping) and isinstance(own, Mapping):
            own = {**context, **own}
        context = own
    render = defaults.get("render_jinja")
    if isinstance(render, list):
        render = [name for name in render if not isinstance(name, str) or name in parameters]
    return {"ref": ref, "parameters": parameters, CONTEXT: context, "render_jinja": render}


def environment_of(mistral: MistralClient, workflow_execution_id: str | None) -> Any:
    """Return the environment that Mistral gives to the native actions of a workflow execution.

    Mistral takes it from the outermost workflow.

    :param workflow_execution_id: None for an action without a workflow, which has no environment.
    """
    if workflow_execution_id is None:
        return None
    execution = mistral.execution_summary(workflow_execution_id)
    root_id = execution.get("root_execution_id") if execution else None
    if root_id:
        execution = mistral.execution_summary(str(root_id))
    params = decoded(execution.get("params")) if execution else None
    return params.get("env") if isinstance(params, Mapping) else None
