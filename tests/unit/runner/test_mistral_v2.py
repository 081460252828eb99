"""The adapter to StackStorm, with stubs of what it imports from there."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg
from support import st2common_stub
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.model.links import workflow_execution_id
from st2actions_mistral.model.st2_action import St2Action

ID = "6b03c160746e6986596007f7"
WORKFLOW = workflow_execution_id(ID)
TASK = "{action: core.local cmd=<% $.cmd %>}"
TEXT = f"version: '2.0'\npack.name:\n  input: [cmd]\n  tasks:\n    run: {TASK}\n"
NO = answer(404, {"faultstring": "not found"})


class Database:
    """Stands in for ``st2common.util.action_db``."""

    status = "running"
    result: dict[str, Any] | None = None

    def get_action_parameters_specs(self, ref: str) -> dict[str, Any]:
        return {"cmd": {"type": "string", "required": True}} if ref == "core.local" else {}

    def get_action_by_ref(self, ref: str) -> object:
        return SimpleNamespace(enabled=True) if ref in ("core.local", "core.noop") else None

    def get_liveaction_by_id(self, id_: str) -> Any:
        assert id_ == "live"
        return SimpleNamespace(status=self.status, result=self.result)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def rows() -> dict[str, Any]:
    """Return the rows of StackStorm's database by id."""
    return {}


@pytest.fixture
def requests() -> list[Any]:
    """Return the requests to StackStorm's action service: verb, live action and user."""
    return []


class Access:
    """Stands in for ``st2common.services.access``."""

    def __init__(self) -> None:
        self.created: list[tuple[str, dict[str, Any]]] = []

    def create_token(self, username: str, **given: Any) -> Any:
        self.created.append((username, given))
        return SimpleNamespace(token=f"canary-{len(self.created)}")


@pytest.fixture
def access() -> Access:
    return Access()


@pytest.fixture
def adapter(
    database: Database,
    rows: dict[str, Any],
    requests: list[Any],
    access: Access,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    def request(verb: str, live_action: str, user: str) -> None:
        requests.append((verb, live_action, user))
        if live_action == "live-fails":
            raise ValueError("it is not in a running state")

    service = SimpleNamespace(
        request_pause=partial(request, "pause"), request_resume=partial(request, "resume")
    )
    for name, module in st2common_stub.modules(database, service, rows, access).items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    st2common_stub.forget()
    module = importlib.import_module("st2actions_mistral.runner.mistral_v2")
    cfg.CONF([], default_config_files=[])
    yield module
    st2common_stub.forget()


@pytest.fixture
def runner(adapter: Any, tmp_path: Path) -> Any:
    path = tmp_path / "name.yaml"
    path.write_text(TEXT)
    made = adapter.get_runner()
    made.runner_parameters = {"workflow": None, "context": {}, "skip_notify": []}
    made.context = {"user": "stanley"}
    made.execution_id = ID
    made.liveaction_id = "live"
    made.execution = SimpleNamespace(children=[])
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
    NO,  # Does Mistral have an action core.local?
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


def test_metadata_names_the_runner_and_its_parameters(adapter: Any) -> None:
    metadata = adapter.get_metadata()
    assert metadata["name"] == "mistral-v2"
    assert set(metadata["runner_parameters"]) == {
        "workflow",
        "task_name",
        "context",
        "skip_notify",
        "rerun_tasks",
        "rerun_reset",
    }
    importlib.import_module(metadata["runner_package"])
    assert metadata["runner_module"] == adapter.__name__


def test_run_starts_the_workflow_and_stays_running(adapter: Any, runner: Any) -> None:
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
        },
        "mistral": {"execution_id": WORKFLOW, "workflow_name": "pack.name"},
    }
    params = json.loads(body["params"]) if isinstance(body["params"], str) else body["params"]
    assert body["input"] == {"cmd": "date"}
    assert params["evaluate_env"] is False
    assert params["env"]["__actions"]["st2.action"]["st2_context"] == {
        "parent": {"execution_id": ID, "user": "stanley"},
        "notify": {"on-failure": {"message": "m"}},
    }
    assert (params["env"]["st2_execution_id"], params["env"]["st2_liveaction_id"]) == (ID, "live")
    assert params["env"]["st2_action_api_url"] == "http://st2.example.org/api/v1"


