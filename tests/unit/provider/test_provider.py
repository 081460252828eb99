"""The provider beside others: what is found, and who wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.breaking_servers import BreakingServer, answer, not_accepting, refusing, stall
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.provider.native_action import NativeAction

Configure = Callable[..., None]
Install = Callable[..., Any]

# The first listing may take a while on a busy machine.
LISTED = "the actions are listed"


@pytest.fixture
def enable(st2: StackStorm, key: str, configure: Configure) -> Callable[..., None]:
    def turn_on(api_url: str = st2.api_url, **options: Any) -> None:
        configure(api_url=api_url, api_key=key)
        configure(group="st2_provider", enabled=True, **options)

    return turn_on


@pytest.fixture
def started() -> Callable[[], int]:
    """Return a function that counts the background threads which this test has started."""
    before = set(threading.enumerate())

    def count() -> int:
        return sum(t.name == "st2-provider" for t in set(threading.enumerate()) - before)

    return count


@pytest.mark.parametrize("last", [True, False])
def test_actions_of_stackstorm_are_found_and_listed(
    enable: Callable[..., None], install: Install, last: bool
) -> None:
    enable()
    system = install("std.echo", last=last)
    eventually(lambda: "core.local" in system.names(), LISTED)
    found = system.find("core.local")
    assert isinstance(found, NativeAction)
    assert found.params_spec.startswith("cmd, cwd=null")
    assert {"core.local", "core.noop", "test.job", "std.echo"} <= set(system.names())
    assert system.find("core.nope") is None


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_actions_of_other_providers_win(
    enable: Callable[..., None], install: Install, last: bool, listed: bool
) -> None:
    if listed:
        enable()
    else:
        with refusing() as closed:
            enable(f"{closed}/v1")
    system = install("core.local", last=last)
    if listed:
        eventually(lambda: "core.noop" in system.names(), LISTED)
    assert not isinstance(system.find("core.local"), NativeAction)
    assert isinstance(system.find("core.noop"), NativeAction)
    assert system.names().count("core.local") == 1


def test_others_are_asked_once(enable: Callable[..., None], install: Install) -> None:
    enable()
    for last in (True, False):
        system = install(last=last)
        eventually(lambda of=system: "core.noop" in of.names(), LISTED)
        system.other.asked.clear()
        assert system.find("core.noop")
        assert system.other.asked == ["core.noop"]


def test_action_of_a_workbook_is_not_taken_for_one_of_stackstorm(
    enable: Callable[..., None], install: Install
) -> None:
    """Mistral asks for ``BOOK.ACTION`` first. Before the listing nobody knows what StackStorm has."""
    with refusing() as closed:
        enable(f"{closed}/v1")
    system = install("shell", "std.echo")
    assert system.find("book.shell") is None
    assert system.find("book.std.echo") is None
    assert isinstance(system.find("core.local"), NativeAction)


def test_only_chosen_packs_are_found(enable: Callable[..., None], install: Install) -> None:
    enable(packs=["test"])
    system = install()
    eventually(lambda: system.names() == ["test.job"], LISTED)
    assert system.find("test.job")
    assert system.find("core.local") is None


def test_provider_is_off_by_default(
    st2: StackStorm, configure: Configure, install: Install, started: Callable[[], int]
) -> None:
    configure(api_url=st2.api_url)
    system = install("std.echo")
    assert system.names() == ["std.echo"]
    assert system.find("core.local") is None
    assert started() == 0


def test_provider_that_nobody_asks_opens_no_connection(
    enable: Callable[..., None], install: Install, started: Callable[[], int]
) -> None:
    with BreakingServer(answer(200, [])) as server:
        enable(f"{server.url}/v1")
        system = install()
        assert started() == 0
        system.find("core.local")
        eventually(lambda: server.requests, "the first question starts the listing")


@pytest.mark.parametrize("behaviour", ["stall", "not accepting"])
def test_stackstorm_that_does_not_respond_delays_nothing(
    enable: Callable[..., None], install: Install, behaviour: str
) -> None:
    with BreakingServer(stall()) as server, not_accepting() as deaf:
        enable(f"{server.url if behaviour == 'stall' else deaf}/v1")
        system = install("std.echo")
        # The listing in the background waits for seconds. A question that did so too would not be done
        # before the listing.
        for _ in range(100):
            assert system.find("core.local")
            assert system.find("std.echo")
            assert system.names() == ["std.echo"]


def test_providers_of_a_process_share_one_listing(
    enable: Callable[..., None], install: Install, started: Callable[[], int]
) -> None:
    with BreakingServer(answer(200, [])) as server:
        enable(f"{server.url}/v1")
        systems = [install() for _ in range(5)]
        for system in systems:
            system.find("core.local")
        eventually(lambda: server.requests, "the listing")
        assert started() == 1


@pytest.mark.parametrize(
    ("group", "options", "named"),
    [
        ("st2", {"api_url": "http://user:secret@st2/v1"}, "[st2] api_url"),
        ("st2", {"site": "a b"}, "[st2] site"),
    ],
)
def test_invalid_option_is_logged_and_ends_nothing(
    enable: Callable[..., None],
    configure: Configure,
    install: Install,
    caplog: pytest.LogCaptureFixture,
    group: str,
    options: dict[str, Any],
    named: str,
) -> None:
    enable()
    configure(group=group, **options)
    system = install("std.echo")
    assert system.find("core.local") is None
    assert system.names() == ["std.echo"]
    assert f"Mistral gets no actions of StackStorm: {named}" in caplog.text
    assert "secret" not in caplog.text
