"""The layout that results of workflows had in StackStorm 3.2."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mistral_bench import Bench, new_bench

from st2actions_mistral import config

CHILD = """
version: '2.0'
examples.child:
  input: [who]
  output:
    greeting: <% $.greeting %>
  tasks:
    a:
      action: core.local cmd="echo Hi <% $.who %>"
      publish:
        greeting: <% task(a).result.stdout %>
"""
CALLER = """
version: '2.0'
examples.caller:
  output:
    said: <% $.said %>
  tasks:
    ask:
      action: examples.child who="Ada"
      publish:
        said: <% task(ask).result.greeting %>
"""
REPORTER = """
version: '2.0'
examples.reporter:
  tasks:
    report: {action: st2.callback, input: {state: SUCCESS, result: {greeting: Hi}}}
"""
INVALID = """
version: '2.0'
examples.invalid:
  tasks:
    a: {action: core.foobar}
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("old")
    file = folder / "layout.conf"
    file.write_text("[st2]\nresult_layout = st2mistral\n")
    yield from new_bench(folder, conf=config.read_files([str(file)]))


def test_output_is_at_the_top_level_also_for_a_caller(old: Bench) -> None:
    old.action("child", CHILD, parameters={"who": {"type": "string", "required": True}})
    execution = old.execute(old.action("caller", CALLER))
    assert execution["status"] == "succeeded", execution["result"]
    result = execution["result"]
    workflow = execution["context"]["mistral"]
    assert result.keys() == {"said", "tasks", "extra"}
    assert result["said"] == "Hi Ada"
    assert result["extra"].pop("mistral")["workflow_execution_id"] == workflow["execution_id"]
    assert result["extra"] == {"state": "SUCCESS", "state_info": None}
    [task] = result["tasks"]
    assert task["published"] == {"said": "Hi Ada"}
    assert task["workflow_execution_id"] == workflow["execution_id"]
    assert task["result"]["greeting"] == "Hi Ada"


def test_result_of_a_callback_is_at_the_top_level(old: Bench) -> None:
    execution = old.execute(old.action("reporter", REPORTER))
    assert execution["status"] == "succeeded", execution["result"]
    assert execution["result"].keys() == {"greeting", "extra"}
    assert execution["result"]["greeting"] == "Hi"
    assert execution["result"]["extra"]["state"] == "SUCCESS"


def test_workflow_that_did_not_start_has_a_state(old: Bench) -> None:
    execution = old.execute(old.action("invalid", INVALID))
    assert execution["status"] == "failed"
    result = execution["result"]
    assert "core.foobar" in result["error"]
    assert result["extra"] == {"state": "ERROR", "state_info": result["error"]}
