"""A replica set of three that never existed, for the upgrade example: its state really changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from st2_mistral_sandbox.stackstorm.runners import ActionFailed, PythonAction, RunRequest

OLD_VERSION, NEW_VERSION = "6.0", "7.0"
ELECTION_DELAY = 0.5
"""Seconds between a step-down and the next primary."""


@dataclass
class _Node:
    name: str
    version: str = OLD_VERSION
    ineligible_until: float = 0.0


class ReplicaSet:
    """mongo1 (primary at first), mongo2 and mongo3.

    Elections are decided when somebody looks, from the times that have passed, so there is no
    thread to stop. ``clock`` is in seconds and only ever rises.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._nodes = {name: _Node(name) for name in ("mongo1", "mongo2", "mongo3")}
        self._primary: str | None = "mongo1"
        self._election_at = 0.0

    @property
    def primary(self) -> str | None:
        """None while there is no primary."""
        with self._lock:
            return self._elect()

    def members(self) -> list[dict[str, str]]:
        """``[{"name", "state", "version"}]``, state PRIMARY or SECONDARY."""
        with self._lock:
            primary = self._elect()
            return [
                {
                    "name": node.name,
                    "state": "PRIMARY" if node.name == primary else "SECONDARY",
                    "version": node.version,
                }
                for node in self._nodes.values()
            ]

    def check_status(self, primary: str) -> dict[str, Any]:
        with self._lock:
            self._must_be_primary(primary)
        return {"primary": primary, "members": self.members()}

    def elect_primary(self, members: list[Any]) -> dict[str, str]:
        """From some members, the secondary to become primary and another one."""
        with self._lock:
            current = self._elect()
            names = [str(m["name"] if isinstance(m, dict) else m) for m in members]
            for name in names:
                self._node(name)
            secondaries = sorted(set(names) - {current})
            fit = [name for name in secondaries if self._eligible(name)]
            if len(secondaries) < 2 or not fit:
                raise ActionFailed(
                    f"at least two secondaries are needed, one of them eligible; got {names}"
                )
            other = next(name for name in secondaries if name != fit[0])
            return {"candidate": fit[0], "secondary": other}

    def upgrade(self, name: str) -> dict[str, str]:
        with self._lock:
            node = self._must_be_secondary(name, "cannot be upgraded")
            node.version = NEW_VERSION
            return {"node": name, "version": node.version}

    def freeze(self, name: str, duration: float) -> dict[str, Any]:
        with self._lock:
            node = self._must_be_secondary(name, "cannot be frozen")
            node.ineligible_until = self._clock() + duration
            return {"node": name, "frozen_for": duration}

    def step_down(self, name: str, duration: float) -> dict[str, Any]:
        with self._lock:
            self._must_be_primary(name)
            self._nodes[name].ineligible_until = self._clock() + duration
            self._primary = None
            self._election_at = self._clock() + ELECTION_DELAY
            return {"node": name, "state": "SECONDARY", "ineligible_for": duration}

    def _elect(self) -> str | None:
        """The primary; elects one if that fell due since somebody looked.

        Whoever could stand first became it then, and not who can stand now.
        """
        if self._primary is None:

            def stands_at(name: str) -> float:
                return max(self._election_at, self._nodes[name].ineligible_until)

            first = min(self._nodes, key=stands_at)
            if stands_at(first) <= self._clock():
                self._primary = first
        return self._primary

    def _eligible(self, name: str) -> bool:
        return self._nodes[name].ineligible_until <= self._clock()

    def _node(self, name: str) -> _Node:
        if name not in self._nodes:
            raise ActionFailed(f"{name} is not a member of the replica set")
        return self._nodes[name]

    def _must_be_primary(self, name: str) -> None:
        self._node(name)
        primary = self._elect()
        if primary != name:
            raise ActionFailed(f"{name} is not the primary; the primary is {primary or 'missing'}")

    def _must_be_secondary(self, name: str, otherwise: str) -> _Node:
        node = self._node(name)
        if self._elect() == name:
            raise ActionFailed(f"{name} is the primary and {otherwise}")
        return node

    def actions(self) -> dict[str, PythonAction]:
        """The pack ``mongodb``, for the Python runner."""

        def named(request: RunRequest, key: str) -> str:
            return str(request.parameters[key])

        def duration(request: RunRequest) -> float:
            return float(request.parameters["duration"] or 0)

        return {
            "mongodb.rs-check-status": lambda r: self.check_status(named(r, "primary")),
            "mongodb.elect-primary": lambda r: self.elect_primary(r.parameters["members"]),
            "mongodb.run-update-xyz": lambda r: self.upgrade(named(r, "node")),
            "mongodb.freeze": lambda r: self.freeze(named(r, "node"), duration(r)),
            "mongodb.step-down": lambda r: self.step_down(named(r, "primary"), duration(r)),
        }
