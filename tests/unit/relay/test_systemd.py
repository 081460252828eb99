"""What systemd is told, and how often."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from st2actions_mistral.relay.systemd import Notifier


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield sock


def test_time_is_asked_for_until_it_is_up(manager: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=180000000"
    notifier.ready("up")
    assert manager.recv(4096) == b"READY=1\nSTATUS=up"
    clock.now += 1
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_not_more_than_one_sign_of_life_a_second(manager: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(clock)
    for _ in range(100):
        notifier.alive()
        clock.now += 0.05
    notifier.stopping()
    heard = []
    while (said := manager.recv(4096)) != b"STOPPING=1":
        heard.append(said)
    assert len(heard) == 5
