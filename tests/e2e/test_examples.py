"""Every example, started by a StackStorm execution."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from support.mistral_bench import Bench, put_key
from support.waiting import TIMEOUT

from st2_mistral_sandbox import SandboxError, example_run, examples


class Recorder:
    """Records the executions that a run reports."""

    def __init__(self) -> None:
        self.executions: list[tuple[str, str]] = []

    def step(self, text: str) -> None:
        pass

    def execution(self, ref: str, status: str) -> None:
        self.executions.append((ref, status))


def run(bench: Bench, name: str, **parameters: Any) -> tuple[example_run.Outcome, Recorder]:
    recorder = Recorder()
    outcome = example_run.run_in(
        bench.sandbox, examples.find(name), parameters, timeout=TIMEOUT, progress=recorder
    )
    return outcome, recorder


def output(outcome: example_run.Outcome) -> Any:
    return outcome.parent["result"]["output"]


def refs(outcome: example_run.Outcome) -> list[str]:
    return [child["action"]["ref"] for child in outcome.children]


def test_mistral_basic(bench: Bench) -> None:
    outcome, recorder = run(bench, "mistral-basic", cmd="date +%F")
    assert outcome.parent["status"] == "succeeded"
    assert output(outcome) == date.today().isoformat()
    assert [row[1:4] for row in outcome.rows()] == [
        ("examples.mistral-basic", "st2admin", "succeeded"),
        ("core.local", "st2admin", "succeeded"),
    ]
    assert ("core.local", "running") in recorder.executions
    assert recorder.executions[-1] == ("examples.mistral-basic", "succeeded")


def test_mistral_basic_reports_a_failed_command(bench: Bench) -> None:
    outcome, _ = run(bench, "mistral-basic", cmd="echo oops >&2; exit 3")
    assert [row[3] for row in outcome.rows()] == ["failed", "failed"]


def test_mongodb_rolling_upgrade(bench: Bench) -> None:
    replica_set = bench.stackstorm.replica_set
    assert replica_set.primary == "mongo1"
    outcome, _ = run(bench, "mongodb-rolling-upgrade", duration=2)
    assert outcome.parent["status"] == "succeeded", outcome.parent["result"]
    assert output(outcome) == "Replica set upgraded. Promoted mongo2 to primary."
    assert refs(outcome) == [
        "mongodb.rs-check-status",
        "mongodb.elect-primary",
        "mongodb.run-update-xyz",
        "mongodb.freeze",
        "mongodb.step-down",
        "mongodb.rs-check-status",
        "mongodb.run-update-xyz",
        "mongodb.run-update-xyz",
    ]
    assert replica_set.primary == "mongo2"
    assert {member["version"] for member in replica_set.members()} == {"7.0"}
    # The primary has changed: the same upgrade fails at its first step.
    failed, _ = run(bench, "mongodb-rolling-upgrade", duration=2)
    assert failed.parent["status"] == "failed"
    assert refs(failed) == ["mongodb.rs-check-status"]


def test_with_items(bench: Bench) -> None:
    outcome, _ = run(bench, "with-items", names=["Ada", "Grace"])
    assert output(outcome) == ["Hello, Ada!", "Hello, Grace!"]


def test_join(bench: Bench) -> None:
    outcome, _ = run(bench, "join")
    assert re.fullmatch(r"It is \d{4}-\d\d-\d\d on \S+\.", output(outcome))
    assert len(outcome.children) == 2


def test_retry(bench: Bench) -> None:
    outcome, _ = run(bench, "retry", seconds=2)
    statuses = [child["status"] for child in outcome.children]
    assert statuses.count("failed") >= 1
    assert statuses[-1] == "succeeded"
    assert outcome.parent["status"] == "succeeded"


def test_sub_workflow(bench: Bench) -> None:
    outcome, _ = run(bench, "sub-workflow")
    assert outcome.parent["status"] == "succeeded"
    # Executions of the sub-workflow have the same parent.
    assert refs(outcome) == ["core.local"]


def test_error_handling(bench: Bench) -> None:
    outcome, _ = run(bench, "error-handling")
    assert outcome.parent["status"] == "succeeded"
    assert [child["status"] for child in outcome.children] == ["failed", "succeeded"]
    assert output(outcome)["failed_execution"]["execution_id"] == outcome.children[0]["id"]


def test_functions(bench: Bench) -> None:
    outcome, _ = run(bench, "functions")
    assert outcome.parent["status"] == "succeeded", outcome.parent["result"]
    report = {"needs_upgrade": True, "next": "1.5.0", "hosts": "web1, web2", "greeting": "Hello"}
    assert output(outcome) == report
    put_key(bench, "greeting", "Ahoy")
    outcome, _ = run(bench, "functions", wanted="1.4.2", key="system.greeting")
    assert output(outcome) == {**report, "needs_upgrade": False, "greeting": "Ahoy"}


def test_without_callback(bench: Bench) -> None:
    outcome, _ = run(bench, "without-callback", person="Ada")
    assert outcome.parent["status"] == "succeeded"
    assert output(outcome) == {"greeting": "Hello, Ada!", "today": date.today().isoformat()}
    tasks = {task["name"]: task for task in outcome.parent["result"]["tasks"]}
    assert {task["execution_id"] for task in tasks.values()} == {c["id"] for c in outcome.children}
    assert tasks["greet"]["result"]["stdout"] == "Hello, Ada!"


def test_every_example_has_a_test() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals()}
    names = {ref.removeprefix("examples.") for ref in examples.load()}
    assert names <= tests


def test_unknown_example_is_an_error_that_lists_all_names() -> None:
    with pytest.raises(SandboxError, match=r"unknown example 'nope'.*error-handling, functions, join"):
        examples.find("nope")
