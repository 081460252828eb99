"""Start the systems that a benchmark measures, and read their processor time.

A benchmark runs in the sandbox: one Mistral process on SQLite. With ``--processes`` it runs on the
processes of ``make e2e``: Mistral's services over RabbitMQ and MariaDB. The stand-in for StackStorm
runs in the benchmark's own process in both cases.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client

_TICKS = os.sysconf("SC_CLK_TCK")

TESTS = Path(__file__).parents[1] / "tests"
"""The processes of ``make e2e`` are started by ``support.cluster``, below this folder."""


@dataclass(frozen=True)
class Systems:
    """Mistral, the stand-in and the relay, running."""

    mistral: MistralClient
    mistral_url: str
    st2: St2Client
    stackstorm: StackStorm
    pids: Mapping[str, tuple[int, ...]]
    """Process ids of ``mistral`` and ``relay``; those of their children count with them."""
    engine_log: Path
    """The log of the engine, which has the time of each change of a workflow's state."""

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time that each system has used, in seconds.

        ``stackstorm`` includes the benchmark itself, which shares its process.
        """
        used = {name: sum(_tree_seconds(pid) for pid in pids) for name, pids in self.pids.items()}
        return used | {"stackstorm": time.process_time()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the systems."""
    parser.add_argument(
        "--processes",
        nargs="?",
        const="23.0.0",
        metavar="VERSION",
        help="run on the processes of 'make e2e' with this version of Mistral (default: 23.0.0)."
        " Needs RabbitMQ and MariaDB.",
    )


@contextmanager
def systems(args: argparse.Namespace) -> Iterator[Systems]:
    """Run the systems that the options choose.

    Mistral publishes events to the notifier only for workflows that name it in ``notify``.
    """
    with _cluster(args.processes) if args.processes else _sandbox() as running:
        yield running


@contextmanager
def _sandbox() -> Iterator[Systems]:
    with Sandbox(notifier=False, on_step=lambda text: print(f"{text} …", file=sys.stderr)) as sandbox:
        assert sandbox.stackstorm is not None
        assert sandbox.mistral_server.pid is not None
        assert sandbox.relay.pid is not None
        pids = {"mistral": (sandbox.mistral_server.pid,), "relay": (sandbox.relay.pid,)}
        while "Following" not in "\n".join(sandbox.relay.tail()):
            time.sleep(0.1)
        yield Systems(
            sandbox.mistral,
            sandbox.mistral_settings.url,
            sandbox.st2,
            sandbox.stackstorm,
            pids,
            sandbox.mistral_server.log_path,
        )


@contextmanager
def _cluster(version: str) -> Iterator[Systems]:
    sys.path.insert(0, str(TESTS))
    from support.cluster import venvs
    from support.cluster.mistral_cluster import Cluster

    print(f"Starting the processes of Mistral {version} …", file=sys.stderr)
    with venvs.working_folder() as folder, tempfile.TemporaryDirectory() as logs:
        venvs.build(folder)
        distribution = venvs.distribution(folder)
        venv = venvs.base(version).copy(folder / f"benchmark-{version}")
        venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
        with Cluster(version, venv, Path(logs), notifier=False) as cluster:
            pids = {name: process.pid for name, process in cluster.processes.items()}
            services = tuple(pid for name, pid in pids.items() if name != "relay" and pid)
            relay = cluster.relay.pid
            assert relay is not None
            yield Systems(
                cluster.mistral,
                cluster.mistral_settings.url,
                cluster.st2,
                cluster.stackstorm,
                {"mistral": services, "relay": (relay,)},
                cluster.processes["engine"].log_path,
            )


def _tree_seconds(root: int) -> float:
    """Return the processor time of a process and of all processes below it, in seconds."""
    own: dict[int, float] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        # Own time, user and system, and that of children that have ended.
        own[int(folder.name)] = sum(int(value) for value in fields[11:15]) / _TICKS

    def below(pid: int) -> float:
        return own.get(pid, 0.0) + sum(below(child) for child, up in parents.items() if up == pid)

    return below(root)
