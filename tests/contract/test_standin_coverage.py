"""Every recording that was made is a case, or there is a reason why it is none."""

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

STORIES = (
    test_standin_credentials,
    test_standin_filters,
    test_standin_lifecycle,
    test_standin_stream,
)


def told_by(module: ModuleType) -> list[str]:
    """What the tests of a module say they repeat; they are held to it when they run."""
    return [
        number
        for name, test in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "recordings"
        for number in mark.args
    ]


def test_no_recording_is_forgotten() -> None:
    # 317 exchanges, and the session with the command line.
    names = (FOLDER / "names.txt").read_text().split()
    assert len({*names}) == len(names) == 318
    reasons = yaml.safe_load((FOLDER / "not_cases.yaml").read_text())
    assert all(reasons.values())
    found = Counter([*test_standin_replay.REPLAYED, *reasons])
    found.update(number for module in STORIES for number in told_by(module))
    wanted = {name[: 6 if name[:6] in reasons else 5] for name in names}
    assert found.keys() - wanted == set()
    assert wanted - found.keys() == set()
    assert [name for name, count in found.items() if count > 1] == []


def test_every_kept_recording_is_used() -> None:
    kept = load(*(path.stem for path in FOLDER.glob("*.json")))
    told = {number for module in STORIES for number in told_by(module)}
    assert kept.keys() == {*test_standin_replay.REPLAYED} | told
