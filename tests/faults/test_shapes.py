"""Results of every size and shape, in both directions through a real Mistral and the relay."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer
from support.mistral_bench import Bench, environment, new_bench
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm
from st2_mistral_sandbox.stackstorm.executions_api import MAX_DOCUMENT
from st2actions_mistral.client.settings import Credential, St2Settings
from st2actions_mistral.model.json_values import MAX_DEPTH

LIMIT_KB = 1024
RUN = """
    run:
      action: st2.action
      input: {ref: shapes.give}
      on-success: good
      on-error: bad
    good: {action: std.noop}
    bad: {action: std.noop}
    """
TELL = """
    tell:
      action: st2.callback
      input: {state: ERROR, result: <% $.result %>}
    """
GIVE = {
    "pack": "shapes",
    "name": "give",
    "runner_type": "shapes",
    "entry_point": "",
    "enabled": True,
    "parameters": {},
}


class Giver:
    """Runs ``shapes.give``, which finishes with a chosen result."""

    def __init__(self) -> None:
        self.gives = RunResult("succeeded", {"a": 1})

    def __call__(self, request: RunRequest) -> RunResult:
        return self.gives

    def registered(self, stackstorm: StackStorm) -> None:
        stackstorm.register_runner("shapes", self)
        stackstorm.register_action(GIVE)


@pytest.fixture(scope="module")
def giver() -> Giver:
    return Giver()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, giver: Giver) -> Iterator[Bench]:
    for made in new_bench(tmp_path_factory.mktemp("shapes")):
        giver.registered(made.stackstorm)
        yield made


@pytest.fixture(scope="module")
def workflow(bench: Bench) -> str:
    return bench.workbook(RUN)


def given(bench: Bench, workflow: str, giver: Giver, status: str, result: dict[str, Any]) -> Any:
    """Run an execution with this end, check the branch that follows, and return the task's result."""
    giver.gives = RunResult(status, result)
    run = bench.run(workflow)
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    good = status == "succeeded"
    assert run.tasks["run"]["state"] == ("SUCCESS" if good else "ERROR")
    assert set(run.tasks) == {"run", "good" if good else "bad"}
    return run.result("run")


def without_link(result: dict[str, Any]) -> dict[str, Any]:
    assert "truncated" not in result["st2"]
    return {name: value for name, value in result.items() if name != "st2"}


# -- from StackStorm to Mistral ------------------------------------------------------------------


def nested(levels: int, leaf: Any = 1) -> Any:
    for level in range(levels):
        leaf = {"o": leaf} if level % 2 else [leaf]
    return leaf


@pytest.mark.parametrize(
    "result",
    [
        {"list": [], "object": {}, "null": None, "yes": True, "zero": 0, "text": ""},
        {"a.b": 1, "$c": {"$.d": "$"}, "": 3, "é😀": "😀", "nul": "\x00", "<% 1 %>": "{{ 2 }}"},
        {"large": 2**63, "larger": 10**300, "small": -(2**200), "float": 1e308},
        {"deep": nested(MAX_DEPTH - 1)},
        {"st2": "is ours"},
    ],
    ids=["plain", "odd", "numbers", "deep", "ours"],
)
@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_result_within_the_limits_arrives_unchanged(
    bench: Bench, workflow: str, giver: Giver, status: str, result: dict[str, Any]
) -> None:
    got = without_link(given(bench, workflow, giver, status, result))
    assert got == {name: value for name, value in result.items() if name != "st2"}


@pytest.mark.parametrize("status", ["succeeded", "failed"])
@pytest.mark.parametrize(("wide", "width"), [("x", 1), ("€", 2), ("😀", 4)])
def test_result_is_truncated_from_one_byte_above_the_limit(
    bench: Bench, workflow: str, giver: Giver, status: str, wide: str, width: int
) -> None:
    id_ = "0" * 24
    web_url = f"{bench.stackstorm.base_url}/#/history/{id_}/general"
    link = {"execution_id": id_, "status": status, "web_url": web_url}
    empty = {"result": {"o": wide, "st2": link}}
    room = ((LIMIT_KB + 1) * 1024 - 1 - sys.getsizeof(str(empty))) // width
    text = wide + "x" * room
    assert without_link(given(bench, workflow, giver, status, {"o": text})) == {"o": text}
    above = given(bench, workflow, giver, status, {"o": text + "x"})
    assert above["st2"]["truncated"]["size_kb"] == LIMIT_KB + 1
    assert above["o"].startswith(text[:500])


