"""Turn the inputs of an ``st2.action`` into a request to StackStorm.

The action itself does so, and the relay for an action that an executor lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from st2actions_mistral.bridge import trust
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.config import BridgeSettings
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import json_values
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, header_value
from st2actions_mistral.model.literals import as_literals


@dataclass(frozen=True)
class ExecutionRequest:
    """A StackStorm execution to create for a Mistral action.

    :raises InputError: ``ref`` or ``parameters`` cannot be sent.
    """

    ref: str
    """``pack.action``"""
    parameters: Mapping[str, Any] = field(repr=False)
    ids: MistralIds
    parent: Parent | None = None
    notify: Mapping[str, Any] | None = None
    render_jinja: bool | tuple[str, ...] = False
    """Let StackStorm render the parameters as Jinja, or those with these names. All others arrive
    unchanged."""
    context_key: str | None = field(default=None, repr=False, compare=False)
    """Signs the ids."""
    header: str = field(init=False)
    """The value of the header ``st2-context``."""

    def __post_init__(self) -> None:
        pack, _, name = self.ref.partition(".") if isinstance(self.ref, str) else ("", "", "")
        # Printable, because it is logged: a newline would begin a new log line.
        if not pack or not name or self.ref != self.ref.strip() or not self.ref.isprintable():
            raise InputError(
                "ref",
                f"{self.ref!r:.80} does not name an action as pack.action, such as core.local.",
            )
        if not isinstance(self.parameters, Mapping):
            raise InputError(
                "parameters",
                f"must be an object of names and values, not {type(self.parameters).__name__}.",
            )
        json_values.check("parameters", dict(self.parameters))
        for name in () if isinstance(self.render_jinja, bool) else self.render_jinja:
            if name not in self.parameters:
                raise InputError("render_jinja", f"names {name!r:.80}, which is not in parameters.")
        json_values.check("st2_context.notify", self.notify and dict(self.notify))
        # StackStorm shows the execution by this name, so it needs one.
        name = self.ids.task_name or self.ref
        object.__setattr__(self, "header", self._header(chain=name))

    def with_trust(self, trust_id: str | None) -> ExecutionRequest:
        """Return the request with a keystone trust in its ids.

        :raises InputError: the header is too long with it.
        """
        return replace(self, ids=replace(self.ids, trust_id=trust_id))

    def header_without_chain(self) -> str:
        """Return the header without ``chain``, see :func:`header_value`."""
        return self._header()

    def _header(self, chain: str | None = None) -> str:
        return header_value(self.parent, self.ids, chain=chain, key=self.context_key)

    def body(self) -> dict[str, Any]:
        """Return the body of the POST."""
        parameters = dict(self.parameters)
        rendered = self.render_jinja
        if isinstance(rendered, bool):
            rendered = tuple(parameters) if rendered else ()
        literals = as_literals({name: parameters[name] for name in parameters if name not in rendered})
        body: dict[str, Any] = {"action": self.ref, "parameters": {**parameters, **literals}}
        if self.notify:
            body["notify"] = self.notify
        return body


def parse_request(
    settings: BridgeSettings, inputs: Mapping[str, Any], ids: MistralIds
) -> tuple[St2Settings, ExecutionRequest]:
    """Read the inputs of one action.

    :param inputs: ``ref``, ``parameters``, ``st2_context`` and ``render_jinja`` as the workflow's
        author gives them. Each may be missing.
    :return: how to reach the StackStorm that the request is for, and the request.
    :raises InputError: an input is invalid.
    """
    given = inputs.get("st2_context")
    context = St2Context.parse(given)
    st2 = trust.st2_for(settings, context)
    # Checks the depth before anything walks through the value level by level.
    json_values.check("st2_context.notify", context.notify)
    parameters, render_jinja = inputs.get("parameters"), _rendered(inputs.get("render_jinja"))
    request = ExecutionRequest(
        ref=inputs.get("ref", ""),
        parameters={} if parameters is None else parameters,
        ids=replace(ids, task_name=ids.task_name or context.task_name),
        parent=trust.trusted_parent(settings, context, given, ids),
        notify=context.notify_for(ids.task_name),
        render_jinja=settings.render_jinja if render_jinja is None else render_jinja,
        context_key=next(iter(settings.context_keys), None),
    )
    return st2, request


def _rendered(value: object) -> bool | tuple[str, ...] | None:
    """Read the input ``render_jinja``.

    :raises InputError: it is neither a boolean nor a list of names.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise InputError(
        "render_jinja", f"must be true, false or a list of names of parameters, not {value!r:.80}."
    )


def request_parser(
    settings: BridgeSettings,
) -> Callable[[Mapping[str, Any], MistralIds], ExecutionRequest | None]:
    """Return a function that reads the inputs of lost actions, see :func:`parse_request`.

    It returns None if an action is meant for another StackStorm than the configured one.
    """

    def parse(inputs: Mapping[str, Any], ids: MistralIds) -> ExecutionRequest | None:
        st2, request = parse_request(settings, inputs, ids)
        return request if st2 == settings.st2 else None

    return parse
