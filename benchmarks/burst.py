"""Measure the memory of the relay while many actions are pending, and when all their executions end.

    python -m benchmarks.burst [--actions 10000] [--result-kb 1]

The actions run without a workflow, so that Mistral's own work on tasks is not in the figures.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult

JOB = {
    "pack": "bench",
    "name": "job",
    "runner_type": "bench-async",
    "entry_point": "",
    "enabled": True,
    "parameters": {},
}


def memory(pid: int) -> tuple[float, float]:
    """Return the memory of a process now and at most, in MiB."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":" in line
    )
    now, most = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def waiting(sandbox: Sandbox) -> int:
    return sum(1 for _ in sandbox.mistral.running_actions())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--result-kb", type=int, default=1)
    args = parser.parse_args()
    with Sandbox(on_step=lambda text: print(f"{text} …", file=sys.stderr)) as sandbox:
        assert sandbox.stackstorm is not None
        sandbox.stackstorm.register_runner(
            "bench-async", lambda request: RunResult("running", {"note": "started"})
        )
        sandbox.stackstorm.register_action(JOB)
        relay = sandbox.relay.pid
        assert relay is not None
        while "Following" not in "\n".join(sandbox.relay.tail()):
            time.sleep(0.1)
        print(f"relay, nothing waits:    {memory(relay)[0]:6.0f} MiB")

        started = threading.Semaphore(0)

        def start(_: int) -> None:
            sandbox.mistral.run_action("st2.action", {"ref": "bench.job"})
            started.release()

        begun = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(start, range(args.actions)))
        print(f"started {args.actions} in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        while len(sandbox.stackstorm.executions.objects()) < args.actions:
            time.sleep(1)
        # Two comparisons with all of them.
        time.sleep(70)
        print(f"relay, {args.actions} wait:       {memory(relay)[0]:6.0f} MiB")

        result = {"text": "x" * (args.result_kb * 1024)}
        begun = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(
                pool.map(
                    lambda execution: sandbox.st2.finish(execution.id, "succeeded", result),
                    sandbox.stackstorm.executions.objects(),
                )
            )
        ended = time.monotonic() - begun
        while waiting(sandbox):
            time.sleep(1)
        print(f"all ended within {ended:.0f} s, all delivered after {time.monotonic() - begun:.0f} s")
        print(f"relay, at most:          {memory(relay)[1]:6.0f} MiB")


if __name__ == "__main__":
    main()
