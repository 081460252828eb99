"""Workflows of StackStorm in a Mistral that allows one language of expressions only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_line import run_command
from support.mistral_bench import Bench, new_bench

EXPRESSIONS = {"yaql": "<% $.word %>", "jinja": "{{ _.word }}"}

# Both the ad-hoc action and the sub-workflow need an expression, which the runner adds.
WORKBOOK = """
version: '2.0'
name: examples.NAME
actions:
  rest: {base: core.noop}
workflows:
  main:
    tasks:
      first: {action: rest, on-success: second}
      second: {workflow: sub}
  sub:
    input: [word: hello]
    tasks:
      say:
        action: core.local
        input: {cmd: "echo WORD"}
"""


@pytest.fixture(scope="module", params=sorted(EXPRESSIONS))
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def bench(language: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    options = f"[expressions]\nallowed_languages = {language}"
    yield from new_bench(tmp_path_factory.mktemp(language), options=options)


def workbook(name: str, word: str) -> str:
    return WORKBOOK.replace("NAME", name).replace("WORD", word)


def execute(bench: Bench, name: str, word: str) -> dict[str, Any]:
    parameters = {"workflow": {"type": "string", "default": "main"}}
    return bench.execute(bench.action(name, workbook(name, word), parameters=parameters))


@pytest.mark.parametrize("form", ["without-expressions", "own-language"])
def test_what_the_runner_adds_is_in_the_allowed_language(
    bench: Bench, language: str, form: str
) -> None:
    word = "hello" if form == "without-expressions" else EXPRESSIONS[language]
    execution = execute(bench, form, word)
    assert execution["status"] == "succeeded", execution["result"]
    children = [
        child for child in bench.stackstorm.executions.all() if child.get("parent") == execution["id"]
    ]
    assert sorted(child["action"]["ref"] for child in children) == ["core.local", "core.noop"]


def test_the_other_language_is_rejected_by_its_name(bench: Bench, language: str) -> None:
    (other,) = EXPRESSIONS.keys() - {language}
    execution = execute(bench, "other", EXPRESSIONS[other])
    assert execution["status"] == "failed"
    assert f"The '{other}' expression language is disabled" in execution["result"]["error"]


def test_validate_adds_an_allowed_language_too(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "valid.yaml"
    path.write_text(workbook("valid", "hello"))
    done = run_command("validate", "--config-file", str(bench.sandbox.folder / "relay.conf"), str(path))
    assert done.stdout.startswith("valid "), done.stdout
