"""The examples with native actions: each ``st2.action`` with a fixed ref becomes the action itself.

    action: st2.action                                ->   action: core.local
    input: {ref: core.local, parameters: {cmd: date}}      input: {cmd: date}

That changes nothing else, so a run shows the same.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from st2_mistral_sandbox import examples
from st2_mistral_sandbox.examples import Example

_PREFIX: Final = "examples."
NATIVE: Final = "native-"


def unwrapped(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task that calls a StackStorm action by its name; any other task unchanged."""
    given = task.get("input", {})
    if task.get("action") != "st2.action" or not set(given) <= {"ref", "parameters"}:
        return task
    call = {"action": given["ref"], "input": given.get("parameters") or {}}
    if not call["input"]:
        del call["input"]
    return {**call, **{key: value for key, value in task.items() if key not in ("action", "input")}}


def write(folder: Path) -> list[Example]:
    """Write all examples in this form to the folder ``PACK/actions``, and return them."""
    (folder / "workflows").mkdir(parents=True)
    return [_write(example, folder) for example in examples.load().values()]


def _write(example: Example, folder: Path) -> Example:
    book = yaml.safe_load(example.workbook.read_text(encoding="utf-8"))
    metadata = yaml.safe_load(example.metadata.read_text(encoding="utf-8"))
    name = NATIVE + metadata["name"]
    for workflow in book["workflows"].values():
        workflow["tasks"] = {task: unwrapped(spec) for task, spec in workflow["tasks"].items()}
    book["name"] = _PREFIX + name
    short = metadata["parameters"]["workflow"]["default"].rpartition(".")[2]
    metadata["parameters"]["workflow"]["default"] = f"{_PREFIX}{name}.{short}"
    metadata |= {"name": name, "entry_point": f"workflows/{name}.yaml"}
    made = replace(
        example,
        ref=_PREFIX + name,
        metadata=folder / f"{name}.yaml",
        workbook=folder / metadata["entry_point"],
    )
    made.workbook.write_text(yaml.safe_dump(book, sort_keys=False, width=200), encoding="utf-8")
    made.metadata.write_text(yaml.safe_dump(metadata, sort_keys=False), encoding="utf-8")
    return made
