"""The relay as a service: what systemd hears, and signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.breaking_servers import refusing

from st2actions_mistral.relay.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("fine")


def test_a_manager_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().alive()


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [("", "", None), ("x", "", None), ("0", "", None), ("30000000", "", 15), ("30000000", "1", None)],
)
def test_the_watchdog_wants_a_sign_twice_as_often(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str, interval: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Notifier().watchdog_interval == interval


def test_the_relay_tells_systemd_how_it_is(tmp_path: Path, manager: socket.socket) -> None:
    with refusing() as nobody:
        config = tmp_path / "relay.conf"
        config.write_text(
            f"[st2]\napi_url = {nobody}\nretry_deadline = 0.2\n[st2_relay]\nmistral_url = {nobody}/v2\n"
        )
        relay = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "st2actions_mistral.cli.main",
                "relay",
                "--config-file",
                str(config),
            ],
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "1000000",
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            heard = manager.recv(4096).decode()
            assert heard.startswith("READY=1\nSTATUS=Not connected: GET http://127.0.0.1")
            assert manager.recv(4096) == b"WATCHDOG=1"
            assert manager.recv(4096) == b"WATCHDOG=1"
            relay.send_signal(signal.SIGTERM)
            while (heard := manager.recv(4096).decode()) != "STOPPING=1":
                assert heard.startswith(("WATCHDOG=1", "READY=1"))
            assert relay.wait(20) == 0
        finally:
            relay.kill()
            relay.wait()
