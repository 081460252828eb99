"""The story of the README, typed in a terminal with the unmodified ``st2`` command line."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from support.st2_command import ST2, environment_of
from support.waiting import TIMEOUT, eventually

from st2_mistral_sandbox import examples
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult
from st2actions_mistral.model.workflow import WorkflowRef

COLUMNS = 160
BASIC = "examples.mistral-basic"

AGAIN = """\
version: '2.0'
name: examples.again
workflows:
  main:
    input: [file]
    tasks:
      look:
        action: core.local
        input: {cmd: "echo looked; test -e <% $.file %>"}
        on-success: tell
      tell:
        action: st2.callback
        input: {state: SUCCESS, result: found}
"""


def type_in_a_terminal(
    command: Sequence[str], environment: dict[str, str], cwd: Path | None = None
) -> tuple[int, str]:
    """Run a command with a terminal as its output: the exit code, and what is to be read there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=cwd
    )
    os.close(theirs)
    said = b""
    with open(ours, "rb", buffering=0) as screen:
        while True:
            try:
                read = screen.read(65536)
            except OSError:  # Linux's way to say that nobody has the terminal any more
                break
            if not read:
                break
            said += read
    return process.wait(timeout=TIMEOUT), said.decode().replace("\r\n", "\n")


@dataclass
class Typist:
    """Types ``st2`` at a sandbox."""

    sandbox: Sandbox
    environment: dict[str, str]
    printed: list[str] = field(default_factory=list)

    def __call__(self, *words: str, code: int = 0) -> str:
        done, said = type_in_a_terminal([str(ST2), *words], self.environment)
        self.printed.append(said)
        assert done == code, said
        return said

    def run(self, *words: str) -> str:
        """``st2 run … -a``: the id of what was started."""
        return self._id(self("run", *words, "-a"))

    def re_run(self, *words: str) -> str:
        """``st2 execution re-run … -a``: the id of what was started."""
        return self._id(self("execution", "re-run", *words, "-a"))

    @staticmethod
    def _id(said: str) -> str:
        found = re.search(r"st2 execution get ([0-9a-f]{24})", said)
        assert found, said
        return found[1]

    def rows(self, *ids: str) -> dict[str, tuple[str, str]]:
        """Action and status of executions, as ``st2 execution list`` shows them."""
        said = self("execution", "list", "--showall", "-a", "id", "action.ref", "status")
        rows = {}
        for line in said.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 3 and cells[0] in ids:
                rows[cells[0]] = (cells[1], cells[2].partition(" ")[0])
        return rows

    def child_of(self, parent: str) -> str:
        """The id of the only child, once there is one."""
        (child,) = eventually(lambda: self.sandbox.st2.children(parent), "the child is there")
        return str(child["id"])

    def until(self, execution: str, status: str) -> dict[str, Any]:
        """The execution, once StackStorm shows it with this status."""

        def reached() -> dict[str, Any] | None:
            found = self.sandbox.st2.get_execution(execution)
            return found if found and found["status"] == status else None

        found: dict[str, Any] = eventually(reached, f"{execution} {status}")
        return found

    def workflow(self, execution: str, state: str) -> WorkflowRef:
        """The workflow of an execution, once Mistral shows it with this state."""

        def reached() -> WorkflowRef | None:
            parent = self.sandbox.st2.get_execution(execution)
            ref = WorkflowRef.of(parent["context"]) if parent else None
            found = self.sandbox.mistral.get_execution(ref.execution_id) if ref else None
            return ref if found and found["state"] == state else None

        found: WorkflowRef = eventually(reached, f"the workflow of {execution} {state}")
        return found


@pytest.fixture(scope="module")
def st2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """At a sandbox with two actions, each made by typing."""
    assert ST2.exists(), f"{ST2} is missing: 'make .venv-st2client/.made', or name one in ST2_COMMAND"
    folder = tmp_path_factory.mktemp("story")
    with Sandbox(
        folder / "sandbox", register_examples=False, relay_options="resync_interval = 1"
    ) as sandbox:
        assert sandbox.stackstorm
        assert sandbox.packs
        environment = environment_of(sandbox.stackstorm, folder)
        environment["ST2_API_KEY"] = str(sandbox.st2_settings.credential.api_key)
        type_ = Typist(sandbox, environment)
        type_("action", "create", str(examples.find(BASIC).metadata))
        (sandbox.packs / "examples" / "actions" / "again.yaml").write_text(AGAIN)
        metadata = {
            "pack": "examples",
            "name": "again",
            "runner_type": "mistral-v2",
            "entry_point": "again.yaml",
            "parameters": {"file": {"type": "string", "required": True}},
        }
        (folder / "again.json").write_text(json.dumps(metadata))
        type_("action", "create", str(folder / "again.json"))
        yield type_
        assert environment["ST2_API_KEY"] not in "".join(type_.printed)


