from __future__ import annotations

import math
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts, Tls
from st2actions_mistral.errors import ConfigError

ALL_OPTIONS = """
[st2]
api_url = https://st2.example/api/v1/
stream_url = https://st2.example/stream/
auth_url = https://st2.example/auth/v1/
username = mistral
password = hush$$1
cafile = /etc/ca.pem
insecure = true
connect_timeout = 1.5
read_timeout = 2
retry_deadline = 0
site = east-1
allowed_api_urls = https://a.example/v1/,https://b.example/v1
context_key = hush-new
context_key = hush-old
render_jinja = true
result_layout = st2mistral
[st2_relay]
mistral_url = http://mistral:8989/v2/
resync_interval = 5
reschedule_after = 7
lost_after = 0
cancel_orphans = false
workers = 3
field_size_limit_kb = -1
health_port = 9109
"""


def conf_of(folder: Path, text: str) -> cfg.ConfigOpts:
    file = folder / "mistral.conf"
    file.write_text(text)
    return config.read_files([str(file)])


def load(folder: Path, text: str) -> config.Settings:
    return config.load_settings(conf_of(folder, text))


# -- values --------------------------------------------------------------------------------------


def test_defaults_connect_two_systems_on_one_host(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings == config.Settings(
        bridge=config.BridgeSettings(lookup_first_after=50),
        mistral=MistralSettings(),
        relay=config.RelaySettings(
            "mistral",
            30,
            reschedule_after=120,
            lost_after=600,
            cancel_orphans=True,
            workers=16,
            field_size_limit_kb=1024,
        ),
    )
    assert settings.credential is None
    assert settings.st2 == St2Settings()


def test_every_option_is_loaded(tmp_path: Path) -> None:
    settings = load(tmp_path, ALL_OPTIONS)
    st2 = St2Settings(
        "https://st2.example/api/v1",
        Credential(username="mistral", password="hush$1", auth_url="https://st2.example/auth/v1"),
        "https://st2.example/stream",
        Tls("/etc/ca.pem", insecure=True),
        Timeouts(1.5, 2, 0),
    )
    assert settings == config.Settings(
        bridge=config.BridgeSettings(
            st2=st2,
            site="east-1",
            context_keys=("hush-new", "hush-old"),
            allowed_api_urls=("https://a.example/v1", "https://b.example/v1"),
            render_jinja=True,
            result_layout="st2mistral",
            lookup_first_after=0,
        ),
        mistral=MistralSettings("http://mistral:8989/v2", timeouts=Timeouts(1.5, 2, 0)),
        relay=config.RelaySettings(
            "east-1",
            5,
            reschedule_after=7,
            lost_after=0,
            cancel_orphans=False,
            workers=3,
            field_size_limit_kb=-1,
            result_layout="st2mistral",
            health_port=9109,
            context_keys=("hush-new", "hush-old"),
        ),
    )
    assert "hush" not in repr(settings)


def test_settings_carry_the_names_of_their_options(tmp_path: Path) -> None:
    settings = load(tmp_path, "[st2_relay]\nauth_type = v3password\nauth_url = http://k/v3\n")
    assert astuple(settings.st2.credential.names) == (
        "[st2] api_key",
        "[st2] auth_token",
        "[st2] username",
        "[st2] password",
        "[st2] auth_url",
    )
    assert settings.st2.tls.ca_option == "[st2] cafile"
    assert settings.mistral.tls.ca_option == "[st2_relay] cafile"
    assert settings.credential is not None
    assert "[st2_relay]" in settings.credential.hint()


def test_bridge_settings_are_a_part_of_all_settings(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, ALL_OPTIONS)
    assert config.load_bridge_settings(conf) == config.load_settings(conf).bridge


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # reschedule_after of 120 less a look-up and a POST, each with its connection.
        ("", 50),
        ("connect_timeout = 1\nread_timeout = 2\n", 114),
        ("read_timeout = 600\n", 0),
        ("[st2_relay]\nreschedule_after = 180\n", 110),
        ("[st2_relay]\nreschedule_after = 0\n", math.inf),
    ],
)
def test_lookup_comes_first_once_the_relay_may_reschedule(
    tmp_path: Path, options: str, expected: float
) -> None:
    conf = conf_of(tmp_path, f"[st2]\n{options}")
    assert config.load_bridge_settings(conf).lookup_first_after == expected


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ("", ()),
        ("context_key = one\n", ("one",)),
        ("context_key = a,b\n", ("a,b",)),
        ("context_key = new\ncontext_key = old\n", ("new", "old")),
    ],
)
def test_context_key_may_be_repeated(tmp_path: Path, lines: str, keys: tuple[str, ...]) -> None:
    assert load(tmp_path, f"[st2]\n{lines}").bridge.context_keys == keys


# -- read once -----------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the reads of each group of oslo.config."""
    counted: Counter[str] = Counter()
    read = cfg.ConfigOpts.__getitem__

    def count(conf: cfg.ConfigOpts, name: str) -> Any:
        counted[name] += 1
        return read(conf, name)

    monkeypatch.setattr(cfg.ConfigOpts, "__getitem__", count)
    return counted


