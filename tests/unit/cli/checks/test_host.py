"""The checks of the host that st2-mistral check runs on."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from st2actions_mistral.cli.checks import host
from st2actions_mistral.cli.checks.finding import FAILED, OK, CheckFailed, Finding, find


def test_entry_points_that_do_not_load_belong_into_mistrals_virtualenv() -> None:
    def outside(*_: Any, on_load_failure_callback: Any, **__: Any) -> None:
        error = ModuleNotFoundError("No module named 'mistral_lib'")
        on_load_failure_callback(None, EntryPoint("st2.action", "x:Y", "mistral.actions"), error)

    with pytest.raises(CheckFailed) as caught:
        host.entry_points(outside)
    message = str(caught.value)
    assert "No module named 'mistral_lib'" in message
    assert "Install the package into Mistral's virtualenv" in message
    assert "run this command from there" in message


def test_entry_points_of_this_installation_load() -> None:
    assert find("entry points", host.entry_points) == Finding(
        "entry points", OK, "st2.action and st2.callback can be loaded"
    )


def test_find_reports_an_error_of_the_package_as_failed() -> None:
    def look() -> str:
        raise CheckFailed("Synchronize both with NTP.")

    assert find("clocks", look) == Finding("clocks", FAILED, "Synchronize both with NTP.")
