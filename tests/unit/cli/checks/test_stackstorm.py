"""The checks of StackStorm, against the stand-in and servers that reject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from support.breaking_servers import BreakingServer, Exchange, answer, forward

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.cli.checks import stackstorm
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, RemoteError

TIMEOUTS = Timeouts(5, 5, 0)
FORBIDDEN = answer(403, {"faultstring": "no"})


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    with StackStorm() as running:
        yield running


@contextmanager
def client(url: str, key: str = "k") -> Iterator[St2Client]:
    with closing(St2Client(St2Settings(url, Credential(api_key=key), timeouts=TIMEOUTS))) as made:
        yield made


def test_credential_names_the_user(st2: StackStorm) -> None:
    with client(st2.api_url, st2.create_api_key()) as found:
        assert stackstorm.credential(found) == "authenticated as st2admin"


def test_rejected_credential_is_an_error(st2: StackStorm) -> None:
    with client(st2.api_url, "wrong") as found, pytest.raises(Answered, match="401"):
        stackstorm.credential(found)


def test_permissions_of_an_administrator_suffice(st2: StackStorm) -> None:
    with client(st2.api_url, st2.create_api_key()) as found:
        assert stackstorm.permissions(found, "mistral") == "may list executions and run core.noop"


def test_both_missing_permissions_are_named() -> None:
    with (
        BreakingServer(FORBIDDEN) as server,
        client(server.url) as found,
        pytest.raises(CheckFailed, match="execution_list") as caught,
    ):
        stackstorm.permissions(found, "mistral")
    assert "action_execute" in str(caught.value)


def test_missing_permission_to_list_is_named_alone(st2: StackStorm) -> None:
    def gate(exchange: Exchange) -> bool:
        assert exchange.request is not None
        listing = exchange.request.path.startswith("/api/v1/executions?")
        return (FORBIDDEN if listing else forward(st2.base_url))(exchange)

    with (
        BreakingServer(gate) as server,
        client(f"{server.url}/api/v1", st2.create_api_key()) as found,
        pytest.raises(CheckFailed, match="execution_list") as caught,
    ):
        stackstorm.permissions(found, "mistral")
    assert "action_execute" not in str(caught.value)


def test_other_error_is_no_missing_permission() -> None:
    with (
        BreakingServer(answer(503, {"faultstring": "later"})) as server,
        client(server.url) as found,
        pytest.raises(RemoteError, match="later"),
    ):
        stackstorm.permissions(found, "mistral")


def test_event_stream_that_opens_is_named(st2: StackStorm) -> None:
    settings = St2Settings(
        st2.api_url, Credential(api_key=st2.create_api_key()), st2.stream_url, timeouts=TIMEOUTS
    )
    assert stackstorm.event_stream(settings) == st2.stream_url


def test_event_stream_that_ends_at_once_fails() -> None:
    with BreakingServer(answer(200, b"", {"Content-Type": "text/event-stream"})) as server:
        settings = St2Settings(server.url, stream_url=f"{server.url}/stream", timeouts=TIMEOUTS)
        with pytest.raises(CheckFailed, match="ends at once"):
            stackstorm.event_stream(settings)
