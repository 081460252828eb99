"""``st2-mistral check`` against real servers, and each failing state made to fail for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.breaking_servers import BreakingServer, Exchange, answer, forward, refusing
from support.mistral_bench import Bench, new_bench
from support.waiting import eventually

COMMAND = [sys.executable, "-m", "st2actions_mistral.cli.main", "check"]

Check = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A sandbox whose relay a test may stop."""
    yield from new_bench(tmp_path_factory.mktemp("checked"))


@pytest.fixture
def check(checked: Bench, tmp_path: Path) -> Check:
    """Run the command on the sandbox's configuration, changed; result and detail by check."""

    def run(
        *words: str, st2: str = "", relay: str = "", more: str = "", status: int = 1
    ) -> dict[str, tuple[str, str]]:
        settings = checked.sandbox.st2_settings
        file = tmp_path / "mistral.conf"
        # Of an option that is given twice the later one counts.
        file.write_text(
            f"[st2]\napi_url = {settings.api_url}\napi_key = {settings.credential.api_key}\n"
            f"connect_timeout = 2\nread_timeout = 5\n{st2}\n"
            f"[st2_relay]\nmistral_url = {checked.mistral_url}\n{relay}\n{more}\n"
        )
        done = subprocess.run(
            [*COMMAND, "--config-file", str(file), "--json", *words],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert str(settings.credential.api_key) not in done.stdout + done.stderr
        return {row["check"]: (row["result"], row["detail"]) for row in json.loads(done.stdout)}

    return run


def test_all_is_well(check: Check) -> None:
    found = check("--probe", status=0)
    assert {name: result for name, (result, _) in found.items()} == dict.fromkeys(
        [
            "entry points",
            "options",
            "StackStorm",
            "StackStorm's permission",
            "StackStorm's stream",
            "Mistral",
            "project",
            "sizes",
            "clocks",
            "relay",
            "probe",
        ],
        "ok",
    )
    assert found["StackStorm"][1] == "we are st2admin"


def test_a_person_gets_a_table(checked: Bench) -> None:
    config = checked.sandbox.folder / "relay.conf"
    done = subprocess.run(
        [*COMMAND, "--config-file", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ok       StackStorm               we are st2admin" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("api_key =", "no credential: set [st2] api_key"),
        ("username = me", "keep one of api_key"),
        ("api_url = ftp://x", "[st2] api_url"),
        ("site = two words", "[st2] site: 'two words'"),
    ],
)
def test_options_that_cannot_be(check: Check, options: str, told: str) -> None:
    found = check(st2=options)
    assert list(found) == ["entry points", "options"]
    assert found["options"][0] == "failed"
    assert told in found["options"][1]


def test_a_wrong_key(check: Check) -> None:
    found = check(st2="api_key = nonsense")
    assert found["StackStorm"][0] == "failed"
    assert "StackStorm does not take [st2] api_key" in found["StackStorm"][1]
    assert found["StackStorm's stream"] == ("skipped", "needs StackStorm")


def test_stackstorm_is_away(check: Check) -> None:
    with refusing() as nobody:
        found = check(st2=f"api_url = {nobody}")
    assert "no connection (Connection refused)" in found["StackStorm"][1]
    assert found["Mistral"][0] == "ok"


def test_no_permission(check: Check) -> None:
    # The stand-in knows no roles: somebody who says no stands in its place.
    no = answer(403, {"faultstring": "User lacks action_execute"})
    with BreakingServer(answer(200, {"username": "reader"}), no) as server:
        found = check(st2=f"api_url = {server.url}")
    assert "Give the user a role with action_execute" in found["StackStorm's permission"][1]
    assert "may not list executions" in found["StackStorm's permission"][1]


def test_executions_may_be_run_and_not_listed(check: Check, checked: Bench) -> None:
    no = answer(403, {"faultstring": 'User lacks permission "execution_list"'})
    allowed = forward(checked.stackstorm.base_url)

    def gate(exchange: Exchange) -> bool:
        assert exchange.request
        listing = (exchange.request.method, exchange.request.path.partition("?")[0])
        return (no if listing == ("GET", "/api/v1/executions") else allowed)(exchange)

    with BreakingServer(gate) as server:
        found = check(
            st2=f"api_url = {server.url}/api/v1\nstream_url = {checked.stackstorm.stream_url}"
        )
    failed, told = found["StackStorm's permission"]
    assert failed == "failed"
    assert "a role with the permission execution_list" in told
    assert "action_execute" not in told
    assert found["StackStorm's stream"][0] == "ok"


@pytest.mark.parametrize(
    ("counts", "isolated"), [([3], True), ([3, 1], False), ([1], False), ([None], False)]
)
def test_executions_of_other_users_are_hidden(
    check: Check, checked: Bench, counts: list[int | None], isolated: bool
) -> None:
    # StackStorm takes those of others out of a page, and counts them all the same.
    allowed = forward(checked.stackstorm.base_url)
    left = list(counts)

    def gate(exchange: Exchange) -> bool:
        assert exchange.request
        if "include_attributes=status&limit=100" not in exchange.request.path:
            return allowed(exchange)
        count = left.pop(0) if len(left) > 1 else left[0]
        headers = {} if count is None else {"X-Total-Count": str(count)}
        return answer(200, [{"id": "6b03c160746e6986596007f7", "status": "running"}], headers)(exchange)

    with BreakingServer(gate) as server:
        found = check(
            st2=f"api_url = {server.url}/api/v1\nstream_url = {checked.stackstorm.stream_url}",
            status=1 if isolated else 0,
        )
    result, told = found["StackStorm's permission"]
    assert (result, "[rbac] permission_isolation" in told) == (
        ("failed", True) if isolated else ("ok", False)
    )


def test_the_stream_is_away(check: Check) -> None:
    with refusing() as nobody:
        found = check(st2=f"stream_url = {nobody}/v1/stream")
    assert found["StackStorm"][0] == "ok"
    assert "no connection" in found["StackStorm's stream"][1]


def test_the_stream_is_empty(check: Check) -> None:
    with BreakingServer(answer(200, b"", {"Content-Type": "text/event-stream"})) as server:
        found = check(st2=f"stream_url = {server.url}")
    assert "ends at once: does st2stream run?" in found["StackStorm's stream"][1]


def test_mistral_is_away(check: Check) -> None:
    with refusing() as nobody:
        found = check(relay=f"mistral_url = {nobody}/v2")
    assert "no connection" in found["Mistral"][1]
    assert found["relay"] == ("skipped", "needs both systems")


def test_mistral_without_the_actions(check: Check) -> None:
    # Mistral hides a plug-in that its options forbid, with this answer.
    hidden = answer(404, {"faultstring": "Action not found"})
    with BreakingServer(hidden, answer(200, {"uri": "http://mistral/v2"})) as server:
        found = check(relay=f"mistral_url = {server.url}")
    assert "Mistral has no action st2.action: install the package" in found["Mistral"][1]


def test_mistral_is_somebody_else(check: Check, checked: Bench) -> None:
    stackstorm = checked.sandbox.st2_settings.api_url.removesuffix("/api/v1")
    found = check(relay=f"mistral_url = {stackstorm}/v2")
    assert "is [st2_relay] mistral_url Mistral's" in found["Mistral"][1]


def test_sizes_that_disagree(check: Check) -> None:
    found = check(
        relay="field_size_limit_kb = 2048", more="[engine]\nexecution_field_size_limit_kb = 512"
    )
    assert "field_size_limit_kb is 2048" in found["sizes"][1]
    assert "is 512" in found["sizes"][1]


def test_a_clock_that_is_off(check: Check) -> None:
    early = answer(
        200, {"username": "me"}, {"Date": "Mon, 23 Nov 2020 04:47:03 GMT", "X-Which": "clock"}
    )
    with BreakingServer(early) as server:
        found = check(st2=f"api_url = {server.url}")
    assert "StackStorm's clock is" in found["clocks"][1]


def test_nobody_brings_the_results(checked: Bench, check: Check) -> None:
    checked.sandbox.relay.stop()
    try:
        workflow = checked.workbook("say: {action: st2.action, input: {ref: core.noop}}")
        started = checked.start(workflow)
        eventually(
            lambda: any(
                execution["status"] == "succeeded"
                for execution in checked.stackstorm.executions.all()
                if execution["context"].get("mistral", {}).get("workflow_execution_id") == started
            ),
            "the child ends",
        )
        found = check()
        assert "1 results are in StackStorm and not in Mistral" in found["relay"][1]
    finally:
        checked.sandbox.relay.start()
    checked.wait(started)


def test_an_entry_point_that_does_not_load(tmp_path: Path, checked: Bench) -> None:
    # Another distribution that says it has st2.action, and does not.
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mistral.actions]\nst2.action = nowhere:Nothing\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import st2actions_mistral.cli.main as m\n"
        f"sys.exit(m.main(['check', '--config-file', {str(checked.sandbox.folder / 'relay.conf')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "failed   entry points             st2.action cannot be loaded" in done.stdout
