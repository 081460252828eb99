from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.client.settings import Credential, MistralSettings, Patience, St2Settings, Tls
from st2actions_mistral.config import trust
from st2actions_mistral.errors import ConfigError, InputError, St2MistralError
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, sign

PARENT_ID = "6b03c160746e6986596007f7"


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    made = cfg.ConfigOpts()
    config.register_opts(made)
    made([], default_config_files=[])
    return made


@pytest.fixture(autouse=True)
def _say_it_again() -> Iterator[None]:
    trust._say_unsigned.cache_clear()
    yield
    trust._say_unsigned.cache_clear()


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
        adopt_after=120,
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
reconcile_interval = 5
adopt_after = 7
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
        Patience(1.5, 2, 0),
    )
    assert config.mistral_settings(conf) == MistralSettings(
        "http://mistral:8989/v2", patience=Patience(1.5, 2, 0)
    )
    assert config.relay_settings(conf) == config.RelaySettings(
        "east-1",
        5,
        adopt_after=7,
        lost_after=0,
        cancel_orphans=False,
        workers=3,
        field_size_limit_kb=-1,
    )
    assert config.render_jinja(conf)


@pytest.mark.parametrize(
    ("options", "late"),
    [
        # adopt_after of 120 less a look-up and a POST, each with its connection.
        ("", 50),
        ("connect_timeout = 1\nread_timeout = 2\n", 114),
        ("read_timeout = 600\n", 0),
        ("[st2_relay]\nadopt_after = 180\n", 110),
    ],
)
def test_an_action_is_late_once_it_may_meet_the_relay(
    tmp_path: Path, options: str, late: float
) -> None:
    conf = config.load([written(tmp_path, f"[st2]\n{options}")])
    assert config.late_after(conf) == late


def test_no_action_is_late_where_the_relay_adopts_none(tmp_path: Path) -> None:
    conf = config.load([written(tmp_path, "[st2_relay]\nadopt_after = 0\n")])
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
        ("reconcile_interval = 0", "reconcile_interval"),
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
        ("st2_relay", "reconcile_interval"),
        ("st2_relay", "adopt_after"),
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
    options = "[st2_relay]\nadopt_after = {}\nlost_after = {}\n"
    conf = config.load([written(tmp_path, options.format(120, 60.5))])
    with pytest.raises(ConfigError, match=r"\[st2_relay\] lost_after \(60.5\).* adopt_after \(120\)"):
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


# -- which StackStorm ----------------------------------------------------------------------------


@pytest.mark.parametrize("api_url", [None, "http://127.0.0.1:9101/v1", "http://127.0.0.1:9101/v1/"])
def test_the_configured_stackstorm_gets_the_configured_credential(
    conf: cfg.ConfigOpts, api_url: str | None
) -> None:
    given(conf, api_key="hush")
    settings = config.for_context(conf, St2Context(api_url=api_url))
    assert settings.credential.api_key == "hush"


def test_another_allowed_stackstorm_gets_no_credential(conf: cfg.ConfigOpts) -> None:
    given(
        conf,
        username="u",
        password="hush",
        auth_url="http://auth/v1",
        cafile="/ca",
        allowed_api_urls=["https://other/api/v1/"],
    )
    settings = config.for_context(conf, St2Context(api_url="https://other/api/v1"))
    assert settings == St2Settings("https://other/api/v1", tls=Tls("/ca"))


LOOK_ALIKES = [
    # user information
    "http://127.0.0.1:9101@evil/v1",
    "http://st2.example:9101@evil/v1",
    "http://st2.example:9101%40evil/v1",
    "http://user@st2.example:9101/v1",
    "http://:hush@st2.example:9101/v1",
    "http://evil\\@st2.example:9101/v1",
    "http://evil#@st2.example:9101/v1",
    # host
    "http://st2.example.:9101/v1",
    "http://ST2.example:9101/v1",
    "HTTP://st2.example:9101/v1",
    "http://st2.example.evil:9101/v1",
    "http://xst2.example:9101/v1",
    "http://%73t2.example:9101/v1",
    "http://ѕt2.example:9101/v1",
    "http://st2。example:9101/v1",
    "http://st2．example:9101/v1",
    "http://ﬆ2.example:9101/v1",
    "http://st2.exa\u00admple:9101/v1",
    "http://st2.exam\u200bple:9101/v1",
    # port
    "http://st2.example/v1",
    "http://st2.example:9102/v1",
    "http://st2.example:09101/v1",
    "http://st2.example:٩١٠١/v1",
    "https://st2.example:9101/v1",
    # path, query, fragment
    "http://st2.example:9101/v1/.",
    "http://st2.example:9101/v1/../v1",
    "http://st2.example:9101/./v1",
    "http://st2.example:9101//v1",
    "http://st2.example:9101/%761",
    "http://st2.example:9101/V1",
    "http://st2.example:9101/v1;x",
    "http://st2.example:9101/v1/x/..",
    "http://st2.example:9101/v1?x=1",
    "http://st2.example:9101/v1?",
    "http://st2.example:9101/v1#",
    "http://st2.example:9101/v1/#/",
    "http://st2.example:9101\\v1",
    # blanks and line ends
    " http://st2.example:9101/v1",
    "http://st2.example:9101/v1 ",
    "http://st2.example:9101/v1\n",
    "http://st2.example:9101/v1\r\nX-Evil: 1",
    "http://st2.example:91\t01/v1",
    "http:///st2.example:9101/v1",
    "//st2.example:9101/v1",
    "st2.example:9101/v1",
]