def test_mistrals_limit_is_the_assumed_one(bench: Bench) -> None:
    """Otherwise the test before would accept truncating too early."""
    empty = sys.getsizeof(str({"result": {"o": ""}}))
    room = (LIMIT_KB + 1) * 1024 - 1 - empty
    states = []
    for length in (room, room + 1):
        started = bench.start(bench.workbook("wait: {action: std.async_noop}"))

        def waiting(workflow_execution_id: str = started) -> str | None:
            for task in bench.mistral.tasks(workflow_execution_id):
                for action in bench.actions(task["id"]):
                    return str(action["id"])
            return None

        action = eventually(waiting, "the action is pending")
        bench.mistral.complete_action(action, "SUCCESS", {"o": "x" * length})
        states.append(bench.wait(started).execution["state"])
    assert states == ["SUCCESS", "ERROR"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "timeout"])
@pytest.mark.parametrize(
    "result",
    [
        {"o": "y" * 16_000_000, "code": 3},
        {"o": [{"a": "b"}] * 200_000, "code": 3},
        {"k" * 2_000_000: 1},
        {f"k{i}": "z" * 100 for i in range(20_000)},
    ],
    ids=["text", "list", "key", "many"],
)
def test_large_result_is_truncated_and_the_workflow_continues(
    bench: Bench, workflow: str, giver: Giver, status: str, result: dict[str, Any]
) -> None:
    got = given(bench, workflow, giver, status, result)
    assert got["st2"]["status"] == status
    assert got["st2"]["truncated"]["limit_kb"] == LIMIT_KB
    assert got.get("code") == result.get("code")
    whole = bench.st2.get_execution(got["st2"]["execution_id"])
    assert whole is not None
    assert whole["result"] == result


@pytest.mark.parametrize("levels", [MAX_DEPTH, 300])
def test_deep_result_is_truncated_at_mistrals_limit(
    bench: Bench, workflow: str, giver: Giver, levels: int
) -> None:
    got = given(bench, workflow, giver, "failed", {"deep": nested(levels), "stdout": "kept"})
    assert got["stdout"] == "kept"
    assert "nested deeper than 100 levels, truncated" in json.dumps(got["deep"])
    assert "nested deeper" in got["st2"]["replaced"][0]


# -- from a StackStorm that answers more than JSON ----------------------------------------------------

RAW: dict[str, tuple[str, Any]] = {
    "nan": (
        '{"a": [NaN, Infinity, -Infinity, 1e999]}',
        {"a": ["NaN", "Infinity", "-Infinity", "Infinity"]},
    ),
    "half": (r'{"a\udfff": "\ud800"}', {"a\\udfff": "\\ud800"}),
    "digits": ('{"a": %s}' % ("9" * 5000), {"a": "9" * 5000}),
    "list": ("[1, 2]", {"result": [1, 2]}),
    "text": ('"text"', {"result": "text"}),
    "null": ("null", {}),
    "false": ("false", {"result": False}),
    "number": ("-1.5e3", {"result": -1500.0}),
    "no number": ("NaN", {"result": "NaN"}),
    "emoji": (r'"\ud83d\ude00 \ude00"', {"result": "😀 \\ude00"}),
    "endless": ('{"a": %s, "b": 1}' % ("[" * 100_000 + "]" * 100_000), None),
}


def saying(base_url: str, words: dict[str, str]) -> Behaviour:
    """Pass a request on, and replace parts of the answer with raw JSON."""

    def act(exchange: Exchange) -> bool:
        request = exchange.request
        assert request is not None
        got = requests.request(
            request.method,
            base_url + request.path,
            data=request.body,
            headers=request.headers,
            timeout=30,
        )
        body = got.text
        for name, raw in words.items():
            body = body.replace(json.dumps({"say": name}, separators=(",", ":")), raw)
        return answer(got.status_code, body.encode(), {"Content-Type": "application/json"})(exchange)

    return act