@pytest.mark.parametrize("status", ["succeeded", "canceling"])
def test_run_returns_a_status_that_was_set_meanwhile(
    adapter: Any, runner: Any, database: Database, status: str
) -> None:
    # The workflow finishes, or the execution is cancelled, before run() returns.
    database.status, database.result = status, {"output": 1}
    with BreakingServer(*STARTED) as server:
        point_at(server)
        assert runner.run({"cmd": "date"})[:2] == (status, {"output": 1})


def test_run_fails_with_the_reason(adapter: Any, runner: Any) -> None:
    with BreakingServer(NO, answer(502)) as server:
        point_at(server)
        status, result, _ = runner.run({"cmd": "date"})
    assert status == "failed"
    assert "502" in result["error"]
    assert "extra" not in result


def test_failure_has_the_configured_layout(adapter: Any, runner: Any) -> None:
    from st2actions_mistral.runner import options

    options.register_opts(cfg.CONF)
    cfg.CONF.set_override("result_layout", "st2mistral", "mistral")
    runner.entry_point = "/nowhere.yaml"
    status, result, _ = runner.run({})
    assert (status, result["extra"]["state"]) == ("failed", "ERROR")


def test_run_fails_on_invalid_input_and_options(adapter: Any, runner: Any) -> None:
    runner.entry_point = "/nowhere.yaml"
    status, result, _ = runner.run({})
    assert (status, "cannot be read" in result["error"]) == ("failed", True)
    cfg.CONF.set_override("site", "a b", "mistral")
    status, result, _ = runner.run({})
    assert (status, "[mistral] site" in result["error"]) == ("failed", True)


@pytest.mark.parametrize(
    ("method", "state", "status"),
    [
        ("cancel", "CANCELLED", "canceling"),
        ("pause", "PAUSED", "pausing"),
        ("resume", "RUNNING", "running"),
    ],
)
def test_workflow_is_changed(runner: Any, method: str, state: str, status: str) -> None:
    with BreakingServer(answer(200, {"id": WORKFLOW, "state": state})) as server:
        point_at(server)
        assert getattr(runner, method)() == (status, None, None)
        [request] = server.requests
    assert (request.method, request.path) == ("PUT", f"/v2/executions/{WORKFLOW}")
    assert request.json()["state"] == state


@pytest.mark.parametrize(
    ("method", "status"), [("cancel", "canceling"), ("pause", "pausing"), ("resume", "resuming")]
)
def test_relay_changes_the_workflow_if_mistral_fails(
    runner: Any, caplog: pytest.LogCaptureFixture, method: str, status: str
) -> None:
    with BreakingServer(answer(502), answer(502)) as server:
        point_at(server)
        assert getattr(runner, method)() == (status, None, None)
    assert f"cannot {method} its workflow; the relay will do it" in caplog.text


@pytest.mark.parametrize(
    ("method", "status"), [("cancel", "canceled"), ("pause", "pausing"), ("resume", "resuming")]
)
def test_only_cancel_is_complete_without_a_workflow(runner: Any, method: str, status: str) -> None:
    with BreakingServer(NO) as server:
        point_at(server)
        assert getattr(runner, method)()[0] == status


@pytest.mark.parametrize(("method", "status"), [("pause", "running"), ("resume", "paused")])
def test_workflows_below_are_paused_and_resumed(
    adapter: Any, runner: Any, rows: dict[str, Any], requests: list[Any], method: str, status: str
) -> None:
    adapter.get_metadata()
    for id_, runner_type, child_status in (
        ("ours", "mistral-v2", status),
        ("theirs", "orquesta", status),
        ("fails", "action-chain", status),
        ("shell", "local-shell-cmd", status),
        ("ended", "orquesta", "succeeded"),
    ):
        rows[id_] = SimpleNamespace(
            runner={"name": runner_type}, status=child_status, liveaction={"id": f"live-{id_}"}
        )
        rows[f"live-{id_}"] = f"live-{id_}"
    runner.execution.children = ["ours", "theirs", "fails", "shell", "ended"]
    with BreakingServer(NO) as server:
        point_at(server)
        getattr(runner, method)()
    expected = [(method, id_, "stanley") for id_ in ("live-ours", "live-theirs", "live-fails")]
    assert requests == expected


