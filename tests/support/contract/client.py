"""Repeats recordings on executions of its own, and compares."""

from __future__ import annotations

from collections.abc import Callable

import requests

from support.contract.recordings import Fill, Recording, assert_same, filled, send
from support.contract.target import Target


class Client:
    """``replayed`` collects the numbers of the recordings that were repeated."""

    def __init__(self, target: Target, recordings: dict[str, Recording], fill: Fill) -> None:
        self.target, self.recordings = target, recordings
        self.fill = dict(fill)
        self.replayed: set[str] = set()

    def send(self, name: str, execution_id: str = "") -> requests.Response:
        """Repeat recording ``name``, on the execution if its path names one."""
        recording = self.recordings[name]
        if execution_id:
            recorded_id = recording["request"]["path"].split("/")[3].partition("?")[0]
            self.fill[recorded_id] = execution_id
        self.replayed.add(name)
        return send(self.target, recording, self.fill)

    def expected(self, name: str) -> Recording:
        return filled(self.recordings[name], self.fill)

    def same(
        self, name: str, execution_id: str = "", *ignored: str, totals: bool = True
    ) -> requests.Response:
        """Repeat recording ``name`` and expect its answer."""
        answer = self.send(name, execution_id)
        assert_same(self.target, answer, self.expected(name), *ignored, totals=totals)
        return answer


NewClient = Callable[[dict[str, Recording]], Client]
