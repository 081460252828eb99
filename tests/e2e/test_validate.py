"""``st2-mistral validate`` against real servers, and what it says to be valid made to run."""

from __future__ import annotations

import json
import subprocess
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.breaking_servers import refusing
from support.command_line import run_command
from support.mistral_bench import Bench, WithoutNative

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.rewrite import rewrite
from st2actions_mistral.runner.catalogue import ActionCatalogue

EXAMPLES = Path(__file__).parents[2] / "examples" / "actions" / "workflows"

Validate = Callable[..., subprocess.CompletedProcess[str]]

WELL = """\
version: '2.0'
name: NAME
actions:
  shell:
    base: core.local timeout=5
    base-input: {cmd: "echo <% $.line %>"}
    input: [line]
    output: <% $.stdout %>
workflows:
  main:
    input: [cmd]
    output: {said: <% $.said %>, also: <% $.also %>, whole: <% $.whole %>}
    tasks:
      short:
        action: core.local cmd=<% $.cmd %>
        publish: {said: <% task().result.stdout %>}
        on-success: long
      long:
        action: shell
        input: {line: a blank}
        publish: {also: <% task().result %>}
        on-success: whole
      whole:
        action: core.local
        input: <% dict(cmd => $.cmd) %>
        publish: {whole: <% task().result.stdout %>}
"""

ILL = """\
version: '2.0'
name: tests.ill
workflows:
  main:
    tasks:
      first:
        action: core.local
        on-success: second
      second:
        action: core.local cmd='date' cdw='/tmp'
      third:
        action: st2.action
        input:
          ref: core.lokal
      fourth:
        action: std.echo output='x'
        on-success: nowhere
"""


def known(bench: Bench) -> ActionCatalogue:
    return ActionCatalogue(bench.st2.action, bench.mistral)


