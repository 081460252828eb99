"""When the relay compares everything, and not only what it does not know."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.client.settings import MistralSettings, St2Settings, Timeouts
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.relay import service
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.loop import Sweeper
from st2actions_mistral.relay.service import Relay
from st2actions_mistral.relay.view import Listed

SETTINGS = RelaySettings(
    site="here",
    resync_interval=0.01,
    reschedule_after=0,
    lost_after=0,
    cancel_orphans=True,
    workers=2,
    field_size_limit_kb=1024,
)


def test_a_comparison_of_everything_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for because something may have been missed, which is still so."""
    asked: list[bool] = []
    # No stream: it would ask for comparisons of its own.
    monkeypatch.setattr(service.Watcher, "run", lambda self: None)
    relay = Relay(St2Settings(), MistralSettings(), SETTINGS, requested=lambda inputs, ids: None)

    def sweep(*, everything: bool) -> int:
        asked.append(everything)
        if len(asked) == 1:
            relay._sweep_now.set()
        if len(asked) == 2:
            raise OutcomeUnknown("GET", "x", "no")
        if len(asked) == 4:
            relay.stop()
        return 0

    monkeypatch.setattr(relay._sweeper, "sweep", sweep)
    monkeypatch.setattr(relay._parents, "resync", lambda: 0)
    running: Any = threading.Thread(target=relay.run)
    running.start()
    running.join(10)
    assert not running.is_alive()
    assert asked == [False, True, True, False]


def _fails(**given: Any) -> int:
    raise OutcomeUnknown("GET", "x", "no")


def _breaks(**given: Any) -> int:
    return 1 // 0


@pytest.mark.parametrize("failure", [_fails, _breaks])
@pytest.mark.parametrize("half", ["_sweeper", "_parents"])
def test_what_fails_in_one_half_of_a_comparison_does_not_keep_the_other_one_from_it(
    monkeypatch: pytest.MonkeyPatch, half: str, failure: Any
) -> None:
    relay = Relay(
        St2Settings(),
        MistralSettings(),
        replace(SETTINGS, resync_interval=30),
        requested=lambda inputs, ids: None,
    )
    asked: list[str] = []
    methods = {"_sweeper": "sweep", "_parents": "resync"}
    for other, method in methods.items():
        monkeypatch.setattr(getattr(relay, other), method, lambda **given: asked.append("fine") or 7)
    monkeypatch.setattr(getattr(relay, half), methods[half], failure)
    assert relay._sweep() == 5
    assert asked == ["fine"]
    told = {"_sweeper": relay.metrics.parents, "_parents": relay.metrics.waiting}[half]
    assert [sample.value for metric in told.collect() for sample in metric.samples] == [7]


def test_a_call_is_not_tried_for_so_long_that_it_keeps_others_from_a_worker() -> None:
    """The options' timeouts is that of an executor."""
    patient = Timeouts(5, 30, 60)
    relay = Relay(
        St2Settings(timeouts=patient),
        MistralSettings(timeouts=patient),
        SETTINGS,
        requested=lambda inputs, ids: None,
    )
    for client in (relay._st2, relay._mistral):
        assert client._api._timeouts == replace(patient, retry_deadline=5)


class Waits:
    """Instead of View and both clients: one action waits for a child."""

    def __init__(self, status: str, given: set[str]) -> None:
        self.status = status
        self.given = given

    def waiting(self) -> dict[str, Any]:
        return {"a": {"id": "a", "created_at": "2026-11-23 04:16:07"}}

    def given_up(self, waiting: Any) -> set[str]:
        return self.given

    def children(self, wanted: Any, *, others: bool = False) -> Listed:
        return Listed({"a": {"id": "c", "status": self.status}}, (), {})

    def statuses(self, ids: Any) -> list[tuple[str, str]]:
        return [(id_, self.status) for id_ in ids]


class Offers:
    """Instead of Delivery: notes what is said of which action."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waited: set[str] = set()
        self.kept: set[str] = set()
        self.ages: dict[str, float | None] = {}

    def keep(self, actions: Any) -> None:
        self.kept = set(actions)

    def offer(self, action: str, *given: Any, **more: Any) -> None:
        self.said.append(f"offer {action}")
        self.ages[action] = more.get("age")
        if more.get("waited"):
            self.waited.add(action)

    def is_well(self, action: str) -> None:
        self.said.append(f"{action} is well")


@pytest.mark.parametrize(
    ("status", "given_up", "said"),
    [
        ("running", set(), "a is well"),
        ("succeeded", set(), "offer a"),
        ("running", {"a"}, "offer a"),
    ],
)
def test_a_child_at_work_ends_what_failed_before(status: str, given_up: set[str], said: str) -> None:
    systems: Any = Waits(status, given_up)
    offers: Any = Offers()
    sweeper = Sweeper(systems, systems, systems, offers, Children(), SETTINGS)
    assert sweeper.sweep() == 1
    assert offers.said == [said]


@pytest.mark.parametrize(("status", "given_up"), [("running", {"a"}), ("succeeded", set())])
def test_what_is_deleted_during_a_comparison_has_waited(status: str, given_up: set[str]) -> None:
    """Else its child would be taken for another Mistral's, and run on."""
    systems: Any = Waits(status, given_up)
    offers: Any = Offers()
    Sweeper(systems, systems, systems, offers, Children(), SETTINGS).sweep()
    assert offers.waited == {"a"}


def test_what_waits_no_more_keeps_its_failures_until_it_is_settled() -> None:
    """Else a child that cannot be cancelled would be tried at each comparison."""
    systems: Any = Waits("running", set())
    offers: Any = Offers()
    children = Children()
    children.note("b", "child of b")
    Sweeper(systems, systems, systems, offers, children, SETTINGS).sweep()
    assert offers.kept == {"a", "b"}


class Childless(Waits):
    """One action waits, and has no child; Mistral's clock is somewhere else."""

    def children(self, wanted: Any, *, others: bool = False) -> Listed:
        return Listed({}, (), {})

    def clock(self) -> datetime:
        return datetime(2026, 11, 23, 4, 17, 7, tzinfo=timezone.utc)


@pytest.mark.parametrize(("reschedule_after", "ages"), [(60, {"a": 60}), (61, {})])
def test_how_old_an_action_is_goes_by_mistrals_clock(reschedule_after: float, ages: Any) -> None:
    systems: Any = Childless("running", set())
    offers: Any = Offers()
    settings = replace(SETTINGS, reschedule_after=reschedule_after)
    Sweeper(systems, systems, systems, offers, Children(), settings).sweep()
    assert offers.ages == ages


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("everything", [True, False])
def test_a_comparison_of_everything_fills_the_gap_before_it(
    monkeypatch: pytest.MonkeyPatch, waits: bool, everything: bool
) -> None:
    systems: Any = Waits("running", set())
    if not waits:
        monkeypatch.setattr(systems, "waiting", dict)
        monkeypatch.setattr(systems, "children", lambda wanted, others: Listed({}, (), {}))
    offers: Any = Offers()
    children = Children()
    children.follow(True)
    Sweeper(systems, systems, systems, offers, children, SETTINGS).sweep(everything=everything)
    children.note("made since then", "x")
    assert children.is_first("made since then", "x") == everything
