"""The checks of the host that st2-mistral check runs on."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral import config
from st2actions_mistral.cli.checks import host
from st2actions_mistral.cli.checks.finding import OK, CheckFailed, Finding, find


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


@pytest.mark.parametrize(
    ("relay", "engine", "fits"),
    [
        (1024, 1024, True),
        (512, 1024, True),
        (-1, -1, True),
        (2048, -1, True),
        (1025, 1024, False),
        (-1, 1024, False),
    ],
)
def test_size_limit_must_not_exceed_mistrals(
    tmp_path: Path, relay: int, engine: int, fits: bool
) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(
        f"[st2_relay]\nfield_size_limit_kb = {relay}\n"
        f"[engine]\nexecution_field_size_limit_kb = {engine}\n"
    )
    conf = config.read_files([str(file)])
    found = find("size limit", lambda: host.size_limit(conf, config.load_settings(conf)))
    assert (found.result == OK) is fits, found.detail
    assert str(relay) in found.detail
