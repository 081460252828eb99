from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.client.settings import (
    Credential,
    CredentialNames,
    St2Settings,
    Timeouts,
    Tls,
    checked_url,
)
from st2actions_mistral.errors import ConfigError

AUTH = "https://st2.example/auth/v1"
NAMES = CredentialNames("[x] api_key", "[x] auth_token", "[x] username", "[x] password", "[x] auth_url")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"api_key": "k"},
        {"auth_token": "t"},
        {"username": "u", "password": "p", "auth_url": AUTH},
        {"api_key": "k", "auth_url": AUTH},
        {"api_key": "k", "auth_token": "", "username": "", "password": ""},
    ],
)
def test_credential_accepts_one_kind_or_none(given: dict[str, Any]) -> None:
    assert Credential(**given) == Credential(**given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"api_key": "k", "auth_token": "t"}, ["api_key", "auth_token"]),
        ({"api_key": "k", "username": "u", "password": "p", "auth_url": AUTH}, ["api_key", "username"]),
        ({"auth_token": "t", "username": "u", "password": "p"}, ["auth_token", "username"]),
        ({"username": "u", "auth_url": AUTH}, ["username", "password"]),
        ({"password": "hush", "auth_url": AUTH}, ["username", "password"]),
        ({"username": "u", "password": "hush"}, ["auth_url"]),
        ({"api_key": "hush\n"}, ["api_key"]),
        ({"api_key": " hush"}, ["api_key"]),
        ({"api_key": "hush\r\nX-Evil: 1"}, ["api_key"]),
        ({"auth_token": "hüsh"}, ["auth_token"]),
    ],
)
def test_credential_rejects_contradictions_by_name(given: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Credential(**given, names=NAMES)
    assert all(f"[x] {name}" in str(caught.value) for name in named)
    assert "hush" not in str(caught.value)


def test_credential_without_names_describes_its_fields() -> None:
    with pytest.raises(ConfigError) as caught:
        Credential(username="u")
    assert str(caught.value).startswith("the user and the password")


def test_repr_shows_no_secret() -> None:
    for credential in (
        Credential(api_key="hush"),
        Credential(auth_token="hush"),
        Credential(username="u", password="hush", auth_url=AUTH),
    ):
        shown = repr(St2Settings(credential=credential)) + str(credential)
        assert "hush" not in shown


def test_settings_are_hashable_and_equal_by_value() -> None:
    one = St2Settings(
        "http://a/v1", Credential(api_key="k"), tls=Tls("/ca"), timeouts=Timeouts(1, 2, 3)
    )
    other = St2Settings(
        "http://a/v1", Credential(api_key="k"), tls=Tls("/ca"), timeouts=Timeouts(1, 2, 3)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != St2Settings("http://a/v1", Credential(api_key="other"))


@pytest.mark.parametrize(
    ("api_url", "stream_url"),
    [
        ("http://127.0.0.1:9101/v1", "http://127.0.0.1:9102/v1/stream"),
        ("http://[::1]:9101/v1", "http://[::1]:9102/v1/stream"),
        ("https://st2.example/api/v1", "https://st2.example/stream/v1/stream"),
        ("https://st2.example:8443/st2/api/v1", "https://st2.example:8443/st2/stream/v1/stream"),
        ("https://st2.example/v1", "https://st2.example/v1/stream"),
    ],
)
def test_stream_url_is_derived_from_the_api_url(api_url: str, stream_url: str) -> None:
    assert St2Settings(api_url).stream() == stream_url


def test_given_stream_url_counts() -> None:
    assert St2Settings("https://a/api/v1", stream_url="https://b/s").stream() == "https://b/s"


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ("http://127.0.0.1:9101/v1", "http://127.0.0.1:9101/v1"),
        ("https://st2.example/api/v1//", "https://st2.example/api/v1"),
        ("http://[::1]:9101/v1/", "http://[::1]:9101/v1"),
        ("http://host", "http://host"),
        ("http://host/a%40b", "http://host/a%40b"),
    ],
)
def test_checked_url_drops_a_trailing_slash(given: str, checked: str) -> None:
    assert checked_url("o", given) == checked


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/v1",
        "/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://user:hush@host/v1",
        "http://:hush@host/v1",
        "http://@host/v1",
        "user:hush@host/v1",
        "http://user:hush/@host/v1",
        "http://user:123/hush@host/v1",
        "http://user/hush@host/v1",
        "http://host:hush/v1",
        "http://host/v1?st2-api-key=hush",
        "http://host/v1#hush",
        "http://host/v1?",
        "http://host/v1#",
    ],
)
def test_checked_url_rejects_by_option_without_a_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_url("[st2] api_url", url)
    assert str(caught.value).startswith("[st2] api_url: ")
    assert "hush" not in str(caught.value)
