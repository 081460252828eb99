from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from st2actions_mistral.client.auth import Anonymous, KeystoneCredential
from st2actions_mistral.client.settings import MistralSettings, Timeouts, Tls
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.runner import options

Read = Callable[[str], cfg.ConfigOpts]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def conf(text: str) -> cfg.ConfigOpts:
        path = tmp_path / "st2.conf"
        path.write_text(text)
        made = cfg.ConfigOpts()
        made([], default_config_files=[str(path)])
        options.register_opts(made)
        options.register_opts(made)
        return made

    return conf


def no_token() -> str:
    raise AssertionError("no token is needed")


def test_defaults_connect_two_systems_on_one_host(read: Read) -> None:
    settings = options.runner_settings(read(""))
    assert settings == options.RunnerSettings(
        MistralSettings("http://127.0.0.1:8989/v2", Tls(), Timeouts()), site="mistral"
    )


def test_every_option_is_loaded(read: Read) -> None:
    settings = options.runner_settings(
        read(
            "[mistral]\nv2_base_url = https://m.example/v2/\napi_url = https://st2.example/api/v1\n"
            "cafile = /ca.pem\ninsecure = true\nconnect_timeout = 1\nread_timeout = 2\n"
            "retry_deadline = 3\nsite = east\ncontext_key = canary-1\ncontext_key = canary-2\n"
            "result_layout = st2mistral\nexpression_functions = ours, theirs\n"
        )
    )
    assert settings == options.RunnerSettings(
        MistralSettings("https://m.example/v2", Tls("/ca.pem", True), Timeouts(1, 2, 3)),
        site="east",
        api_url="https://st2.example/api/v1",
        context_key="canary-1",
        result_layout="st2mistral",
        expression_functions=("ours", "theirs"),
    )
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("v2_base_url = http://u:canary@m/v2", r"\[mistral\] v2_base_url"),
        ("api_url = nonsense", r"\[mistral\] api_url"),
        ("context_key =", r"\[mistral\] context_key is empty: give it a secret, or remove the line"),
        ("context_key = canary\ncontext_key =", r"\[mistral\] context_key is empty"),
        ("site = a b", r"\[mistral\] site"),
        ("result_layout = mine", r"\[mistral\] result_layout"),
        ("read_timeout = soon", r"\[mistral\] read_timeout"),
    ],
)
def test_error_names_an_invalid_option(read: Read, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        options.runner_settings(read(f"[mistral]\n{line}\n"))
    assert "canary" not in str(caught.value)


def test_credential_is_anonymous_without_keystone(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(options.credential(read(""), MistralSettings(), no_token), Anonymous)
    for name in [name for name in sys.modules if name.partition(".")[0] == "keystoneauth1"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    conf = read("[mistral]\nauth_type = v3password\n")
    anonymous = options.credential(conf, MistralSettings(), no_token)
    assert isinstance(anonymous, Anonymous)
    assert "keystoneauth1" in anonymous.hint()


def test_credential_uses_keystone(read: Read) -> None:
    credential = options.credential(
        read(
            "[mistral]\nauth_type = v3password\nauth_url = http://127.0.0.1:1/v3\nusername = u\n"
            "password = canary\nuser_domain_name = d\nproject_name = p\nproject_domain_name = d\n"
        ),
        MistralSettings(),
        no_token,
    )
    assert isinstance(credential, KeystoneCredential)
    assert "canary" not in repr(credential)
    # Not [st2_relay], which is the group of the relay in mistral.conf.
    assert "[mistral]" in credential.hint()
    with pytest.raises(ConfigError, match=r"\[mistral\] auth_type"):
        options.credential(read("[mistral]\nauth_type = nonsense\n"), MistralSettings(), no_token)


def test_credential_is_a_token_of_the_execution(read: Read) -> None:
    conf = read("[mistral]\nauth_type = st2\n")
    credential = options.credential(conf, MistralSettings(), lambda: "canary")
    assert credential.headers() == {"X-Auth-Token": "canary"}
    assert "canary" not in repr(credential)


def test_token_of_the_execution_needs_no_keystoneauth(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "keystoneauth1"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    conf = read("[mistral]\nauth_type = st2\n")
    for _ in range(2):
        credential = options.credential(conf, MistralSettings(), lambda: "t")
        assert credential.headers() == {"X-Auth-Token": "t"}
