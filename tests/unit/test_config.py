from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts, Tls
from st2actions_mistral.errors import ConfigError, St2MistralError

PARENT_ID = "6b03c160746e6986596007f7"


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    made = cfg.ConfigOpts()
    config.register_opts(made)
    made([], default_config_files=[])
    return made


def given(conf: cfg.ConfigOpts, group: str = "st2", **options: Any) -> cfg.ConfigOpts:
    for name, value in options.items():
        conf.set_override(name, value, group=group)
    return conf


def written(folder: Path, text: str) -> str:
    path = folder / "mistral.conf"
    path.write_text(text)
    return str(path)


def test_registering_again_changes_nothing(conf: cfg.ConfigOpts) -> None:
    config.register_opts(conf)
    assert conf.st2.site == "mistral"


def test_without_options_stackstorm_is_on_this_host(conf: cfg.ConfigOpts) -> None:
    assert config.st2_settings(conf) == St2Settings()
    assert config.mistral_settings(conf) == MistralSettings()
    assert config.relay_settings(conf) == config.RelaySettings(
        "mistral",
        30,
        reschedule_after=120,
        lost_after=600,
        cancel_orphans=True,
        workers=16,
        field_size_limit_kb=1024,
    )
    assert config.site(conf) == "mistral"
    assert not config.render_jinja(conf)


