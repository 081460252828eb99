"""Every recording is replayed by a test, or listed with a reason why not."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import yaml
from contract import (
    test_standin_credentials,
    test_standin_filters,
    test_standin_lifecycle,
    test_standin_replay,
    test_standin_stream,
)
from support.contract.recordings import FOLDER, load

SEQUENCES = (
    test_standin_credentials,
    test_standin_filters,
    test_standin_lifecycle,
    test_standin_stream,
)


def replayed_by(module: ModuleType) -> list[str]:
    """Return the recordings that the markers of a module's tests name."""
    return [
        recording
        for name, test in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "recordings"
        for recording in mark.args
    ]


def test_every_recording_is_replayed_or_has_a_reason() -> None:
    # 317 exchanges, and the session of the command line.
    names = (FOLDER / "names.txt").read_text().split()
    assert len({*names}) == len(names) == 318
    reasons = yaml.safe_load((FOLDER / "not_cases.yaml").read_text())
    assert all(reasons.values())
    found = Counter([*test_standin_replay.REPLAYED, *reasons])
    found.update(recording for module in SEQUENCES for recording in replayed_by(module))
    assert found.keys() == set(names)
    assert [name for name, count in found.items() if count > 1] == []


def test_every_stored_recording_is_used() -> None:
    stored = load(*(path.stem for path in FOLDER.glob("*.json")))
    replayed = {recording for module in SEQUENCES for recording in replayed_by(module)}
    assert stored.keys() == {*test_standin_replay.REPLAYED} | replayed
