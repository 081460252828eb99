"""What is not installed is told with the command that installs it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from st2actions_mistral import config
from st2actions_mistral.cli import checks
from st2actions_mistral.cli.common import needs_extra
from st2actions_mistral.errors import ConfigError


def test_a_missing_module_names_the_command_for_a_checkout() -> None:
    told = r"needs nowhere: pip install '\.\[relay\]' in the checkout"
    with pytest.raises(ConfigError, match=told), needs_extra("relay"):
        __import__("nowhere")


def test_actions_that_cannot_be_loaded_want_to_be_in_mistrals_virtualenv(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def outside(*_: Any, on_load_failure_callback: Any, **__: Any) -> None:
        error = ModuleNotFoundError("No module named 'mistral_lib'")
        on_load_failure_callback(None, EntryPoint("st2.action", "x:Y", "mistral.actions"), error)

    monkeypatch.setattr(checks, "NamedExtensionManager", outside)
    first = next(checks.Checks(config.read_files(["/dev/null"])).run())
    assert first.result == checks.FAILED
    assert "No module named 'mistral_lib'" in first.detail
    assert "Install the package into Mistral's virtualenv" in first.detail
    assert "run this command from there" in first.detail
