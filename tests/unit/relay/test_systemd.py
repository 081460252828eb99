"""Test what is sent to systemd, and how often."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clock import Clock

from st2actions_mistral.relay.systemd import Notifier, is_journal


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield sock


def test_journal_is_known_by_its_device_and_inode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w") as file:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not is_journal(file.fileno())
        found = (tmp_path / "journal").stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(file.fileno())
        descriptor = file.fileno()
    assert not is_journal(descriptor)


def test_nothing_is_sent_without_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("fine")


def test_missing_socket_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().alive()


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [("", "", None), ("x", "", None), ("0", "", None), ("30000000", "", 15), ("30000000", "1", None)],
)
def test_watchdog_interval_is_half_of_the_limit(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str, interval: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Notifier().watchdog_interval == interval


def test_heartbeats_ask_for_time_until_the_service_has_started(manager: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=180000000"
    notifier.ready("up")
    assert manager.recv(4096) == b"READY=1\nSTATUS=up"
    clock.advance(1)
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_at_most_one_heartbeat_a_second_is_sent(manager: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    for _ in range(100):
        notifier.alive()
        clock.advance(0.05)
    notifier.stopping()
    received = []
    while (message := manager.recv(4096)) != b"STOPPING=1":
        received.append(message)
    assert len(received) == 5
