"""Test that parents finish with their workflows and workflows are cancelled with their parents.

Neither ``st2.callback`` nor the runner's ``cancel`` helps here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.mistral_bench import Bench, environment, new_bench
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2actions_mistral.cli.main import main
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id

WORKFLOW = {
    "pack": "tests",
    "name": "workflow",
    "runner_type": "mistral-v2",
    "enabled": True,
    "parameters": {"workflow": {"type": "string"}, "task_name": {"type": "string"}},
}
HELLO = "{ref: sandbox.echo, parameters: {value: hello}}"
SLEEP = "{ref: sandbox.sleep, parameters: {seconds: 60}}"
FAIL = "{ref: core.local, parameters: {cmd: exit 3}}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox that rarely resyncs: what is quick here needs no resync."""
    options = "resync_interval = 20\nreschedule_after = 0\nlost_after = 2"
    for made in new_bench(tmp_path_factory.mktemp("parents"), relay_options=options):
        made.stackstorm.register_runner("mistral-v2", starting(made))
        made.stackstorm.register_action(WORKFLOW)
        yield made


def starting(bench: Bench) -> Any:
    """Return a runner that starts the workflow in its parameters, which Mistral knows already."""

    def start(request: RunRequest) -> RunResult:
        execution = request.execution
        id_ = workflow_execution_id(execution["id"])
        name = request.parameters["workflow"]
        try:
            bench.mistral.start_workflow(
                name,
                {},
                execution_id=id_,
                env=environment(bench.sandbox.st2_settings.api_url, execution),
                description=f"{DESCRIPTION}{execution['id']}",
                task_name=request.parameters.get("task_name"),
            )
        except St2MistralError as error:
            return RunResult("failed", {"error": str(error)})
        ref = WorkflowRef("mistral", id_, name)
        return RunResult("running", {"mistral": {"site": "mistral"}}, ref.as_context())

    return start


