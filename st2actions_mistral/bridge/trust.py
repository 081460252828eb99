"""Decide which parts of a workflow's ``st2_context`` to trust.

Whoever fills ``st2_context`` chooses the execution to report to and, with ``user``, whom to act as.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from st2actions_mistral.client import redact
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.config import BridgeSettings
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, is_signed
from st2actions_mistral.model.project import project_of

LOG: Final = logging.getLogger(__name__)


class UnsignedWarning:
    """Log once that parents are not signed. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged = False

    def log(self) -> None:
        """Log the warning, unless it was logged before."""
        with self._lock:
            if self._logged:
                return
            self._logged = True
        LOG.warning(
            "[st2] context_key is not set, so the parents of workflows are not signed: everybody who"
            " can start a workflow can name any StackStorm execution as its parent. The users of"
            " parents are not passed on."
        )


_UNSIGNED: Final = UnsignedWarning()


def st2_for(settings: BridgeSettings, context: St2Context) -> St2Settings:
    """Return how to reach the StackStorm that a workflow's ``st2_context`` names.

    The configured credential goes to the configured URL only.

    :raises InputError: the URL is neither the configured one nor in ``allowed_api_urls``.
    """
    st2 = settings.st2
    api_url = context.api_url.rstrip("/") if context.api_url else st2.api_url
    if api_url == st2.api_url:
        return st2
    if api_url not in settings.allowed_api_urls:
        raise InputError(
            "st2_context.api_url",
            f"{redact.url(api_url):.200} is neither the configured StackStorm ([st2] api_url) nor in"
            " [st2] allowed_api_urls.",
        )
    return St2Settings(api_url=api_url, tls=st2.tls, timeouts=st2.timeouts)


def trusted_parent(
    settings: BridgeSettings,
    context: St2Context,
    given: object,
    ids: MistralIds,
    *,
    for_completion: bool = False,
    unsigned: UnsignedWarning = _UNSIGNED,
) -> Parent | None:
    """Return the parent of a context, as far as it can be trusted.

    With ``context_key`` set, only a signed parent counts. Without it, the parent's user is dropped.
    Whoever can read the environment of a workflow can copy its context into another workflow. So a
    context that names a workflow execution counts there only, and one that names an OpenStack project
    counts in that project only. With ``context_key``, a context must name the workflow execution to
    complete its parent.

    :param given: the ``st2_context`` that ``context`` was parsed from.
    :param ids: where in Mistral the context was found.
    :param for_completion: True to give the parent its final state.
    :param unsigned: logs that the parent is not signed.
    :raises InputError: ``context_key`` is set and the parent has no valid signature, or the context
        belongs to another workflow execution or another project.
    """
    parent = context.parent
    if parent is None:
        return None
    keys = settings.context_keys
    if keys and not (isinstance(given, dict) and is_signed(given, *keys)):
        raise InputError(
            "st2_context.signature",
            "does not match the parent and [st2] context_key. Start the workflow from StackStorm, and"
            " configure the same context_key in StackStorm and Mistral.",
        )
    bound_to = context.workflow_execution_id
    if bound_to and bound_to != ids.workflow_execution_id:
        raise InputError(
            "st2_context.workflow_execution_id",
            "the context belongs to another workflow execution. A sub-workflow needs a context without"
            " workflow_execution_id.",
        )
    project = project_of({"project_id": ids.project_id})
    if context.project_id and project and context.project_id != project:
        raise InputError(
            "st2_context.project_id",
            "the context belongs to another OpenStack project. Start the workflow in its project.",
        )
    if keys:
        if for_completion and not bound_to:
            raise InputError(
                "st2_context.workflow_execution_id",
                "is missing: with [st2] context_key, a context may complete its parent only if it is"
                " signed for this workflow execution.",
            )
        return parent
    unsigned.log()
    return Parent(parent.execution_id)
