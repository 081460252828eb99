"""How long many children of one task take, beside the same task of ``std.noop`` in the same Mistral.

    python -m benchmarks.with_items [--items 300] [--rounds 3]

What is compared: ``std.noop`` is Mistral's own cost of so many actions in one task; ``st2.action`` adds
the POST to StackStorm, the run there, and the way back through the relay. The stand-in's own cost is
in it; a real StackStorm takes longer. The figures depend on the machine, the ratio much less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from st2_mistral_sandbox.sandbox import Sandbox
from st2actions_mistral.model import states

ACTIONS = {"std.noop": "std.noop", "st2.action": 'st2.action ref="core.noop"'}


def workbook(name: str, action: str, items: int) -> str:
    return f"""
version: '2.0'
name: bench.{name}
workflows:
  main:
    tasks:
      each:
        with-items: i in <% range({items}) %>
        action: {action}
"""


def seconds(sandbox: Sandbox, name: str) -> float:
    """From the start of the workflow to its end, seen every 0.1 s."""
    begun = time.monotonic()
    started = sandbox.mistral.start_workflow(f"bench.{name}.main", {})
    while True:
        execution = sandbox.mistral.get_execution(started["id"])
        assert execution is not None
        if execution["state"] in states.MISTRAL_FINAL:
            assert execution["state"] == states.SUCCESS, execution
            return time.monotonic() - begun
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in ACTIONS}
    with Sandbox(say=lambda words: print(f"{words} …", file=sys.stderr)) as sandbox:
        for name, action in ACTIONS.items():
            sandbox.mistral.save_definition(workbook(name.replace(".", "-"), action, args.items))
        for number in range(1, args.rounds + 1):
            # One after the other, in turn: whatever else the machine does meets both alike.
            for name, times in taken.items():
                times.append(seconds(sandbox, name.replace(".", "-")))
            print(
                f"round {number}: "
                + ", ".join(f"{name} {times[-1]:.1f} s" for name, times in taken.items()),
                file=sys.stderr,
            )
    plain, bridged = (statistics.median(times) for times in taken.values())
    print(f"{args.items} items, median of {args.rounds}:")
    print(f"  std.noop    {plain:6.1f} s")
    print(f"  st2.action  {bridged:6.1f} s")
    print(f"  ratio       {bridged / plain:6.2f}")


if __name__ == "__main__":
    main()
