"""What of a workflow's ``st2_context`` is believed, as the options have it."""

from __future__ import annotations

import functools
import logging
from typing import Final

from oslo_config import cfg

from st2actions_mistral.client import redact
from st2actions_mistral.client.settings import St2Settings, checked_url
from st2actions_mistral.config import context_keys, st2_settings, values
from st2actions_mistral.config.options import ST2_GROUP, ST2_OPTS
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, is_signed

LOG: Final = logging.getLogger(__name__)


def for_context(conf: cfg.ConfigOpts, context: St2Context) -> St2Settings:
    """How to reach the StackStorm that a workflow's ``st2_context`` names.

    Configured credentials go to the configured URL only.

    :raises InputError: the URL is neither the configured one nor among ``allowed_api_urls``.
    :raises ConfigError: an option is malformed.
    """
    settings = st2_settings(conf)
    wanted = context.api_url.rstrip("/") if context.api_url else settings.api_url
    if wanted == settings.api_url:
        return settings
    options = values(conf, ST2_GROUP, ST2_OPTS)
    allowed = [checked_url("[st2] allowed_api_urls", url) for url in options["allowed_api_urls"]]
    if wanted not in allowed:
        raise InputError(
            "st2_context.api_url",
            f"{redact.url(wanted):.200} is neither this Mistral's StackStorm ([st2] api_url) nor in"
            " [st2] allowed_api_urls.",
        )
    return St2Settings(api_url=wanted, tls=settings.tls, timeouts=settings.timeouts)


def believed_parent(
    conf: cfg.ConfigOpts,
    context: St2Context,
    given: object,
    ids: MistralIds,
    *,
    for_completion: bool = False,
) -> Parent | None:
    """The parent of a context, as far as it can be believed.

    Whoever fills ``st2_context`` chooses the execution to report to, and with ``user`` whom to act
    as. So with ``context_key`` set only a signed parent counts, and without it no user does. Whoever
    may read the environment of a workflow can copy its context into another one: a context that names
    its workflow execution counts there only, and only such a one may end its parent.

    :param given: the ``st2_context`` that ``context`` was read from.
    :param ids: where the context was found.
    :param for_completion: for somebody who wants to give the parent its final state.
    :raises InputError: a parent without a valid signature, where ``context_key`` is set; a context of
        another workflow execution.
    """
    parent = context.parent
    if parent is None:
        return None
    keys = context_keys(conf)
    if keys and not (isinstance(given, dict) and is_signed(given, *keys)):
        raise InputError(
            "st2_context.signature",
            "does not fit the parent and [st2] context_key. Start the workflow from StackStorm,"
            " and configure the same context_key on both sides.",
        )
    bound_to = context.workflow_execution_id
    if bound_to and bound_to != ids.workflow_execution_id:
        raise InputError(
            "st2_context.workflow_execution_id",
            "the context belongs to another workflow execution. A sub-workflow needs one that names"
            " none.",
        )
    if keys:
        if for_completion and not bound_to:
            raise InputError(
                "st2_context.workflow_execution_id",
                "is missing: with [st2] context_key, only a context that is signed for this workflow"
                " execution may end its parent.",
            )
        return parent
    _say_unsigned()
    return Parent(parent.execution_id)


@functools.cache
def _say_unsigned() -> None:
    LOG.warning(
        "The parents of workflows are not signed ([st2] context_key is not set): whoever may start a"
        " workflow can name any StackStorm execution as its parent. Their users are not passed on."
    )
