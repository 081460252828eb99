from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.bridge import trust
from st2actions_mistral.client.settings import Credential, St2Settings, Tls
from st2actions_mistral.config import BridgeSettings
from st2actions_mistral.errors import ConfigError, InputError
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, sign

PARENT_ID = "6b03c160746e6986596007f7"


def settings(**options: Any) -> BridgeSettings:
    conf = cfg.ConfigOpts()
    config.register_opts(conf)
    conf([], default_config_files=[])
    for name, value in options.items():
        conf.set_override(name, value, group="st2")
    return config.load_bridge_settings(conf)


# -- which StackStorm ----------------------------------------------------------------------------


@pytest.mark.parametrize("api_url", [None, "http://127.0.0.1:9101/v1", "http://127.0.0.1:9101/v1/"])
def test_configured_stackstorm_gets_the_credential(api_url: str | None) -> None:
    st2 = trust.st2_for(settings(api_key="hush"), St2Context(api_url=api_url))
    assert st2.credential.api_key == "hush"


def test_allowed_stackstorm_gets_no_credential() -> None:
    configured = settings(
        username="u",
        password="hush",
        auth_url="http://auth/v1",
        cafile="/ca",
        allowed_api_urls=["https://other/api/v1/"],
    )
    st2 = trust.st2_for(configured, St2Context(api_url="https://other/api/v1"))
    assert st2 == St2Settings("https://other/api/v1", tls=Tls("/ca"))


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
def test_another_spelling_of_a_known_url_is_rejected(configured: str, api_url: str, how: str) -> None:
    if how == "configured":
        known = settings(api_url=configured, api_key="hush")
    else:
        known = settings(allowed_api_urls=[configured], api_url="http://another.example/v1")
    with pytest.raises(InputError, match="allowed_api_urls") as caught:
        trust.st2_for(known, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("slashes", ["", "/", "///"])
def test_trailing_slashes_are_ignored(slashes: str) -> None:
    known = settings(api_url="http://127.0.0.1:9101/v1", allowed_api_urls=["https://other/api/v1"])
    ours = trust.st2_for(known, St2Context(api_url=f"http://127.0.0.1:9101/v1{slashes}"))
    other = trust.st2_for(known, St2Context(api_url=f"https://other/api/v1{slashes}"))
    assert (ours.api_url, other.api_url) == ("http://127.0.0.1:9101/v1", "https://other/api/v1")


def test_another_spelling_that_is_allowed_gets_no_credential() -> None:
    known = settings(api_key="hush", allowed_api_urls=["http://127.1:9101/v1"])
    st2 = trust.st2_for(known, St2Context(api_url="http://127.1:9101/v1"))
    assert st2.credential == Credential()


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
def test_unknown_stackstorm_is_rejected(api_url: str) -> None:
    known = settings(allowed_api_urls=["https://other/api/v1"])
    with pytest.raises(InputError, match="allowed_api_urls") as caught:
        trust.st2_for(known, St2Context(api_url=api_url))
    assert caught.value.name == "st2_context.api_url"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://u:hush/@h", "http://user:123/hush@h/v1"])
def test_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(InputError) as rejected:
        trust.st2_for(settings(), St2Context(api_url=url))
    with pytest.raises(ConfigError, match="allowed_api_urls") as invalid:
        settings(allowed_api_urls=[url])
    assert "hush" not in f"{invalid.value}{rejected.value}"


# -- which parent --------------------------------------------------------------------------------

CHAT = {"source_channel": "ops", "api_user": "ada"}
PARENT = Parent(PARENT_ID, "stanley", **CHAT)
CONTEXT = {"parent": PARENT.as_dict()}
IDS = MistralIds("mistral", "w", "wf", "t", "a")
SIGNED = BridgeSettings(context_keys=("hush",))
UNSIGNED = BridgeSettings()


def parent_of(configured: BridgeSettings, context: Any, **more: Any) -> Parent | None:
    return trust.trusted_parent(configured, St2Context.parse(context), context, IDS, **more)


@pytest.mark.parametrize("configured", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("context", [None, {}, {"parent": None}, {"signature": "x"}])
def test_context_without_a_parent_has_none(configured: BridgeSettings, context: Any) -> None:
    assert parent_of(configured, context) is None


def test_unsigned_parent_loses_its_users_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    unsigned = trust.UnsignedWarning()
    for _ in range(3):
        assert parent_of(UNSIGNED, CONTEXT, unsigned=unsigned) == Parent(PARENT_ID)
    assert caplog.text.count("not signed") == 1


def test_signed_parent_keeps_its_users_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        parent = parent_of(SIGNED, sign(CONTEXT, "hush"), unsigned=trust.UnsignedWarning())
    assert parent == PARENT
    assert caplog.text == ""


@pytest.mark.parametrize("key", ["new", "old"])
def test_a_signature_by_any_key_is_valid(key: str) -> None:
    configured = BridgeSettings(context_keys=("new", "old"))
    assert parent_of(configured, sign(CONTEXT, key)) == PARENT
    with pytest.raises(InputError):
        parent_of(configured, sign(CONTEXT, "older"))


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
def test_parent_without_a_valid_signature_is_rejected(context: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="context_key") as caught:
        parent_of(SIGNED, context)
    assert caught.value.name == "st2_context.signature"
    assert "hush" not in str(caught.value)


def bound(workflow_execution_id: Any) -> dict[str, Any]:
    return {**CONTEXT, "workflow_execution_id": workflow_execution_id}


@pytest.mark.parametrize("for_completion", [False, True])
def test_bound_context_counts_in_its_workflow_execution(for_completion: bool) -> None:
    context = bound("w")
    assert parent_of(UNSIGNED, context, for_completion=for_completion) == Parent(PARENT_ID)
    parent = parent_of(SIGNED, sign(context, "hush"), for_completion=for_completion)
    assert parent == PARENT


@pytest.mark.parametrize("configured", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("other", ["v", "W", "w ", "t", "a"])
def test_bound_context_is_rejected_in_another_workflow_execution(
    configured: BridgeSettings, other: str
) -> None:
    with pytest.raises(InputError, match="another workflow execution") as caught:
        parent_of(configured, sign(bound(other), "hush"))
    assert caught.value.name == "st2_context.workflow_execution_id"


def test_bound_context_is_rejected_in_an_ad_hoc_run() -> None:
    signed = sign(bound("w"), "hush")
    with pytest.raises(InputError, match="another workflow execution"):
        trust.trusted_parent(SIGNED, St2Context.parse(signed), signed, MistralIds("mistral"))


@pytest.mark.parametrize("configured", [UNSIGNED, SIGNED])
def test_context_for_a_project_is_rejected_in_another_one(configured: BridgeSettings) -> None:
    signed = sign({**CONTEXT, "project_id": "p"}, "hush")

    def parent_in(project_id: str | None) -> Parent | None:
        ids = replace(IDS, project_id=project_id)
        return trust.trusted_parent(configured, St2Context.parse(signed), signed, ids)

    # Without authentication, Mistral has the same name for the project of everything.
    for project_id in ("p", "<default-project>", None):
        found = parent_in(project_id)
        assert found is not None
        assert found.execution_id == PARENT_ID
    with pytest.raises(InputError, match="another OpenStack project") as caught:
        parent_in("q")
    assert caught.value.name == "st2_context.project_id"


UNBOUND = [{}, {"workflow_execution_id": None}, {"workflow_execution_id": ""}]


@pytest.mark.parametrize("unbound", UNBOUND)
def test_unbound_context_completes_its_parent_only_without_keys(unbound: dict[str, Any]) -> None:
    context = {**CONTEXT, **unbound}
    assert parent_of(UNSIGNED, context, for_completion=True) == Parent(PARENT_ID)
    signed = sign(context, "hush")
    assert parent_of(SIGNED, signed) == PARENT
    with pytest.raises(InputError, match="may complete its parent"):
        parent_of(SIGNED, signed, for_completion=True)
