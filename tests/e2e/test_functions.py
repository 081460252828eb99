"""The expression functions in a real Mistral."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.function_examples import EXAMPLES, KEYS, Example
from support.mistral_bench import Bench, Run, put_key

CASES = Path(__file__).parents[1] / "data" / "cases"
SECRET = "only-for-stackstorm"


@pytest.fixture(scope="module")
def published(bench: Bench) -> dict[str, Any]:
    """Publish all examples of the documentation in one task, and return the variables."""
    for kept in KEYS:
        put_key(bench, **kept)
    texts = {f"yaql_{example.id}": example.yaql for example in EXAMPLES}
    texts |= {f"jinja_{example.id}": example.jinja for example in EXAMPLES}
    task = {"examples": {"action": "std.noop", "publish": texts}}
    run = bench.run(bench.workbook(yaml.safe_dump(task)))
    assert run.execution["state"] == "SUCCESS", run.execution.get("state_info")
    found = run.tasks["examples"]["published"]
    variables: dict[str, Any] = json.loads(found) if isinstance(found, str) else found
    return variables


@pytest.mark.parametrize("language", ["yaql", "jinja"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_example_of_the_documentation(
    published: dict[str, Any], example: Example, language: str
) -> None:
    assert published[f"{language}_{example.id}"] == example.result


def test_workflow_of_an_old_pack_reads_a_key(bench: Bench) -> None:
    put_key(bench, "marco", "polo")
    ref = bench.action("kv", (CASES / "kv.yaml").read_text())
    done = bench.execute(ref)
    assert done["status"] == "succeeded", done["result"]
    assert done["result"]["output"] == {"polo": "polo"}


def test_workflow_of_an_old_pack_lets_stackstorm_resolve_a_key(bench: Bench) -> None:
    """StackStorm 3.2 had this as mistral-jinja-st2kv-system-scope."""
    put_key(bench, "foobar", "foobar")
    put_key(bench, "password", SECRET, secret=True)
    ref = bench.action(
        "keys",
        """
        version: '2.0'
        examples.keys:
          output:
            plain: <% $.plain %>
            secret: <% $.secret %>
          tasks:
            task1:
              action: core.local
              input:
                cmd: 'echo "{{ st2kv.system.foobar }}"'
              publish:
                plain: <% task(task1).result.stdout %>
              on-success: task2
            task2:
              action: core.local cmd="echo {{ st2kv.system.password | decrypt_kv }}"
              publish:
                secret: <% task(task2).result.stdout %>
        """,
    )
    done = bench.execute(ref)
    assert done["status"] == "succeeded", done["result"]
    assert done["result"]["output"] == {"plain": "foobar", "secret": SECRET}


def test_misspelt_function_is_reported_before_anything_starts(bench: Bench) -> None:
    ref = bench.action(
        "misspelt",
        """
        version: '2.0'
        examples.misspelt:
          tasks:
            one:
              action: std.noop
              publish:
                x: <% regex_mach(a, b) %>
        """,
    )
    done = bench.execute(ref)
    assert done["status"] == "failed"
    said = json.dumps(done["result"])
    assert "line 8: workflow examples.misspelt, task one: YAQL has no function regex_mach." in said
    assert "Did you mean regex_match?" in said


def fails(bench: Bench, expression: str) -> Run:
    task = {"read": {"action": "std.noop", "publish": {"x": expression}}}
    run = bench.run(bench.workbook(yaml.safe_dump(task)))
    assert run.execution["state"] == "ERROR"
    return run


def test_missing_key_fails_the_workflow_with_a_reason(bench: Bench) -> None:
    run = fails(bench, "<% st2kv('system.nope') %>")
    assert "st2kv: StackStorm has no key 'nope' in the scope system." in run.execution["state_info"]


def test_pattern_without_end_fails_the_workflow_in_time(bench: Bench) -> None:
    run = fails(bench, "{{ ('a' * 2000 + 'c') | regex_search('(a|aa)+$') }}")
    assert "regex_search: the pattern takes more than 1 s." in run.execution["state_info"]


def test_secret_that_stackstorm_resolves_is_not_in_mistral(bench: Bench) -> None:
    put_key(bench, "password", SECRET, secret=True)
    run = bench.run(
        bench.workbook(
            """
            say:
              action: st2.action
              input:
                ref: sandbox.echo
                parameters:
                  value: "{% raw %}{{ st2kv.system.password | decrypt_kv }}{% endraw %}"
                render_jinja: [value]
            """
        )
    )
    assert run.execution["state"] == "SUCCESS"
    # The action returns its parameter, so the result shows that the secret arrived.
    assert run.result("say")["result"] == {"value": SECRET}
    (action,) = run.actions
    given = action["input"]
    assert "decrypt_kv" in json.dumps(given)
    assert SECRET not in json.dumps(given)


def test_only_the_named_parameter_is_rendered(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        say:
          action: st2.action
          input:
            ref: core.local
            parameters:
              cmd: "echo <% $.given %>"
              env: {A: "{% raw %}{{ 1 + 1 }}{% endraw %}"}
            render_jinja: [env]
        """,
        inputs="[given]",
    )
    run = bench.run(workflow, {"given": "{{ 1 + 1 }}"})
    assert run.execution["state"] == "SUCCESS"
    (child,) = bench.children_of(run.actions[0]["id"])
    assert child["parameters"]["cmd"] == "echo {{ 1 + 1 }}"
    assert child["parameters"]["env"] == {"A": "2"}
