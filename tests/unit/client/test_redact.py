from __future__ import annotations

import base64
import json

import pytest

from st2actions_mistral.client import redact


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://host:9101/v1/executions", "http://host:9101/v1/executions"),
        ("https://user:hush@host/v1", "https://host/v1"),
        ("http://host/v1?x-auth-token=hush#hush", "http://host/v1"),
        ("http://[::1]:9101/v1", "http://[::1]:9101/v1"),
        ("http://[::1/hush", "(malformed URL)"),
        ("http://host:hush/", "(malformed URL)"),
        ("admin:hush@host/v1", "(malformed URL)"),
        ("http://user:123/hush@host/v1", "(malformed URL)"),
        ("http://user:hush/@host/v1", "(malformed URL)"),
        ("hush", "(malformed URL)"),
        ("", "(malformed URL)"),
    ],
)
def test_url_drops_user_query_and_fragment(address: str, shown: str) -> None:
    assert redact.url(address) == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (json.dumps({"faultstring": "Action  not\nfound."}), "Action not found."),
        (json.dumps({"faultstring": None}), '{"faultstring": null}'),
        (json.dumps(["a"]), '["a"]'),
        ("<html>\n<h1>Bad Gateway</h1>", "<html> <h1>Bad Gateway</h1>"),
        ("", ""),
        ("a\x1b[2K\rb\u2028c\x00", "a\ufffd[2K b c\ufffd"),
        ("[" * 100_000, "[" * 500 + "…"),
    ],
)
def test_message_is_the_faultstring_in_one_line(body: str, shown: str) -> None:
    assert redact.message(body) == shown


def test_message_is_truncated() -> None:
    assert redact.message(json.dumps({"faultstring": "x" * 501})) == "x" * 500 + "…"
    assert redact.message(json.dumps({"faultstring": "x" * 500})) == "x" * 500


def test_message_hides_the_hash_of_an_api_key() -> None:
    body = json.dumps({"faultstring": "Unauthorized - ApiKey with key_hash=0a1b2c3d not found."})
    assert redact.message(body) == "Unauthorized - ApiKey with key_hash=… not found."


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("St2-Api-Key", "hush"),
        ("X-Auth-Token", "hush"),
        ("Authorization", "Basic hush"),
    ],
)
def test_secrets_hides_the_credential(header: str, value: str) -> None:
    shown = redact.secrets(f"You said {value}, twice: hush.", {header: value, "Accept": "You"})
    assert "hush" not in shown
    assert shown.startswith("You said ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r'{"faultstring": "No St2-Api-Key: ab\/cd, twice: ab\/cd."}', "No St2-Api-Key: …, twice: …."),
        (r'{"faultstring": "No \u0061b\u002Fcd."}', "No …."),
        (r'{"faultstring": "No {\"key\": \"ab\\/c\\u0064\"}."}', 'No {"key": "…"}.'),
        (r'{"faultstring": "No ab%2fcd."}', "No …."),
        (r'{"error": "ab\/cd"}', '{"error": "…"}'),
        (r"100 %, \ab/cd\n" + "\\", r"100 %, \…\n" + "\\"),
        (r'{"faultstring": "a\\b\u0020\/cd"}', "a\\b /cd"),
    ],
)
def test_secrets_hides_an_escaped_credential(text: str, shown: str) -> None:
    assert redact.message(redact.secrets(text, {"St2-Api-Key": "ab/cd"})) == shown


@pytest.mark.parametrize("password", ["hush", "hu:sh", "hu sh", "пароль", 'p"w'])
@pytest.mark.parametrize("form", ["{}", "user {}, again {}"])
def test_secrets_hides_a_password(password: str, form: str) -> None:
    basic = base64.b64encode(f"user:{password}".encode()).decode()
    for written in (password, json.dumps(password), json.dumps([password])):
        shown = redact.secrets(form.format(written, written), {"Authorization": f"Basic {basic}"})
        assert "…" in shown
        assert password not in shown
        assert json.dumps(password)[1:-1] not in shown


@pytest.mark.parametrize("value", ["Basic", "Basic ?", "Basic dXNlcg==", "Basic dXNlcjo=", " "])
def test_secrets_accepts_a_malformed_basic_header(value: str) -> None:
    assert redact.secrets("as it was", {"Authorization": value}) == "as it was"


def test_secrets_hides_a_key_with_escapes_in_it() -> None:
    key = 'a\\b"%2F'
    for written in (key, json.dumps(key), json.dumps([json.dumps({"key": key})])):
        shown = redact.secrets(written, {"X-Auth-Token": key})
        assert "…" in shown
        assert "b" not in shown


def test_secrets_accepts_a_key_of_backslashes() -> None:
    assert redact.secrets(r"a\b%", {"X-Auth-Token": "\\"}) == "a…b%"


@pytest.mark.parametrize("text", ["\\" * 65536, "ab\\/c" * 16384, "%2" * 32768])
def test_secrets_takes_linear_time(text: str) -> None:
    # A search that restarts at every backslash takes minutes.
    assert redact.secrets(text * 8, {"X-Auth-Token": "ab/cd"}) == text * 8


def test_secrets_keeps_a_text_without_a_credential() -> None:
    assert redact.secrets("as it was", {}) == "as it was"
