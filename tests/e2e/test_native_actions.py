"""StackStorm actions as actions of Mistral, in a real Mistral."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml
from support.command_line import run_command
from support.mistral_bench import Bench, new_bench, put_key
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import RunResult

LOCAL = 'cmd, cwd=null, env=null, kwarg_op="--", sudo_password=null, timeout=60'

MAIN = {"workflow": {"type": "string", "default": "main", "immutable": True}}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield a sandbox in which changes are seen soon."""
    folder = tmp_path_factory.mktemp("native")
    options = {
        "relay_options": "resync_interval = 0.5\nreschedule_after = 2",
        "provider_options": "enabled = true\nrefresh_interval = 1",
    }
    for bench in new_bench(folder, **options):
        bench.stackstorm.register_action(
            {
                "pack": "tests",
                "name": "secret",
                "description": "Has parameters of all kinds.",
                "runner_type": "python-script",
                "parameters": {
                    "password": {"type": "string", "secret": True, "default": "hunter2"},
                    "class": {"type": "string", "required": True},
                    "1st": {"type": "integer"},
                    "fixed": {"type": "string", "default": "x", "immutable": True},
                },
            }
        )
        listed(bench, "tests.secret")
        yield bench


def found(bench: Bench, name: str) -> list[dict[str, Any]]:
    """Return the actions of a name that Mistral lists."""
    rows: list[dict[str, Any]] = bench.get(f"/actions?name={name}")["actions"]
    return rows


def listed(bench: Bench, name: str) -> dict[str, Any]:
    (row,) = eventually(lambda: found(bench, name), f"{name} is listed")
    return row


def children(bench: Bench, workflow: str) -> list[dict[str, Any]]:
    return [
        child
        for child in bench.stackstorm.executions.all()
        if child["context"].get("mistral", {}).get("workflow_execution_id") == workflow
    ]


