"""Names in a path, as a server receives them."""

from __future__ import annotations

import contextlib
from urllib.parse import unquote

import pytest
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.client.address import segment
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import new_session, send
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts, Tls
from st2actions_mistral.client.st2 import St2Client

TIMEOUTS = Timeouts(connect_timeout=2, read_timeout=2, retry_deadline=0)


@pytest.mark.parametrize(
    "name", ["core.local", "a/../b", "../x", "...", "%2E%2E", "a?b#c", "a b", "é", "😀", "%"]
)
def test_segment_keeps_a_name(name: str) -> None:
    assert _arrived(segment(name)) == name


@pytest.mark.parametrize(
    ("name", "arrives"), [(".", "%2E"), ("..", "%2E%2E"), ("core.lo\ud800", "core.lo?")]
)
def test_segment_keeps_an_unencodable_name_in_one_segment(name: str, arrives: str) -> None:
    assert _arrived(segment(name)) == arrives


def _arrived(part: str) -> str:
    with (
        BreakingServer(answer(200, {})) as server,
        contextlib.closing(new_session(Tls())) as session,
    ):
        send(session, "GET", f"{server.url}/v2/actions/{part}", TIMEOUTS)
        *above, last = server.requests[0].path.split("/")
    assert above == ["", "v2", "actions"]
    return unquote(last)


@pytest.mark.parametrize("name", ["..", ".", "core.lo\ud800"])
def test_unencodable_name_is_unknown(name: str) -> None:
    with BreakingServer(answer(404)) as server:
        with contextlib.closing(
            MistralClient(MistralSettings(server.url, timeouts=TIMEOUTS))
        ) as mistral:
            assert not mistral.knows_action(name)
            assert mistral.definition(name) is None
        settings = St2Settings(server.url, Credential(api_key="k"), timeouts=TIMEOUTS)
        with contextlib.closing(St2Client(settings)) as st2:
            assert not st2.cancel(name)
            assert st2.action(name) is None
        above = [request.path.rpartition("/")[0] for request in server.requests]
    assert above == ["/actions", "/workbooks", "/executions", "/actions/views/overview"]
