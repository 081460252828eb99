"""Signed contexts, and expressions in data, in a real Mistral."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.mistral_bench import Bench, environment, new_bench

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult
from st2actions_mistral.model.context import sign

KEY, OLD_KEY = "hush-new", "hush-old"
ID = "00000000-0000-4000-8000-000000000001"

MAIN = """
    mine:
      action: st2.action
      input: {ref: core.noop}
      on-success: below
    below:
      workflow: inner
      input: {env: <% env() %>, evaluate_env: false}
      on-success: tell
    tell:
      action: st2.callback
      input: {state: SUCCESS, result: done}
    """
INNER = """
    inner:
      tasks:
        child:
          action: st2.action
          input: {ref: core.noop}
    """


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox that requires signed contexts, during a rotation of the key."""
    folder = tmp_path_factory.mktemp("signed")
    yield from new_bench(folder, context_key=KEY, options=f"context_key = {OLD_KEY}")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    for made in new_bench(tmp_path_factory.mktemp("data")):
        made.stackstorm.register_runner("tests-report", _report)
        for status in ("succeeded", "failed", "timeout"):
            made.stackstorm.register_action({**REPORT, "name": status})
        yield made


def env_of(bench: Bench, parent: dict[str, Any], key: str | None, id_: str) -> dict[str, Any]:
    return environment(bench.sandbox.st2_settings.api_url, parent, key, id_)


def start(bench: Bench, workflow: str, env: dict[str, Any], id_: str | None = None) -> Any:
    return bench.wait(bench.mistral.start_workflow(workflow, {}, env=env, execution_id=id_)["id"])


def status_of(bench: Bench, execution: dict[str, Any]) -> str:
    found = bench.st2.get_execution(execution["id"])
    assert found is not None
    return str(found["status"])


# -- signed contexts -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_signed_workflow_runs_its_sub_workflow_and_finishes_its_parent(signed: Bench, key: str) -> None:
    parent = signed.parent()
    id_ = ID[:-1] + ("2" if key == KEY else "3")
    run = start(signed, signed.workbook(MAIN, more=INNER), env_of(signed, parent, key, id_), id_)
    assert run.execution["state"] == "SUCCESS", [action["output"] for action in run.actions]
    assert status_of(signed, parent) == "succeeded"
    children = signed.st2.children(parent["id"])
    assert [child["context"]["parent"]["user"] for child in children] == ["st2admin"] * 2


def test_sandbox_signs_contexts(signed: Bench) -> None:
    started = signed.st2.create_execution("examples.mistral-basic", {"cmd": "echo hi"})
    ended = signed.stackstorm.executions.wait(started["id"], timeout=180)
    assert ended["status"] == "succeeded", ended["result"]


def test_copied_context_can_only_create_executions(signed: Bench) -> None:
    """Show what docs/security/context-key.md says about a copied context."""
    parent = signed.parent()
    theirs = env_of(signed, parent, KEY, ID)
    owner = signed.workbook("wait: {action: std.async_noop}")
    signed.mistral.start_workflow(owner, {}, env=theirs, execution_id=ID)
    # Another user, who may read it and start workflows.
    seen = json.loads(signed.get(f"/executions/{ID}")["params"])["env"]["__actions"]
    for_action = seen["st2.action"]["st2_context"]
    for_callback = seen["st2.callback"]["st2_context"]
    book = signed.workbook(
        """
        act:
          action: st2.action
          input: {ref: core.noop, st2_context: <% env().get(context) %>}
        tell:
          action: st2.callback
          input: {state: ERROR, result: mine, st2_context: <% env().get(context) %>}
        """
    )
    forged = {**for_callback, "workflow_execution_id": None}
    for context, act in ((for_action, "SUCCESS"), (for_callback, "ERROR"), (forged, "ERROR")):
        run = start(signed, book, {"context": context})
        assert run.tasks["act"]["state"] == act, run.result("act")
        assert run.tasks["tell"]["state"] == "ERROR"
        assert run.result("tell")["error"].startswith("st2_context.")
        assert "hush" not in json.dumps([action["output"] for action in run.actions])
    assert status_of(signed, parent) == "running"
    # The copy only allowed one execution in the name of the parent's user.
    assert len(signed.st2.children(parent["id"])) == 1
    # The id is in use: Mistral returns the existing execution.
    again = signed.mistral.start_workflow(book, {}, env=theirs, execution_id=ID)
    assert again["workflow_name"] == owner


