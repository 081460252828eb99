"""Describe a native action to Mistral, and make an ``st2.action`` of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistral_lib.actions.providers.base import ActionDescriptorBase

from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.bridge import native
from st2actions_mistral.model.signature import Signature


class NativeAction(ActionDescriptorBase):
    """A StackStorm action as an action of Mistral."""

    def __init__(self, action: Signature) -> None:
        super().__init__(action.ref, action.description, action.spec, namespace="")

    def __repr__(self) -> str:
        return f"StackStorm action [name={self.name}, input={self.params_spec}]"

    @property
    def action_class_name(self) -> str:
        """The class whose instances run it; Mistral shows it if the input is invalid."""
        return f"{St2Action.__module__}.{St2Action.__name__}"

    @property
    def definition(self) -> str:
        """The text that Mistral's API shows as the definition of the action."""
        return native.definition(self.name)

    def check_parameters(self, params: Mapping[str, Any] | None) -> None:
        """Check the names of the input, as Mistral does by ``params_spec`` for its own actions.

        :raises ActionException: a name is missing or unknown.
        """
        given = params or {}
        super().check_parameters({name: given[name] for name in given if name != native.CONTEXT})

    def instantiate(self, params: Mapping[str, Any] | None, wf_ctx: Mapping[str, Any]) -> St2Action:
        """Return the action to run. An engine calls this in a transaction, so it does no more.

        :param params: the input. That of an ad-hoc action's base was not checked; StackStorm does so.
        :param wf_ctx: the context of the task; empty for an action without a workflow. It does not tell
            the name of the task.
        """
        return St2Action(**native.inputs_of(self.name, params or {}, wf_ctx.get("__env")))
