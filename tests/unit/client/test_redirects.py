"""No client follows a redirect, because requests would send the credential to its target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from keystoneauth1.identity.v3 import Password
from support.breaking_servers import BreakingServer, answer, redirect

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.auth import KeystoneCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts, Tls
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.errors import RemoteError
from st2actions_mistral.model.context import MistralIds

TIMEOUTS = Timeouts(2, 2, 0)
KEY = Credential(api_key="hush")
TOKEN = Credential(auth_token="hush")
EVERYTHING = {
    "id": "a",
    "state": "SUCCESS",
    "status": "running",
    "token": "t",
    "username": "u",
    "name": "n",
}


def st2(url: str, credential: Credential = KEY) -> St2Client:
    return St2Client(St2Settings(url, credential, timeouts=TIMEOUTS))


def password(url: str) -> Credential:
    return Credential(username="u", password="hush", auth_url=url)


def mistral(url: str) -> MistralClient:
    return MistralClient(MistralSettings(url, timeouts=TIMEOUTS))


def keystone(url: str) -> KeystoneCredential:
    plugin = Password(f"{url}/v3", username="u", password="hush", user_domain_id="d")
    return KeystoneCredential(plugin, Tls(), TIMEOUTS, "See the options.")


CALLS: dict[str, Callable[[str], object]] = {
    "schedule": lambda url: schedule(st2(url), ExecutionRequest("core.noop", {}, MistralIds("m"))),
    "get_execution": lambda url: st2(url, TOKEN).get_execution("e"),
    "finish": lambda url: st2(url).finish("e", "succeeded", {"a": 1}),
    "whoami": lambda url: st2(url, TOKEN).whoami(),
    "log in": lambda url: st2(url, password(url)).whoami(),
    "stream": lambda url: EventStream(St2Settings(url, KEY, timeouts=TIMEOUTS)),
    "stream log in": lambda url: EventStream(St2Settings(url, password(url), timeouts=TIMEOUTS)),
    "action": lambda url: st2(url).action("core.local"),
    "get_action": lambda url: mistral(url).get_action("a"),
    "complete_action": lambda url: mistral(url).complete_action("a", "SUCCESS", {}),
    "save_definition": lambda url: mistral(url).save_definition("version: '2.0'"),
    "validate": lambda url: mistral(url).validate("version: '2.0'"),
    "start_workflow": lambda url: mistral(url).start_workflow("w", {}),
    "keystone": lambda url: keystone(url).headers(),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_no_redirect_is_followed(call: str, status: int) -> None:
    with (
        BreakingServer(answer(200, EVERYTHING)) as target_server,
        BreakingServer(redirect(f"{target_server.url}/elsewhere", status)) as server,
    ):
        with pytest.raises(RemoteError) as caught:
            CALLS[call](server.url)
        assert server.requests
        assert target_server.connections == 0
    assert "hush" not in str(caught.value)
