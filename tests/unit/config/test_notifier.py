"""Test the options of the notifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral import config
from st2actions_mistral.config.notifier import NotifierSettings, load_notifier_settings
from st2actions_mistral.errors import ConfigError


def load(folder: Path, text: str) -> NotifierSettings:
    file = folder / "mistral.conf"
    file.write_text(text)
    return load_notifier_settings(config.read_files([str(file)]))


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, "[st2]\nsite = east\n")
    assert found.shared.relay.site == "east"
    assert (found.trigger, found.workers, found.queue_size) == (None, 4, 1000)


@pytest.mark.parametrize("name", ["examples.mistral_event", "core.st2.x", "my-pack.t-1"])
def test_options_are_read(tmp_path: Path, name: str) -> None:
    found = load(tmp_path, f"[st2_notifier]\ntrigger = {name}\nworkers = 2\nqueue_size = 5\n")
    assert (found.trigger, found.workers, found.queue_size) == (name, 2, 5)


def test_empty_trigger_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, "[st2_notifier]\ntrigger =\n").trigger is None


@pytest.mark.parametrize(
    "line", ["trigger = event", "trigger = a.b c", "trigger = .b", "trigger = a.", "trigger = a/b.c"]
)
def test_trigger_must_be_a_reference(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[st2_notifier\] trigger: .* as pack\.name"):
        load(tmp_path, f"[st2_notifier]\n{line}\n")


@pytest.mark.parametrize("line", ["workers = 0", "queue_size = 0", "queue_size = x"])
def test_invalid_number_is_rejected(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\[st2_notifier\] {line.split()[0]}"):
        load(tmp_path, f"[st2_notifier]\n{line}\n")


def test_options_of_the_relay_count_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lost_after"):
        load(tmp_path, "[st2_relay]\nlost_after = 1\n")
