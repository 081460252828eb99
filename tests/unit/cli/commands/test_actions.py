"""``st2-mistral actions`` with the stand-in, and with servers that a test defines."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.breaking_servers import BreakingServer, answer, refusing

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.cli.main import main

Run = Callable[..., tuple[int, str, str]]

ASK = 'core.ask(roles=[], route="", schema=..., ttl=1440, users=[])'
ON = "[st2_provider]\nenabled = true\n"


@pytest.fixture
def actions(run: Run, st2: StackStorm, key: str) -> Run:
    def run_actions(*words: str, more: str = ON) -> tuple[int, str, str]:
        return run("actions", *words, st2=st2.api_url, mistral="http://127.0.0.1:1", key=key, more=more)

    return run_actions


def test_each_action_has_a_signature_and_a_description(actions: Run) -> None:
    status, printed, error = actions()
    assert (status, error) == (0, "")
    lines = printed.splitlines()
    local = lines.index(
        'core.local(cmd, cwd=null, env=null, kwarg_op="--", sudo_password=null, timeout=60)'
    )
    assert lines[local + 1] == ("    Action that executes an arbitrary Linux command on the localhost.")
    # Without a description.
    assert lines[-1] == "test.job()"
    signatures = [line for line in lines if not line.startswith(" ")]
    assert signatures == sorted(signatures)


def test_json_has_the_actions_of_the_chosen_packs(actions: Run) -> None:
    status, printed, _ = actions("--pack", "test", "--json")
    assert status == 0
    assert json.loads(printed) == [
        {"name": "test.job", "pack": "test", "signature": "test.job()", "input": "", "description": ""}
    ]
    _, printed, _ = actions("--pack", "core", "--pack", "test", "--json")
    found = {row["name"]: row for row in json.loads(printed)}
    assert {row["pack"] for row in found.values()} == {"core", "test"}
    assert found["core.local"]["input"].startswith("cmd, cwd=null")


def test_pack_without_actions_is_an_error(actions: Run) -> None:
    assert actions("--pack", "nope") == (
        1,
        "",
        "st2-mistral: --pack: there is no action of the pack 'nope'.\n",
    )
    more = f"{ON}packs = core\n"
    _, _, error = actions("--pack", "test", more=more)
    assert "[st2_provider] packs does not name it." in error


def test_provider_that_is_off_is_reported(actions: Run) -> None:
    status, printed, error = actions(more="")
    assert status == 0
    assert "core.local(" in printed
    assert error == "Mistral does not have them: [st2_provider] enabled is false.\n"


def test_more_actions_than_are_offered_are_reported(actions: Run) -> None:
    status, printed, error = actions(more=f"{ON}max_actions = 1\n")
    assert (status, printed.splitlines()[0]) == (0, ASK)
    assert error == "StackStorm has more actions than [st2_provider] max_actions, 1.\n"


def test_stackstorm_that_does_not_respond_is_an_error(run: Run) -> None:
    with refusing() as closed:
        status, printed, error = run("actions", st2=f"{closed}/v1", mistral=closed, more=ON)
    assert (status, printed) == (1, "")
    assert "/actions/views/overview" in error


def test_nothing_to_list(run: Run) -> None:
    with BreakingServer(answer(200, [])) as server:
        status, printed, _ = run("actions", st2=f"{server.url}/v1", mistral=server.url, more=ON)
    assert (status, printed) == (0, "")


def test_help_explains_how_a_task_calls_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["actions", "--help"])
    printed = capsys.readouterr().out
    assert "action: core.local" in printed
    assert "[st2_provider] enabled" in printed
