"""The examples are valid in Mistral and StackStorm, and workbook and metadata agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "actions"
WORKBOOKS = FOLDER / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
# The relay finishes the parent of the other one.
WITH_CALLBACK = [name for name in NAMES if name != "without-callback"]

# In a process of its own: importing Mistral changes logging, options and warnings. This is what POST
# /v2/workbooks/validate does, without the check of Mistral's own schemas, which takes nearly all the
# time.
VALIDATE = """
import sys
import jsonschema
from mistral.lang import parser

jsonschema.Draft202012Validator.check_schema = lambda schema: None

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as workbook:
        spec = parser.get_workbook_spec_from_yaml(workbook.read(), validate=True)
    print(spec.get_name(), *sorted(workflow.get_name() for workflow in spec.get_workflows()))
"""


def metadata_of(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def workbook_of(name: str) -> Any:
    return yaml.safe_load((WORKBOOKS / f"{name}.yaml").read_text(encoding="utf-8"))


def inputs_of(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return the default of each input, an ellipsis for none."""
    inputs: dict[str, Any] = {}
    for declared in workflow.get("input", []):
        inputs |= declared if isinstance(declared, dict) else {declared: ...}
    return inputs


def test_every_workbook_has_metadata_and_vice_versa() -> None:
    assert sorted(path.stem for path in WORKBOOKS.glob("*.yaml")) == NAMES
    assert {"mistral-basic", "mongodb-rolling-upgrade"} <= set(NAMES)


def test_examples_are_valid_in_mistral() -> None:
    paths = [str(WORKBOOKS / f"{name}.yaml") for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-c", VALIDATE, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [f"examples.{name} {' '.join(sorted(workbook_of(name)['workflows']))}" for name in NAMES]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("name", NAMES)
def test_metadata_and_workbook_agree(name: str) -> None:
    metadata, workbook = metadata_of(name), workbook_of(name)
    assert metadata["name"] == name
    assert metadata["pack"] == "examples"
    assert metadata["runner_type"] == "mistral-v2"
    assert metadata["enabled"] is True
    assert metadata["description"]
    assert metadata["entry_point"] == f"workflows/{name}.yaml"
    assert workbook["version"] == "2.0"
    assert workbook["name"] == f"examples.{name}"

    parameters = metadata["parameters"]
    workflow = parameters.pop("workflow")
    assert workflow["immutable"] is True
    book, _, short = workflow["default"].rpartition(".")
    assert book == workbook["name"]

    inputs = inputs_of(workbook["workflows"][short])
    assert list(parameters) == list(inputs)
    for key, parameter in parameters.items():
        assert parameter["type"] in {"string", "integer", "array"}
        assert parameter["description"]
        assert parameter.get("required", False) is ("default" not in parameter)
        if inputs[key] is not ...:
            assert parameter["default"] == inputs[key]


@pytest.mark.parametrize("name", WITH_CALLBACK)
def test_every_workflow_ends_in_a_callback(name: str) -> None:
    tasks = workbook_of(name)["workflows"]["main"]["tasks"]
    callbacks = [task for task in tasks.values() if task.get("action") == "st2.callback"]
    assert {task["input"]["state"] for task in callbacks} == {"SUCCESS", "ERROR"}
    for task_name, task in tasks.items():
        if task not in callbacks:
            assert task["on-success"], task_name
    failed = tasks["callback-on-error"]
    assert failed["on-complete"] == ["fail"], "a workflow that fails in StackStorm must fail in Mistral"


@pytest.mark.parametrize("name", WITH_CALLBACK)
def test_every_error_leads_to_the_callback(name: str) -> None:
    main = workbook_of(name)["workflows"]["main"]
    default = main.get("task-defaults", {}).get("on-error", [])
    for task_name, task in main["tasks"].items():
        if task.get("action") != "st2.callback":
            (target,) = task.get("on-error", default)
            assert target in main["tasks"], task_name
            assert target == "callback-on-error" or default == ["callback-on-error"], task_name


@pytest.mark.parametrize("name", NAMES)
def test_tasks_in_expressions_exist(name: str) -> None:
    text = (WORKBOOKS / f"{name}.yaml").read_text(encoding="utf-8")
    known = {task for workflow in workbook_of(name)["workflows"].values() for task in workflow["tasks"]}
    assert set(re.findall(r"task\('([^']+)'\)", text)) <= known