def test_bridge_settings_read_each_group_once(tmp_path: Path, reads: Counter[str]) -> None:
    config.load_bridge_settings(conf_of(tmp_path, ALL_OPTIONS))
    assert reads == {"st2": 1, "st2_relay": 1}


def test_load_settings_sees_a_changed_configuration(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, "[st2]\nsite = one\n")
    assert config.load_settings(conf).bridge.site == "one"
    conf.set_override("site", "two", group="st2")
    assert config.load_settings(conf).bridge.site == "two"
    (tmp_path / "mistral.conf").write_text("[st2]\nsite = three\n")
    conf.clear_override("site", group="st2")
    conf.reload_config_files()
    assert config.load_settings(conf).bridge.site == "three"


# -- invalid values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("api_url = st2.example/v1", "api_url"),
        ("api_url =", "api_url"),
        ("api_url = http://mistral:hush@st2/v1", "api_url"),
        ("api_url = mistral:hush@st2/v1", "api_url"),
        ("api_url = http://st2/v1?key=hush", "api_url"),
        ("stream_url = ftp://st2/v1", "stream_url"),
        ("auth_url = http://u:hush@st2/v1", "auth_url"),
        ("connect_timeout = soon", "connect_timeout"),
        ("connect_timeout = 0", "connect_timeout"),
        ("read_timeout = -1", "read_timeout"),
        ("retry_deadline = -1", "retry_deadline"),
        ("insecure = perhaps", "insecure"),
        ("username = mistral", "password"),
        ("password = hush", "username"),
        ("username = mistral\npassword = hush", "auth_url"),
        ("api_key = hush\nauth_token = hush", "auth_token"),
        ("api_key = hush hush", "api_key"),
        ("allowed_api_urls = http://u:hush@st2/v1", "allowed_api_urls"),
        ("context_key =", "context_key is empty: give it a secret, or remove the line"),
        ("context_key = hush\ncontext_key =", "context_key is empty"),
    ],
)
def test_error_names_an_invalid_st2_option_but_no_secret(tmp_path: Path, line: str, named: str) -> None:
    conf = conf_of(tmp_path, f"[st2]\n{line}\n")
    for load_from in (config.load_bridge_settings, config.load_settings):
        with pytest.raises(ConfigError) as caught:
            load_from(conf)
        assert "[st2]" in str(caught.value)
        assert named in str(caught.value)
        assert "hush" not in str(caught.value)
        assert "hush" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("mistral_url = mistral", "mistral_url"),
        ("workers = 0", "workers"),
        ("resync_interval = 0", "resync_interval"),
        ("field_size_limit_kb = -2", "field_size_limit_kb"),
        ("auth_type = nonsense", "auth_type"),
    ],
)
def test_error_names_an_invalid_relay_option(tmp_path: Path, line: str, named: str) -> None:
    conf = conf_of(tmp_path, f"[st2_relay]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"\[st2_relay\] {named}"):
        config.load_settings(conf)
    # Not an option of the actions.
    config.load_bridge_settings(conf)


@pytest.mark.parametrize("option", ["password", "username", "auth_url"])
def test_error_explains_a_dollar_sign_in_a_keystone_option(tmp_path: Path, option: str) -> None:
    text = f"[st2_relay]\nauth_type = v3password\n{option} = abc$hush\n"
    with pytest.raises(ConfigError, match=rf"\[st2_relay\] {option}") as caught:
        load(tmp_path, text)
    assert "Write $$" in str(caught.value)
    assert "hush" not in f"{caught.value}{caught.value.__cause__!r}"


@pytest.mark.parametrize("value", ["", "a b", "a,b", "a:b", "a/b", "é", "x" * 65])
def test_a_site_that_breaks_a_filter_is_rejected(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"\[st2\] site"):
        load(tmp_path, f"[st2]\nsite = {value}\n")


def test_lost_after_must_not_be_less_than_reschedule_after(tmp_path: Path) -> None:
    options = "[st2_relay]\nreschedule_after = {}\nlost_after = {}\n"
    expected = r"\[st2_relay\] lost_after \(60.5\).* reschedule_after \(120\)"
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, options.format(120, 60.5))
    for reschedule, lost in ((0, 60), (60, 0), (60, 60), (0, 0)):
        assert load(tmp_path, options.format(reschedule, lost)).relay.lost_after == lost


# -- files ---------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.conf"):
        config.read_files([str(tmp_path / "nothing.conf")])


@pytest.mark.parametrize("text", ["[st2]\napi_key hush\n", "api_key = hush\n[st2\n", "[st2]\n  hush\n"])
def test_a_malformed_file_is_named_with_the_line_but_not_its_text(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"mistral\.conf cannot be read, line 2: [A-Z]") as caught:
        conf_of(tmp_path, text)
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_read_files_leaves_the_global_configuration_alone(tmp_path: Path) -> None:
    before = "st2_relay" in cfg.CONF
    assert conf_of(tmp_path, "[st2]\nsite = own\n") is not cfg.CONF
    assert ("st2_relay" in cfg.CONF) is before
