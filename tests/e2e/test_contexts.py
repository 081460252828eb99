"""Contexts and environments of workflows, their executions and children, as in StackStorm 3.2."""

from __future__ import annotations

from typing import Any

from support.mistral_bench import Bench

# Of several workflows in a workbook, StackStorm names the one to start.
MAIN = {"workflow": {"type": "string", "default": "main", "immutable": True}}

ENVIRONMENT = """
version: '2.0'
name: examples.envids
workflows:
  main:
    output:
      keys: <% env().keys().toList() %>
      id: <% env().get(st2_execution_id, missing) %>
      liveaction: <% env().get(st2_liveaction_id, missing) %>
      url: <% env().get(st2_action_api_url, missing) %>
      below: <% task(call).result.id %>
    tasks:
      call: {workflow: sub}
  sub:
    output:
      id: <% env().st2_execution_id %>
    tasks:
      a: {action: std.noop}
"""


def test_environment_has_the_ids_and_the_url(bench: Bench) -> None:
    execution = bench.execute(bench.action("envids", ENVIRONMENT, parameters=MAIN))
    assert execution["status"] == "succeeded", execution["result"]
    output = execution["result"]["output"]
    assert sorted(output.pop("keys")) == [
        "__actions",
        "st2_action_api_url",
        "st2_execution_id",
        "st2_liveaction_id",
    ]
    assert output == {
        "id": execution["id"],
        "liveaction": execution["liveaction"]["id"],
        "url": bench.stackstorm.api_url,
        "below": execution["id"],
    }


CHAT = """
version: '2.0'
examples.chatops:
  tasks:
    say:
      action: core.local
      input:
        cmd: "echo <% env().get('__actions').get('st2.action').st2_context.parent.source_channel %>"
"""


def test_parent_in_the_environment_names_the_chat(bench: Bench) -> None:
    chat = {"source_channel": "ops", "api_user": "ada"}
    execution = bench.execute(bench.action("chatops", CHAT), context=chat)
    [task] = execution["result"]["tasks"]
    assert task["result"]["stdout"] == "ops"


NAMES = """
version: '2.0'
name: examples.named
actions:
  plain: {base: core.noop}
  shell: {base: core.local, input: [cmd], base-input: {cmd: <% $.cmd %>}}
workflows:
  main:
    tasks:
      by-name: {action: core.noop}
      by-hand: {action: st2.action ref="core.noop"}
      each: {with-items: 'i in [1, 2]', action: core.local cmd="echo <% $.i %>"}
      ad-hoc: {action: shell cmd="true"}
      ad-hoc-each: {with-items: 'i in [1, 2]', action: plain}
      call: {workflow: sub}
  sub:
    tasks:
      below: {action: core.noop}
"""


def contexts(bench: Bench, parent: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        execution["context"]
        for execution in bench.stackstorm.executions.all()
        if execution.get("parent") == parent["id"]
    ]


def test_contexts_name_the_workflow_and_the_task(bench: Bench) -> None:
    execution = bench.execute(bench.action("named", NAMES, parameters=MAIN))
    assert execution["status"] == "succeeded", execution["result"]
    about = execution["context"]["mistral"]
    assert about == {
        "execution_id": execution["context"]["mistral_workflow"]["execution_id"],
        "workflow_name": "examples.named.main",
    }
    children = contexts(bench, execution)
    # Mistral tells an ad-hoc action nothing of its task. StackStorm shows those by their refs.
    names = [(child["mistral"].get("task_name"), child["chain"]["name"]) for child in children]
    named = ["below", "by-hand", "by-name", "each", "each"]
    unnamed = ["core.local", "core.noop", "core.noop"]
    assert sorted(name for name in names if name[0]) == [(name, name) for name in named]
    assert sorted(name for task, name in names if task is None) == unnamed


NESTING = """
version: '2.0'
examples.nesting:
  tasks:
    call: {action: examples.nested}
"""
NESTED = """
version: '2.0'
examples.nested:
  tasks:
    say: {action: core.noop}
"""


def test_context_of_a_workflow_below_another_names_both(bench: Bench) -> None:
    bench.action("nested", NESTED)
    execution = bench.execute(bench.action("nesting", NESTING))
    assert execution["status"] == "succeeded", execution["result"]
    outer = execution["context"]["mistral"]
    [child] = contexts(bench, execution)
    own = child["mistral_workflow"]["execution_id"]
    assert child["mistral"].pop("task_execution_id")
    assert child["mistral"].pop("action_execution_id")
    assert child["mistral"] == {
        "site": "mistral",
        "task_name": "call",
        "workflow_execution_id": outer["execution_id"],
        "execution_id": own,
        "workflow_name": "examples.nested",
        "parent": {
            "workflow_execution_id": outer["execution_id"],
            "workflow_name": "examples.nesting",
        },
    }
