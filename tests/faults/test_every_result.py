"""Every result arrives once, while all three connections break and the relay is killed repeatedly.

``make soak`` runs it with 2,000 executions. ST2_MISTRAL_SOAK is the number of executions.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.mistral_bench import Bench, Run
from support.proxy import FAULTS, STREAM_FAULTS, FaultProxy, Plan

from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings

MANY = int(os.environ.get("ST2_MISTRAL_SOAK", "200"))
EACH = 50
# Seconds for all executions: 2,000 took 9 minutes on two processors.
TIMEOUT = 240 + MANY * 0.6
SHARE = 0.1

pytestmark = pytest.mark.timeout(TIMEOUT + 120)

TASKS = """
each:
  with-items: i in <% $.numbers %>
  action: st2.action
  input: {ref: sandbox.echo, parameters: {value: <% $.i %>}}
"""


def silent(fault: str) -> bool:
    return "silence" in fault or "stall" in fault


# For Mistral, the important fault is a PUT or POST without an answer. A silent server costs a second
# each time, so only StackStorm's connections have that fault.
TO_MISTRAL = tuple(fault for fault in FAULTS if not silent(fault))


@dataclass
class Relays:
    """A relay that is killed every few seconds, and sometimes a second one beside it."""

    command: list[str]
    folder: Path
    seed: int
    kills: int = 0
    overlaps: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        drawn = random.Random(self.seed)
        relays = [
            ChildProcess(f"Relay {name}", self.command, self.folder / f"relay-{name}.log")
            for name in "ab"
        ]
        try:
            while not self.stop.is_set():
                first, second = relays
                self._start(first)
                if drawn.random() < 0.4:
                    self._start(second)
                    self.overlaps += 1
                self.stop.wait(drawn.uniform(1, 5))
                for relay in relays:
                    if relay.poll() is None and relay.pid and drawn.random() < 0.7:
                        os.killpg(relay.pid, signal.SIGKILL)
                        self.kills += 1
                        relay.stop()
        finally:
            for relay in relays:
                relay.stop()

    def _start(self, relay: ChildProcess) -> None:
        if relay.pid is None or relay.poll() is not None:
            relay.start()

    def said(self) -> str:
        return "".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(self.folder.glob("relay-?.log"))
        )


@dataclass
class World:
    bench: Bench
    relays: Relays
    proxies: dict[str, FaultProxy]


@pytest.fixture
def world(tmp_path: Path, seed: int) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        stackstorm = stack.enter_context(StackStorm())
        api = stack.enter_context(FaultProxy(stackstorm.base_url, Plan(seed, SHARE)))
        stream_plan = Plan(seed + 1, 0.5, STREAM_FAULTS)
        stream = stack.enter_context(FaultProxy(stackstorm.base_url, stream_plan))
        sandbox = stack.enter_context(
            Sandbox(
                tmp_path,
                st2=St2Settings(
                    api_url=f"{api.url}/api/v1",
                    stream_url=f"{stream.url}{urlsplit(stackstorm.stream_url).path}",
                    credential=Credential(api_key=stackstorm.create_api_key()),
                ),
                relay=False,
                options="read_timeout = 1\n",
                relay_options="resync_interval = 2\nreschedule_after = 20",
            )
        )
        sandbox.stackstorm = stackstorm
        mistral_root = sandbox.mistral_server.url.removesuffix("/v2")
        plan = Plan(seed + 2, SHARE, TO_MISTRAL)
        mistral = stack.enter_context(FaultProxy(mistral_root, plan))
        config = Path(sandbox.relay.args[-1])
        config.write_text(config.read_text().replace(mistral_root, mistral.url))
        relays = Relays(sandbox.relay.args, tmp_path, seed)
        thread = threading.Thread(target=relays.run, name="relays")
        thread.start()
        stack.callback(thread.join)
        stack.callback(relays.stop.set)
        proxies = {"StackStorm's API": api, "its stream": stream, "Mistral": mistral}
        yield World(Bench(sandbox), relays, proxies)


def report(world: World, seconds: float) -> str:
    said = world.relays.said()
    lines = [f"{MANY} executions in {seconds:.0f} s"]
    for name, proxy in world.proxies.items():
        broken = proxy.plan.broken
        lines.append(f"  {name}: {proxy.plan.passed} requests passed, {broken.total()} broken")
        lines += [f"    {fault}: {times}" for fault, times in sorted(broken.items())]
    for words, pattern in (
        ("results delivered", " Completed: "),
        ("that another relay had delivered", "was complete before"),
        ("retried", "is retried later"),
        ("rescheduled", " Rescheduled: "),
        ("executions cancelled", "Cancelling StackStorm execution"),
    ):
        lines.append(f"  {words}: {len(re.findall(re.escape(pattern), said))}")
    lines.append(f"  relays killed: {world.relays.kills}, overlaps: {world.relays.overlaps}")
    return "\n".join(lines)


def test_every_result_arrives_exactly_once(world: World, seed: int) -> None:
    bench = world.bench
    workflow = bench.workbook(TASKS, inputs="[numbers]")
    begun = time.monotonic()
    started = [
        bench.start(workflow, {"numbers": list(range(first, first + EACH))})
        for first in range(0, MANY, EACH)
    ]
    runs: list[Run] = [
        bench.wait(id_, timeout=max(1.0, begun + TIMEOUT - time.monotonic())) for id_ in started
    ]
    print(report(world, time.monotonic() - begun))

    again = f"ST2_MISTRAL_SEED={seed}"
    actions: list[dict[str, Any]] = [action for run in runs for action in run.actions]
    assert [run.execution["state"] for run in runs] == ["SUCCESS"] * len(runs), again
    assert Counter(action["state"] for action in actions) == {"SUCCESS": MANY}, again
    values = [action["output"]["result"]["result"]["value"] for action in actions]
    assert sorted(values) == list(range(MANY)), again
    made = Counter(
        child["context"]["mistral"]["action_execution_id"]
        for child in bench.stackstorm.executions.all()
    )
    assert made == dict.fromkeys((action["id"] for action in actions), 1), again
    children = {
        child["context"]["mistral"]["action_execution_id"]: child["id"]
        for child in bench.stackstorm.executions.all()
    }
    for action in actions:
        assert action["output"]["result"]["st2"]["execution_id"] == children[action["id"]], again
    assert world.relays.kills > 0
    assert all(proxy.plan.broken for proxy in world.proxies.values())
    assert "Traceback" not in world.relays.said()