@pytest.mark.parametrize("change", ["unsigned", "parent", "user", "api_url"])
def test_altered_context_is_rejected(signed: Bench, change: str) -> None:
    parent, other = signed.parent(), signed.parent()
    context = {"parent": {"execution_id": parent["id"], "user": "st2admin"}}
    context = sign(context, KEY) if change != "unsigned" else context
    if change == "parent":
        context = {**context, "parent": {"execution_id": other["id"], "user": "st2admin"}}
    elif change == "user":
        context = {**context, "parent": {"execution_id": parent["id"], "user": "root"}}
    elif change == "api_url":
        context = {**context, "api_url": signed.sandbox.st2_settings.api_url}
    given = {"st2_context": context}
    before = len(signed.stackstorm.executions.all())
    run = start(
        signed,
        signed.workbook(
            """
            act: {action: st2.action, input: {ref: core.noop}}
            tell: {action: st2.callback, input: {state: SUCCESS}}
            """
        ),
        {"__actions": {"st2.action": given, "st2.callback": given}},
    )
    for task in ("act", "tell"):
        assert run.result(task)["error"].startswith("st2_context.signature: ")
    assert len(signed.stackstorm.executions.all()) == before
    assert {status_of(signed, parent), status_of(signed, other)} == {"running"}


# -- expressions in data -------------------------------------------------------------------------

EXPRESSIONS = {
    "yaql": "<% 6 * 7 %>",
    "jinja": "{{ 6 * 7 }}",
    "env": "<% env() %> {{ env() }}",
    "task": "<% task(run).id %> {{ task('run').id }}",
    "broken": "<% undefined( %> {{ undefined.x }} {% if %}",
    "raw": "{% raw %}{{ 1 }}{% endraw %}",
    "key <% 6 * 7 %> {{ 6 * 7 }}": ["<% 1 %>", {"{{ 2 }}": "<% 2 %>"}],
    "secret": "{{ st2kv.system.canary | decrypt_kv }}",
}
REPORT = {
    "pack": "tests",
    "runner_type": "tests-report",
    "entry_point": "",
    "enabled": True,
    "parameters": {},
}


def _report(request: RunRequest) -> RunResult:
    return RunResult(request.action["name"], dict(EXPRESSIONS))


RELAYED = """
    run:
      action: st2.action
      input: {ref: tests.STATUS}
      publish: {got: <% task(run).result %>}
      publish-on-error: {got: <% task(run).result %>}
      on-complete: tell
    tell:
      action: st2.callback
      input: {state: SUCCESS, result: <% $.got %>}
      publish: {told: <% task(tell).result %>}
    """


@pytest.mark.parametrize("status", ["succeeded", "failed", "timeout"])
def test_expressions_in_a_result_are_not_evaluated(bench: Bench, status: str) -> None:
    parent = bench.parent()
    workflow = bench.workbook(RELAYED.replace("STATUS", status))
    run = bench.run(workflow, parent=parent)
    # Only on-error would make the workflow succeed.
    state = "SUCCESS" if status == "succeeded" else "ERROR"
    assert run.execution["state"] == run.tasks["run"]["state"] == state
    assert run.tasks["tell"]["state"] == "SUCCESS"
    arrived = run.result("run")
    assert arrived == {**EXPRESSIONS, "st2": arrived["st2"]}
    published = json.loads(run.tasks["run"]["published"])["got"]
    assert published == arrived
    if status != "succeeded":
        # Mistral shows an error as Python's repr.
        assert str(arrived) in run.tasks["run"]["state_info"]
        assert str(arrived) in run.execution["state_info"]
    finished = bench.st2.get_execution(parent["id"])
    assert finished is not None
    assert finished["result"]["output"] == arrived


def test_expressions_in_stackstorms_messages_are_not_evaluated(bench: Bench) -> None:
    """StackStorm quotes the rejected request, and Mistral shows the message."""
    parent = bench.parent()
    words = "<% 6 * 7 %> {{ 6 * 7 }}"
    run = bench.run(
        bench.workbook(
            """
            run:
              action: st2.action
              input: {ref: <% $.ref %>}
              publish-on-error: {got: <% task(run).result %>}
              on-error: tell
            tell:
              action: st2.callback
              input: {state: ERROR, result: <% $.got %>}
            """,
            inputs="[ref]",
        ),
        {"ref": f"tests.{words}"},
        parent=parent,
    )
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    error = run.result("run")
    assert words in error["error"]
    assert words in error["message"]
    assert words in run.tasks["run"]["state_info"]
    finished = bench.st2.get_execution(parent["id"])
    assert finished is not None
    assert finished["status"] == "failed"
    assert finished["result"]["output"] == error


def test_expressions_in_a_callback_are_not_evaluated_in_stackstorm(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        "tell: {action: st2.callback, input: {state: SUCCESS, result: <% $.result %>}}",
        inputs="[result]",
    )
    bench.run(workflow, {"result": EXPRESSIONS}, parent=parent)
    finished = bench.st2.get_execution(parent["id"])
    assert finished is not None
    assert finished["result"]["output"] == EXPRESSIONS
