"""Test how the relay may act in the project of an action, and what contradicts the credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral import config
from st2actions_mistral.errors import ConfigError

PASSWORD = (
    "auth_type = v3password\nauth_url = http://keystone/v3\nusername = relay\npassword = hush\n"
    "user_domain_id = default"
)
ONE_PROJECT = (
    "auth_type = v3applicationcredential\nauth_url = http://keystone/v3\n"
    "application_credential_id = relay\napplication_credential_secret = hush"
)


def load(folder: Path, options: str) -> config.Settings:
    file = folder / "mistral.conf"
    file.write_text(f"[st2_relay]\n{options}\n")
    return config.load_settings(config.read_files([str(file)]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "none"),
        ("auth_type = none", "none"),
        ("auth_type = none\nproject_auth = none", "none"),
        ("project_auth = none", "none"),
        (PASSWORD, "service"),
        (ONE_PROJECT, "service"),
        ("auth_type = admin_token\nendpoint = http://mistral/v2\ntoken = hush", "service"),
        (f"{PASSWORD}\nproject_auth = service", "service"),
        (f"{PASSWORD}\nproject_auth = trust", "trust"),
        ("auth_type = password\nauth_url = http://keystone\nproject_auth = trust", "trust"),
        (f"auth_section = keystone\n[keystone]\n{PASSWORD}", "service"),
        (f"auth_section = keystone\nproject_auth = trust\n[keystone]\n{PASSWORD}", "trust"),
    ],
)
def test_default_follows_from_the_credential(tmp_path: Path, options: str, expected: str) -> None:
    assert load(tmp_path, options).relay.project_auth == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            f"{PASSWORD}\nproject_auth = none",
            r"\[st2_relay\] project_auth is none, but auth_type is v3password\. Remove project_auth,",
        ),
        ("project_auth = service", r"\[st2_relay\] project_auth is service.* Set auth_type"),
        ("auth_type = none\nproject_auth = trust", r"project_auth is trust, but auth_type is not set"),
        (
            f"{ONE_PROJECT}\nproject_auth = service",
            r"project_auth is service.*v3applicationcredential\. Use a user with a password",
        ),
        (f"{ONE_PROJECT}\nproject_auth = trust", r"project_auth is trust.*remove project_auth"),
        (
            "auth_type = admin_token\nendpoint = http://m/v2\ntoken = hush\nproject_auth = trust",
            "admin_token",
        ),
        (f"auth_section = keystone\nproject_auth = none\n[keystone]\n{PASSWORD}", "v3password"),
        (f"{PASSWORD}\nproject_auth = other", r"\[st2_relay\] project_auth"),
    ],
)
def test_contradiction_names_option_and_remedy(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, options)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("option", ["", "project_auth = service"])
def test_stackstorms_credential_is_mistrals_with_auth_type_st2(tmp_path: Path, option: str) -> None:
    settings = load(tmp_path, f"auth_type = st2\n{option}\n[st2]\napi_key = hush")
    assert settings.credential is not None
    assert settings.credential.headers() == {"St2-Api-Key": "hush"}
    assert settings.relay.project_auth == "service"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", r"\[st2_relay\] auth_type is st2, but \[st2\] has no credential: set \[st2\] api_key"),
        (
            "project_auth = trust\n[st2]\napi_key = hush",
            r"project_auth is trust.*only keystone has trusts",
        ),
        ("project_auth = none\n[st2]\napi_key = hush", r"project_auth is none, but auth_type is st2"),
    ],
)
def test_options_that_contradict_auth_type_st2_are_named(
    tmp_path: Path, options: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"auth_type = st2\n{options}")
