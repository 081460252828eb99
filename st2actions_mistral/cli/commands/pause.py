"""The commands ``st2-mistral pause`` and ``st2-mistral resume``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, require_extra
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef, reports_to
from st2actions_mistral.model.project import foreign

if TYPE_CHECKING:
    from st2actions_mistral.client.mistral import MistralClient

_PAUSE: Final = """\
Pause the Mistral workflow of a StackStorm execution. Running tasks continue;
no new task starts until st2-mistral resume. The execution stays running.

A workflow that a task started as a StackStorm action is such a running task:
pause and resume it by the id of its own execution.

Use this command in place of "st2 execution pause", which StackStorm accepts
for its own runners only.

  st2-mistral pause EXECUTION_ID --config-file /etc/mistral/mistral.conf
"""

_RESUME: Final = """\
Resume the Mistral workflow of a StackStorm execution that st2-mistral pause
has paused.

A workflow that a task started as a StackStorm action is resumed by the id of
its own execution.

  st2-mistral resume EXECUTION_ID --config-file /etc/mistral/mistral.conf
"""


def add_to(commands: Any) -> None:
    """Add both commands to the parser."""
    for name, what, description in (
        ("pause", "pause the workflow of a StackStorm execution", _PAUSE),
        ("resume", "resume a paused workflow", _RESUME),
    ):
        parser: argparse.ArgumentParser = commands.add_parser(
            name,
            help=what,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("execution", metavar="EXECUTION_ID", help="as st2 execution list shows it")
        add_config_file(parser)
        parser.set_defaults(run=partial(run, name))


def run(name: str, args: argparse.Namespace) -> int:
    """Pause or resume the workflow, and print its state."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import open_clients, unknown_to_mistral

    settings = config.load_settings(config.read_files(args.config_file))
    with open_clients(settings) as (st2, mistral):
        execution = st2.get_execution(args.execution)
        if execution is None:
            raise InputError(args.execution, "StackStorm does not know this execution.")
        ref = WorkflowRef.of(execution.get("context"))
        if ref is None:
            raise InputError(args.execution, "this execution has no Mistral workflow.")
        if ref.site != settings.bridge.site:
            raise InputError(
                args.execution,
                f"its workflow runs in the Mistral of site {ref.site!r:.80}. Use the configuration of"
                " that Mistral.",
            )
        state = _change(name, execution, ref.execution_id, mistral)
        if state is None:
            raise unknown_to_mistral(
                settings,
                args.execution,
                f"Mistral does not know its workflow execution {ref.execution_id}: it was deleted.",
            )
    print(f"{args.execution}: workflow execution {ref.execution_id} is {state}")
    return 0


def _change(
    name: str, execution: Mapping[str, Any], workflow_id: str, mistral: MistralClient
) -> str | None:
    """Pause or resume a workflow execution.

    :return: its state afterwards; None where Mistral does not know it.
    :raises InputError: it has ended, or belongs to another execution or another project.
    """
    from st2actions_mistral.cli.clients import advise_repeating
    from st2actions_mistral.runner import control

    # Mistral gives the same answer to a resume that ends a workflow and to one of an ended workflow.
    workflow = mistral.execution_summary(workflow_id)
    if workflow is None:
        return None
    state: str | None = workflow["state"]
    if state not in states.MISTRAL_FINAL:
        _require_own(name, execution, workflow, mistral)
        with advise_repeating():
            state = (control.pause if name == "pause" else control.resume)(mistral, workflow_id)
        # A workflow that had nothing left to do ends when it is resumed.
        if name == "resume":
            return state
    if state in states.MISTRAL_FINAL:
        raise InputError(execution["id"], f"cannot {name} it: its workflow has ended ({state}).")
    return state


def _require_own(
    name: str, execution: Mapping[str, Any], workflow: Mapping[str, Any], mistral: MistralClient
) -> None:
    """Check that a workflow execution runs for the execution, in the project of the token.

    :raises InputError: it does not.
    """
    owner = reports_to(workflow)
    if owner not in (None, execution["id"]):
        status = execution["status"]
        ended = f"it has ended ({status}), and " if status in states.ST2_FINAL else ""
        raise InputError(
            execution["id"],
            f"{ended}its workflow now belongs to execution {owner}. Run: st2-mistral {name} {owner}",
        )
    if (other := foreign(workflow, mistral.scope())) is not None:
        raise InputError(
            execution["id"],
            f"cannot {name} workflow execution {workflow['id']}: {other.reason}. Use the configuration"
            " of that project.",
        )