@pytest.fixture(scope="module")
def raw_bench(tmp_path_factory: pytest.TempPathFactory, giver: Giver) -> Iterator[Bench]:
    """Start a sandbox whose StackStorm answers invalid JSON.

    There is no event stream, whose events would differ, so the relay lists the executions.
    """
    with StackStorm() as stackstorm:
        giver.registered(stackstorm)
        words = {name: raw for name, (raw, _) in RAW.items()}
        with (
            BreakingServer(saying(stackstorm.base_url, words)) as server,
            BreakingServer(answer(503)) as nothing,
        ):
            settings = St2Settings(
                api_url=f"{server.url}/api/v1",
                stream_url=nothing.url,
                credential=Credential(api_key=stackstorm.create_api_key()),
            )
            folder = tmp_path_factory.mktemp("raw")
            with Sandbox(folder, st2=settings, relay_options="resync_interval = 0.3") as sandbox:
                yield Bench(sandbox)


@pytest.mark.parametrize("status", ["succeeded", "failed"])
@pytest.mark.parametrize("name", RAW)
def test_values_beyond_json_are_delivered(
    raw_bench: Bench, giver: Giver, status: str, name: str
) -> None:
    got = given(raw_bench, raw_bench.workbook(RUN), giver, status, {"say": name})
    if name == "endless":
        assert got["b"] == 1
        assert "nested deeper than 100 levels, truncated" in json.dumps(got["a"])
    else:
        assert without_link(got) == RAW[name][1]


# -- from Mistral to StackStorm --------------------------------------------------------------------


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox whose Mistral stores more than StackStorm does."""
    options = "[engine]\nexecution_field_size_limit_kb = -1\n"
    yield from new_bench(tmp_path_factory.mktemp("unlimited"), relay=False, options=options)


def reported(bench: Bench, raw: str) -> dict[str, Any]:
    """Report a result, given as JSON text, and return the result that the parent has then."""
    parent = bench.parent()
    env = environment(bench.sandbox.st2_settings.api_url, parent)
    body = {
        "workflow_name": bench.workbook(TELL, inputs="[result]"),
        "input": {"result": "RAW"},
        "params": {"env": env, "evaluate_env": False},
    }
    started = requests.post(
        f"{bench.mistral_url}/executions",
        data=json.dumps(body).replace('"RAW"', raw),
        headers={"Content-Type": "application/json"},
        timeout=180,
    )
    assert started.status_code == 201, started.text[:500]
    run = bench.wait(started.json()["id"])
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    assert run.result("tell") == {"execution_id": parent["id"], "status": "failed"}
    execution = bench.st2.get_execution(parent["id"])
    assert execution is not None
    assert execution["status"] == "failed"
    result: dict[str, Any] = execution["result"]
    return result


@pytest.mark.parametrize(
    ("raw", "output"),
    [
        ('{"a": [NaN, -Infinity]}', {"a": ["NaN", "-Infinity"]}),
        (r'{"a\udfff": "\ud800", "b": "\ud83d\ude00"}', {"a\\udfff": "\\ud800", "b": "😀"}),
        (f'{{"a": {2**63}, "b": {2**62}}}', {"a": str(2**63), "b": 2**62}),
        ('{"a.b": {"$c": null, "": [], "😀": 1}}', {"a.b": {"$c": None, "": [], "😀": 1}}),
        ("[]", []),
        ("0", 0),
        ("1.5", 1.5),
        ("true", True),
        ("NaN", "NaN"),
        ('"😀"', "😀"),
        ("null", None),
    ],
)
def test_parent_gets_results_of_every_type(unlimited: Bench, raw: str, output: Any) -> None:
    assert reported(unlimited, raw)["output"] == output


def test_deep_result_for_the_parent_is_truncated(unlimited: Bench) -> None:
    result = reported(unlimited, "[" * 150 + "]" * 150)
    assert "nested deeper than 100 levels, truncated" in json.dumps(result["output"])
    assert "nested deeper" in result["mistral"]["replaced"][0]


def test_result_for_the_parent_is_truncated_above_stackstorms_limit(
    unlimited: Bench,
) -> None:
    around = len(json.dumps({"status": "failed", "result": reported(unlimited, '""')}))
    largest = "y" * (MAX_DOCUMENT - around)
    assert reported(unlimited, json.dumps(largest))["output"] == largest
    result = reported(unlimited, json.dumps(f"{largest}y"))
    assert result["state"] == "ERROR"
    assert result["output"].startswith('"yyyy')
    assert result["mistral"]["truncated"]["size_bytes"] == len(largest) + 3
    assert result["mistral"]["action_execution_id"] in result["mistral"]["truncated"]["message"]
