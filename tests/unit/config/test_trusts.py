from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.config.trusts import TrustSettings, load_trust_settings
from st2actions_mistral.errors import ConfigError

TIMEOUTS = Timeouts(1, 2, 3)
URL = "auth_url = https://keystone.example/v3"
PASSWORD = f"auth_type = v3password\n{URL}\nusername = relay\npassword = hush\nuser_domain_id = default"


def conf_of(folder: Path, options: str) -> cfg.ConfigOpts:
    file = folder / "mistral.conf"
    file.write_text(f"[st2_relay]\n{options}\n")
    return config.read_files([str(file)])


def load(folder: Path, options: str) -> TrustSettings:
    return load_trust_settings(conf_of(folder, options), TIMEOUTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", False),
        ("project_auth = none", False),
        ("project_auth = service", False),
        ("project_auth = trust", True),
    ],
)
def test_actions_make_trusts_only_where_it_is_configured(
    tmp_path: Path, options: str, expected: bool
) -> None:
    assert config.load_bridge_settings(conf_of(tmp_path, options)).makes_trusts is expected


def test_executors_need_no_password(tmp_path: Path) -> None:
    options = (
        f"project_auth = trust\n{URL}/\nuser_id = relay-id\ncafile = /ca.pem\ntrust_lifetime = 30000"
    )
    tls = Tls("/ca.pem")
    expected = TrustSettings("https://keystone.example/v3", "relay-id", 30000, tls, TIMEOUTS)
    found = load(tmp_path, options)
    assert found == expected
    assert hash(found) == hash(expected)
    assert found.tls.ca_option == "[st2_relay] cafile"
    assert found.credential() is None


@pytest.mark.parametrize(
    "options",
    [
        f"project_auth = trust\n{PASSWORD}",
        f"project_auth = trust\nauth_section = other\n[other]\n{PASSWORD}",
    ],
)
def test_trustee_is_by_default_the_relays_user(tmp_path: Path, options: str) -> None:
    found = load(tmp_path, options)
    assert found.keystone_url == "https://keystone.example/v3"
    assert found.trustee_id is None
    assert found.lifetime == 90 * 24 * 3600
    assert found.credential() is not None
    assert "hush" not in repr(found)


def test_url_of_keystone_gets_its_version(tmp_path: Path) -> None:
    found = load(tmp_path, "project_auth = trust\nuser_id = x\nauth_url = http://host/identity/")
    assert found.keystone_url == "http://host/identity/v3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("user_id = x", "auth_url is not set"),
        (URL, "user_id is not set"),
        ("auth_type = none\nuser_id = x", "auth_url is not set"),
        (f"auth_type = unheard-of\n{URL}", "auth_type and its options"),
        ("user_id = x\nauth_url = ftp://keystone", "auth_url"),
        ("user_id = x\nauth_url = http://hush:hush@keystone", "must not contain an @"),
        (f"user_id = x\n{URL}\ntrust_lifetime = 60", "trust_lifetime"),
        (f"user_id = $hush$unknown\n{URL}", "user_id: refers to an unknown option"),
    ],
)
def test_invalid_options_are_named(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, f"project_auth = trust\n{options}")
    assert "[st2_relay]" in str(caught.value)
    assert "hush" not in str(caught.value)
