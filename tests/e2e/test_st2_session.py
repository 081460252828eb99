"""The session of the quickstart, typed in a terminal with the unmodified ``st2`` command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import requests
from support.st2_command import ST2
from support.st2_terminal import St2, run_in_terminal, st2_in_sandbox
from support.waiting import TIMEOUT

from st2_mistral_sandbox import examples
from st2_mistral_sandbox.stackstorm import RunResult

BASIC = "examples.mistral-basic"

RERUN = """\
version: '2.0'
name: examples.rerun
workflows:
  main:
    input: [file]
    tasks:
      check:
        action: core.local
        input: {cmd: "echo checked; test -e <% $.file %>"}
        on-success: report
      report:
        action: st2.callback
        input: {state: SUCCESS, result: found}
"""


@pytest.fixture(scope="module")
def st2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[St2]:
    """Start a sandbox, and create two actions in it with ``st2``."""
    folder = tmp_path_factory.mktemp("session")
    with st2_in_sandbox(folder, resync_interval=1) as st2:
        assert st2.sandbox.packs
        st2("action", "create", str(examples.find(BASIC).metadata))
        (st2.sandbox.packs / "examples" / "actions" / "workflows" / "rerun.yaml").write_text(RERUN)
        metadata = {
            "pack": "examples",
            "name": "rerun",
            "runner_type": "mistral-v2",
            "entry_point": "workflows/rerun.yaml",
            "parameters": {"file": {"type": "string", "required": True}},
        }
        (folder / "rerun.json").write_text(json.dumps(metadata))
        st2("action", "create", str(folder / "rerun.json"))
        yield st2
        assert st2.environment["ST2_API_KEY"] not in "".join(st2.outputs)


def test_workflow_and_its_child_execution_succeed(st2: St2) -> None:
    parent = st2.run(BASIC, "cmd=date +%F")
    st2.until(parent, "succeeded")
    child = st2.child_of(parent)
    assert st2.rows(parent, child) == {
        parent: (BASIC, "succeeded"),
        child: ("core.local", "succeeded"),
    }
    shown = st2("execution", "get", parent)
    assert re.search(r"^status: succeeded", shown, re.M)
    assert f"output: '{date.today().isoformat()}'" in shown
    assert "workflow_name: examples.mistral-basic.main" in shown
    # It shows a tree only for workflows of StackStorm's own runners.
    shown = st2("execution", "get", parent, "--attr", "children")
    assert re.search(rf"^children: *\n +- {child}$", shown, re.M)


def test_tree_of_an_orquesta_workflow_shows_the_mistral_workflow_in_it(st2: St2) -> None:
    assert st2.sandbox.stackstorm
    st2.sandbox.stackstorm.register_runner(
        "orquesta", lambda request: RunResult("running", {"note": "started"})
    )
    st2.sandbox.stackstorm.register_action(
        {"pack": "examples", "name": "outer", "runner_type": "orquesta"}
    )
    outer = st2.run("examples.outer")
    st2.until(outer, "running")
    # As Orquesta creates the execution of a task.
    context = {"parent": {"execution_id": outer}, "orquesta": {"task_name": "inner"}}
    made = requests.post(
        f"{st2.sandbox.st2_settings.api_url}/executions",
        json={"action": BASIC, "parameters": {"cmd": "date"}},
        headers={"St2-Api-Key": st2.environment["ST2_API_KEY"], "st2-context": json.dumps(context)},
        timeout=30,
    )
    inner = made.json()["id"]
    st2.until(inner, "succeeded")
    st2.sandbox.st2.finish(outer, "succeeded", {"output": None})
    shown = st2("execution", "get", outer)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")][2:4]
        for line in shown.splitlines()
        if re.match(r"\| \W*[0-9a-f]{24}", line)
    ]
    assert rows == [["inner", BASIC], ["run-cmd", "core.local"]]


def test_st2_shows_the_runner_and_the_action(st2: St2) -> None:
    assert re.search(r"^\| [0-9a-f]{24} \| mistral-v2 +\|", st2("runner", "list"), re.M)
    shown = st2("runner", "get", "mistral-v2")
    assert "st2actions_mistral.runner" in shown
    assert '"task_name": {' in shown
    assert re.search(r"^\| runner_type +\| mistral-v2 +\|$", st2("action", "get", BASIC), re.M)
    assert "already exists" in st2("action", "create", str(examples.find(BASIC).metadata), code=2)


def test_action_is_changed_and_deleted(st2: St2, tmp_path: Path) -> None:
    metadata = {
        "pack": "examples",
        "name": "temporary",
        "runner_type": "mistral-v2",
        "entry_point": "missing.yaml",
    }
    file = tmp_path / "temporary.json"
    file.write_text(json.dumps(metadata))
    st2("action", "create", str(file))
    file.write_text(json.dumps({**metadata, "description": "has no file"}))
    assert "has no file" in st2("action", "update", "examples.temporary", str(file))
    failed = st2.until(st2.run("examples.temporary"), "failed")
    assert "missing.yaml cannot be read" in failed["result"]["error"]
    assert "successfully deleted" in st2("action", "delete", "examples.temporary")
    assert "not found" in st2("action", "get", "examples.temporary", code=1)


def code_blocks(guide: str) -> list[tuple[str, str]]:
    """Return language and text of the code blocks of a guide."""
    text = (Path(__file__).parents[2] / "docs" / "guides" / guide).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.M | re.S)
    return [(language, textwrap.dedent(block)) for _, language, block in found]


def test_workflow_of_the_guide_runs_and_is_re_run(st2: St2, tmp_path: Path) -> None:
    blocks = code_blocks("write-a-workflow.md")
    text, metadata, *_ = (block for language, block in blocks if language == "yaml")
    commands = "".join(block for language, block in code_blocks("sandbox.md") if language == "console")
    create, run, *_ = re.findall(r"^\$ st2 (.+)$", commands, re.M)
    assert create == "action create hello.yaml"
    assert st2.sandbox.packs
    workbook = st2.sandbox.packs / "examples" / "actions" / "workflows" / "hello.yaml"
    workbook.write_text(text)
    (tmp_path / "hello.yaml").write_text(metadata)
    st2("action", "create", str(tmp_path / "hello.yaml"))
    parent = st2.run(*run.removeprefix("run ").removesuffix(" -a").split())
    output = st2.until(parent, "succeeded")["result"]["output"]
    assert output == {"greeting": "Hello, Ada!"}
    workbook.write_text(text.replace("Hello", "Bye"))
    output = st2.until(st2.re_run(parent), "succeeded")["result"]["output"]
    assert output == {"greeting": "Bye, Ada!"}


def test_cancelled_workflow_is_final_in_both_systems(st2: St2) -> None:
    parent = st2.run(BASIC, "cmd=sleep 600")
    child = st2.child_of(parent)
    st2.until(child, "running")
    assert f"{parent} canceled." in st2("execution", "cancel", parent)
    st2.until(parent, "canceled")
    st2.until(child, "canceled")
    assert st2.rows(parent, child) == {parent: (BASIC, "canceled"), child: ("core.local", "canceled")}
    workflow = st2.workflow(parent, "CANCELLED")
    tasks = st2.sandbox.mistral.tasks(workflow.execution_id)
    assert [task["name"] for task in tasks] == ["run-cmd"]


def test_workflow_is_re_run(st2: St2) -> None:
    first = st2.run(BASIC, "cmd=echo once")
    st2.until(first, "succeeded")
    second = st2.re_run(first)
    rerun = st2.until(second, "succeeded")
    assert rerun["result"]["output"] == "once"
    assert rerun["context"]["re-run"] == {"ref": first}
    assert st2.workflow(first, "SUCCESS") != st2.workflow(second, "SUCCESS")
    other = st2.until(st2.re_run(first, "cmd=echo twice"), "succeeded")
    assert other["result"]["output"] == "twice"


def test_task_is_re_run_in_its_workflow(st2: St2, tmp_path: Path) -> None:
    file = tmp_path / "there"
    first = st2.run("examples.rerun", f"file={file}")
    failed = st2.workflow(first, "ERROR")
    final = st2.until(first, "failed")
    assert [(task["name"], task["state"]) for task in final["result"]["tasks"]] == [("check", "ERROR")]
    file.touch()
    # StackStorm accepts this option for Orquesta only …
    message = st2("execution", "re-run", first, "--tasks", "check", code=1)
    assert "Task option is only supported for Orquesta workflows." in message
    # … but it accepts a parameter of the runner.
    second = st2.re_run(first, "rerun_tasks=check")
    rerun = st2.until(second, "succeeded")
    assert rerun["result"]["output"] == "found"
    assert st2.workflow(second, "SUCCESS") == failed
    child = st2.child_of(second)
    assert st2.rows(child) == {child: ("core.local", "succeeded")}


def test_demo_runs_the_commands_of_the_quickstart(tmp_path: Path) -> None:
    """Run the command of ``make demo``, with an ``st2`` that logs its arguments."""
    log, logging_st2 = tmp_path / "log", tmp_path / "st2"
    logging_st2.write_text(
        f'#!/bin/sh\necho "$@" >>{log}\necho "$ST2_API_KEY" >{tmp_path}/key\nexec {ST2} "$@"\n'
    )
    logging_st2.chmod(0o755)
    demo = [str(Path(sys.executable).with_name("st2-mistral")), "demo", "--st2", str(logging_st2)]
    environment = {**os.environ, "TERM": "xterm", "ST2_AUTH_TOKEN": "of another StackStorm"}
    root = examples.folder().parents[1]
    code, output = run_in_terminal([*demo, BASIC, "cmd=date +%F"], environment, cwd=root)
    assert code == 0, output
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    parent = re.search(r"st2 execution get ([0-9a-f]{24})", output)
    assert parent, output
    lines = [
        "action create examples/actions/mistral-basic.yaml",
        "run examples.mistral-basic cmd=date +%F -a",
        "execution list --showall",
        f"execution get {parent[1]}",
    ]
    assert log.read_text().splitlines() == lines
    commands = re.findall(r"^\$ st2 (.+?) *$", output, re.M)
    assert commands == [line.replace("cmd=date +%F", "'cmd=date +%F'") for line in lines]
    rows = re.findall(r"^\| [0-9a-f]{24} \| (\S+) .*\| st2admin +\| (\w+) \(", output, re.M)
    assert [status for _, status in rows] == ["succeeded", "succeeded"]
    assert "core.local running" in output
    assert f"output: '{date.today().isoformat()}'" in output
    key = (tmp_path / "key").read_text().strip()
    assert len(key) > 20
    assert key not in output
    assert key not in log.read_text()


def test_demo_reports_a_failed_workflow(tmp_path: Path) -> None:
    demo = [str(Path(sys.executable).with_name("st2-mistral")), "demo", "--st2", str(ST2)]
    done = subprocess.run(
        [*demo, "mistral-basic", "cmd=exit 4"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert re.search(r"^status: failed", done.stdout, re.M)
    assert "examples.mistral-basic failed." in done.stderr


@pytest.mark.parametrize(
    ("st2", "message"),
    [
        ("/nonexistent/st2", "--st2: there is no command '/nonexistent/st2'."),
        ("false", "st2 action create"),
    ],
)
def test_demo_reports_an_st2_that_fails(st2: str, message: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("st2-mistral")), "demo", "--st2", st2],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
