"""The options of ``[st2_auth]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral import config
from st2actions_mistral.client.settings import Tls
from st2actions_mistral.config.auth import AuthSettings, load_auth_settings
from st2actions_mistral.errors import ConfigError


def load(folder: Path, text: str) -> AuthSettings:
    file = folder / "mistral.conf"
    file.write_text(text)
    return load_auth_settings(config.read_files([str(file)]))


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == AuthSettings("http://127.0.0.1:9101/v1")


def test_every_option_is_loaded(tmp_path: Path) -> None:
    text = (
        "[st2]\napi_url = https://st2/api/v1/\ncafile = /ca.pem\ninsecure = true\napi_key = canary\n"
        "[st2_auth]\nproject_per_user = true\nadmin_roles = system_admin, admin\nrelay_users = a, b\n"
        "cache_seconds = 1\ntimeout = 2\nchecks_per_minute = 3\n"
    )
    settings = load(tmp_path, text)
    assert settings == AuthSettings(
        "https://st2/api/v1",
        Tls("/ca.pem", True),
        project_per_user=True,
        admin_roles=frozenset({"system_admin", "admin"}),
        relay_users=frozenset({"a", "b"}),
        cache_seconds=1,
        timeout=2,
        checks_per_minute=3,
    )
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cache_seconds = 61", r"\[st2_auth\] cache_seconds"),
        ("cache_seconds = -1", r"\[st2_auth\] cache_seconds"),
        ("cache_seconds = nan", r"\[st2_auth\] cache_seconds"),
        ("timeout = 0", r"\[st2_auth\] timeout"),
        ("timeout = nan", r"\[st2_auth\] timeout"),
        ("checks_per_minute = 0", r"\[st2_auth\] checks_per_minute"),
        ("project_per_user = perhaps", r"\[st2_auth\] project_per_user"),
    ],
)
def test_error_names_an_invalid_option(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, f"[st2_auth]\n{line}\n")
