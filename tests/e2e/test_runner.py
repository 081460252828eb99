"""The runner with a real Mistral. The parents are executions of the StackStorm stand-in."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.mistral_bench import Bench, WithoutNative, new_bench
from support.waiting import eventually

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, InputError, NotSent
from st2actions_mistral.model import states
from st2actions_mistral.model.links import reports_to, workflow_execution_id
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner import control
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.request import Rerun, WorkflowRequest
from st2actions_mistral.runner.starting import Started, Starter, failure

BASIC = """
version: '2.0'
name: {name}
workflows:
  main:
    input: [cmd]
    output:
      said: <% task(run).result.stdout %>
    tasks:
      run:
        action: core.local
        input: {{cmd: <% $.cmd %>}}
"""


def action(ref: str) -> St2Action | None:
    """Return StackStorm's core.local or core.noop."""
    known: dict[str, Any] = {"core.local": {"cmd": {"required": True}}, "core.noop": {}}
    return St2Action(known[ref]) if ref in known else None


@pytest.fixture
def starter(bench: Bench) -> Starter:
    return Starter(bench.mistral, ActionCatalogue(action, bench.mistral), site="mistral")


@pytest.fixture(params=[ActionCatalogue, WithoutNative], ids=["native", "st2.action"])
def starter_of_both(bench: Bench, request: pytest.FixtureRequest) -> Starter:
    """Return a starter for a Mistral with native actions, and one for a Mistral without."""
    return Starter(bench.mistral, request.param(action, bench.mistral), site="mistral")


@pytest.fixture
def wanted(bench: Bench, tmp_path: Path) -> WorkflowRequest:
    """Return a request with a new parent and a new action name."""
    parent = bench.parent()
    ref = f"tests.r{parent['id']}"
    path = tmp_path / "workbook.yaml"
    path.write_text(BASIC.format(name=ref))
    return WorkflowRequest(parent["id"], ref, path, {"cmd": "echo hello"}, user="stanley")


def rewrite(request: WorkflowRequest, text: str) -> None:
    request.entry_point.write_text(text)


def updated_at(bench: Bench, request: WorkflowRequest) -> str:
    return str(bench.get(f"/workbooks/{request.ref}").get("updated_at"))


