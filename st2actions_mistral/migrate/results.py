"""Find what an author of 2014 meant in the result of a StackStorm action.

Today the result of a task is that of the StackStorm execution, and its shape depends on the runner:

============================ ==========================================
runner                       ``$.key`` of the action's own result
============================ ==========================================
a Python action              ``task('name').result.result.key``
``mistral-v2``               ``task('name').result.output.key``
all others                   ``task('name').result.key``
============================ ==========================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from st2actions_mistral.migrate.translate import Start

Runner = Callable[[str], "str | None"]
"""Returns the runner type of a StackStorm action; None for an unknown action."""

MISTRAL_RUNNERS: Final = frozenset(("mistral-v1", "mistral-v2"))
_PYTHON_RUNNERS: Final = frozenset(("python-script", "run-python"))

# Keys of the result of a mistral-v2 action that are not its output, today or with StackStorm 3.2.
MISTRAL_KEYS: Final = frozenset(("output", "state", "mistral", "tasks", "extra", "st2"))

# Keys of the results of shell commands, Python actions and core.http in StackStorm.
_RESULT_KEYS: Final = frozenset(
    [
        "stdout",
        "stderr",
        "return_code",
        "succeeded",
        "failed",
        "exit_code",
        "result",
        "status_code",
        "body",
        "headers",
        "parsed",
    ]
)
# These are not Python actions: their results have no key 'result'.
_NOT_PYTHON: Final = frozenset(
    f"core.{name}" for name in ("local", "local_sudo", "remote", "remote_sudo", "http")
)


def unknown(ref: str) -> None:
    """Know the runner of no action."""


def within(text: str, ref: str | None, key: str | None, runner: Runner) -> Start:
    """Resolve a key in the result of a StackStorm action.

    :param text: the expression for the result.
    :param ref: the action, see ``scope.called_action``.
    :param key: None for the whole result.
    :param runner: tells the runner type of the action.
    :return: where the key is to be read from.
    """
    kind = runner(ref) if ref else None
    if kind in MISTRAL_RUNNERS:
        return _in_workflow(text, key)
    if ref is None or ref in _NOT_PYTHON or key in _RESULT_KEYS:
        return Start(text)
    if kind is not None and kind not in _PYTHON_RUNNERS:
        return Start(text)
    if key is None:
        return Start(text, f"{text} is StackStorm's: a Python action's own result is below 'result'")
    doubt = (
        f"{key} was read as the result of a Python action: write {text}.{key} if"
        f" {ref or 'the action'} is not one"
    )
    return Start(f"{text}.result", None if kind else doubt)


def _in_workflow(text: str, key: str | None) -> Start:
    """Resolve a key in the result of a ``mistral-v2`` action, in the default result layout."""
    if key is None:
        return Start(text, f"{text} is StackStorm's: the output of the workflow is below 'output'")
    if key == "extra":
        doubt = f"{text}.extra is gone: use {text}.state and {text}.mistral.state_info"
        return Start(text, doubt)
    return Start(text if key in MISTRAL_KEYS else f"{text}.output")
