"""The runner's logic with a real Mistral, and the stand-in's executions as parents."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.mistral_bench import Bench, new_bench
from support.waiting import eventually

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, InputError, NotSent
from st2actions_mistral.model import states
from st2actions_mistral.model.workflow import workflow_execution_id
from st2actions_mistral.runner import control
from st2actions_mistral.runner.request import Request, Rerun
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


class Known:
    """StackStorm's core.local and core.noop, and what Mistral has."""

    def __init__(self, mistral: MistralClient) -> None:
        self._mistral = mistral

    def parameters(self, ref: str) -> Mapping[str, Mapping[str, Any]] | None:
        known: dict[str, Any] = {"core.local": {"cmd": {"required": True}}, "core.noop": {}}
        return known.get(ref)

    def in_mistral(self, name: str) -> bool:
        return self._mistral.knows_action(name)

    def workflow_in_mistral(self, name: str) -> bool:
        return self._mistral.knows_workflow(name)


@pytest.fixture
def starter(bench: Bench) -> Starter:
    return Starter(bench.mistral, Known(bench.mistral), site="mistral")


@pytest.fixture
def asked(bench: Bench, tmp_path: Path) -> Request:
    """For a parent of its own; the name of the action is its own too."""
    parent = bench.parent()
    ref = f"tests.r{parent['id']}"
    path = tmp_path / "workbook.yaml"
    path.write_text(BASIC.format(name=ref))
    return Request(parent["id"], ref, path, {"cmd": "echo hello"}, user="stanley")


def rewrite(request: Request, text: str) -> None:
    request.entry_point.write_text(text)


def updated_at(bench: Bench, request: Request) -> str:
    return str(bench.get(f"/workbooks/{request.ref}").get("updated_at"))


