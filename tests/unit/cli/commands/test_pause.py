"""``st2-mistral pause`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_httpserver import HTTPServer
from support.breaking_servers import Behaviour, BreakingServer, answer, hang_up
from support.command_records import EXECUTION, MISTRAL_ROOT, NOT_FOUND, PARENT, WORKFLOW
from support.identity import Identity, keystone_options

from st2actions_mistral.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED"])
def test_an_ended_workflow_is_rejected(run: Run, name: str, state: str) -> None:
    ended = answer(200, {"id": WORKFLOW, "state": state})
    with BreakingServer(answer(200, PARENT)) as st2, BreakingServer(ended) as mistral:
        status, printed, error = run(name, EXECUTION, st2=st2.url, mistral=mistral.url)
        methods = {call.split()[0] for call in mistral.calls()}
    assert (status, printed) == (1, "")
    expected = f"st2-mistral: {EXECUTION}: cannot {name} it: its workflow has ended ({state}).\n"
    assert error == expected
    assert methods == {"GET"}


@pytest.mark.parametrize(
    ("name", "before", "after", "status"),
    [
        ("pause", "RUNNING", "PAUSED", 0),
        ("pause", "RUNNING", "SUCCESS", 1),
        ("resume", "PAUSED", "RUNNING", 0),
        # It was paused after its last task, and has nothing left to run.
        ("resume", "PAUSED", "SUCCESS", 0),
    ],
)
def test_the_state_afterwards_is_printed(
    run: Run, name: str, before: str, after: str, status: int
) -> None:
    states = (answer(200, {"id": WORKFLOW, "state": state}) for state in (before, after))
    with BreakingServer(answer(200, PARENT)) as st2, BreakingServer(*states) as mistral:
        found, printed, error = run(name, EXECUTION, st2=st2.url, mistral=mistral.url)
    assert found == status
    assert f"{after}" in (error if status else printed)


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_help_names_workflows_below_as_not_included(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "by the id of its own execution" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize(
    ("status", "ended"), [("failed", "it has ended (failed), and "), ("running", "")]
)
def test_a_workflow_after_a_rerun_belongs_to_the_new_execution(
    run: Run, name: str, status: str, ended: str
) -> None:
    again = "6b03c160746e6986596007ff"
    env = {"__actions": {"st2.callback": {"st2_context": {"parent": {"execution_id": again}}}}}
    runs = answer(200, {"id": WORKFLOW, "state": "RUNNING", "params": {"env": env}})
    old, new = ({**PARENT, "id": id_, "status": status} for id_ in (EXECUTION, again))
    with BreakingServer(answer(200, old)) as st2, BreakingServer(runs) as mistral:
        found, printed, error = run(name, EXECUTION, st2=st2.url, mistral=mistral.url)
        methods = {call.split()[0] for call in mistral.calls()}
    assert (found, printed, methods) == (1, "", {"GET"})
    assert error == (
        f"st2-mistral: {EXECUTION}: {ended}its workflow now belongs to execution {again}."
        f" Run: st2-mistral {name} {again}\n"
    )
    with BreakingServer(answer(200, new)) as st2, BreakingServer(runs) as mistral:
        found, printed, _ = run(name, again, st2=st2.url, mistral=mistral.url)
    assert (found, printed) == (0, f"{again}: workflow execution {WORKFLOW} is RUNNING\n")


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize("project", ["other", None])
def test_a_workflow_of_another_project_is_rejected(
    run: Run, httpserver: HTTPServer, name: str, project: str | None
) -> None:
    identity = Identity(httpserver, project="own")
    runs = answer(200, {"id": WORKFLOW, "state": "RUNNING", "project_id": project})
    with BreakingServer(answer(200, PARENT)) as st2, BreakingServer(runs) as mistral:
        options = keystone_options(identity.url)
        found, _, error = run(name, EXECUTION, st2=st2.url, mistral=mistral.url, more=options)
        methods = {call.split()[0] for call in mistral.calls()}
    assert (found, methods) == (1, {"GET"})
    assert "the relay's token is for project 'own'" in error


@pytest.mark.parametrize("look", [answer(503), NOT_FOUND, hang_up()])
def test_an_unknown_outcome_advises_to_run_the_command_again(run: Run, look: Behaviour) -> None:
    runs = answer(200, {"id": WORKFLOW, "state": "RUNNING"})
    with (
        BreakingServer(answer(200, PARENT)) as st2,
        BreakingServer(runs, hang_up(), look, MISTRAL_ROOT) as mistral,
    ):
        status, _, error = run("pause", EXECUTION, st2=st2.url, mistral=mistral.url)
        puts = [call for call in mistral.calls() if call.startswith("PUT ")]
    assert (status, len(puts)) == (1, 1)
    again = "The change may have happened. It is safe to run the command again."
    gone = "Mistral does not know its workflow execution"
    assert (gone if look is NOT_FOUND else again) in error