def test_runner_joins_the_workflow_runners_once(adapter: Any) -> None:
    constants = importlib.import_module("st2common.constants.action")
    for _ in range(2):
        adapter.get_metadata()
    assert constants.WORKFLOW_RUNNER_TYPES == ["action-chain", "orquesta", "mistral-v2"]


@pytest.mark.parametrize("types", [None, ("orquesta",)])
def test_stackstorm_without_the_list_registers_the_runner(
    adapter: Any, caplog: pytest.LogCaptureFixture, types: Any
) -> None:
    constants: Any = importlib.import_module("st2common.constants.action")
    if types is None:
        del constants.WORKFLOW_RUNNER_TYPES
    else:
        constants.WORKFLOW_RUNNER_TYPES = types
    assert adapter.get_metadata()["name"] == "mistral-v2"
    assert "cannot be paused and resumed" in caplog.text


def test_rerun_looks_up_the_workflow_of_the_first_run(adapter: Any, runner: Any) -> None:
    workflow = {"site": "mistral", "execution_id": "w-1", "workflow_name": "pack.name"}
    first = SimpleNamespace(id="6b03c160746e6986596007f8", context={"mistral_workflow": workflow})
    runner.rerun_ex_ref = first
    runner.context["re-run"] = {"ref": first.id}
    runner.runner_parameters["rerun_tasks"] = ["run"]
    with BreakingServer(NO) as server:
        point_at(server)
        status, result, _ = runner.run({})
        assert server.requests[0].path == "/v2/executions/w-1"
    assert (status, "no longer knows" in result["error"]) == ("failed", True)
    first.context = {}
    assert adapter.workflow_of_execution(first) == workflow_execution_id(first.id)


def test_an_action_without_parameters_is_known(adapter: Any) -> None:
    assert adapter.action_of("core.noop") == St2Action({})
    assert adapter.action_of("core.nope") is None


@pytest.fixture
def _authenticated(adapter: Any, tmp_path: Path) -> None:
    """Configure auth_type = st2, in a file: keystoneauth registers the option."""
    file = tmp_path / "st2.conf"
    file.write_text("[mistral]\nauth_type = st2\n")
    cfg.CONF([], default_config_files=[str(file)])


@pytest.mark.usefixtures("_authenticated")
def test_run_authenticates_with_the_token_that_stackstorm_made(runner: Any, access: Access) -> None:
    runner.auth_token = SimpleNamespace(token="canary-run")
    with BreakingServer(*STARTED) as server:
        point_at(server)
        status, result, _ = runner.run({"cmd": "date"})
    assert status == "running", result
    assert {request.headers["x-auth-token"] for request in server.requests} == {"canary-run"}
    assert access.created == []
    assert "canary" not in repr(result)


@pytest.mark.usefixtures("_authenticated")
def test_cancel_authenticates_with_a_token_of_the_executions_user(runner: Any, access: Access) -> None:
    with BreakingServer(NO) as server:
        point_at(server)
        runner.cancel()
    assert {request.headers["x-auth-token"] for request in server.requests} == {"canary-1"}
    ((user, given),) = access.created
    assert user == "stanley"
    # The token outlives the requests: 0 s of retries, timeouts of 5 and 30 s, and a minute.
    assert given == {"ttl": 95, "metadata": {"service": "mistral-v2"}, "service": True}


@pytest.mark.usefixtures("_authenticated")
def test_execution_without_a_user_is_an_error(runner: Any) -> None:
    runner.context = {}
    status, result, _ = runner.run({"cmd": "date"})
    assert status == "failed"
    assert result == {"error": "[mistral] auth_type is st2, but the execution has no user."}
