"""Clocks that differ, time zones, and two Mistrals with one StackStorm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from support.mistral_bench import Bench, new_bench
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm, timestamps
from st2actions_mistral.client.settings import Credential, St2Settings

SAY = "say: {action: st2.action, input: {ref: core.local, parameters: {cmd: echo hello}}}"

bench_in = contextmanager(new_bench)


@pytest.mark.parametrize("apart", [-timedelta(hours=1), timedelta(hours=1)], ids=["behind", "ahead"])
def test_stackstorms_clock_differs_by_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: timedelta
) -> None:
    """No action is rescheduled or declared lost, and earlier results are found."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + apart

    monkeypatch.setattr(timestamps, "datetime", Shifted)
    options = "resync_interval = 0.5\nreschedule_after = 3\nlost_after = 4"
    with bench_in(tmp_path, relay_options=options) as bench:
        workflow = bench.start(bench.workbook(SAY))
        assert bench.wait(workflow).result("say")["stdout"] == "hello"
        child = bench.stackstorm.executions.all()[0]
        off = datetime.fromisoformat(child["start_timestamp"].replace("Z", "+00:00"))
        assert abs(off - apart - datetime.now(timezone.utc)) < timedelta(minutes=5)

        bench.sandbox.relay.stop()
        workflow = bench.start(bench.workbook(SAY))
        eventually(lambda: len(bench.stackstorm.executions.all()) == 2, "the execution is created")
        bench.sandbox.relay.start()
        assert bench.wait(workflow).result("say")["stdout"] == "hello"

        long = "say: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 6}}}"
        assert bench.run(bench.workbook(long)).execution["state"] == "SUCCESS"
        assert len(bench.stackstorm.executions.all()) == 3
        said = "\n".join(bench.sandbox.relay.tail(10_000))
        assert "Rescheduled" not in said
        assert "Closed" not in said


@pytest.mark.parametrize("zone", ["America/St_Johns", "Pacific/Kiritimati"])
def test_local_time_zone_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Mistral and the relay run in a zone that is hours from UTC."""
    monkeypatch.setitem(os.environ, "TZ", zone)
    options = "resync_interval = 0.5\nreschedule_after = 3\nlost_after = 4"
    with bench_in(tmp_path, relay_options=options) as bench:
        long = "say: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 6}}}"
        assert bench.run(bench.workbook(long)).execution["state"] == "SUCCESS"
        assert len(bench.stackstorm.executions.all()) == 1


def sandbox_of(stackstorm: StackStorm, folder: Path, site: str) -> Sandbox:
    return Sandbox(
        folder,
        st2=St2Settings(
            api_url=stackstorm.api_url,
            credential=Credential(api_key=stackstorm.create_api_key()),
        ),
        options=f"site = {site}",
        relay_options="resync_interval = 0.5\nreschedule_after = 3\nlost_after = 4",
    )


@pytest.fixture
def both(tmp_path: Path) -> Iterator[list[Bench]]:
    """Start two Mistrals with a relay each, on one StackStorm."""
    with (
        StackStorm() as stackstorm,
        sandbox_of(stackstorm, tmp_path / "east", "east") as east,
        sandbox_of(stackstorm, tmp_path / "west", "west") as west,
    ):
        for sandbox in (east, west):
            sandbox.stackstorm = stackstorm
        yield [Bench(east), Bench(west)]


def test_two_mistrals_share_a_stackstorm(both: list[Bench]) -> None:
    tasks = """
    each:
      with-items: i in <% range(10) %>
      action: st2.action
      input: {ref: sandbox.sleep, parameters: {seconds: 6}}
    """
    started = [(bench, bench.start(bench.workbook(tasks))) for bench in both]
    runs = [bench.wait(id_) for bench, id_ in started]
    assert [run.execution["state"] for run in runs] == ["SUCCESS", "SUCCESS"]
    children: list[dict[str, Any]] = both[0].stackstorm.executions.all()
    assert len(children) == 20
    assert {child["status"] for child in children} == {"succeeded"}
    for bench, run, site in zip(both, runs, ("east", "west"), strict=True):
        ids = {action["id"] for action in run.actions}
        sites = {
            child["context"]["mistral"]["site"]
            for child in children
            if child["context"]["mistral"]["action_execution_id"] in ids
        }
        assert sites == {site}
        assert "Completed" in "\n".join(bench.sandbox.relay.tail(10_000))
