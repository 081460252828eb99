"""The relay keeps running while all servers answer with hostile data."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    break_in_body,
    endless_line,
    garbage,
    hang_up,
    raw,
    redirect,
    reset,
    stall,
)

from st2_mistral_sandbox.process import ChildProcess

MIB = 1024 * 1024


def endless(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    with contextlib.suppress(OSError):
        while not exchange.stopping.is_set():
            exchange.sock.sendall(b"[" * 65536)
    return False


HOSTILE: list[Behaviour] = [
    endless,
    answer(200, gzip.compress(b" " * (100 * MIB)), {"Content-Encoding": "gzip"}),
    endless_line(b"HTTP/1.1 200 OK\r\nX: "),
    answer(200, b"[" * 100_000),
    answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
    answer(200, {"action_executions": "many", "tasks": 5, "executions": None}),
    answer(200, [{"id": 5}, None, "x"]),
    answer(200, {"action_executions": [{"id": "a"}], "next": "http://elsewhere/"}),
    raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\n",
        b'event: x\ndata: {"id": [], "status": {}}\n\ndata: \xff\xfe\n\n',
        b'data: {"id": "x", "status": "succeeded", "context": {"mistral": []}}\n\n',
        then=hang_up(),
    ),
    redirect("http://127.0.0.1:1/"),
    answer(500, b"x" * MIB),
    answer(401, {"faultstring": "x" * MIB}),
    break_in_body(),
    garbage(),
    reset(),
    stall(),
]


class InTurn:
    """Cycle through all behaviours."""

    def __init__(self) -> None:
        self._turns = itertools.cycle(HOSTILE)
        self.times = 0

    def __call__(self, exchange: Exchange) -> bool:
        self.times += 1
        return next(self._turns)(exchange)


def peak_memory(pid: int) -> float:
    """Return the peak memory of a process in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.mark.timeout(120)
def test_relay_survives_hostile_servers(tmp_path: Path) -> None:
    turns = InTurn()
    with BreakingServer(turns) as server:
        config = tmp_path / "relay.conf"
        config.write_text(
            f"[st2]\napi_url = {server.url}/v1\nstream_url = {server.url}/v1/stream\n"
            "read_timeout = 0.5\nretry_deadline = 1\n"
            f"[st2_relay]\nmistral_url = {server.url}/v2\nresync_interval = 0.5\n"
        )
        command = ["st2actions_mistral.cli.main", "relay", "--config-file", str(config)]
        relay = ChildProcess("The relay", command, tmp_path / "relay.log")
        relay.start()
        try:
            deadline = time.monotonic() + 90
            while turns.times < 2 * len(HOSTILE) and time.monotonic() < deadline:
                assert relay.poll() is None, relay.tail()
                time.sleep(0.2)
            assert turns.times >= len(HOSTILE)
            assert relay.pid is not None
            most = peak_memory(relay.pid)
            print(f"{turns.times} answers, at most {most:.0f} MiB")
            assert most < 300
            os.kill(relay.pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while relay.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert relay.poll() == 0
        finally:
            relay.stop()
    said = relay.log_path.read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in said, said[-5000:]
    assert len(said) < MIB
