"""Compare a with-items task of ``st2.action`` with the same task of ``std.noop`` in the same Mistral.

    python -m benchmarks.with_items [--items 300] [--rounds 3] [--processes [VERSION]]

``std.noop`` is Mistral's own cost of so many actions in one task. ``st2.action`` adds the POST to
StackStorm, the execution there, and the result that the relay brings back. The stand-in's own cost is
included; a real StackStorm takes longer. The seconds depend on the machine, the ratio much less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from benchmarks.systems import Systems, add_arguments, systems
from st2actions_mistral.model import states

ACTIONS = {"std.noop": "std.noop", "st2.action": 'st2.action ref="core.noop"'}
COLUMNS = ("seconds", "mistral", "relay", "stackstorm")


def workbook(name: str, action: str, items: int) -> str:
    """Return a workbook with one with-items task."""
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


def measure(running: Systems, name: str) -> dict[str, float]:
    """Run the workflow once.

    :return: by column, the seconds from its start to its end, and the processor seconds of each
        system in that time.
    """
    before = running.processor_seconds()
    started_at = time.monotonic()
    started = running.mistral.start_workflow(f"bench.{name}.main", {})
    while True:
        execution = running.mistral.get_execution(started["id"])
        assert execution is not None
        if execution["state"] in states.MISTRAL_FINAL:
            assert execution["state"] == states.SUCCESS, execution
            break
        time.sleep(0.1)
    taken = time.monotonic() - started_at
    after = running.processor_seconds()
    return {"seconds": taken} | {system: after[system] - before[system] for system in after}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    add_arguments(parser)
    args = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ACTIONS}
    with systems(args) as running:
        for name, action in ACTIONS.items():
            running.mistral.save_definition(workbook(name.replace(".", "-"), action, args.items))
        for number in range(1, args.rounds + 1):
            # In turn, so that whatever else the machine does meets both alike.
            for name, measured in runs.items():
                measured.append(measure(running, name.replace(".", "-")))
            print(
                f"round {number}: "
                + ", ".join(f"{name} {all_[-1]['seconds']:.1f} s" for name, all_ in runs.items()),
                file=sys.stderr,
            )
    print(f"{args.items} items, median of {args.rounds}; processor seconds of each system:")
    print(f"{'':12}" + "".join(f"{column:>12}" for column in COLUMNS))
    medians = {
        name: {column: statistics.median(run[column] for run in measured) for column in COLUMNS}
        for name, measured in runs.items()
    }
    for name, figures in medians.items():
        print(f"{name:12}" + "".join(f"{figures[column]:12.1f}" for column in COLUMNS))
    plain, bridged = medians["std.noop"], medians["st2.action"]
    print(f"ratio {bridged['seconds'] / plain['seconds']:.2f}")
    print(f"mistral's processor time, ratio {bridged['mistral'] / plain['mistral']:.2f}")


if __name__ == "__main__":
    main()
