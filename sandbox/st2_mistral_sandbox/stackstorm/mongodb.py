"""Simulate a MongoDB replica set with three members, for the upgrade example."""

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
    """mongo1 (the first primary), mongo2 and mongo3.

    An election is held when the state is read, from the time that has passed: there is no thread.

    :param clock: the time in seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._nodes = {name: _Node(name) for name in ("mongo1", "mongo2", "mongo3")}
        self._primary: str | None = "mongo1"
        self._election_at = 0.0

    @property
    def primary(self) -> str | None:
        """The primary; None during an election."""
        with self._lock:
            return self._elect()

    def members(self) -> list[dict[str, str]]:
        """Return ``[{"name", "state", "version"}]``, with state PRIMARY or SECONDARY."""
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
        """Return the members.

        :raises ActionFailed: ``primary`` is not the primary.
        """
        with self._lock:
            self._must_be_primary(primary)
        return {"primary": primary, "members": self.members()}

    def elect_primary(self, members: list[Any]) -> dict[str, str]:
        """Choose from some members the next primary and another secondary.

        :raises ActionFailed: an unknown member, or too few secondaries.
        """
        with self._lock:
            current = self._elect()
            names = [str(m["name"] if isinstance(m, dict) else m) for m in members]
            for name in names:
                self._node(name)
            secondaries = sorted(set(names) - {current})
            eligible = [name for name in secondaries if self._is_eligible(name)]
            if len(secondaries) < 2 or not eligible:
                raise ActionFailed(
                    f"at least two secondaries are needed, one of them eligible; got {names}"
                )
            other = next(name for name in secondaries if name != eligible[0])
            return {"candidate": eligible[0], "secondary": other}

    def upgrade(self, name: str) -> dict[str, str]:
        """Upgrade a secondary to :data:`NEW_VERSION`.

        :raises ActionFailed: it is unknown or the primary.
        """
        with self._lock:
            node = self._must_be_secondary(name, "cannot be upgraded")
            node.version = NEW_VERSION
            return {"node": name, "version": node.version}

    def freeze(self, name: str, duration: float) -> dict[str, Any]:
        """Make a secondary ineligible for ``duration`` seconds.

        :raises ActionFailed: it is unknown or the primary.
        """
        with self._lock:
            node = self._must_be_secondary(name, "cannot be frozen")
            node.ineligible_until = self._clock() + duration
            return {"node": name, "frozen_for": duration}

    def step_down(self, name: str, duration: float) -> dict[str, Any]:
        """Make the primary a secondary that is ineligible for ``duration`` seconds.

        :raises ActionFailed: it is unknown or not the primary.
        """
        with self._lock:
            self._must_be_primary(name)
            self._nodes[name].ineligible_until = self._clock() + duration
            self._primary = None
            self._election_at = self._clock() + ELECTION_DELAY
            return {"node": name, "state": "SECONDARY", "ineligible_for": duration}

    def _elect(self) -> str | None:
        """Return the primary; hold an election if one is due.

        The member that became eligible first is elected, not one that is eligible now.
        """
        if self._primary is None:

            def eligible_at(name: str) -> float:
                return max(self._election_at, self._nodes[name].ineligible_until)

            first = min(self._nodes, key=eligible_at)
            if eligible_at(first) <= self._clock():
                self._primary = first
        return self._primary

    def _is_eligible(self, name: str) -> bool:
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
        """Return the actions of the pack ``mongodb`` for the Python runner."""

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
