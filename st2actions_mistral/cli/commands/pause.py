"""``st2-mistral pause`` and ``st2-mistral resume``"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, needs_extra
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import foreign
from st2actions_mistral.model.workflow import WorkflowRef, reports_to

if TYPE_CHECKING:
    from st2actions_mistral.client.mistral import MistralClient

_PAUSE: Final = """\
Pause the workflow of a StackStorm execution: what runs runs on, and nothing further is started until
st2-mistral resume. The execution stays running.

A workflow that runs as a StackStorm action below it is one of what runs: it is paused, and resumed, by
the id of its own execution.

StackStorm's own "st2 execution pause" refuses every runner but its own ones.
"""

_RESUME: Final = """\
Let the workflow of a StackStorm execution run on that st2-mistral pause has paused.

A workflow that runs as a StackStorm action below it is resumed by the id of its own execution.
"""


def add_to(commands: Any) -> None:
    """Add both commands to the parser."""
    for name, what, description in (
        ("pause", "pause the workflow of a StackStorm execution", _PAUSE),
        ("resume", "let a paused workflow run on", _RESUME),
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
    """Do it and say in which state the workflow is then."""
    with needs_extra("relay"):
        from st2actions_mistral.cli.clients import both, unknown_to_mistral

    settings = config.load_settings(config.read_files(args.config_file))
    with both(settings) as (st2, mistral):
        execution = st2.get_execution(args.execution)
        if execution is None:
            raise InputError(args.execution, "is no execution that StackStorm knows.")
        workflow = WorkflowRef.of(execution.get("context"))
        if workflow is None:
            raise InputError(args.execution, "no Mistral workflow runs for this execution.")
        if workflow.site != settings.bridge.site:
            raise InputError(
                args.execution, f"its workflow runs in the Mistral of site {workflow.site!r:.80}."
            )
        state = _changed(name, execution, workflow.execution_id, mistral)
        if state is None:
            raise unknown_to_mistral(
                settings,
                args.execution,
                f"Mistral does not know its workflow {workflow.execution_id} any more.",
            )
    print(f"{args.execution}: workflow execution {workflow.execution_id} is {state}")
    return 0


def _changed(
    name: str, execution: Mapping[str, Any], workflow_id: str, mistral: MistralClient
) -> str | None:
    """The state that it comes to; None where Mistral does not know the workflow.

    :raises InputError: there is nothing to change any more, or it is another execution's by now.
    """
    from st2actions_mistral.cli.clients import safe_to_repeat
    from st2actions_mistral.runner import control

    # Looked up first: Mistral says the same of what ends by being resumed and of what had ended before.
    workflow = mistral.execution_summary(workflow_id)
    if workflow is None:
        return None
    state: str | None = workflow["state"]
    ended = state in states.MISTRAL_FINAL
    if not ended:
        owner = reports_to(workflow)
        if owner not in (None, execution["id"]):
            raise InputError(
                execution["id"],
                f"{_ending(execution)}its workflow now belongs to execution {owner}: {name} that one.",
            )
        if (other := foreign(workflow, mistral.scope())) is not None:
            raise InputError(workflow_id, f"{other.reason}. Use a configuration of that project.")
        with safe_to_repeat():
            state = (control.pause if name == "pause" else control.resume)(mistral, workflow_id)
        ended = name == "pause" and state in states.MISTRAL_FINAL
    if ended:
        raise InputError(execution["id"], f"has ended already ({state}): nothing to {name}.")
    return state


def _ending(execution: Mapping[str, Any]) -> str:
    status = execution["status"]
    return f"has ended already ({status}): " if status in states.ST2_FINAL else ""