@pytest.fixture
def validate(bench: Bench) -> Validate:
    """Run the command with the sandbox's configuration."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        config = bench.sandbox.folder / "relay.conf"
        return run_command("validate", "--config-file", config, *arguments)

    return run


def test_all_problems_are_reported_with_their_lines(validate: Validate, tmp_path: Path) -> None:
    ill = tmp_path / "ill.yaml"
    ill.write_text(ILL)
    done = validate(ill)
    assert done.returncode == 1, done.stderr
    place = "workflow tests.ill.main, task"
    assert done.stdout.splitlines() == [
        f"invalid  {ill}:6  {place} first: core.local needs cmd.",
        f"invalid  {ill}:9  {place} second: core.local has no parameter cdw."
        " It takes: cmd, cwd, env, kwarg_op, sudo_password, timeout.",
        f"invalid  {ill}:11  {place} third: StackStorm has no action core.lokal.",
        f"invalid  {ill}:17  Mistral: Task 'nowhere' not found.",
    ]


def test_files_given_together_may_use_each_others_workflows(validate: Validate, tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper.yaml", tmp_path / "lower.yaml"
    upper.write_text("version: '2.0'\ntests.upper:\n  tasks:\n    go: {workflow: tests.lower}\n")
    lower.write_text("version: '2.0'\ntests.lower:\n  tasks:\n    go: {action: std.noop}\n")
    done = validate(upper)
    assert (done.returncode, done.stdout) == (
        1,
        f"invalid  {upper}:4  workflow tests.upper, task go: neither this workflow nor Mistral has a"
        " workflow tests.lower. Publish it first. If StackStorm runs it, call it with 'action:'.\n",
    )
    done = validate(upper, lower)
    assert done.returncode == 0, done.stdout


def test_unreadable_files_have_no_kind_and_no_name(validate: Validate, tmp_path: Path) -> None:
    yaml_error = tmp_path / "broken.yaml"
    yaml_error.write_text("version: '2.0'\nname: [\n")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    done = validate("--json", yaml_error, binary, tmp_path / "missing.yaml")
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["file"], row["kind"], row["name"], row["valid"]) for row in rows] == [
        (str(tmp_path / name), None, None, False)
        for name in ("broken.yaml", "binary.yaml", "missing.yaml")
    ]
    [broken], [undecodable], [absent] = (row["problems"] for row in rows)
    assert broken["line"] == 3
    assert broken["message"].startswith("is not valid YAML: line 3, column 1: ")
    assert undecodable == {"line": None, "message": "cannot be read: it is not UTF-8."}
    assert absent["message"] == "cannot be read: No such file or directory."


def test_the_examples_are_valid(validate: Validate) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    done = validate(*files)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(files) > 0
    assert f"valid    {EXAMPLES}/mistral-basic.yaml  workbook examples.mistral-basic" in lines


def test_expressions_in_parameters_are_validated(validate: Validate, tmp_path: Path) -> None:
    file = tmp_path / "expression.yaml"
    task = "{action: core.local, input: {cmd: <% $.x( %>}}"
    file.write_text(f"version: '2.0'\nmain: {{tasks: {{say: {task}}}}}\n")
    done = validate(file)
    assert done.returncode == 1
    assert "Mistral: Parse error" in done.stdout


def test_a_text_that_mistral_answers_with_500_is_invalid(validate: Validate, tmp_path: Path) -> None:
    file = tmp_path / "choke.yaml"
    task = "{action: std.echo output='x', input: <% $.x %>}"
    file.write_text(f"version: '2.0'\nmain: {{tasks: {{say: {task}}}}}\n")
    done = validate(file)
    assert done.returncode == 1
    [ours, theirs] = sorted(done.stdout.splitlines())
    assert "cannot validate this text" in ours
    assert "task say: input is an expression, so output cannot be given in action as well" in theirs


def test_an_unreachable_system_is_an_error(bench: Bench, validate: Validate, tmp_path: Path) -> None:
    file = tmp_path / "well.yaml"
    file.write_text(WELL.replace("NAME", "tests.away"))
    away = tmp_path / "away.conf"
    with refusing() as unreachable:
        away.write_text(f"[st2_relay]\nmistral_url = {unreachable}/v2\n")
        done = validate("--config-file", away, file)
    assert done.returncode == 1
    assert "st2-mistral: GET" in done.stderr
    assert "no connection" in done.stderr


def test_validate_publishes_nothing(bench: Bench, validate: Validate, tmp_path: Path) -> None:
    file = tmp_path / "well.yaml"
    name = f"tests.{uuid.uuid4().hex[:12]}"
    file.write_text(WELL.replace("NAME", name))
    done = validate(file)
    assert done.stdout == f"valid    {file}  workbook {name}\n", done.stderr
    assert bench.mistral.definition(name) is None


@pytest.mark.parametrize(
    ("catalogue", "called"),
    [(ActionCatalogue, "core.local cmd=<% $.cmd %>"), (WithoutNative, "st2.action")],
)
def test_actions_with_plain_names_run(
    bench: Bench, catalogue: type[ActionCatalogue], called: str
) -> None:
    name = f"tests.{uuid.uuid4().hex[:12]}"
    definition = Definition.parse(WELL.replace("NAME", name), "well.yaml")
    known = catalogue(bench.st2.action, bench.mistral)
    bench.mistral.save_definition(rewrite(definition, known).text)
    parent = bench.parent()
    run = bench.run(f"{name}.main", {"cmd": "echo hello"}, parent=parent)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    output: Any = run.execution["output"]
    output = json.loads(output) if isinstance(output, str) else output
    assert output == {"said": "hello", "also": "a blank", "whole": "hello"}
    # The execution of the ad-hoc action is below the parent execution too.
    for action in run.actions:
        [child] = bench.children_of(action["id"])
        assert child["action"]["ref"] == "core.local"
        assert child["context"]["parent"]["execution_id"] == parent["id"]
    # Mistral stores the text of each workflow separately.
    cut = bench.get(f"/workflows/{name}.main")["definition"]
    assert yaml.safe_load(cut)["main"]["tasks"]["short"]["action"] == called


def test_skip_notify_leaves_out_the_notification_of_a_task(bench: Bench) -> None:
    name = f"tests.{uuid.uuid4().hex[:12]}"
    text = f"""\
        version: '2.0'
        name: {name}
        workflows:
          main:
            tasks:
              quiet: {{action: core.noop}}
              loud: {{action: core.noop}}
              written: {{action: st2.action ref='core.noop'}}
        """
    definition = Definition.parse(textwrap.dedent(text), "quiet.yaml")
    skipped = ["quiet", "written"]
    bench.mistral.save_definition(rewrite(definition, known(bench)).text)
    parent = bench.parent()
    context = {
        "parent": {"execution_id": parent["id"]},
        "notify": {"on-complete": {"routes": ["nobody"]}},
        "skip_notify_tasks": skipped,
    }
    env = {"__actions": {"st2.action": {"st2_context": context}}}
    started = bench.mistral.start_workflow(f"{name}.main", {}, env=env)
    run = bench.wait(started["id"])
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    notified = {
        action["task_name"]: "notify" in bench.children_of(action["id"])[0]["liveaction"]
        for action in run.actions
    }
    assert notified == {"quiet": False, "loud": True, "written": False}


def test_mistral_validates_workbooks_and_workflows(bench: Bench) -> None:
    mistral: MistralClient = bench.mistral
    assert (
        mistral.validate("version: '2.0'\nmain: {tasks: {say: {action: std.noop}}}", "workflow") is None
    )
    assert mistral.validate("version: '2.0'\nname: w\nworkflows: 5") is not None