ADDRESSES = [
    "http://2130706433:9101/v1",
    "http://0x7f000001:9101/v1",
    "http://0x7f.0.0.1:9101/v1",
    "http://0177.0.0.1:9101/v1",
    "http://127.1:9101/v1",
    "http://127.000.000.001:9101/v1",
    "http://127.0.0.1.:9101/v1",
    "http://127.0.0.2:9101/v1",
    "http://[::1]:9101/v1",
    "http://[::ffff:127.0.0.1]:9101/v1",
    "http://[::ffff:7f00:1]:9101/v1",
    "http://[0:0:0:0:0:0:0:1]:9101/v1",
    "http://[::]:9101/v1",
    "http://0.0.0.0:9101/v1",
    "http://0:9101/v1",
    "http://localhost:9101/v1",
    "http://１２７.0.0.1:9101/v1",
    "http://①②⑦.0.0.1:9101/v1",
]


@pytest.mark.parametrize(
    ("configured", "api_url"),
    [("http://st2.example:9101/v1", url) for url in LOOK_ALIKES]
    + [("http://127.0.0.1:9101/v1", url) for url in ADDRESSES]
    + [("http://[::1]:9101/v1", "http://[0:0:0:0:0:0:0:1]:9101/v1")],
)
@pytest.mark.parametrize("how", ["configured", "allowed"])
def test_what_only_looks_like_a_stackstorm_of_ours_is_refused(
    conf: cfg.ConfigOpts, configured: str, api_url: str, how: str
) -> None:
    if how == "configured":
        given(conf, api_url=configured, api_key="hush")
    else:
        given(conf, allowed_api_urls=[configured], api_url="http://another.example/v1")
    with pytest.raises(InputError, match="allowed_api_urls") as caught:
        config.for_context(conf, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("slashes", ["", "/", "///"])
def test_slashes_at_the_end_change_nothing_and_what_is_configured_is_what_is_used(
    conf: cfg.ConfigOpts, slashes: str
) -> None:
    given(conf, api_url="http://127.0.0.1:9101/v1", allowed_api_urls=["https://other/api/v1"])
    ours = config.for_context(conf, St2Context(api_url=f"http://127.0.0.1:9101/v1{slashes}"))
    other = config.for_context(conf, St2Context(api_url=f"https://other/api/v1{slashes}"))
    assert (ours.api_url, other.api_url) == ("http://127.0.0.1:9101/v1", "https://other/api/v1")


def test_a_look_alike_that_is_allowed_gets_no_credential(conf: cfg.ConfigOpts) -> None:
    given(conf, api_key="hush", allowed_api_urls=["http://127.1:9101/v1"])
    settings = config.for_context(conf, St2Context(api_url="http://127.1:9101/v1"))
    assert settings.credential == Credential()


@pytest.mark.parametrize(
    "api_url",
    [
        "http://127.0.0.1:9101",
        "http://127.0.0.1:9101/v1/x",
        "http://127.0.0.1:9101/v1@evil/",
        "http://127.0.0.1:9101/v1?x",
        "http://LOCALHOST:9101/v1",
        "https://127.0.0.1:9101/v1",
        "http://user:hush@127.0.0.1:9101/v1",
        "file:///etc/passwd",
        "hush",
    ],
)
def test_any_other_stackstorm_is_refused(conf: cfg.ConfigOpts, api_url: str) -> None:
    given(conf, allowed_api_urls=["https://other/api/v1"])
    with pytest.raises(InputError, match="allowed_api_urls") as caught:
        config.for_context(conf, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://u:hush/@h", "http://user:123/hush@h/v1"])
def test_a_password_in_an_allowed_url_is_not_shown(conf: cfg.ConfigOpts, url: str) -> None:
    with pytest.raises(InputError) as refused:
        config.for_context(conf, St2Context(api_url=url))
    given(conf, allowed_api_urls=[url])
    with pytest.raises(ConfigError, match="allowed_api_urls") as caught:
        config.for_context(conf, St2Context(api_url="http://x/v1"))
    assert "hush" not in f"{caught.value}{refused.value}"


def test_a_malformed_allowed_url_is_named(conf: cfg.ConfigOpts) -> None:
    given(conf, allowed_api_urls=["other"])
    with pytest.raises(ConfigError, match="allowed_api_urls"):
        config.for_context(conf, St2Context(api_url="http://x/v1"))


# -- which parent --------------------------------------------------------------------------------

CONTEXT = {"parent": {"execution_id": PARENT_ID, "user": "stanley"}}


IDS = MistralIds("mistral", "w", "wf", "t", "a")


def believed(conf: cfg.ConfigOpts, context: Any, **how: Any) -> Parent | None:
    return config.believed_parent(conf, St2Context.parse(context), context, IDS, **how)


@pytest.mark.parametrize("key", [[], ["key"]])
@pytest.mark.parametrize("context", [None, {}, {"parent": None}, {"signature": "x"}])
def test_without_a_parent_there_is_nothing_to_believe(
    conf: cfg.ConfigOpts, context: Any, key: list[str]
) -> None:
    assert believed(given(conf, context_key=key), context) is None


def test_an_unsigned_parent_loses_its_user_and_the_log_says_so_once(
    conf: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert believed(conf, CONTEXT) == Parent(PARENT_ID)
    assert caplog.text.count("not signed") == 1


def test_a_signed_parent_keeps_its_user_and_the_log_is_silent(
    conf: cfg.ConfigOpts, caplog: pytest.LogCaptureFixture
) -> None:
    given(conf, context_key=["hush"])
    with caplog.at_level(logging.DEBUG):
        assert believed(conf, sign(CONTEXT, "hush")) == Parent(PARENT_ID, "stanley")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "context",
    [
        CONTEXT,
        sign(CONTEXT, "other"),
        {**sign(CONTEXT, "hush"), "parent": {"execution_id": PARENT_ID, "user": "root"}},
        {**sign(CONTEXT, "hush"), "api_url": "http://127.0.0.1:9101/v1"},
        {**sign(CONTEXT, "hush"), "workflow_execution_id": "w"},
        {**CONTEXT, "signature": "\ud800"},
        sign(CONTEXT, ""),
    ],
)
def test_with_a_key_a_parent_without_its_signature_is_refused(
    conf: cfg.ConfigOpts, context: dict[str, Any]
) -> None:
    given(conf, context_key=["hush"])
    with pytest.raises(InputError, match="context_key") as caught:
        believed(conf, context)
    assert caught.value.name == "st2_context.signature"
    assert "hush" not in str(caught.value)


def bound(workflow_execution_id: Any) -> dict[str, Any]:
    return {**CONTEXT, "workflow_execution_id": workflow_execution_id}


@pytest.mark.parametrize("to_end_it", [False, True])
def test_a_context_counts_in_the_workflow_execution_that_it_names(
    conf: cfg.ConfigOpts, to_end_it: bool
) -> None:
    assert believed(conf, bound("w"), to_end_it=to_end_it) == Parent(PARENT_ID)
    given(conf, context_key=["hush"])
    signed = sign(bound("w"), "hush")
    assert believed(conf, signed, to_end_it=to_end_it) == Parent(PARENT_ID, "stanley")


@pytest.mark.parametrize("keys", [[], ["hush"]])
@pytest.mark.parametrize("other", ["v", "W", "w ", "t", "a"])
def test_a_context_counts_in_no_other_workflow_execution(
    conf: cfg.ConfigOpts, keys: list[str], other: str
) -> None:
    given(conf, context_key=keys)
    with pytest.raises(InputError, match="another workflow execution") as caught:
        believed(conf, sign(bound(other), "hush"))
    assert caught.value.name == "st2_context.workflow_execution_id"


def test_an_ad_hoc_run_is_no_workflow_execution(conf: cfg.ConfigOpts) -> None:
    signed = sign(bound("w"), "hush")
    with pytest.raises(InputError, match="another workflow execution"):
        config.believed_parent(
            given(conf, context_key=["hush"]), St2Context.parse(signed), signed, MistralIds("mistral")
        )


def test_with_a_key_only_a_context_of_this_workflow_execution_ends_a_parent(
    conf: cfg.ConfigOpts,
) -> None:
    assert believed(conf, CONTEXT, to_end_it=True) == Parent(PARENT_ID)
    given(conf, context_key=["hush"])
    for nothing in ({}, {"workflow_execution_id": None}, {"workflow_execution_id": ""}):
        signed = sign({**CONTEXT, **nothing}, "hush")
        assert believed(conf, signed) == Parent(PARENT_ID, "stanley")
        with pytest.raises(InputError, match="may end its parent"):
            believed(conf, signed, to_end_it=True)


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
    for key in keys:
        assert believed(conf, sign(CONTEXT, key)) == Parent(PARENT_ID, "stanley")
    if keys:
        with pytest.raises(InputError):
            believed(conf, sign(CONTEXT, "older"))


def test_every_error_here_is_one_of_ours(tmp_path: Path) -> None:
    # oslo.config takes "$group" for a reference, and raises an error of its own.
    conf = config.load([written(tmp_path, "[st2]\napi_key = a$st2\npassword = b$st2_relay\n")])
    with pytest.raises(St2MistralError) as caught:
        config.st2_settings(conf)
    assert "a$" not in str(caught.value)