def test_a_workflow_runs_for_an_execution(bench: Bench, starter: Starter, asked: Request) -> None:
    started = starter.start(asked)
    assert started.workflow.execution_id == workflow_execution_id(asked.execution_id)
    assert started.result()["mistral"] == {
        "site": "mistral",
        "workflow_execution_id": started.workflow.execution_id,
        "workflow_name": f"{asked.ref}.main",
    }
    run = bench.wait(started.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS"
    assert "hello" in str(run.execution["output"])
    [action] = run.actions
    [child] = bench.children_of(action["id"])
    assert child["parent"] == asked.execution_id
    assert run.execution["description"] == f"StackStorm execution {asked.execution_id}"


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


def test_what_a_sub_workflow_runs_belongs_to_the_execution(
    bench: Bench, starter: Starter, asked: Request
) -> None:
    rewrite(asked, NESTED.format(name=asked.ref))
    started = starter.start(replace(asked, inputs={}, workflow="main"))
    run = bench.wait(started.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    children = [c for c in bench.stackstorm.executions.all() if c.get("parent") == asked.execution_id]
    assert (
        sorted(child["action"]["ref"] for child in children) == ["core.local"] * 3 + ["core.noop"] * 3
    )
    assert {child["status"] for child in children} == {"succeeded"}


def test_runs_that_skip_notifications_share_what_is_published(
    bench: Bench, starter: Starter, asked: Request
) -> None:
    """Else one of two at the same moment would run the other's."""
    rewrite(asked, NESTED.format(name=asked.ref))
    starter.start(replace(asked, inputs={}, workflow="main"))
    published = updated_at(bench, asked), bench.get(f"/workbooks/{asked.ref}")["definition"]
    quiet = replace(
        asked, execution_id=bench.parent()["id"], inputs={}, workflow="main", skip_notify=["say"]
    )
    started = starter.start(replace(quiet, notify={"on-complete": {"routes": ["nobody"]}}))
    assert (updated_at(bench, asked), bench.get(f"/workbooks/{asked.ref}")["definition"]) == published
    assert bench.wait(started.workflow.execution_id).execution["state"] == "SUCCESS"
    notified = {
        child["action"]["ref"]: "notify" in child["liveaction"]
        for child in bench.stackstorm.executions.all()
        if child.get("parent") == quiet.execution_id
    }
    assert notified == {"core.local": False, "core.noop": True}


@pytest.mark.parametrize("becomes", ["gone", "another's"])
def test_a_workflow_of_a_published_workbook_is_put_back(
    bench: Bench, starter: Starter, asked: Request, becomes: str
) -> None:
    rewrite(asked, NESTED.format(name=asked.ref))
    asked = replace(asked, inputs={}, workflow="main")
    bench.wait(starter.start(asked).workflow.execution_id)
    if becomes == "gone":
        bench.request("DELETE", f"/workflows/{asked.ref}.sub")
    else:
        other = (
            f"version: '2.0'\n{asked.ref}.sub: {{input: [word], tasks: {{a: {{action: std.fail}}}}}}\n"
        )
        bench.mistral.save_definition(other, "workflow")
    again = starter.start(replace(asked, execution_id=bench.parent()["id"]))
    run = bench.wait(again.workflow.execution_id)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]


def test_starting_twice_starts_once(bench: Bench, starter: Starter, asked: Request) -> None:
    found: list[Started] = []
    threads = [threading.Thread(target=lambda: found.append(starter.start(asked))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert starter.start(asked) == found[0]
    run = bench.wait(found[0].workflow.execution_id)
    assert len(run.actions) == 1


def test_an_id_that_somebody_else_has_taken(bench: Bench, asked: Request) -> None:
    """What Mistral answers then says so, and it is left alone."""
    starter = Starter(bench.mistral, Known(bench.mistral), site="mistral", context_key="a key")
    first = replace(asked, execution_id=bench.parent()["id"])
    assert starter.start(first) == starter.start(first)
    for workflow in (bench.workbook("wait: {action: std.async_noop}"), f"{asked.ref}.main"):
        request = replace(asked, execution_id=bench.parent()["id"])
        taken = workflow_execution_id(request.execution_id)
        inputs = {"cmd": "sleep 60"} if workflow.startswith(asked.ref) else {}
        description = f"StackStorm execution {request.execution_id}"
        bench.mistral.start_workflow(workflow, inputs, execution_id=taken, description=description)
        with pytest.raises(InputError, match="was not started by this execution"):
            starter.start(request)
        assert bench.mistral.execution_state(taken) == states.RUNNING


def test_it_is_published_only_when_it_changed(bench: Bench, starter: Starter, asked: Request) -> None:
    starter.start(asked)
    first = bench.get(f"/workbooks/{asked.ref}")
    starter.start(replace(asked, execution_id=bench.parent()["id"]))
    assert bench.get(f"/workbooks/{asked.ref}") == first
    rewrite(asked, asked.entry_point.read_text().replace("said:", "told:"))
    started = starter.start(replace(asked, execution_id=bench.parent()["id"]))
    assert "told" in str(bench.wait(started.workflow.execution_id).execution["output"])


def test_it_turns_from_a_workbook_into_a_workflow_and_back(
    bench: Bench, starter: Starter, asked: Request
) -> None:
    workbook = asked.entry_point.read_text()
    workflow = (
        f"version: '2.0'\n{asked.ref}:\n  input: [cmd]\n  tasks:\n    only: {{action: std.noop}}\n"
    )
    names = []
    for text in (workbook, workflow, workbook.replace("said:", "told:"), workflow):
        rewrite(asked, text)
        started = starter.start(replace(asked, execution_id=bench.parent()["id"]))
        names.append(started.workflow.workflow_name)
        run = bench.wait(started.workflow.execution_id)
        assert run.execution["workflow_name"] == names[-1]
        assert list(run.tasks) == (["only"] if text is workflow else ["run"])
    assert names == [f"{asked.ref}.main", asked.ref] * 2


def test_a_reverse_workflow_reaches_its_task(bench: Bench, starter: Starter, asked: Request) -> None:
    rewrite(
        asked,
        f"version: '2.0'\n{asked.ref}:\n  type: reverse\n  tasks:\n"
        "    one: {action: std.noop}\n    two: {action: std.noop, requires: [one]}\n"
        "    three: {action: std.noop}\n",
    )
    started = starter.start(replace(asked, inputs={}, task_name="two"))
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
def test_a_definition_that_is_refused(
    bench: Bench, starter: Starter, asked: Request, old: str, new: str, words: str
) -> None:
    rewrite(asked, asked.entry_point.read_text().replace(old, new))
    with pytest.raises(InputError, match=words) as caught:
        starter.start(asked)
    assert "Failed validating" not in str(caught.value)
    assert bench.mistral.get_execution(workflow_execution_id(asked.execution_id)) is None


def test_a_file_that_is_gone(starter: Starter, asked: Request) -> None:
    asked.entry_point.unlink()
    with pytest.raises(InputError, match=r"workbook\.yaml cannot be read"):
        starter.start(asked)


def test_a_workflow_that_is_removed_meanwhile(
    bench: Bench, starter: Starter, asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, it is published again; each time, the execution says so."""
    start, removals = bench.mistral.start_workflow, iter([True, False, True, True])

    def removed(*args: Any, **more: Any) -> Any:
        if next(removals):
            bench.request("DELETE", f"/workflows/{asked.ref}.main")
        return start(*args, **more)

    monkeypatch.setattr(bench.mistral, "start_workflow", removed)
    started = starter.start(asked)
    assert bench.wait(started.workflow.execution_id).execution["state"] == "SUCCESS"
    other = replace(asked, execution_id=bench.parent()["id"])
    with pytest.raises(Answered, match=f"no workflow {asked.ref}.main") as caught:
        starter.start(other)
    assert failure(caught.value, other.execution_id)["status"] == 404


def test_mistral_is_restarted_between_publishing_and_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    for own in new_bench(folder):
        path = tmp_path / "workbook.yaml"
        path.write_text(BASIC.format(name="tests.restarted"))
        request = Request(own.parent()["id"], "tests.restarted", path, {"cmd": "echo hello"})
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
        starter = Starter(own.mistral, Known(own.mistral), site="mistral")
        run = own.wait(starter.start(request).workflow.execution_id)
        assert run.execution["state"] == "SUCCESS"
        assert len(run.actions) == 1


def test_mistral_is_out_of_reach(bench: Bench, asked: Request) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v2"
        away = MistralClient(MistralSettings(url, timeouts=Timeouts(1, 1, 0.2)))
        with pytest.raises(NotSent) as caught:
            Starter(away, Known(away), site="mistral").start(asked)
    result = failure(caught.value, asked.execution_id)
    assert url in result["error"]
    assert "mistral" not in result


def test_a_workflow_is_cancelled(bench: Bench, starter: Starter, asked: Request) -> None:
    id_ = workflow_execution_id(asked.execution_id)
    assert control.cancel(bench.mistral, id_) is None
    started = starter.start(replace(asked, inputs={"cmd": "sleep 600"}))
    eventually(lambda: len(bench.stackstorm.executions.all()) and running(bench, id_), "it runs")
    assert control.cancel(bench.mistral, id_) == states.CANCELLED
    assert control.cancel(bench.mistral, id_) == states.CANCELLED
    # The relay cancels the child.
    [task] = bench.mistral.tasks(started.workflow.execution_id)
    [action] = bench.actions(task["id"])

    def cancelled() -> bool:
        return [child["status"] for child in bench.children_of(action["id"])] == ["canceled"]

    eventually(cancelled, "the child is canceled")


def running(bench: Bench, id_: str) -> bool:
    tasks = bench.mistral.tasks(id_)
    return bool(tasks) and any(
        bench.children_of(action["id"]) for action in bench.actions(tasks[0]["id"])
    )


def test_a_workflow_is_paused_and_resumed(bench: Bench, starter: Starter, asked: Request) -> None:
    started = starter.start(replace(asked, inputs={"cmd": "sleep 1"}))
    id_ = started.workflow.execution_id
    assert control.pause(bench.mistral, id_) == states.PAUSED
    assert control.pause(bench.mistral, id_) == states.PAUSED
    assert control.resume(bench.mistral, id_) in (states.RUNNING, states.SUCCESS)
    assert bench.wait(id_).execution["state"] == "SUCCESS"
    assert control.pause(bench.mistral, id_) == states.SUCCESS


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
def test_named_tasks_are_run_again(
    bench: Bench, starter: Starter, asked: Request, tmp_path: Path, reset: bool
) -> None:
    rewrite(asked, ITEMS.format(name=asked.ref))
    started = starter.start(replace(asked, inputs={"folder": str(tmp_path)}))
    id_ = started.workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()

    second = replace(
        asked,
        execution_id=bench.parent()["id"],
        inputs={"folder": str(tmp_path)},
        rerun=Rerun(id_, asked.execution_id, ["items", "alone"], ["items"] if reset else []),
    )
    again = starter.start(second)
    assert again.workflow == started.workflow
    run = bench.wait(id_)
    assert run.execution["state"] == "SUCCESS"
    assert (tmp_path / "1").read_text().split() == (["1", "1"] if reset else ["1"])
    assert (tmp_path / "2").read_text().split() == ["2", "2"]
    # The new children belong to the new execution.
    parents = [child["parent"] for a in run.actions for child in bench.children_of(a["id"])]
    assert parents.count(asked.execution_id) == 3
    assert parents.count(second.execution_id) == (3 if reset else 2)


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
def test_only_failed_items_are_run_again_where_mistral_can(
    bench: Bench, starter: Starter, asked: Request, tmp_path: Path, items: list[str], runs: bool
) -> None:
    """Behind a failed one, Mistral would run again what succeeded, and wait for ever."""
    rewrite(asked, LIST.format(name=asked.ref))
    first = replace(asked, inputs={"folder": str(tmp_path), "items": items})
    id_ = starter.start(first).workflow.execution_id
    assert bench.wait(id_).execution["state"] == "ERROR"
    (tmp_path / "ok").touch()
    second = replace(
        first, execution_id=bench.parent()["id"], rerun=Rerun(id_, asked.execution_id, ["items"])
    )
    if runs:
        starter.start(second)
        assert bench.wait(id_).execution["state"] == "SUCCESS"
        times = {item: len((tmp_path / item).read_text().split()) for item in items}
        assert times == {item: 1 if item == "good" else 2 for item in items}
        return
    with pytest.raises(InputError, match="Add reset=items to run all of its items again"):
        starter.start(second)
    assert bench.mistral.execution_state(id_) == "ERROR"
    starter.start(replace(second, rerun=Rerun(id_, asked.execution_id, ["items"], ["items"])))
    assert bench.wait(id_).execution["state"] == "SUCCESS"


def test_tasks_that_cannot_be_run_again(
    bench: Bench, starter: Starter, asked: Request, tmp_path: Path
) -> None:
    rewrite(asked, ITEMS.format(name=asked.ref))
    asked = replace(asked, inputs={"folder": str(tmp_path)})
    id_ = starter.start(asked).workflow.execution_id
    bench.wait(id_)
    with pytest.raises(InputError) as caught:
        starter.start(replace(asked, rerun=Rerun(id_, asked.execution_id, ["alone", "fine", "nope"])))
    assert "no task 'nope'" in str(caught.value)
    assert "fine is SUCCESS" in str(caught.value)
    assert bench.mistral.get_execution(id_)["state"] == "ERROR"  # type: ignore[index]
    with pytest.raises(InputError, match="does not know the workflow execution"):
        starter.start(replace(asked, rerun=Rerun(workflow_execution_id("x"), "x", ["alone"])))
    with pytest.raises(InputError, match="no workflow ran for execution x"):
        starter.start(replace(asked, rerun=Rerun(id_, "x", ["alone"])))
    with pytest.raises(InputError, match="another folder is given"):
        starter.start(
            replace(asked, inputs={"folder": "/"}, rerun=Rerun(id_, asked.execution_id, ["alone"]))
        )
    stranger = replace(asked, ref="tests.other", rerun=Rerun(id_, asked.execution_id, ["alone"]))
    with pytest.raises(InputError, match=r"is none of the action tests\.other"):
        starter.start(stranger)
