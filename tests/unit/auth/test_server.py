"""The plugin of Mistral's API: what becomes of a request, and which response a refusal is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pecan
import pytest
from pecan.hooks import PecanHook
from webob import Request

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.auth.refusal import (
    Forbidden,
    NeedsTrust,
    Refusal,
    Rejected,
    TooMany,
    Unavailable,
)
from st2actions_mistral.auth.server import Answer, St2AuthHandler, response

Configure = Callable[..., None]


@pytest.fixture(scope="module")
def stackstorm() -> Iterator[StackStorm]:
    with StackStorm() as running:
        yield running


class Root:
    """Answers each request that is let through with who sends it."""

    @pecan.expose("json")
    def index(self) -> dict[str, Any]:
        environ = pecan.request.environ
        return {name: environ.get(f"HTTP_X_{name}") for name in ("USER_ID", "PROJECT_ID", "ROLES")}


class Hook(PecanHook):
    """Does the same as the hook of Mistral 20 to 23."""

    def __init__(self, handler: St2AuthHandler) -> None:
        self.handler = handler

    def before(self, state: Any) -> None:
        try:
            self.handler.authenticate(state.request)
        except Exception as error:  # noqa: BLE001 - as Mistral does
            message = f"Failed to validate access token: {error!s}"
            pecan.abort(401, message)


def send(handler: St2AuthHandler, method: str = "GET", **headers: str) -> Any:
    """Return pecan's response to a request."""
    app = pecan.make_app(Root(), hooks=lambda: [Hook(handler)], debug=False)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request.blank("/", method=method, headers=named).get_response(app)


def test_user_is_let_through(configure: Configure, stackstorm: StackStorm) -> None:
    configure(api_url=stackstorm.api_url)
    found = send(St2AuthHandler(), St2_Api_Key=stackstorm.create_api_key(user="ada"), X_Roles="admin")
    assert found.status_int == 200
    assert found.json == {"USER_ID": "ada", "PROJECT_ID": "<default-project>", "ROLES": ""}


def test_options_are_those_of_the_group(configure: Configure, stackstorm: StackStorm) -> None:
    configure(api_url=stackstorm.api_url)
    configure(group="st2_auth", project_per_user=True, relay_users=["relay"])
    handler, key = St2AuthHandler(), stackstorm.create_api_key(user="relay")
    found = send(handler, St2_Api_Key=key)
    assert found.json == {"USER_ID": "relay", "PROJECT_ID": "relay", "ROLES": "admin"}
    found = send(handler, "POST", St2_Api_Key=key, St2_Mistral_Project="ada")
    assert found.json == {"USER_ID": "relay", "PROJECT_ID": "ada", "ROLES": ""}
    assert send(handler, "POST", St2_Api_Key=key).status_int == 403


def test_request_without_credential_is_401_with_the_next_step(configure: Configure) -> None:
    found = send(St2AuthHandler())
    assert found.status_int == 401
    assert found.headers["WWW-Authenticate"] == "StackStorm"
    assert "OS_TARGET_AUTH_URL=st2" in found.json["faultstring"]
    # mistralclient shows this header.
    assert found.headers["Server-Error-Message"] == found.json["faultstring"]


def test_stackstorm_away_is_503_with_retry_after(configure: Configure) -> None:
    configure(api_url="http://127.0.0.1:1/v1")
    found = send(St2AuthHandler(), X_Auth_Token="canary")
    assert found.status_int == 503
    assert found.headers["Retry-After"] == "1"
    assert "canary" not in found.text


def test_client_that_asks_for_json_gets_the_message_too(configure: Configure) -> None:
    found = send(St2AuthHandler(), Accept="application/json")
    assert found.status_int == 401
    assert "has no credential" in found.json["description"]


def test_invalid_configuration_is_503_and_logged(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(api_url="http://user:canary@st2/v1")
    handler = St2AuthHandler()
    found = send(handler, X_Auth_Token="t")
    assert found.status_int == 503
    assert "see the log of its API" in found.json["faultstring"]
    assert "Mistral cannot authenticate anybody: [st2] api_url" in caplog.text
    assert "canary" not in caplog.text + found.text


def test_corrected_configuration_is_read(configure: Configure, stackstorm: StackStorm) -> None:
    configure(api_url="http://user:canary@st2/v1")
    handler, token = St2AuthHandler(), stackstorm.create_token(user="ada")
    assert send(handler, X_Auth_Token=token).status_int == 503
    configure(api_url=stackstorm.api_url)
    assert send(handler, X_Auth_Token=token).json["USER_ID"] == "ada"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Rejected("no"), 401),
        (Forbidden("no"), 403),
        (TooMany("no", retry_after=3), 429),
        (NeedsTrust("no"), 501),
        (Unavailable("no", retry_after=1), 503),
    ],
)
def test_refusal_has_a_status_and_a_message(refusal: Refusal, status: int) -> None:
    made = response(refusal)
    assert made.status_int == status
    assert json.loads(made.text)["faultstring"] == made.detail == "no"
    assert made.headers.get("Retry-After") == (
        str(refusal.retry_after) if refusal.retry_after else None
    )


def test_message_with_other_characters_fits_into_the_header() -> None:
    made = response(Forbidden("the user '\xe4\u20ac'"))
    assert made.headers["Server-Error-Message"] == "the user '??'"
    assert json.loads(made.text)["faultstring"] == "the user '\xe4\u20ac'"


def test_hook_that_does_not_ask_for_the_text_answers_401() -> None:
    assert isinstance(Answer(response(Unavailable("no"))), Exception)
    with pytest.raises(type(response(Unavailable("no")))):
        str(Answer(response(Unavailable("no"))))


def test_no_credential_is_logged(
    configure: Configure, stackstorm: StackStorm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    configure(api_url=stackstorm.api_url)
    handler = St2AuthHandler()
    canaries = [stackstorm.create_token(), stackstorm.create_api_key(), "canary-1", "canary 2"]
    for canary in canaries:
        for header in ("X_Auth_Token", "St2_Api_Key"):
            send(handler, **{header: canary})
    assert not [canary for canary in canaries if canary in caplog.text]
