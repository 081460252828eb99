from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.bridge import trust
from st2actions_mistral.client.settings import Credential, St2Settings, Tls
from st2actions_mistral.errors import ConfigError, InputError
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


# -- which StackStorm ----------------------------------------------------------------------------


@pytest.mark.parametrize("api_url", [None, "http://127.0.0.1:9101/v1", "http://127.0.0.1:9101/v1/"])
def test_the_configured_stackstorm_gets_the_configured_credential(
    conf: cfg.ConfigOpts, api_url: str | None
) -> None:
    given(conf, api_key="hush")
    settings = trust.for_context(conf, St2Context(api_url=api_url))
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
    settings = trust.for_context(conf, St2Context(api_url="https://other/api/v1"))
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
        trust.for_context(conf, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("slashes", ["", "/", "///"])
def test_slashes_at_the_end_change_nothing_and_what_is_configured_is_what_is_used(
    conf: cfg.ConfigOpts, slashes: str
) -> None:
    given(conf, api_url="http://127.0.0.1:9101/v1", allowed_api_urls=["https://other/api/v1"])
    ours = trust.for_context(conf, St2Context(api_url=f"http://127.0.0.1:9101/v1{slashes}"))
    other = trust.for_context(conf, St2Context(api_url=f"https://other/api/v1{slashes}"))
    assert (ours.api_url, other.api_url) == ("http://127.0.0.1:9101/v1", "https://other/api/v1")


def test_a_look_alike_that_is_allowed_gets_no_credential(conf: cfg.ConfigOpts) -> None:
    given(conf, api_key="hush", allowed_api_urls=["http://127.1:9101/v1"])
    settings = trust.for_context(conf, St2Context(api_url="http://127.1:9101/v1"))
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
        trust.for_context(conf, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://u:hush/@h", "http://user:123/hush@h/v1"])
def test_a_password_in_an_allowed_url_is_not_shown(conf: cfg.ConfigOpts, url: str) -> None:
    with pytest.raises(InputError) as refused:
        trust.for_context(conf, St2Context(api_url=url))
    given(conf, allowed_api_urls=[url])
    with pytest.raises(ConfigError, match="allowed_api_urls") as caught:
        trust.for_context(conf, St2Context(api_url="http://x/v1"))
    assert "hush" not in f"{caught.value}{refused.value}"


def test_a_malformed_allowed_url_is_named(conf: cfg.ConfigOpts) -> None:
    given(conf, allowed_api_urls=["other"])
    with pytest.raises(ConfigError, match="allowed_api_urls"):
        trust.for_context(conf, St2Context(api_url="http://x/v1"))


# -- which parent --------------------------------------------------------------------------------

CONTEXT = {"parent": {"execution_id": PARENT_ID, "user": "stanley"}}


IDS = MistralIds("mistral", "w", "wf", "t", "a")


def believed(conf: cfg.ConfigOpts, context: Any, **how: Any) -> Parent | None:
    return trust.believed_parent(conf, St2Context.parse(context), context, IDS, **how)


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


@pytest.mark.parametrize("for_completion", [False, True])
def test_a_context_counts_in_the_workflow_execution_that_it_names(
    conf: cfg.ConfigOpts, for_completion: bool
) -> None:
    assert believed(conf, bound("w"), for_completion=for_completion) == Parent(PARENT_ID)
    given(conf, context_key=["hush"])
    signed = sign(bound("w"), "hush")
    assert believed(conf, signed, for_completion=for_completion) == Parent(PARENT_ID, "stanley")


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
        trust.believed_parent(
            given(conf, context_key=["hush"]), St2Context.parse(signed), signed, MistralIds("mistral")
        )


def test_with_a_key_only_a_context_of_this_workflow_execution_ends_a_parent(
    conf: cfg.ConfigOpts,
) -> None:
    assert believed(conf, CONTEXT, for_completion=True) == Parent(PARENT_ID)
    given(conf, context_key=["hush"])
    for nothing in ({}, {"workflow_execution_id": None}, {"workflow_execution_id": ""}):
        signed = sign({**CONTEXT, **nothing}, "hush")
        assert believed(conf, signed) == Parent(PARENT_ID, "stanley")
        with pytest.raises(InputError, match="may end its parent"):
            believed(conf, signed, for_completion=True)
