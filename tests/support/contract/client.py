"""Replay recordings with executions of the test, and compare the responses."""

from __future__ import annotations

from collections.abc import Callable

import requests

from support.contract.recordings import Fill, Recording, assert_same, filled, send
from support.contract.target import Target


class Client:
    """A client that replays recordings.

    :ivar replayed: the names of the recordings that were replayed.
    """

    def __init__(self, target: Target, recordings: dict[str, Recording], fill: Fill) -> None:
        self.target, self.recordings = target, recordings
        self.fill = dict(fill)
        self.replayed: set[str] = set()

    def send(self, name: str, execution_id: str = "") -> requests.Response:
        """Replay a recording, with an execution id in its path if one is given."""
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
        """Replay a recording and check that the response is the recorded one."""
        response = self.send(name, execution_id)
        assert_same(self.target, response, self.expected(name), *ignored, totals=totals)
        return response


NewClient = Callable[[dict[str, Recording]], Client]
