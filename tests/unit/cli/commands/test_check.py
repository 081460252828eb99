"""``st2-mistral check`` with servers that a test defines: which checks run, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.breaking_servers import refusing

from st2actions_mistral.cli.main import main

Run = Callable[..., tuple[int, str, str]]

CHECKS = [
    "entry points",
    "options",
    "StackStorm",
    "permissions",
    "event stream",
    "notifier",
    "Mistral",
    "project",
    "policy",
    "action filter",
    "provider",
    "database",
    "scheduler",
    "size limit",
    "clocks",
    "relay",
]


def test_checks_that_need_an_unreachable_system_are_skipped(run: Run) -> None:
    with refusing() as closed:
        status, printed, _ = run("check", "--json", st2=closed, mistral=closed)
    found = {row["check"]: row["result"] for row in json.loads(printed)}
    assert status == 1
    assert list(found) == CHECKS
    assert {check for check, result in found.items() if result == "failed"} == {"StackStorm", "Mistral"}
    assert {check for check, result in found.items() if result == "skipped"} == {
        "permissions",
        "event stream",
        "notifier",
        "project",
        "policy",
        "provider",
        "clocks",
        "relay",
    }


def test_invalid_options_end_the_checks(run: Run) -> None:
    with refusing() as closed:
        status, printed, _ = run("check", st2=closed, mistral=closed, key="")
    assert status == 1
    assert [line.split()[0] for line in printed.splitlines()] == ["ok", "failed"]


def test_probe_is_a_check_only_if_it_is_asked_for(run: Run) -> None:
    with refusing() as closed:
        _, printed, _ = run("check", "--probe", "--json", st2=closed, mistral=closed)
    assert [row["check"] for row in json.loads(printed)] == [*CHECKS, "probe"]


def test_without_keystoneauth_the_error_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in StackStorm's virtualenv.
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    file = tmp_path / "mistral.conf"
    file.write_text("[st2]\napi_key = secret\n")
    assert main(["check", "--config-file", str(file)]) == 1
    assert "needs the module keystoneauth1. Install it" in capsys.readouterr().err
