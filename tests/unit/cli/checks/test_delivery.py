"""The checks that need both systems, with stand-ins for them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.relay import SETTINGS, Systems, action, child_of

from st2actions_mistral.cli.checks import delivery
from st2actions_mistral.cli.checks.finding import CheckFailed


@pytest.fixture
def systems() -> Systems:
    return Systems()


def clocks(systems: Systems, system: str, apart: float) -> str:
    wrong = systems.st2 if system == "StackStorm" else systems.mistral
    wrong.time = datetime.now(timezone.utc) + timedelta(seconds=apart)
    return delivery.clocks(systems.st2, systems.mistral)


def undelivered(systems: Systems, sleep: Any = lambda _: None) -> str:
    return delivery.undelivered_results(systems.st2, systems.clients, SETTINGS, sleep)


@pytest.mark.parametrize("system", ["StackStorm", "Mistral"])
@pytest.mark.parametrize("apart", [-30, 0, 30])
def test_clocks_that_agree_pass(systems: Systems, system: str, apart: float) -> None:
    assert "agree" in clocks(systems, system, apart)


@pytest.mark.parametrize("system", ["StackStorm", "Mistral"])
@pytest.mark.parametrize("apart", [-90, 90])
def test_wrong_clock_is_named(systems: Systems, system: str, apart: float) -> None:
    with pytest.raises(CheckFailed, match=f"{system}'s clock differs"):
        clocks(systems, system, apart)


def test_no_pending_action_says_how_to_test_delivery(systems: Systems) -> None:
    assert undelivered(systems) == "no pending actions; use --probe to test delivery"


def test_pending_action_without_a_result_passes(systems: Systems) -> None:
    systems.mistral.add_action(action())
    systems.st2.add(child_of("a", "running"))
    pauses: list[float] = []
    assert undelivered(systems, pauses.append) == "1 actions pending, no undelivered results"
    assert pauses == []


def test_result_that_is_delivered_meanwhile_passes(systems: Systems) -> None:
    systems.mistral.add_action(action(), action("b"))
    systems.st2.add(child_of("a", "succeeded"), child_of("b", "running"))

    def deliver(_: float) -> None:
        systems.mistral.complete_action("a", "SUCCESS", {})

    assert "no undelivered results" in undelivered(systems, deliver)


def test_undelivered_result_is_named(systems: Systems) -> None:
    systems.mistral.add_action(action(), action("b"))
    systems.st2.add(child_of("a", "running"), child_of("b", "failed"))
    with pytest.raises(CheckFailed, match=r"1 results are .* action execution b"):
        undelivered(systems)