def running_child(bench: Bench, workflow: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        return next((c for c in children(bench, workflow) if c["status"] == "running"), None)

    child: dict[str, Any] = eventually(look, "the execution runs")
    return child


# -- what Mistral lists --------------------------------------------------------------------------


def test_mistral_lists_actions_with_description_and_input(bench: Bench) -> None:
    action = listed(bench, "core.local")
    assert action["description"] == "Action that executes an arbitrary Linux command on the localhost."
    assert action["input"] == LOCAL
    assert bench.get("/actions/core.local") == action
    names = [row["name"] for row in bench.get("/actions")["actions"]]
    assert len(names) == len(set(names))
    assert {"core.noop", "mongodb.freeze", "std.echo", "st2.action"} <= set(names)


def test_secret_and_immutable_parameters(bench: Bench) -> None:
    inputs = listed(bench, "tests.secret")["input"].split(", ")
    assert inputs[:2] == ["class", "1st=null"]
    assert "password=********" in inputs
    assert not any(shown.startswith("fixed") for shown in inputs)


def test_definition_shows_what_the_action_does(bench: Bench) -> None:
    shown = yaml.safe_load(listed(bench, "core.local")["definition"])
    assert shown["core.local"]["base"] == "st2.action"


def test_check_counts_them(bench: Bench) -> None:
    files = bench.sandbox.relay.args[-1], bench.sandbox.mistral_server.config_path
    done = run_command("check", "--json", "--config-file", files[0], "--config-file", files[1])
    rows = {row["check"]: (row["result"], row["detail"]) for row in json.loads(done.stdout)}
    own = [row for row in bench.get("/actions")["actions"] if "base: st2.action" in row["definition"]]
    assert rows["provider"] == ("ok", f"Mistral has {len(own)} actions of StackStorm")


def test_command_lists_the_same(bench: Bench) -> None:
    done = run_command("actions", "--json", "--config-file", bench.sandbox.mistral_server.config_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    for name in ("core.local", "tests.secret"):
        action = listed(bench, name)
        assert (rows[name]["input"], rows[name]["description"]) == (
            action["input"],
            action["description"],
        )


# -- how they run --------------------------------------------------------------------------------


def test_workflow_of_any_client_calls_an_action_by_name(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        say:
          action: core.local cmd=<% $.cmd %>
          on-success: again
        again:
          action: <% $.name %>
          input: {cmd: "echo {{ 1 + 1 }}", env: {A: b}}
        """,
        inputs="[cmd, name]",
    )
    run = bench.run(workflow, {"cmd": "echo '{{ x }}'", "name": "core.local"})
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    # The value is data: nobody renders it.
    assert run.result("say")["stdout"] == "{{ x }}"
    assert run.result("again")["stdout"] == 2
    [action] = [action for action in run.actions if action["task_name"] == "say"]
    [child] = bench.children_of(action["id"])
    assert run.result("say")["st2"]["execution_id"] == child["id"]
    assert child["action"]["ref"] == action["name"] == "core.local"
    assert json.loads(action["input"]) == {"cmd": "echo '{{ x }}'"}


def test_parameter_names_that_are_no_identifiers(bench: Bench) -> None:
    ran: list[dict[str, Any]] = []

    def record(request: Any) -> RunResult:
        ran.append(request.parameters)
        return RunResult("succeeded", {"ok": True})

    bench.stackstorm.register_runner("tests-record", record)
    parameters = {"class": {"type": "string"}, "1st": {"type": "integer"}, "größe": {}}
    bench.stackstorm.register_action(
        {"pack": "tests", "name": "names", "runner_type": "tests-record", "parameters": parameters}
    )
    listed(bench, "tests.names")
    workflow = bench.workbook("one: {action: tests.names, input: {class: a, 1st: 1, größe: 2}}")
    assert bench.run(workflow).execution["state"] == "SUCCESS"
    assert ran == [{"class": "a", "1st": 1, "größe": 2}]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{}", "missing=['cmd']"),
        ("{cmd: date, cdw: /tmp}", "unexpected=['cdw']"),
        ("{cmd: date, sudo: true}", "unexpected=['sudo']"),
    ],
)
def test_missing_or_unknown_input_is_an_error_of_mistral(
    bench: Bench, given: str, problem: str
) -> None:
    run = bench.run(bench.workbook(f"say: {{action: core.local, input: {given}}}"))
    assert run.execution["state"] == "ERROR"
    assert "Invalid input [name=core.local, " in run.execution["state_info"]
    assert problem in run.execution["state_info"]
    assert children(bench, run.execution["id"]) == []


def test_action_that_nobody_has_is_an_error_of_mistral(bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: core.lokal, input: {cmd: date}}"))
    assert run.execution["state"] == "ERROR"
    assert "Failed to find action [action_name=core.lokal" in run.execution["state_info"]


def test_value_that_stackstorm_refuses_fails_the_task(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        say: {action: core.local, input: {cmd: date, timeout: soon}, on-error: look}
        look: {action: std.echo output=<% task(say).result %>}
        """
    )
    run = bench.run(workflow)
    assert run.execution["state"] == "SUCCESS"
    assert run.result("look")["status"] == 400
    assert "timeout" in run.result("look")["error"]


def test_with_items_and_retry(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        each:
          with-items: i in <% range(5) %>
          concurrency: 2
          action: sandbox.echo value=<% $.i %>
          on-success: twice
        twice:
          action: core.local cmd="exit 3"
          retry: {count: 1, delay: 1}
        """
    )
    run = bench.run(workflow)
    of_task = {name: [a for a in run.actions if a["task_name"] == name] for name in run.tasks}
    values = [action["output"]["result"]["result"]["value"] for action in of_task["each"]]
    assert sorted(values) == list(range(5))
    assert [action["state"] for action in of_task["twice"]] == ["ERROR", "ERROR"]
    assert len(children(bench, run.execution["id"])) == 7


def test_ad_hoc_actions_on_top(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        """
        say: {action: loud line="hi", on-success: bad}
        bad: {action: wrong, on-error: look}
        look: {action: std.echo output=<% task(bad).result %>}
        """,
        extra="""
        actions:
          loud:
            base: core.local
            input: [line]
            base-input: {cmd: "echo <% $.line %>!"}
            output: <% $.stdout %>
          wrong: {base: core.local, base-input: {cmd: date, cdw: /}}
        """,
    )
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    assert run.result("say") == "hi!"
    # StackStorm checks the base-input.
    assert "cdw" in run.result("look")["error"]
    [child] = children(bench, run.execution["id"])
    assert child["parent"] == parent["id"]


def test_child_executions_of_all_sub_workflows_have_the_parent(bench: Bench) -> None:
    parent = bench.parent()
    other = bench.workbook("deep: {action: core.noop}")
    workflow = bench.workbook(
        "own: {action: core.noop, on-success: below}\nbelow: {workflow: inner}",
        more=f"""
        inner:
          tasks:
            middle: {{action: core.noop, on-success: other}}
            other: {{workflow: {other}}}
        """,
    )
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    below = bench.st2.children(parent["id"])
    assert [child["context"]["parent"]["execution_id"] for child in below] == [parent["id"]] * 3


def test_action_without_a_workflow(bench: Bench) -> None:
    action = bench.request(
        "POST", "/action_executions", {"name": "core.local", "input": {"cmd": "echo alone"}}
    )
    eventually(lambda: bench.action_state(action["id"]) == "SUCCESS", "the action completes")
    invalid = {"name": "core.local", "input": {"cdw": "/"}}
    answer = requests.post(f"{bench.mistral_url}/action_executions", json=invalid, timeout=30)
    assert answer.status_code in (400, 500)
    assert "unexpected=['cdw']" in answer.text


def test_defaults_of_the_environment(bench: Bench) -> None:
    put_key(bench, "greeting", "Ahoy")
    env = {
        "__actions": {
            "core.local": {"cwd": "/tmp"},
            "st2.action": {"render_jinja": ["cmd", "password"]},
        }
    }
    workflow = bench.workbook("say: {action: core.local, input: {cmd: <% $.cmd %>}}", inputs="[cmd]")
    command = "echo {{ st2kv.system.greeting }} $PWD"
    started = bench.mistral.start_workflow(workflow, {"cmd": command}, env=env)
    run = bench.wait(started["id"])
    assert run.result("say")["stdout"] == "Ahoy /tmp"


@pytest.mark.parametrize("given_up", ["timed out", "cancelled"])
def test_action_that_mistral_gives_up_is_cancelled(bench: Bench, given_up: str) -> None:
    policy = "timeout: 2" if given_up == "timed out" else ""
    workflow = bench.start(
        bench.workbook(f"sleep: {{action: sandbox.sleep, input: {{seconds: 60}}, {policy}}}")
    )
    child = running_child(bench, workflow)
    if given_up == "cancelled":
        bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
    action = child["context"]["mistral"]["action_execution_id"]
    eventually(lambda: bench.action_state(action) == "CANCELLED", "the action is closed")


def test_status_shows_a_pending_action(bench: Bench) -> None:
    workflow = bench.start(bench.workbook("wait: {action: tests.job}"))
    child = running_child(bench, workflow)
    done = run_command("status", "--json", "--config-file", bench.sandbox.relay.args[-1])
    (row,) = [row for row in json.loads(done.stdout) if row["execution_id"] == child["id"]]
    assert (row["name"], row["status"], row["error"]) == ("tests.job", "running", None)
    bench.st2.finish(child["id"], "succeeded", {"ok": True})
    assert bench.wait(workflow).execution["state"] == "SUCCESS"


# -- who wins ------------------------------------------------------------------------------------


def test_ad_hoc_action_of_a_user_wins(bench: Bench) -> None:
    book = f"t{uuid.uuid4().hex[:8]}"
    bench.stackstorm.register_action({"pack": book, "name": "both", "runner_type": "noop"})
    assert "base: st2.action" in listed(bench, f"{book}.both")["definition"]
    text = f"version: '2.0'\nname: {book}\nactions:\n  both:\n    base: std.echo output='mine'\n"
    bench.mistral.save_definition(text, validate=False)
    (row,) = found(bench, f"{book}.both")
    assert "std.echo" in row["definition"]
    run = bench.run(bench.workbook(f"one: {{action: {book}.both}}"))
    assert run.result("one") == "mine"


def test_action_of_the_workbook_wins(bench: Bench) -> None:
    workflow = bench.workbook(
        "one: {action: core.local}", extra="actions:\n  core.local: {base: std.echo output='mine'}"
    )
    assert bench.run(workflow).result("one") == "mine"


# -- changes in StackStorm -----------------------------------------------------------------------


def test_new_action_is_found_and_a_removed_one_is_completed(bench: Bench) -> None:
    action = {"pack": "examples", "name": "short-lived", "runner_type": "tests-async"}
    assert found(bench, "examples.short-lived") == []
    bench.stackstorm.register_action(action)
    listed(bench, "examples.short-lived")
    workflow = bench.start(
        bench.workbook(
            "wait: {action: examples.short-lived, on-success: next}\nnext: {action: std.noop}"
        )
    )
    child = running_child(bench, workflow)
    headers = {"St2-Api-Key": bench.sandbox.st2_settings.credential.api_key or ""}
    url = f"{bench.sandbox.st2_settings.api_url}/actions/examples.short-lived"
    assert requests.delete(url, headers=headers, timeout=30).status_code == 204
    eventually(lambda: not found(bench, "examples.short-lived"), "it is not listed any more")
    bench.st2.finish(child["id"], "succeeded", {"ok": True})
    run = bench.wait(workflow)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    again = bench.run(bench.workbook("wait: {action: examples.short-lived}"))
    assert again.tasks["wait"]["state"] == "ERROR"
    assert "examples.short-lived" in again.result("wait")["error"]


# -- a workflow that StackStorm starts -----------------------------------------------------------

BOOK = """
version: '2.0'
name: examples.NAME
actions:
  shell: {base: core.local, input: [cmd], base-input: {cmd: <% $.cmd %>}}
workflows:
  main:
    tasks:
      # The author's own comment.
      say: {action: core.local cmd="echo hello", on-success: rest}
      rest: {action: shell cmd="true", on-success: secret}
      secret:
        action: core.local
        input: {cmd: "echo {{ st2kv.system.resolved }}"}
"""


def test_runner_keeps_the_names_of_native_actions(bench: Bench) -> None:
    put_key(bench, "resolved", "42")
    ref = bench.action("keeps", BOOK.replace("NAME", "keeps"), parameters=MAIN)
    done = bench.execute(ref)
    assert done["status"] == "succeeded", done["result"]
    published = yaml.safe_load(bench.mistral.definition(ref) or "")
    assert published["actions"]["shell"]["base"] == "core.local"
    tasks = published["workflows"]["main"]["tasks"]
    assert tasks["say"] == {
        "action": 'core.local cmd="echo hello"',
        "input": {"st2_context": {"task_name": "say"}},
        "on-success": "rest",
    }
    # Only an st2.action lets StackStorm resolve a parameter.
    assert tasks["secret"]["action"] == "st2.action"
    results = {task["name"]: task["result"] for task in done["result"]["tasks"]}
    assert results["secret"]["stdout"] == 42
    below = [c for c in bench.stackstorm.executions.all() if c.get("parent") == done["id"]]
    names = [child["context"]["mistral"].get("task_name") for child in below]
    assert sorted(name or "" for name in names) == ["", "say", "secret"]


def test_runner_reports_what_is_wrong_with_a_native_action(bench: Bench) -> None:
    text = BOOK.replace("NAME", "wrong").replace('cmd="echo hello"', "cdw='/tmp'")
    done = bench.execute(bench.action("wrong", text, parameters=MAIN))
    assert done["status"] == "failed"
    assert "core.local needs cmd." in done["result"]["error"]
    assert "core.local has no parameter cdw." in done["result"]["error"]


# -- Mistral stops -------------------------------------------------------------------------------


def test_workflow_continues_after_a_restart_of_mistral(bench: Bench) -> None:
    """An engine gets the result before it has listed anything."""
    workflow = bench.start(
        bench.workbook("wait: {action: tests.job, on-success: next}\nnext: {action: core.noop}")
    )
    child = running_child(bench, workflow)
    bench.sandbox.mistral_server.stop()
    bench.st2.finish(child["id"], "succeeded", {"ok": True})
    bench.sandbox.mistral_server.start()
    run = bench.wait(workflow)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
