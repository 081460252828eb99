"""The commands that other distributions add to ``st2-mistral``."""

from __future__ import annotations

import argparse
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from st2actions_mistral.cli import plugins
from st2actions_mistral.cli.main import main


class Installed:
    """A stand-in for stevedore's manager: what is installed, and what of it does not load."""

    def __init__(self, **commands: Any) -> None:
        self._commands = commands

    def __call__(self, group: str, *, on_load_failure_callback: Any) -> list[SimpleNamespace]:
        assert group == "st2actions_mistral.commands"
        loaded = []
        for name, plugin in self._commands.items():
            if isinstance(plugin, Exception):
                on_load_failure_callback(None, EntryPoint(name, "a:b", group), plugin)
            else:
                loaded.append(SimpleNamespace(name=name, plugin=plugin))
        return loaded


class Command:
    def __init__(self, name: str) -> None:
        self._name = name

    def add_to(self, commands: Any) -> None:
        parser: argparse.ArgumentParser = commands.add_parser(self._name)
        parser.add_argument("--times", type=int, required=True)
        parser.set_defaults(run=lambda args: int(args.times))


class BrokenCommand(Command):
    def add_to(self, commands: Any) -> None:
        super().add_to(commands)
        raise TypeError("wrong version")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(**commands: Any) -> None:
        monkeypatch.setattr(plugins, "ExtensionManager", Installed(**commands))

    return install


def test_plugin_command_runs(installed: Any) -> None:
    installed(extra=Command("extra"))
    assert main(["extra", "--times", "3"]) == 3


@pytest.mark.parametrize("arguments", [[], ["--folder", "x"], ["examples.join", "a=b"], ["-h"]])
@pytest.mark.parametrize("command", ["sandbox", "demo"])
def test_missing_sandbox_names_the_distribution_to_install(
    installed: Any, capsys: pytest.CaptureFixture[str], command: str, arguments: list[str]
) -> None:
    installed()
    assert main([command, *arguments]) == 1
    assert capsys.readouterr().err == (
        f"st2-mistral: The command {command} is in the distribution st2-mistral-sandbox: pip install"
        " st2-mistral-sandbox, or pip install ./sandbox in a checkout.\n"
    )


@pytest.mark.parametrize("plugin", [ImportError("no module x"), BrokenCommand("demo")])
def test_broken_plugin_reports_its_error_and_no_other_command_does(
    installed: Any, capsys: pytest.CaptureFixture[str], plugin: Any
) -> None:
    installed(demo=plugin, extra=Command("extra"))
    assert main(["demo", "--list"]) == 1
    message = capsys.readouterr().err
    assert "The command demo cannot be loaded (" in message
    assert "no module x" in message or "wrong version" in message
    assert main(["extra", "--times", "0"]) == 0


def test_plugin_cannot_replace_a_built_in_command(
    installed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(status=Command("status"))
    with pytest.raises(SystemExit):
        main(["status", "--times", "3"])
    assert "--times" in capsys.readouterr().err
