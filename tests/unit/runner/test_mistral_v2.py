"""The shell, with the names of StackStorm that it uses; see ``stackstorm_names``."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg
from support import st2common_stub
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.model.workflow import workflow_execution_id

ID = "6b03c160746e6986596007f7"
WORKFLOW = workflow_execution_id(ID)
TASK = "{action: core.local cmd=<% $.cmd %>}"
TEXT = f"version: '2.0'\npack.name:\n  input: [cmd]\n  tasks:\n    run: {TASK}\n"
NO = answer(404, {"faultstring": "not found"})


class Database:
    """``st2common.util.action_db``."""

    status = "running"
    result: dict[str, Any] | None = None

    def get_action_parameters_specs(self, ref: str) -> dict[str, Any]:
        return {"cmd": {"type": "string", "required": True}} if ref == "core.local" else {}

    def get_action_by_ref(self, ref: str) -> object:
        return ref if ref == "core.noop" else None

    def get_liveaction_by_id(self, id_: str) -> Any:
        assert id_ == "live"
        return SimpleNamespace(status=self.status, result=self.result)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def shell(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, module in st2common_stub.modules(database).items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    st2common_stub.forget()
    module = importlib.import_module("st2actions_mistral.runner.mistral_v2")
    cfg.CONF([], default_config_files=[])
    yield module
    st2common_stub.forget()


@pytest.fixture
def runner(shell: Any, tmp_path: Path) -> Any:
    path = tmp_path / "name.yaml"
    path.write_text(TEXT)
    made = shell.get_runner()
    made.runner_parameters = {"workflow": None, "context": {}, "skip_notify": []}
    made.context = {"user": "stanley"}
    made.execution_id = ID
    made.liveaction_id = "live"
    made.liveaction = SimpleNamespace(notify={}, result={"kept": 1}, context={"user": "stanley"})
    made.action = SimpleNamespace(ref="pack.name", notify={"on-failure": {"message": "m"}})
    made.entry_point = str(path)
    return made


def point_at(server: BreakingServer) -> None:
    from st2actions_mistral.runner import options

    options.register_opts(cfg.CONF)
    cfg.CONF.set_override("v2_base_url", f"{server.url}/v2", "mistral")
    cfg.CONF.set_override("retry_deadline", 0, "mistral")


STARTED = [
    NO,  # Has Mistral an action core.local?
    NO,  # Is the workflow published?
    answer(200, {"valid": True}),
    answer(201, {"workflows": []}),
    answer(
        201,
        {
            "id": WORKFLOW,
            "state": "RUNNING",
            "workflow_name": "pack.name",
            "description": f"StackStorm execution {ID}",
        },
    ),
]


def test_the_metadata_is_what_stackstorm_registers(shell: Any) -> None:
    metadata = shell.get_metadata()
    assert metadata["name"] == "mistral-v2"
    assert set(metadata["runner_parameters"]) == {
        "workflow",
        "task_name",
        "context",
        "skip_notify",
        "tasks",
        "reset",
    }
    importlib.import_module(metadata["runner_package"])
    assert metadata["runner_module"] == shell.__name__


def test_it_starts_and_stays_running(shell: Any, runner: Any) -> None:
    with BreakingServer(*STARTED) as server:
        point_at(server)
        status, result, context = runner.run({"cmd": "date"})
        body = server.requests[-1].json()
    assert status == "running"
    assert result["mistral"]["workflow_execution_id"] == WORKFLOW
    assert context == {
        "mistral_workflow": {
            "site": "mistral",
            "execution_id": WORKFLOW,
            "workflow_name": "pack.name",
        }
    }
    params = json.loads(body["params"]) if isinstance(body["params"], str) else body["params"]
    assert body["input"] == {"cmd": "date"}
    assert params["evaluate_env"] is False
    assert params["env"]["__actions"]["st2.action"]["st2_context"] == {
        "parent": {"execution_id": ID, "user": "stanley"},
        "notify": {"on-failure": {"message": "m"}},
    }


@pytest.mark.parametrize("status", ["succeeded", "canceling"])
def test_what_was_said_meanwhile_stands(
    shell: Any, runner: Any, database: Database, status: str
) -> None:
    """A workflow that ends, or an execution that is cancelled, before run() does."""
    database.status, database.result = status, {"output": 1}
    with BreakingServer(*STARTED) as server:
        point_at(server)
        assert runner.run({"cmd": "date"})[:2] == (status, {"output": 1})


def test_a_failure_has_its_reason(shell: Any, runner: Any) -> None:
    with BreakingServer(NO, answer(502)) as server:
        point_at(server)
        status, result, _ = runner.run({"cmd": "date"})
    assert status == "failed"
    assert "502" in result["error"]


def test_bad_input_and_bad_options_are_failures_too(shell: Any, runner: Any) -> None:
    runner.entry_point = "/nowhere.yaml"
    status, result, _ = runner.run({})
    assert (status, "cannot be read" in result["error"]) == ("failed", True)
    cfg.CONF.set_override("site", "a b", "mistral")
    status, result, _ = runner.run({})
    assert (status, "[mistral] site" in result["error"]) == ("failed", True)


def test_it_cancels(shell: Any, runner: Any) -> None:
    with BreakingServer(answer(200, {"id": WORKFLOW, "state": "CANCELLED"})) as server:
        point_at(server)
        assert runner.cancel() == ("canceled", {"kept": 1}, {"user": "stanley"})
        [request] = server.requests
    assert (request.method, request.path) == ("PUT", f"/v2/executions/{WORKFLOW}")


def test_a_cancel_that_cannot_be_told_is_left_to_the_relay(shell: Any, runner: Any) -> None:
    """StackStorm then leaves the execution canceling."""
    from st2actions_mistral.errors import OutcomeUnknown

    with BreakingServer(answer(502), answer(502)) as server:
        point_at(server)
        with pytest.raises(OutcomeUnknown):
            runner.cancel()


def test_a_rerun_knows_the_workflow_of_the_first_run(shell: Any, runner: Any) -> None:
    workflow = {"site": "mistral", "execution_id": "w-1", "workflow_name": "pack.name"}
    first = SimpleNamespace(id="6b03c160746e6986596007f8", context={"mistral_workflow": workflow})
    runner.rerun_ex_ref = first
    runner.context["re-run"] = {"ref": first.id}
    runner.runner_parameters["tasks"] = ["run"]
    with BreakingServer(NO) as server:
        point_at(server)
        status, result, _ = runner.run({})
        assert server.requests[0].path == "/v2/executions/w-1"
    assert (status, "does not know" in result["error"]) == ("failed", True)
    first.context = {}
    assert shell._workflow_of(first) == workflow_execution_id(first.id)


def test_an_action_without_parameters_is_known_all_the_same(shell: Any) -> None:
    assert shell._parameters("core.noop") == {}
    assert shell._parameters("core.nope") is None