def test_a_workflow_and_its_child_succeed(st2: Typist) -> None:
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
    # It draws the tree of a workflow of StackStorm's own runners only.
    shown = st2("execution", "get", parent, "--attr", "children")
    assert re.search(rf"^children: *\n +- {child}$", shown, re.M)


def test_st2_draws_the_tree_of_a_workflow_of_another_runner_above_one_of_ours(st2: Typist) -> None:
    assert st2.sandbox.stackstorm
    st2.sandbox.stackstorm.register_runner(
        "orquesta", lambda request: RunResult("running", {"note": "started"})
    )
    st2.sandbox.stackstorm.register_action(
        {"pack": "examples", "name": "outer", "runner_type": "orquesta"}
    )
    outer = st2.run("examples.outer")
    st2.until(outer, "running")
    # As Orquesta makes the execution of a task.
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
    drawn = [
        [cell.strip() for cell in line.strip("|").split("|")][2:4]
        for line in shown.splitlines()
        if re.match(r"\| \W*[0-9a-f]{24}", line)
    ]
    assert drawn == [["inner", BASIC], ["run-cmd", "core.local"]]


def test_what_st2_shows_of_the_runner_and_the_action(st2: Typist) -> None:
    assert re.search(r"^\| [0-9a-f]{24} \| mistral-v2 +\|", st2("runner", "list"), re.M)
    shown = st2("runner", "get", "mistral-v2")
    assert "st2actions_mistral.runner" in shown
    assert '"task_name": {' in shown
    assert re.search(r"^\| runner_type +\| mistral-v2 +\|$", st2("action", "get", BASIC), re.M)
    assert "already exists" in st2("action", "create", str(examples.find(BASIC).metadata), code=2)


def test_an_action_is_changed_and_deleted(st2: Typist, tmp_path: Path) -> None:
    metadata = {
        "pack": "examples",
        "name": "gone",
        "runner_type": "mistral-v2",
        "entry_point": "no.yaml",
    }
    file = tmp_path / "gone.json"
    file.write_text(json.dumps(metadata))
    st2("action", "create", str(file))
    file.write_text(json.dumps({**metadata, "description": "has no file"}))
    assert "has no file" in st2("action", "update", "examples.gone", str(file))
    failed = st2.until(st2.run("examples.gone"), "failed")
    assert "no.yaml cannot be read" in failed["result"]["error"]
    assert "successfully deleted" in st2("action", "delete", "examples.gone")
    assert "not found" in st2("action", "get", "examples.gone", code=1)


def test_a_workflow_of_ones_own_as_the_manual_has_it(st2: Typist, tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    section = manual[manual.index("## A workflow of your own") :]
    blocks = dict(reversed(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)))
    assert st2.sandbox.packs
    workbook = st2.sandbox.packs / "examples" / "actions" / "hello.yaml"
    workbook.write_text(blocks["yaml"])
    (tmp_path / "hello.json").write_text(blocks["json"])
    create, run, *_ = re.findall(r"^\$ st2 (.+)$", blocks["console"], re.M)
    assert create == "action create hello.json"
    st2("action", "create", str(tmp_path / "hello.json"))
    parent = st2.run(*run.removeprefix("run ").removesuffix(" -a").split())
    assert st2.until(parent, "succeeded")["result"]["output"] == "Hello, Ada!"
    workbook.write_text(blocks["yaml"].replace("Hello", "Bye"))
    assert st2.until(st2.re_run(parent), "succeeded")["result"]["output"] == "Bye, Ada!"


def test_a_cancelled_workflow_ends_on_both_sides(st2: Typist) -> None:
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


