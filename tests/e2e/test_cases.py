"""Small workflows of old packs, run as StackStorm actions. Their files are in tests/data/cases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.mistral_bench import Bench
from support.waiting import eventually

CASES = Path(__file__).parents[1] / "data" / "cases"

TYPED = {
    "host": {"type": "string"},
    "command": {"type": "array", "items": {"type": "string"}},
}


def register(bench: Bench, name: str, *, text: str | None = None, **parameters: Any) -> str:
    """Register a case as the action ``examples.NAME``, and return this name.

    :param text: the workbook; by default the one of the case.
    """
    packs = bench.sandbox.packs
    assert packs is not None
    workbook = packs / "examples" / "actions" / "workflows" / f"{name}.yaml"
    workbook.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        shutil.copy(CASES / workbook.name, workbook)
    else:
        workbook.write_text(text)
    bench.stackstorm.register_action(
        {
            "pack": "examples",
            "name": name,
            "runner_type": "mistral-v2",
            "entry_point": f"workflows/{name}.yaml",
            "enabled": True,
            "parameters": parameters,
        }
    )
    return f"examples.{name}"


def run(bench: Bench, ref: str, **parameters: Any) -> dict[str, Any]:
    """Run an action until it has finished, and return its execution."""
    id_ = bench.st2.create_execution(ref, parameters)["id"]

    def ended() -> dict[str, Any] | None:
        found = bench.st2.get_execution(id_)
        return found if found and found["status"] in ("succeeded", "failed") else None

    execution: dict[str, Any] = eventually(ended, f"{ref} ends")
    return execution


def test_no_traceback_of_a_sub_workflow_reaches_stackstorm(bench: Bench) -> None:
    main = {"workflow": {"type": "string", "default": "examples.subtrace.main", "immutable": True}}
    done = run(bench, register(bench, "subtrace", **main))
    assert done["status"] == "failed"
    said = json.dumps(done["result"])
    assert "Traceback" not in said
    assert "site-packages" not in said
    one, many = done["result"]["tasks"]
    reason = (
        "Failed to handle action completion [error=Can not evaluate YAQL expression [expression=$.nope,"
        " error='nope'], wf=examples.subtrace.inner, task=a, action=std.noop]"
    )
    assert one["result"] == {"result": reason}
    assert one["state_info"] == reason
    assert many["result"] == [{"result": reason}] * 2
    assert reason in done["result"]["mistral"]["state_info"]


def convert(file: Path, *words: str) -> str:
    """Convert a workbook as its user does, and return what the command printed."""
    command = [sys.executable, "-m", "st2actions_mistral.cli.main", "convert", "-w", str(file), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_converted_caller_reads_the_output_of_a_child_workflow(bench: Bench) -> None:
    register(bench, "child", who={"type": "string", "required": True})
    ref = register(bench, "caller14")
    assert bench.sandbox.packs is not None
    actions = bench.sandbox.packs / "examples" / "actions"
    metadata = {"pack": "examples", "name": "child", "runner_type": "mistral-v2"}
    (actions / "child.json").write_text(json.dumps(metadata))
    convert(actions / "workflows" / "caller14.yaml")
    done = run(bench, ref)
    assert done["status"] == "succeeded", done["result"]
    assert done["result"]["output"] == {"said": "Hi Ada"}


def test_converted_workflow_with_empty_keys_runs(bench: Bench) -> None:
    ref = register(bench, "nullcond")
    assert bench.sandbox.packs is not None
    convert(bench.sandbox.packs / "examples" / "actions" / "workflows" / "nullcond.yaml")
    done = run(bench, ref)
    assert done["status"] == "succeeded", done["result"]
    assert [task["name"] for task in done["result"]["tasks"]] == ["a", "b"]


def test_a_refused_parameter_is_named(bench: Bench) -> None:
    done = run(bench, register(bench, "required", cmd={"type": "string"}))
    assert done["status"] == "failed"
    error = done["result"]["tasks"][0]["result"]["error"]
    assert error.endswith("400 None is not of type 'string'. StackStorm refuses the value of cmd.")


def test_the_line_of_a_mistake_is_named(bench: Bench) -> None:
    done = run(bench, register(bench, "wrongline"))
    assert done["status"] == "failed"
    assert done["result"]["error"] == (
        "examples.wrongline: Mistral rejects it: line 14: Invalid DSL: None is not of type 'object'"
    )


def test_a_value_that_stackstorm_refuses_starts_nothing(bench: Bench) -> None:
    off = {"pack": "examples", "name": "off", "runner_type": "noop", "enabled": False, "parameters": {}}
    bench.stackstorm.register_action(off)
    bench.stackstorm.register_action({**off, "name": "typed", "enabled": True, "parameters": TYPED})
    text = (CASES / "casts.yaml").read_text().replace("clicrud.config_command", "examples.typed")
    given = {"t": {"type": "integer"}, "flags": {"type": "string"}, "arr": {"type": "array"}}
    done = run(bench, register(bench, "casts", text=text, **given), t=1, arr=["a", "b c"])
    assert done["status"] == "failed"
    assert done["result"] == {
        "error": "examples.casts: line 17: workflow examples.casts, task c: examples.typed refuses the"
        " value of host: 5 is not of type 'string'.\n"
        "line 24: workflow examples.casts, task e: examples.off is disabled in StackStorm."
    }