def test_a_file_gives_every_setting(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
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
render_jinja = true
[st2_relay]
mistral_url = http://mistral:8989/v2/
resync_interval = 5
reschedule_after = 7
lost_after = 0
cancel_orphans = false
workers = 3
field_size_limit_kb = -1
""",
    )
    conf = config.load([path])
    assert config.st2_settings(conf) == St2Settings(
        "https://st2.example/api/v1",
        Credential(username="mistral", password="hush$1", auth_url="https://st2.example/auth/v1"),
        "https://st2.example/stream",
        Tls("/etc/ca.pem", insecure=True),
        Timeouts(1.5, 2, 0),
    )
    assert config.mistral_settings(conf) == MistralSettings(
        "http://mistral:8989/v2", timeouts=Timeouts(1.5, 2, 0)
    )
    assert config.relay_settings(conf) == config.RelaySettings(
        "east-1",
        5,
        reschedule_after=7,
        lost_after=0,
        cancel_orphans=False,
        workers=3,
        field_size_limit_kb=-1,
    )
    assert config.render_jinja(conf)


@pytest.mark.parametrize(
    ("options", "late"),
    [
        # reschedule_after of 120 less a look-up and a POST, each with its connection.
        ("", 50),
        ("connect_timeout = 1\nread_timeout = 2\n", 114),
        ("read_timeout = 600\n", 0),
        ("[st2_relay]\nreschedule_after = 180\n", 110),
    ],
)
def test_an_action_is_late_once_it_may_meet_the_relay(
    tmp_path: Path, options: str, late: float
) -> None:
    conf = config.load([written(tmp_path, f"[st2]\n{options}")])
    assert config.late_after(conf) == late


def test_no_action_is_late_where_the_relay_adopts_none(tmp_path: Path) -> None:
    conf = config.load([written(tmp_path, "[st2_relay]\nreschedule_after = 0\n")])
    assert config.late_after(conf) == math.inf


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
        ("context_key =", "context_key is empty: give it a secret, or remove the line"),
        ("context_key = hush\ncontext_key =", "context_key is empty"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_and_its_secret_is_not(
    tmp_path: Path, line: str, named: str
) -> None:
    conf = config.load([written(tmp_path, f"[st2]\n{line}\n")])
    with pytest.raises(ConfigError) as caught:
        config.st2_settings(conf)
    assert "[st2]" in str(caught.value)
    assert named in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("workers = many", "invalid literal for int() with base 10: 'many'."),
        ("workers = 0", "Should be greater than or equal to 1."),
        (
            "mistral_url = htp:/me:hush@x",
            "must be a URL that begins with http:// or https://, and names a host.",
        ),
    ],
)
def test_the_file_and_the_reason_are_told_and_nothing_of_oslo(
    tmp_path: Path, line: str, reason: str
) -> None:
    file = written(tmp_path, f"[st2_relay]\n{line}\n")
    option = line.partition(" ")[0]
    conf = config.load([file])
    with pytest.raises(ConfigError) as caught:
        config.relay_settings(conf)
    assert str(caught.value) == f"[st2_relay] {option} in {file}: {reason}"


def test_a_dollar_sign_in_a_secret_is_explained_without_it(tmp_path: Path) -> None:
    conf = config.load([written(tmp_path, "[st2]\npassword = x$hush\n")])
    with pytest.raises(ConfigError) as caught:
        config.st2_settings(conf)
    assert "[st2] password: " in str(caught.value)
    assert "Write $$" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("option", ["password", "username", "auth_url"])
def test_a_dollar_sign_in_an_option_of_keystoneauth_is_explained_without_it(
    tmp_path: Path, option: str
) -> None:
    text = f"[st2_relay]\nauth_type = v3password\n{option} = abc$hush\n"
    conf = config.load([written(tmp_path, text)])
    with pytest.raises(ConfigError, match=rf"\[st2_relay\] {option}") as caught:
        config.mistral_credential(conf)
    assert "Write $$" in str(caught.value)
    assert "hush" not in f"{caught.value}{caught.value.__cause__!r}"


@pytest.mark.parametrize("value", ["", "a b", "a,b", "a:b", "a/b", "é", "x" * 65])
def test_a_site_that_could_not_stand_in_a_filter_is_refused(conf: cfg.ConfigOpts, value: str) -> None:
    with pytest.raises(ConfigError, match=r"\[st2\] site"):
        config.site(given(conf, site=value))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("mistral_url = mistral", "mistral_url"),
        ("workers = 0", "workers"),
        ("resync_interval = 0", "resync_interval"),
        ("field_size_limit_kb = -2", "field_size_limit_kb"),
    ],
)
def test_an_option_of_the_relay_that_cannot_be_used_is_named(
    tmp_path: Path, line: str, named: str
) -> None:
    conf = config.load([written(tmp_path, f"[st2_relay]\n{line}\n")])
    with pytest.raises(ConfigError, match=rf"\[st2_relay\] {named}"):
        (config.mistral_settings if named == "mistral_url" else config.relay_settings)(conf)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1e300"])
@pytest.mark.parametrize(
    ("group", "option"),
    [
        ("st2", "connect_timeout"),
        ("st2", "read_timeout"),
        ("st2", "retry_deadline"),
        ("st2_relay", "resync_interval"),
        ("st2_relay", "reschedule_after"),
        ("st2_relay", "lost_after"),
    ],
)
def test_a_time_that_no_clock_can_wait_for_is_refused(
    tmp_path: Path, group: str, option: str, value: str
) -> None:
    conf = config.load([written(tmp_path, f"[{group}]\n{option} = {value}\n")])
    with pytest.raises(ConfigError, match=rf"\[{group}\] {option}"):
        (config.st2_settings if group == "st2" else config.relay_settings)(conf)


def test_what_is_lost_before_it_is_adopted_is_refused(tmp_path: Path) -> None:
    options = "[st2_relay]\nreschedule_after = {}\nlost_after = {}\n"
    conf = config.load([written(tmp_path, options.format(120, 60.5))])
    with pytest.raises(
        ConfigError, match=r"\[st2_relay\] lost_after \(60.5\).* reschedule_after \(120\)"
    ):
        config.relay_settings(conf)
    for adopt, lost in ((0, 60), (60, 0), (60, 60), (0, 0)):
        conf = config.load([written(tmp_path, options.format(adopt, lost))])
        assert config.relay_settings(conf).lost_after == lost


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.conf"):
        config.load([str(tmp_path / "nothing.conf")])


@pytest.mark.parametrize("text", ["[st2]\napi_key hush\n", "api_key = hush\n[st2\n", "[st2]\n  hush\n"])
def test_a_file_that_cannot_be_read_is_named_with_the_line_but_without_its_text(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError, match=r"mistral\.conf cannot be read, line 2: [A-Z]") as caught:
        config.load([written(tmp_path, text)])
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_two_configurations_do_not_share_what_is_set_in_them() -> None:
    one, other = cfg.ConfigOpts(), cfg.ConfigOpts()
    for made in (one, other):
        config.register_opts(made)
        made([], default_config_files=[])
    given(one, site="one", api_key="hush")
    assert config.site(other) == "mistral"
    assert config.st2_settings(other).credential == Credential()


def test_loading_leaves_the_global_configuration_alone(tmp_path: Path) -> None:
    before = "st2_relay" in cfg.CONF
    loaded = config.load([written(tmp_path, "[st2]\nsite = own\n")])
    assert loaded is not cfg.CONF
    assert ("st2_relay" in cfg.CONF) is before


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ("", []),
        ("context_key = one\n", ["one"]),
        ("context_key = a,b\n", ["a,b"]),
        ("context_key = new\ncontext_key = old\n", ["new", "old"]),
    ],
)
def test_a_key_is_changed_by_repeating_the_option(tmp_path: Path, lines: str, keys: list[str]) -> None:
    conf = config.load([written(tmp_path, f"[st2]\n{lines}")])
    assert config.context_keys(conf) == keys


def test_every_error_here_is_one_of_ours(tmp_path: Path) -> None:
    # oslo.config takes "$group" for a reference, and raises an error of its own.
    conf = config.load([written(tmp_path, "[st2]\napi_key = a$st2\npassword = b$st2_relay\n")])
    with pytest.raises(St2MistralError) as caught:
        config.st2_settings(conf)
    assert "a$" not in str(caught.value)