@pytest.fixture(scope="module")
def eager_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox that often resyncs."""
    options = "resync_interval = 1\nreschedule_after = 0\nlost_after = 2"
    for made in new_bench(tmp_path_factory.mktemp("eager"), relay_options=options):
        made.stackstorm.register_action(WORKFLOW)
        yield made


@pytest.fixture
def eager(eager_bench: Bench) -> Bench:
    """Return the sandbox that often resyncs, with its own runner and a running relay."""
    if eager_bench.sandbox.relay.poll() is not None:
        eager_bench.sandbox.start_relay()
    eager_bench.stackstorm.register_runner("mistral-v2", Runner(starting(eager_bench)))
    return eager_bench


def run(bench: Bench, workflow: str, **parameters: str) -> str:
    """Run a workflow as StackStorm does, and return the id of the parent."""
    parameters = {"workflow": workflow, **parameters}
    return str(bench.st2.create_execution("tests.workflow", parameters)["id"])


def ended(bench: Bench, parent: str, timeout: float = 30) -> dict[str, Any]:
    found: dict[str, Any] = bench.stackstorm.executions.wait(parent, timeout=timeout)
    return found


def children(bench: Bench, parent: str, number: int = 1) -> list[dict[str, Any]]:
    """Wait until that many child executions run, and return them."""

    def all_run() -> list[dict[str, Any]] | None:
        found = [e for e in bench.stackstorm.executions.all() if e.get("parent") == parent]
        return found if [child["status"] for child in found] == ["running"] * number else None

    found: list[dict[str, Any]] = eventually(all_run, f"{number} children run")
    return found


def workflow_of(bench: Bench, parent: str) -> str:
    """Return the id of the workflow execution of a parent, once the parent names it."""

    def named() -> str | None:
        ref = WorkflowRef.of(bench.stackstorm.executions.get(parent)["context"])
        return ref.execution_id if ref else None

    return str(eventually(named, "the parent names its workflow"))


def cancel_in_mistral(bench: Bench, workflow: str) -> None:
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})


def log(bench: Bench) -> str:
    return (bench.sandbox.folder / "relay.log").read_text(encoding="utf-8")


def test_parent_succeeds_with_its_workflow(bench: Bench) -> None:
    name = bench.workbook(
        f"""
        hello: {{action: st2.action, input: {HELLO}, on-success: [each, below, nothing]}}
        each:
          with-items: i in [1, 2]
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% str($.i) %>}}}}
        below: {{workflow: inner}}
        nothing: {{action: std.noop}}
        """,
        more="""
        inner:
          output: {deep: true}
          tasks:
            noop: {action: std.noop}
        """,
    )
    begun = time.monotonic()
    parent = run(bench, name)
    done = ended(bench, parent)
    assert time.monotonic() - begun < 15, "it waited for a resync"
    assert done["status"] == "succeeded"
    result = done["result"]
    assert result["state"] == "SUCCESS"
    assert result["mistral"] == {
        "site": "mistral",
        "workflow_execution_id": workflow_execution_id(parent),
        "workflow_name": name,
    }
    tasks = {task["name"]: task for task in result["tasks"]}
    assert {task["state"] for task in tasks.values()} == {"SUCCESS"}
    mine = {e["id"]: e for e in bench.stackstorm.executions.all() if e.get("parent") == parent}
    assert mine[tasks["hello"]["execution_id"]]["result"]["result"] == {"value": "hello"}
    assert tasks["hello"]["result"]["result"] == {"value": "hello"}
    assert len(tasks["each"]["execution_ids"]) == 2
    assert set(tasks["each"]["execution_ids"]) < mine.keys()
    assert tasks["below"]["result"] == {"deep": True}
    assert bench.mistral.execution_state(tasks["below"]["workflow_execution_id"]) == "SUCCESS"
    assert tasks["nothing"]["result"] is None
    line = f"Finished: StackStorm execution {parent} succeeded"
    eventually(lambda: line in log(bench), "the relay logs it")


def test_child_executions_of_tasks_without_result_are_named(bench: Bench) -> None:
    name = bench.workbook(
        f"""
        late: {{action: st2.action, input: {SLEEP}, timeout: 2, on-error: [quiet, adhoc, each, none]}}
        quiet: {{action: st2.action, input: {HELLO}, keep-result: false}}
        adhoc: {{action: ours, input: {{value: hello}}}}
        each:
          with-items: i in [1, 2]
          keep-result: false
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% str($.i) %>}}}}
        none: {{with-items: "i in <% [] %>", action: st2.action, input: {HELLO}}}
        """,
        extra="""
        actions:
          ours:
            input: [value]
            base: st2.action
            base-input:
              ref: sandbox.echo
              parameters: {value: <% $.value %>}
              st2_context: <% env().get('__actions').get('st2.action').st2_context %>
            output: {said: <% $.result.value %>}
        """,
    )
    parent = run(bench, name)
    tasks = {task["name"]: task for task in ended(bench, parent)["result"]["tasks"]}
    mine = {e["id"]: e for e in bench.stackstorm.executions.all() if e.get("parent") == parent}
    of_task: dict[str, list[str]] = {}
    ids = {task["id"]: task["name"] for task in bench.mistral.tasks(workflow_of(bench, parent))}
    for id_, execution in mine.items():
        task_id = execution["context"]["mistral"]["task_execution_id"]
        of_task.setdefault(ids[task_id], []).append(id_)
    assert (tasks["late"]["state"], tasks["late"]["result"]) == ("ERROR", None)
    assert tasks["quiet"]["result"] is None
    assert tasks["adhoc"]["result"] == {"said": "hello"}
    for task in ("late", "quiet", "adhoc"):
        assert [tasks[task]["execution_id"]] == of_task[task]
    assert sorted(tasks["each"]["execution_ids"]) == sorted(of_task["each"])
    assert (len(of_task["each"]), len(mine)) == (2, 5)
    assert tasks["none"]["result"] == []
    assert "execution_ids" not in tasks["none"]


def test_tasks_of_reverse_workflow_are_in_order(bench: Bench) -> None:
    tasks = {n: f"t{n}: {{action: std.noop, requires: [{f't{n - 1}' if n else ''}]}}" for n in range(9)}
    book = bench.workbook(
        "noop: {action: std.noop}",
        more="back:\n  type: reverse\n  tasks:\n    " + "\n    ".join(tasks.values()),
    )
    done = ended(bench, run(bench, book.replace(".main", ".back"), task_name="t8"))
    assert [task["name"] for task in done["result"]["tasks"]] == [f"t{n}" for n in range(9)]


def test_parent_gets_output_of_its_workflow(bench: Bench) -> None:
    book = bench.workbook(
        "noop: {action: std.noop}",
        more="""
        told:
          output: {answer: <% 6 * 7 %>}
          tasks:
            noop: {action: std.noop}
        """,
    )
    done = ended(bench, run(bench, book.replace(".main", ".told")))
    assert done["result"]["output"] == {"answer": 42}


def test_parent_fails_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"fail: {{action: st2.action, input: {FAIL}}}"))
    done = ended(bench, parent)
    assert done["status"] == "failed"
    assert done["result"]["state"] == "ERROR"
    assert "fail" in done["result"]["mistral"]["state_info"]
    (task,) = done["result"]["tasks"]
    assert (task["name"], task["state"]) == ("fail", "ERROR")
    assert task["result"]["return_code"] == 3
    assert task["state_info"]
    assert bench.stackstorm.executions.get(task["execution_id"])["status"] == "failed"


def test_parent_succeeds_if_error_of_task_is_handled(bench: Bench) -> None:
    tasks = f"""
    fail: {{action: st2.action, input: {FAIL}, on-error: [mend]}}
    mend: {{action: std.noop}}
    """
    done = ended(bench, run(bench, bench.workbook(tasks)))
    assert done["status"] == "succeeded"
    assert [task["state"] for task in done["result"]["tasks"]] == ["ERROR", "SUCCESS"]


def test_result_of_callback_is_kept(bench: Bench) -> None:
    tasks = f"""
    hello: {{action: st2.action, input: {HELLO}, on-success: [call]}}
    call: {{action: st2.callback, input: {{state: ERROR, result: our own}}}}
    """
    parent = run(bench, bench.workbook(tasks))
    done = ended(bench, parent)
    assert (done["status"], done["result"]["output"]) == ("failed", "our own")
    bench.wait(workflow_of(bench, parent))
    time.sleep(2)
    assert bench.stackstorm.executions.get(parent)["result"] == done["result"]
    assert f"Finished: StackStorm execution {parent}" not in log(bench)


def test_parent_is_canceled_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    cancel_in_mistral(bench, workflow_of(bench, parent))
    # Only a resync shows it to the relay.
    assert ended(bench, child["id"])["status"] == "canceled"
    assert ended(bench, parent)["status"] == "canceled"


def test_workflow_is_cancelled_with_its_parent(bench: Bench) -> None:
    begun = time.monotonic()
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    assert time.monotonic() - begun < 15, "it waited for a resync"
    assert ended(bench, parent)["status"] == "canceled"
    run_ = bench.wait(workflow_of(bench, parent))
    assert run_.execution["state"] == "CANCELLED"
    eventually(
        lambda: bench.mistral.tasks(run_.execution["id"])[0]["state"] == "CANCELLED", "the task ends"
    )


def test_paused_workflow_is_cancelled_with_its_parent(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    workflow = workflow_of(bench, parent)
    bench.request("PUT", f"/executions/{workflow}", {"state": "PAUSED"})
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    assert bench.mistral.execution_state(workflow) == "CANCELLED"


def test_sub_workflow_is_cancelled_with_parent(bench: Bench) -> None:
    name = bench.workbook(
        "below: {workflow: inner, input: {env: <% env() %>, evaluate_env: false}}",
        more=f"""
        inner:
          tasks:
            sleep: {{action: st2.action, input: {SLEEP}}}
        """,
    )
    parent = run(bench, name)
    (child,) = children(bench, parent)
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    workflow = workflow_of(bench, parent)
    below = child["context"]["mistral"]["workflow_execution_id"]
    assert below != workflow
    assert bench.mistral.execution_state(workflow) == "CANCELLED"
    assert bench.mistral.execution_state(below) == "CANCELLED"


def nested(bench: Bench) -> tuple[str, str, str]:
    """Run a workflow that runs another one through StackStorm.

    :return: the ids of the outer parent, the inner parent and the child execution of the inner one.
    """
    inner = bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}")
    call = f"{{ref: tests.workflow, parameters: {{workflow: {inner}}}}}"
    outer = run(bench, bench.workbook(f"call: {{action: st2.action, input: {call}}}"))
    (middle,) = children(bench, outer)
    (child,) = children(bench, middle["id"])
    return outer, middle["id"], child["id"]


def test_cancel_of_outer_parent_reaches_everything(bench: Bench) -> None:
    outer, middle, child = nested(bench)
    assert bench.st2.cancel(outer)
    for execution in (child, middle, outer):
        assert ended(bench, execution)["status"] == "canceled"
    assert bench.mistral.execution_state(workflow_of(bench, middle)) == "CANCELLED"
    assert bench.mistral.execution_state(workflow_of(bench, outer)) == "CANCELLED"


@pytest.mark.parametrize("where", ["StackStorm", "Mistral"])
def test_cancel_of_inner_workflow_reaches_everything(bench: Bench, where: str) -> None:
    outer, middle, child = nested(bench)
    if where == "StackStorm":
        assert bench.st2.cancel(middle)
    else:
        cancel_in_mistral(bench, workflow_of(bench, middle))
    for execution in (child, middle, outer):
        assert ended(bench, execution)["status"] == "canceled"
    done = bench.wait(workflow_of(bench, outer))
    assert done.tasks["call"]["state"] == "CANCELLED"
    assert bench.mistral.execution_state(workflow_of(bench, middle)) == "CANCELLED"


def test_result_of_nested_workflow_contains_its_output(bench: Bench) -> None:
    inner = bench.workbook(f"hello: {{action: st2.action, input: {HELLO}}}")
    call = f"{{ref: tests.workflow, parameters: {{workflow: {inner}}}}}"
    outer = run(bench, bench.workbook(f"call: {{action: st2.action, input: {call}}}"))
    (task,) = ended(bench, outer)["result"]["tasks"]
    assert task["result"]["state"] == "SUCCESS"
    assert task["result"]["tasks"][0]["result"]["result"] == {"value": "hello"}


def test_large_results_of_tasks_are_truncated(bench: Bench) -> None:
    large = "{ref: core.local, parameters: {cmd: 'head -c 300000 /dev/zero | tr \"\\\\0\" x'}}"
    parent = run(bench, bench.workbook(f"large: {{action: st2.action, input: {large}}}"))
    done = ended(bench, parent)
    assert done["status"] == "succeeded", done
    (task,) = done["result"]["tasks"]
    assert "300000 bytes, truncated" in task["result"]["stdout"]
    assert task["result"]["return_code"] == 0
    assert task["execution_id"] == task["result"]["st2"]["execution_id"]


def test_parent_of_deleted_workflow_fails(eager: Bench) -> None:
    parent = run(eager, eager.workbook("wait: {action: std.async_noop}"))
    other = run(eager, eager.workbook("wait: {action: std.async_noop}"))
    for id_ in (parent, other):
        workflow = workflow_of(eager, id_)
        url = f"{eager.mistral_url}/executions/{workflow}?force=true"
        requests.delete(url, timeout=30).raise_for_status()
    begun = time.monotonic()
    assert eager.st2.cancel(other)
    done = ended(eager, parent)
    assert done["status"] == "failed"
    assert "does not know the workflow execution" in done["result"]["mistral"]["state_info"]
    assert time.monotonic() - begun > 1
    assert ended(eager, other)["status"] == "canceled"


def test_relay_catches_up_after_it_was_stopped(eager: Bench) -> None:
    eager.sandbox.relay.stop()
    done = run(eager, eager.workbook("noop: {action: std.noop}"))
    cancelled = run(eager, eager.workbook("wait: {action: std.async_noop}"))
    eager.wait(workflow_of(eager, done))
    workflow = workflow_of(eager, cancelled)
    assert eager.st2.cancel(cancelled)
    assert ended(eager, cancelled)["status"] == "canceled"
    assert eager.stackstorm.executions.get(done)["status"] == "running"
    assert eager.mistral.execution_state(workflow) == "RUNNING"
    eager.sandbox.relay.start()
    assert ended(eager, done)["status"] == "succeeded"
    assert eager.wait(workflow).execution["state"] == "CANCELLED"


def test_cancel_of_parent_waits_for_stopped_mistral(eager: Bench) -> None:
    parent = run(eager, eager.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(eager, parent)
    workflow = workflow_of(eager, parent)
    eager.sandbox.mistral_server.stop()
    assert eager.st2.cancel(parent)
    time.sleep(4)
    # Longer than lost_after, which does not count while Mistral does not respond.
    assert eager.stackstorm.executions.get(child["id"])["status"] == "running"
    eager.sandbox.mistral_server.start()
    assert eager.wait(workflow).execution["state"] == "CANCELLED"
    assert ended(eager, child["id"])["status"] == "canceled"


def test_canceling_parent_is_canceled_by_the_relay(eager: Bench) -> None:
    eager.stackstorm.register_runner(
        "mistral-v2", Runner(starting(eager), cancel=lambda request: RunResult("canceling", {"a": 1}))
    )
    parent = run(eager, eager.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    children(eager, parent)
    assert eager.st2.cancel(parent)
    done = ended(eager, parent)
    assert done["status"] == "canceled"
    # Only here StackStorm stores the relay's result.
    assert done["result"]["state"] == "CANCELLED"


def test_workflow_with_unknown_start_is_cancelled(eager: Bench) -> None:
    """The runner did not get Mistral's answer, and its result says so."""
    start = starting(eager)

    def run_and_lose(request: RunRequest) -> RunResult:
        assert start(request).status == "running"
        return RunResult("failed", {"error": "x", "mistral": {"start": "unknown"}})

    eager.stackstorm.register_runner("mistral-v2", Runner(run_and_lose))
    parent = run(eager, eager.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    assert ended(eager, parent)["status"] == "failed"
    assert eager.wait(workflow_execution_id(parent)).execution["state"] == "CANCELLED"


def test_rerun_workflow_reports_to_its_new_parent(
    eager: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its old parent is canceled, which must not cancel the workflow."""
    name = eager.workbook(
        """
        first: {action: std.noop, fail-on: "<% not env().get(go, false) %>", on-success: [then]}
        then: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 4}}}
        """
    )
    # So that the old parent does not learn of the failure.
    eager.sandbox.relay.stop()
    old = run(eager, name)
    workflow = workflow_of(eager, old)
    assert eager.wait(workflow).execution["state"] == "ERROR"
    assert eager.st2.cancel(old)
    assert ended(eager, old)["status"] == "canceled"

    def run_again(request: RunRequest) -> RunResult:
        env = environment(request.api_url, request.execution)
        (task,) = eager.mistral.tasks(workflow)
        eager.mistral.rerun_task(task["id"], reset=True, env={**env, "go": True})
        return RunResult("running", {"a": 1}, WorkflowRef("mistral", workflow, name).as_context())

    eager.stackstorm.register_runner("mistral-v2", Runner(run_again))
    new = run(eager, name)
    children(eager, new)
    config_file = ["--config-file", eager.sandbox.relay.args[-1]]
    assert main(["pause", old, *config_file]) == 1
    assert f"its workflow now belongs to execution {new}. Run: " in capsys.readouterr().err
    assert [main([word, new, *config_file]) for word in ("pause", "resume")] == [0, 0]
    eager.sandbox.relay.start()
    done = ended(eager, new)
    assert done["status"] == "succeeded", done
    assert done["result"]["mistral"]["workflow_execution_id"] == workflow
    assert [task["state"] for task in done["result"]["tasks"]] == ["SUCCESS", "SUCCESS"]


def test_execution_that_only_claims_a_workflow_does_not_count(eager: Bench) -> None:
    """It gets no output, cancels nothing, and keeps nothing running."""
    victim = run(eager, eager.workbook("wait: {action: std.async_noop}"))
    workflow = workflow_of(eager, victim)

    def claim(request: RunRequest) -> RunResult:
        return RunResult("running", {"a": 1}, WorkflowRef("mistral", workflow, "x").as_context())

    eager.stackstorm.register_runner("mistral-v2", Runner(claim))
    claimant, other = run(eager, "x"), run(eager, "x")
    assert workflow_of(eager, claimant) == workflow_of(eager, other) == workflow
    assert eager.st2.cancel(claimant)
    time.sleep(3)
    assert eager.mistral.execution_state(workflow) == "RUNNING"
    # The runner does not cancel it.
    assert eager.st2.cancel(victim)
    assert eager.wait(workflow).execution["state"] == "CANCELLED"
    assert ended(eager, victim)["status"] == "canceled"
    time.sleep(2)
    assert eager.stackstorm.executions.get(other)["status"] == "running"
