"""Actions that cannot be completed do not delay the others."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.breaking_servers import Request
from support.mistral_bench import Bench
from support.proxy import FaultProxy, Plan
from support.waiting import eventually

from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.sandbox import Sandbox

POISONED = 8
HEALTHY = 60
TASK = """
each:
  with-items: i in <% range({number}) %>
  action: st2.action
  input: {{ref: core.noop}}
"""


class Poison:
    """Selects the PUTs that Mistral answers with 500."""

    def __init__(self) -> None:
        self.actions: set[str] = set()
        self.refused = 0
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> bool:
        refuse = request.method == "PUT" and request.path.rpartition("/")[2] in self.actions
        with self.lock:
            self.refused += refuse
        return refuse


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Bench, ChildProcess, Poison]]:
    """Yield a sandbox and a relay, not started, with fewer workers than there are failing actions."""
    poison = Poison()
    with Sandbox(tmp_path, relay=False, relay_options="resync_interval = 1\nworkers = 4") as sandbox:
        root = sandbox.mistral_server.url.removesuffix("/v2")
        with FaultProxy(root, Plan(1, 1, ("500 before",), only=poison)) as proxy:
            config = Path(sandbox.relay.args[-1])
            config.write_text(config.read_text().replace(root, proxy.url))
            try:
                yield Bench(sandbox), sandbox.relay, poison
            finally:
                sandbox.relay.stop()


def test_failing_actions_do_not_starve_others(place: tuple[Bench, ChildProcess, Poison]) -> None:
    bench, relay, poison = place
    bad = bench.start(bench.workbook(TASK.format(number=POISONED)))

    def all_made() -> list[str] | None:
        found = [
            child["context"]["mistral"]["action_execution_id"]
            for child in bench.stackstorm.executions.all()
        ]
        return found if len(found) == POISONED else None

    poison.actions.update(eventually(all_made, "the executions are created"))
    started = time.monotonic()
    relay.start()
    eventually(lambda: poison.refused >= POISONED, "each PUT failed")
    begun = time.monotonic()
    good = bench.run(bench.workbook(TASK.format(number=HEALTHY)))
    taken = time.monotonic() - begun
    assert good.execution["state"] == "SUCCESS"

    def tries() -> int:
        return "\n".join(relay.tail(100_000)).count(" is retried later: ")

    eventually(lambda: tries() >= 3 * POISONED, "each is retried")
    passed = time.monotonic() - started
    made = tries()
    print(f"{HEALTHY} others in {taken:.1f} s; {made} tries of {POISONED} in {passed:.1f} s")
    # The backoff grows, while there is a resync each second: at least 0.5 s after the first failure,
    # then 1 s, 2 s, 4 s.
    assert made <= POISONED * (1 + math.log2(1 + 2 * passed))
    poison.actions.clear()
    assert bench.wait(bad, timeout=180).execution["state"] == "SUCCESS"
