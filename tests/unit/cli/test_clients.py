"""How the commands ask the two systems: once, with errors that say what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer, hang_up, refusing

from st2actions_mistral.cli.main import main
from st2actions_mistral.model.workflow import WorkflowRef

EXECUTION = "6b03c160746e6986596007f7"
WORKFLOW = "0f2b9c1a-77b1-4f0e-9a53-2a1a4f5e6d7c"
ACTION = "6d1c7f0e-5f0a-4b40-8b7d-5f0b7a0c1d3e"

PARENT = {
    "id": EXECUTION,
    "status": "running",
    "context": WorkflowRef("mistral", WORKFLOW, "tests.main").as_context(),
}

MISTRALS_ROOT = answer(200, {"uri": "http://mistral/v2"})
NOT_FOUND = answer(404, {"faultstring": "Not found"})

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run a command; its status, what it printed, and what it said on stderr."""

    def run(*words: str, st2: str, mistral: str, key: str = "k") -> tuple[int, str, str]:
        file = tmp_path / "mistral.conf"
        file.write_text(
            f"[st2]\napi_url = {st2}\napi_key = {key}\n[st2_relay]\nmistral_url = {mistral}/v2\n"
        )
        status = main([*words, "--config-file", str(file)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def workbook(tmp_path: Path) -> str:
    file = tmp_path / "a.yaml"
    file.write_text("version: '2.0'\nmain: {tasks: {one: {action: std.noop}}}\n")
    return str(file)


@pytest.mark.parametrize(
    "words", [["status"], ["repair", ACTION], ["pause", EXECUTION], ["resume", EXECUTION]]
)
def test_a_mistral_that_is_away_is_told_at_once(typed: Typed, words: list[str]) -> None:
    begun = time.monotonic()
    with BreakingServer(answer(200, PARENT)) as st2, refusing() as nobody:
        status, _, told = typed(*words, st2=st2.url, mistral=nobody)
    assert status == 1
    assert "no connection (Connection refused)" in told
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED"])
def test_what_has_ended_is_neither_paused_nor_resumed(typed: Typed, name: str, state: str) -> None:
    ended = answer(200, {"id": WORKFLOW, "state": state})
    with BreakingServer(answer(200, PARENT)) as st2, BreakingServer(ended) as mistral:
        status, printed, told = typed(name, EXECUTION, st2=st2.url, mistral=mistral.url)
        asked = {call.split()[0] for call in mistral.calls()}
    assert (status, printed) == (1, "")
    assert told == f"st2-mistral: {EXECUTION}: has ended already ({state}): nothing to {name}.\n"
    assert asked == {"GET"}


@pytest.mark.parametrize(
    ("name", "before", "after", "status"),
    [
        ("pause", "RUNNING", "PAUSED", 0),
        ("pause", "RUNNING", "SUCCESS", 1),
        ("resume", "PAUSED", "RUNNING", 0),
        # After its last task it was paused: it has nothing left to run.
        ("resume", "PAUSED", "SUCCESS", 0),
    ],
)
def test_what_it_comes_to_is_told(
    typed: Typed, name: str, before: str, after: str, status: int
) -> None:
    states = (answer(200, {"id": WORKFLOW, "state": state}) for state in (before, after))
    with BreakingServer(answer(200, PARENT)) as st2, BreakingServer(*states) as mistral:
        found, printed, told = typed(name, EXECUTION, st2=st2.url, mistral=mistral.url)
    assert found == status
    assert f"{after}" in (told if status else printed)


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_the_help_says_what_is_not_paused_with_a_workflow(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "by the id of its own execution" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize(
    ("status", "words"), [("failed", "has ended already (failed): "), ("running", "")]
)
def test_a_workflow_that_was_run_again_is_its_new_executions(
    typed: Typed, name: str, status: str, words: str
) -> None:
    again = "6b03c160746e6986596007ff"
    env = {"__actions": {"st2.callback": {"st2_context": {"parent": {"execution_id": again}}}}}
    runs = answer(200, {"id": WORKFLOW, "state": "RUNNING", "params": {"env": env}})
    old, new = ({**PARENT, "id": id_, "status": status} for id_ in (EXECUTION, again))
    with BreakingServer(answer(200, old)) as st2, BreakingServer(runs) as mistral:
        found, printed, told = typed(name, EXECUTION, st2=st2.url, mistral=mistral.url)
        asked = {call.split()[0] for call in mistral.calls()}
    assert (found, printed, asked) == (1, "", {"GET"})
    assert told == (
        f"st2-mistral: {EXECUTION}: {words}its workflow now belongs to execution {again}:"
        f" {name} that one.\n"
    )
    with BreakingServer(answer(200, new)) as st2, BreakingServer(runs) as mistral:
        found, printed, _ = typed(name, again, st2=st2.url, mistral=mistral.url)
    assert (found, printed) == (0, f"{again}: workflow execution {WORKFLOW} is RUNNING\n")


@pytest.mark.parametrize("look", [answer(503), NOT_FOUND, hang_up()])
def test_an_unknown_outcome_says_that_it_can_be_run_again(typed: Typed, look: Behaviour) -> None:
    runs = answer(200, {"id": WORKFLOW, "state": "RUNNING"})
    with (
        BreakingServer(answer(200, PARENT)) as st2,
        BreakingServer(runs, hang_up(), look, MISTRALS_ROOT) as mistral,
    ):
        status, _, told = typed("pause", EXECUTION, st2=st2.url, mistral=mistral.url)
        puts = [call for call in mistral.calls() if call.startswith("PUT ")]
    assert (status, len(puts)) == (1, 1)
    again = "It may have been done all the same. Run this again, which is safe."
    gone = "Mistral does not know its workflow"
    assert (gone if look is NOT_FOUND else again) in told


def test_a_repair_tries_once_and_says_that_it_can_be_run_again(typed: Typed) -> None:
    action: dict[str, Any] = {
        "id": ACTION,
        "name": "st2.action",
        "state": "RUNNING",
        "created_at": "2026-11-25 06:00:00",
        "input": json.dumps({"ref": "core.noop"}),
        "task_execution_id": None,
    }

    def st2(exchange: Exchange) -> bool:
        assert exchange.request is not None
        posted = exchange.request.method == "POST"
        return (hang_up() if posted else answer(200, []))(exchange)

    with BreakingServer(st2) as stackstorm, BreakingServer(answer(200, action)) as mistral:
        status, _, told = typed("repair", ACTION, st2=stackstorm.url, mistral=mistral.url)
        posts = [call for call in stackstorm.calls() if call.startswith("POST ")]
    assert (status, len(posts)) == (1, 1)
    assert "Run this again, which is safe." in told


def test_status_needs_a_credential_as_check_does(typed: Typed) -> None:
    nothing = answer(200, {"action_executions": [], "executions": []})
    with BreakingServer(nothing) as mistral, refusing() as nobody:
        status, printed, told = typed("status", st2=nobody, mistral=mistral.url, key="")
    assert (status, printed) == (1, "")
    assert "no credential: set [st2] api_key" in told
    assert "--config-file" in told


def test_without_a_configuration_validate_asks_for_it(typed: Typed, workbook: str) -> None:
    with refusing() as nobody:
        status, _, told = typed("validate", workbook, st2=nobody, mistral=nobody, key="")
    assert status == 1
    assert "no connection" in told
    assert "[st2] api_url" in told
    assert "(Is this the right --config-file?)" in told


@pytest.mark.parametrize(
    ("root", "asks"),
    [
        (NOT_FOUND, True),
        (answer(200, b"<html>"), True),
        (answer(200, {"versions": []}), True),
        (MISTRALS_ROOT, False),
        (answer(403, {"faultstring": "no"}), False),
    ],
)
def test_whoever_is_not_mistral_is_named(typed: Typed, root: Any, asks: bool) -> None:
    with BreakingServer(NOT_FOUND, root) as server, refusing() as nobody:
        status, _, told = typed("status", st2=nobody, mistral=server.url)
    assert status == 1
    assert ("is [st2_relay] mistral_url Mistral's" in told) == asks


@pytest.mark.parametrize(
    "words",
    [["repair", ACTION], ["pause", EXECUTION], ["resume", EXECUTION]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize(("root", "is_mistral"), [(NOT_FOUND, False), (MISTRALS_ROOT, True)])
def test_an_id_is_unknown_only_where_mistral_is(
    typed: Typed, words: list[str], root: Behaviour, is_mistral: bool
) -> None:
    with (
        BreakingServer(answer(200, PARENT)) as st2,
        BreakingServer(NOT_FOUND, root) as server,
    ):
        status, printed, told = typed(*words, st2=st2.url, mistral=server.url)
    assert (status, printed) == (1, "")
    assert ("is [st2_relay] mistral_url Mistral's" in told) == (not is_mistral)
    assert (words[1] in told and "know" in told) == is_mistral


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_terminal_is_told_which_file_is_being_checked(
    typed: Typed, workbook: str, terminal: bool, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    mistral = BreakingServer(answer(200, {"valid": True, "name": "std.noop", "id": "1"}))
    with mistral, refusing() as nobody:
        status, printed, told = typed("validate", workbook, *words, st2=nobody, mistral=mistral.url)
    assert status == 0, told
    assert workbook in printed
    assert told == (f"Checking {workbook} …\n" if terminal and not words else "")