def test_a_whole_workflow_is_run_again(st2: Typist) -> None:
    first = st2.run(BASIC, "cmd=echo once")
    st2.until(first, "succeeded")
    second = st2.re_run(first)
    again = st2.until(second, "succeeded")
    assert again["result"]["output"] == "once"
    assert again["context"]["re-run"] == {"ref": first}
    assert st2.workflow(first, "SUCCESS") != st2.workflow(second, "SUCCESS")
    other = st2.until(st2.re_run(first, "cmd=echo twice"), "succeeded")
    assert other["result"]["output"] == "twice"


def test_a_task_is_run_again_in_the_workflow_in_which_it_failed(st2: Typist, tmp_path: Path) -> None:
    file = tmp_path / "there"
    first = st2.run("examples.again", f"file={file}")
    failed = st2.workflow(first, "ERROR")
    ended = st2.until(first, "failed")
    assert [(task["name"], task["state"]) for task in ended["result"]["tasks"]] == [("look", "ERROR")]
    file.touch()
    # StackStorm itself keeps this option for its own workflows …
    told = st2("execution", "re-run", first, "--tasks", "look", code=1)
    assert "Task option is only supported for Orquesta workflows." in told
    # … and has no objection to a parameter of the runner.
    second = st2.re_run(first, "tasks=look")
    again = st2.until(second, "succeeded")
    assert again["result"]["output"] == "found"
    assert st2.workflow(second, "SUCCESS") == failed
    child = st2.child_of(second)
    assert st2.rows(child) == {child: ("core.local", "succeeded")}


def test_pausing_is_not_for_this_runner(st2: Typist) -> None:
    parent = st2.run(BASIC, "cmd=sleep 600")
    st2.until(st2.child_of(parent), "running")
    for word, verb in (("pause", "pause"), ("resume", "resume")):
        told = st2("execution", word, parent, code=1)
        assert f"Unable to {verb} liveaction" in told
        assert 'it is not supported by the "mistral-v2" runner.' in told
    st2("execution", "cancel", parent)
    st2.until(parent, "canceled")


def test_the_demo_types_it_all(tmp_path: Path) -> None:
    """What ``make demo`` runs, with an ``st2`` that notes how it was called."""
    noted, noting = tmp_path / "noted", tmp_path / "st2"
    noting.write_text(
        f'#!/bin/sh\necho "$@" >>{noted}\necho "$ST2_API_KEY" >{tmp_path}/key\nexec {ST2} "$@"\n'
    )
    noting.chmod(0o755)
    demo = [str(Path(sys.executable).with_name("st2-mistral")), "demo", "--st2", str(noting)]
    environment = {**os.environ, "TERM": "xterm", "ST2_AUTH_TOKEN": "of another StackStorm"}
    root = examples.folder().parents[1]
    code, said = type_in_a_terminal([*demo, BASIC, "cmd=date +%F"], environment, cwd=root)
    assert code == 0, said
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    parent = re.search(r"st2 execution get ([0-9a-f]{24})", said)
    assert parent, said
    lines = [
        "action create examples/actions/mistral-basic.json",
        "run examples.mistral-basic cmd=date +%F -a",
        "execution list --showall",
        f"execution get {parent[1]}",
    ]
    assert noted.read_text().splitlines() == lines
    typed = re.findall(r"^\$ st2 (.+?) *$", said, re.M)
    assert typed == [line.replace("cmd=date +%F", "'cmd=date +%F'") for line in lines]
    ended = re.findall(r"^\| [0-9a-f]{24} \| (\S+) .*\| st2admin +\| (\w+) \(", said, re.M)
    assert [status for _, status in ended] == ["succeeded", "succeeded"]
    assert "core.local running" in said
    assert f"output: '{date.today().isoformat()}'" in said
    key = (tmp_path / "key").read_text().strip()
    assert len(key) > 20
    assert key not in said
    assert key not in noted.read_text()


def test_a_demo_that_fails_says_so(tmp_path: Path) -> None:
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
    ("st2", "told"),
    [
        ("/nonexistent/st2", "--st2: there is no command '/nonexistent/st2'."),
        ("false", "st2 action create"),
    ],
)
def test_an_st2_that_cannot_be_used(st2: str, told: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("st2-mistral")), "demo", "--st2", st2],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