def test_start_runs_a_workflow_for_an_execution(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    started = starter.start(wanted)
    assert started.workflow.execution_id == workflow_execution_id(wanted.execution_id)
    assert started.result()["mistral"] == {
        "site": "mistral",
        "workflow_execution_id": started.workflow.execution_id,
        "workflow_name": f"{wanted.ref}.main",
    }
    run = bench.wait(started.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS"
    assert "hello" in str(run.execution["output"])
    [action] = run.actions
    [child] = bench.children_of(action["id"])
    assert child["parent"] == wanted.execution_id
    assert run.execution["description"] == f"StackStorm execution {wanted.execution_id}"


NESTED = """
version: '2.0'
name: {name}
workflows:
  main:
    tasks:
      call: {{workflow: sub word="hello"}}
      each: {{workflow: sub, with-items: 'i in [1, 2]', input: {{word: <% $.i %>}}}}
  sub:
    input: [word]
    tasks:
      say: {{action: core.local, input: {{cmd: echo <% $.word %>}}}}
      written: {{action: st2.action ref="core.noop"}}
"""


def test_executions_of_a_sub_workflow_have_the_same_parent(
    bench: Bench, starter_of_both: Starter, wanted: WorkflowRequest
) -> None:
    rewrite(wanted, NESTED.format(name=wanted.ref))
    started = starter_of_both.start(replace(wanted, inputs={}, workflow="main"))
    run = bench.wait(started.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    children = [c for c in bench.stackstorm.executions.all() if c.get("parent") == wanted.execution_id]
    assert (
        sorted(child["action"]["ref"] for child in children) == ["core.local"] * 3 + ["core.noop"] * 3
    )
    assert {child["status"] for child in children} == {"succeeded"}


def test_skip_notify_does_not_change_the_published_definition(
    bench: Bench, starter_of_both: Starter, wanted: WorkflowRequest
) -> None:
    starter = starter_of_both
    # Otherwise two concurrent runs would overwrite each other's definition.
    rewrite(wanted, NESTED.format(name=wanted.ref))
    starter.start(replace(wanted, inputs={}, workflow="main"))
    published = updated_at(bench, wanted), bench.get(f"/workbooks/{wanted.ref}")["definition"]
    quiet = replace(
        wanted, execution_id=bench.parent()["id"], inputs={}, workflow="main", skip_notify=["say"]
    )
    started = starter.start(replace(quiet, notify={"on-complete": {"routes": ["nobody"]}}))
    assert (updated_at(bench, wanted), bench.get(f"/workbooks/{wanted.ref}")["definition"]) == published
    assert bench.wait(started.workflow.execution_id).execution["state"] == "SUCCESS"
    notified = {
        child["action"]["ref"]: "notify" in child["liveaction"]
        for child in bench.stackstorm.executions.all()
        if child.get("parent") == quiet.execution_id
    }
    assert notified == {"core.local": False, "core.noop": True}


@pytest.mark.parametrize("becomes", ["removed", "replaced"])
def test_a_removed_or_replaced_workflow_is_published_again(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, becomes: str
) -> None:
    rewrite(wanted, NESTED.format(name=wanted.ref))
    wanted = replace(wanted, inputs={}, workflow="main")
    bench.wait(starter.start(wanted).workflow.execution_id)
    if becomes == "removed":
        bench.request("DELETE", f"/workflows/{wanted.ref}.sub")
    else:
        other = (
            f"version: '2.0'\n{wanted.ref}.sub: {{input: [word], tasks: {{a: {{action: std.fail}}}}}}\n"
        )
        bench.mistral.save_definition(other, "workflow")
    again = starter.start(replace(wanted, execution_id=bench.parent()["id"]))
    run = bench.wait(again.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]


def test_concurrent_starts_start_one_workflow(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    found: list[Started] = []
    threads = [threading.Thread(target=lambda: found.append(starter.start(wanted))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert starter.start(wanted) == found[0]
    run = bench.wait(found[0].workflow.execution_id)
    assert len(run.actions) == 1


def test_a_foreign_workflow_with_the_same_id_is_rejected_and_unchanged(
    bench: Bench, wanted: WorkflowRequest
) -> None:
    starter = Starter(
        bench.mistral, ActionCatalogue(action, bench.mistral), site="mistral", context_key="a key"
    )
    first = replace(wanted, execution_id=bench.parent()["id"])
    assert starter.start(first) == starter.start(first)
    for workflow in (bench.workbook("wait: {action: std.async_noop}"), f"{wanted.ref}.main"):
        request = replace(wanted, execution_id=bench.parent()["id"])
        taken = workflow_execution_id(request.execution_id)
        inputs = {"cmd": "sleep 60"} if workflow.startswith(wanted.ref) else {}
        description = f"StackStorm execution {request.execution_id}"
        bench.mistral.start_workflow(workflow, inputs, execution_id=taken, description=description)
        with pytest.raises(InputError, match="this execution did not start"):
            starter.start(request)
        assert bench.mistral.execution_state(taken) == states.RUNNING


def test_definition_is_published_only_if_it_changed(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    starter.start(wanted)
    first = bench.get(f"/workbooks/{wanted.ref}")
    starter.start(replace(wanted, execution_id=bench.parent()["id"]))
    assert bench.get(f"/workbooks/{wanted.ref}") == first
    rewrite(wanted, wanted.entry_point.read_text().replace("said:", "told:"))
    started = starter.start(replace(wanted, execution_id=bench.parent()["id"]))
    assert "told" in str(bench.wait(started.workflow.execution_id).execution["output"])


def test_a_workbook_becomes_a_workflow_and_back(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    workbook = wanted.entry_point.read_text()
    workflow = (
        f"version: '2.0'\n{wanted.ref}:\n  input: [cmd]\n  tasks:\n    only: {{action: std.noop}}\n"
    )
    names = []
    for text in (workbook, workflow, workbook.replace("said:", "told:"), workflow):
        rewrite(wanted, text)
        started = starter.start(replace(wanted, execution_id=bench.parent()["id"]))
        names.append(started.workflow.workflow_name)
        run = bench.wait(started.workflow.execution_id)
        assert run.execution["workflow_name"] == names[-1]
        assert list(run.tasks) == (["only"] if text is workflow else ["run"])
    assert names == [f"{wanted.ref}.main", wanted.ref] * 2


def test_a_reverse_workflow_runs_its_target_and_the_required_tasks(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    rewrite(
        wanted,
        f"version: '2.0'\n{wanted.ref}:\n  type: reverse\n  tasks:\n"
        "    one: {action: std.noop}\n    two: {action: std.noop, requires: [one]}\n"
        "    three: {action: std.noop}\n",
    )
    started = starter.start(replace(wanted, inputs={}, task_name="two"))
    assert set(bench.wait(started.workflow.execution_id).tasks) == {"one", "two"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("action: core.local", "actoin: core.local", r"line \d+: .*'actoin' was unexpected"),
        ("tasks:", "tasks:\n      zero: {action: std.noop, on-success: nope}", r"line \d+: .*'nope'"),
        ("<% task(run).result.stdout %>", "<% task(run. %>", "Parse error"),
        ("  main:", "  main: {", r"is not valid YAML: line \d+"),
    ],
)
def test_an_invalid_definition_is_rejected(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, old: str, new: str, words: str
) -> None:
    rewrite(wanted, wanted.entry_point.read_text().replace(old, new))
    with pytest.raises(InputError, match=words) as caught:
        starter.start(wanted)
    assert "Failed validating" not in str(caught.value)
    assert bench.mistral.get_execution(workflow_execution_id(wanted.execution_id)) is None


def test_a_missing_file_is_named(starter: Starter, wanted: WorkflowRequest) -> None:
    wanted.entry_point.unlink()
    with pytest.raises(InputError, match=r"workbook\.yaml cannot be read"):
        starter.start(wanted)


def test_a_workflow_that_is_removed_before_the_start_is_published_once_more(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Removed before the first attempt of one start, and before both attempts of another.
    start, removals = bench.mistral.start_workflow, iter([True, False, True, True])

    def removed(*args: Any, **more: Any) -> Any:
        if next(removals):
            bench.request("DELETE", f"/workflows/{wanted.ref}.main")
        return start(*args, **more)

    monkeypatch.setattr(bench.mistral, "start_workflow", removed)
    started = starter.start(wanted)
    assert bench.wait(started.workflow.execution_id).execution["state"] == "SUCCESS"
    other = replace(wanted, execution_id=bench.parent()["id"])
    with pytest.raises(Answered, match=f"no workflow {wanted.ref}.main") as caught:
        starter.start(other)
    assert failure(caught.value, other.execution_id)["status"] == 404


def test_start_survives_a_restart_of_mistral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    for own in new_bench(folder, relay_options="resync_interval = 1"):
        path = tmp_path / "workbook.yaml"
        path.write_text(BASIC.format(name="tests.restarted"))
        request = WorkflowRequest(own.parent()["id"], "tests.restarted", path, {"cmd": "echo hello"})
        start = own.mistral.start_workflow

        def killed(*args: Any, start: Any = start, own: Bench = own, **more: Any) -> Any:
            own.sandbox.mistral_server.stop()
            back = threading.Thread(target=own.sandbox.mistral_server.start)
            back.start()
            try:
                return start(*args, **more)
            finally:
                back.join()

        monkeypatch.setattr(own.mistral, "start_workflow", killed)
        starter = Starter(own.mistral, ActionCatalogue(action, own.mistral), site="mistral")
        run = own.wait(starter.start(request).workflow.execution_id)
        assert run.execution["state"] == "SUCCESS"
        assert len(run.actions) == 1


def test_start_raises_not_sent_if_mistral_is_down(bench: Bench, wanted: WorkflowRequest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v2"
        down = MistralClient(MistralSettings(url, timeouts=Timeouts(1, 1, 0.2)))
        with pytest.raises(NotSent) as caught:
            Starter(down, ActionCatalogue(action, down), site="mistral").start(wanted)
    result = failure(caught.value, wanted.execution_id)
    assert url in result["error"]
    assert "mistral" not in result


def test_cancel_cancels_the_workflow_and_its_executions(
    bench: Bench, starter: Starter, wanted: WorkflowRequest
) -> None:
    id_ = workflow_execution_id(wanted.execution_id)
    assert control.cancel(bench.mistral, wanted.execution_id, {}) == set()
    started = starter.start(replace(wanted, inputs={"cmd": "sleep 600"}))
    eventually(
        lambda: len(bench.stackstorm.executions.all()) and running(bench, id_), "the execution runs"
    )
    for _ in range(2):
        assert control.cancel(bench.mistral, wanted.execution_id, {}) == {states.CANCELLED}
    # The relay cancels the execution.
    [task] = bench.mistral.tasks(started.workflow.execution_id)
    [action] = bench.actions(task["id"])

    def cancelled() -> bool:
        return [child["status"] for child in bench.children_of(action["id"])] == ["canceled"]

    eventually(cancelled, "the execution is canceled")


def running(bench: Bench, id_: str) -> bool:
    tasks = bench.mistral.tasks(id_)
    return bool(tasks) and any(
        bench.children_of(action["id"]) for action in bench.actions(tasks[0]["id"])
    )


def test_pause_and_resume(bench: Bench, starter: Starter, wanted: WorkflowRequest) -> None:
    started = starter.start(replace(wanted, inputs={"cmd": "sleep 1"}))
    id_ = started.workflow.execution_id
    for _ in range(2):
        assert control.pause(bench.mistral, wanted.execution_id, {}) == {states.PAUSED}
    assert control.resume(bench.mistral, wanted.execution_id, {}) <= {states.RUNNING, states.SUCCESS}
    assert bench.wait(id_).execution["state"] == "SUCCESS"
    assert control.pause(bench.mistral, wanted.execution_id, {}) == {states.SUCCESS}


ITEMS = """
version: '2.0'
name: {name}
workflows:
  main:
    input: [folder]
    tasks:
      items:
        with-items: i in [1, 2]
        action: core.local
        input:
          cmd: echo <% $.i %> >> <% $.folder %>/<% $.i %>; test <% $.i %> = 1 -o -e <% $.folder %>/ok
      alone:
        action: core.local
        input: {{cmd: test -e <% $.folder %>/ok}}
      fine: {{action: std.noop}}
"""


@pytest.mark.parametrize("reset", [True, False])
def test_rerun_runs_the_named_tasks(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, tmp_path: Path, reset: bool
) -> None:
    rewrite(wanted, ITEMS.format(name=wanted.ref))
    started = starter.start(replace(wanted, inputs={"folder": str(tmp_path)}))
    id_ = started.workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()

    second = replace(
        wanted,
        execution_id=bench.parent()["id"],
        inputs={"folder": str(tmp_path)},
        rerun=Rerun(id_, wanted.execution_id, ["items", "alone"], ["items"] if reset else []),
    )
    again = starter.start(second)
    assert again.workflow == started.workflow
    run = bench.wait(id_)
    assert run.execution["state"] == "SUCCESS"
    assert (tmp_path / "1").read_text().split() == (["1", "1"] if reset else ["1"])
    assert (tmp_path / "2").read_text().split() == ["2", "2"]
    # The new executions have the new parent.
    parents = [child["parent"] for a in run.actions for child in bench.children_of(a["id"])]
    assert parents.count(wanted.execution_id) == 3
    assert parents.count(second.execution_id) == (3 if reset else 2)


SUB = """
version: '2.0'
name: {name}
workflows:
  main:
    input: [folder]
    tasks:
      call:
        workflow: inner
        input: {{folder: <% $.folder %>}}
        on-success: [end]
      alone: {{action: core.local, input: {{cmd: test -e <% $.folder %>/ok}}}}
      end: {{action: core.local cmd="echo end"}}
  inner:
    input: [folder]
    tasks:
      first:
        action: core.noop
        on-success: [flaky]
      flaky:
        with-items: i in [1, 2, 3]
        action: core.local
        input:
          cmd: echo <% $.i %> >> <% $.folder %>/<% $.i %>; test <% $.i %> -ne 3 -o -e <% $.folder %>/ok
"""


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("others", [[], ["alone"]])
def test_rerun_of_a_task_in_a_sub_workflow(
    bench: Bench,
    starter: Starter,
    wanted: WorkflowRequest,
    tmp_path: Path,
    reset: bool,
    others: list[str],
) -> None:
    text = SUB.format(name=wanted.ref)
    if not others:
        text = text.replace("test -e <% $.folder %>/ok}", "echo}")
    rewrite(wanted, text)
    first = replace(wanted, inputs={"folder": str(tmp_path)}, workflow="main")
    id_ = starter.start(first).workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()

    resets = ["call.flaky"] if reset else []
    rerun = Rerun(id_, wanted.execution_id, ["call.flaky", *others], resets)
    second = replace(first, execution_id=bench.parent()["id"], rerun=rerun)
    assert starter.start(second).workflow.execution_id == id_
    run = bench.wait(id_)
    assert run.execution["state"] == "SUCCESS", run.execution
    assert run.tasks["end"]["state"] == "SUCCESS"
    assert (tmp_path / "1").read_text().split() == (["1", "1"] if reset else ["1"])
    assert (tmp_path / "3").read_text().split() == ["3", "3"]
    # The workflow reports to the new execution, which has the new children.
    assert reports_to(run.execution) == second.execution_id
    executions = bench.stackstorm.executions.all()
    parents = [execution.get("parent") for execution in executions]
    assert parents.count(second.execution_id) == (3 if reset else 1) + 1 + len(others)


def test_joins_run_after_a_rerun_in_a_sub_workflow(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, tmp_path: Path
) -> None:
    rewrite(wanted, SUB.format(name=wanted.ref))
    first = replace(wanted, inputs={"folder": str(tmp_path)}, workflow="main")
    id_ = starter.start(first).workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()
    rerun = Rerun(id_, wanted.execution_id, ["call.flaky", "alone"])
    starter.start(replace(first, execution_id=bench.parent()["id"], rerun=rerun))
    assert bench.wait(id_).execution["state"] == "SUCCESS"

    tasks = """
      left: {action: std.noop, on-success: [both]}
      right: {action: std.noop, on-success: [both]}
      both: {join: all, action: std.noop}
    """
    run = bench.run(bench.workbook(tasks))
    assert run.execution["state"] == "SUCCESS", run.tasks


LIST = """
version: '2.0'
name: {name}
workflows:
  main:
    input: [folder, items]
    tasks:
      items:
        with-items: i in <% $.items %>
        action: core.local
        input:
          cmd: echo <% $.i %> >> <% $.folder %>/<% $.i %>; test <% $.i %> = good -o -e <% $.folder %>/ok
"""


@pytest.mark.parametrize(
    ("items", "runs"),
    [
        (["bad", "good"], False),
        (["bad", "worse", "good"], False),
        (["bad", "good", "worse"], True),
        (["bad", "worse"], True),
    ],
)
def test_rerun_of_failed_items_requires_that_the_last_item_failed(
    bench: Bench,
    starter: Starter,
    wanted: WorkflowRequest,
    tmp_path: Path,
    items: list[str],
    runs: bool,
) -> None:
    # Otherwise Mistral re-runs items that succeeded, and the task stays RUNNING for ever.
    rewrite(wanted, LIST.format(name=wanted.ref))
    first = replace(wanted, inputs={"folder": str(tmp_path), "items": items})
    id_ = starter.start(first).workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()
    second = replace(
        first, execution_id=bench.parent()["id"], rerun=Rerun(id_, wanted.execution_id, ["items"])
    )
    if runs:
        starter.start(second)
        assert bench.wait(id_).execution["state"] == "SUCCESS"
        times = {item: len((tmp_path / item).read_text().split()) for item in items}
        assert times == {item: 1 if item == "good" else 2 for item in items}
        return
    with pytest.raises(InputError, match="Add rerun_reset=items to re-run all of its items"):
        starter.start(second)
    assert bench.mistral.execution_state(id_) == "ERROR"
    starter.start(replace(second, rerun=Rerun(id_, wanted.execution_id, ["items"], ["items"])))
    assert bench.wait(id_).execution["state"] == "SUCCESS"


def test_invalid_reruns_are_rejected(
    bench: Bench, starter: Starter, wanted: WorkflowRequest, tmp_path: Path
) -> None:
    rewrite(wanted, ITEMS.format(name=wanted.ref))
    wanted = replace(wanted, inputs={"folder": str(tmp_path)})
    id_ = starter.start(wanted).workflow.execution_id
    bench.wait(id_)
    with pytest.raises(InputError) as caught:
        starter.start(replace(wanted, rerun=Rerun(id_, wanted.execution_id, ["alone", "fine", "nope"])))
    assert "no task 'nope'" in str(caught.value)
    assert "fine is SUCCESS" in str(caught.value)
    assert bench.mistral.get_execution(id_)["state"] == "ERROR"
    with pytest.raises(InputError, match="no longer knows the workflow execution"):
        starter.start(replace(wanted, rerun=Rerun(workflow_execution_id("x"), "x", ["alone"])))
    with pytest.raises(InputError, match="no workflow ran for execution x"):
        starter.start(replace(wanted, rerun=Rerun(id_, "x", ["alone"])))
    with pytest.raises(InputError, match="folder has another value"):
        starter.start(
            replace(wanted, inputs={"folder": "/"}, rerun=Rerun(id_, wanted.execution_id, ["alone"]))
        )
    other = replace(wanted, ref="tests.other", rerun=Rerun(id_, wanted.execution_id, ["alone"]))
    with pytest.raises(InputError, match=r"does not belong to the action tests\.other"):
        starter.start(other)
