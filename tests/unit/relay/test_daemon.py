"""Test the relay as a process: what it reports to systemd, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.breaking_servers import refusing


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


@contextmanager
def relay(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "relay.conf"
    config.write_text(
        f"[st2]\napi_url = {url}\nretry_deadline = 0.2\n[st2_relay]\nmistral_url = {url}/v2\n"
    )
    command = [sys.executable, "-m", "st2actions_mistral.cli.main", "relay"]
    process = subprocess.Popen(
        [*command, "--config-file", str(config)],
        env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_relay_reports_its_state_to_systemd(tmp_path: Path, manager: socket.socket) -> None:
    with refusing() as nobody, relay(tmp_path, nobody) as process:
        message = manager.recv(4096).decode()
        assert message.startswith("READY=1\nSTATUS=Not connected: GET http://127.0.0.1")
        assert manager.recv(4096) == b"WATCHDOG=1"
        assert manager.recv(4096) == b"WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (message := manager.recv(4096).decode()) != "STOPPING=1":
            assert message.startswith(("WATCHDOG=1", "READY=1"))
        assert process.wait(20) == 0


ENDING_RELAY = """
import sys
from st2actions_mistral.relay.daemon import run_until_signalled

class Relay:
    def run(self):
        print("cleaning up", flush=True)
        sys.stdin.readline()

    def stop(self):
        print("stopping", flush=True)

run_until_signalled(Relay())
"""


@pytest.mark.parametrize(("signals", "status"), [(0, 0), (1, 0), (2, 1)])
def test_second_signal_ends_a_relay_at_once(signals: int, status: int) -> None:
    """The first one does not, also if the relay was already ending by itself."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDING_RELAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "cleaning up\n"
        for number in range(signals):
            process.send_signal(signal.SIGTERM)
            if number == 0:
                assert process.stdout.readline() == "stopping\n"
        if status == 0:
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(20) == status
