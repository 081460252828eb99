"""The options of ``[st2_provider]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral import config
from st2actions_mistral.config.provider import ProviderSettings, load_provider_settings
from st2actions_mistral.errors import ConfigError


def load(folder: Path, text: str) -> ProviderSettings:
    file = folder / "mistral.conf"
    file.write_text(f"[st2_provider]\n{text}\n")
    return load_provider_settings(config.read_files([str(file)]))


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings == ProviderSettings()
    assert not settings.enabled
    assert settings.has_pack("core")


def test_every_option_is_read(tmp_path: Path) -> None:
    text = "enabled = true\npacks = core, linux\nrefresh_interval = 5\nmax_actions = 10"
    settings = load(tmp_path, text)
    assert settings == ProviderSettings(True, frozenset({"core", "linux"}), 5.0, 10)
    assert settings.has_pack("linux")
    assert not settings.has_pack("aws")


@pytest.mark.parametrize(
    "line",
    ["enabled = perhaps", "refresh_interval = 0", "refresh_interval = nan", "max_actions = 0"],
)
def test_invalid_value_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[st2_provider\] {line.split()[0]}"):
        load(tmp_path, line)
