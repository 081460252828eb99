"""``st2-mistral check`` with a real Mistral: a working installation, and each failure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.breaking_servers import BreakingServer, Exchange, answer, forward, refusing
from support.command_line import run_command
from support.mistral_bench import Bench, new_bench
from support.relay import SETTINGS
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.cli.checks.delivery import undelivered_results
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.client.projects import ProjectClients

Check = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox for this module: its tests stop the relay."""
    yield from new_bench(tmp_path_factory.mktemp("checked"))


@pytest.fixture
def check(checked: Bench, tmp_path: Path) -> Check:
    """Run the command with a changed configuration; return result and detail by check."""

    def run(
        *arguments: str, st2: str = "", relay: str = "", more: str = "", status: int = 1
    ) -> dict[str, tuple[str, str]]:
        settings = checked.sandbox.st2_settings
        file = tmp_path / "mistral.conf"
        # The later value of a repeated option counts.
        file.write_text(
            f"[st2]\napi_url = {settings.api_url}\napi_key = {settings.credential.api_key}\n"
            f"connect_timeout = 2\nread_timeout = 5\n{st2}\n"
            f"[st2_relay]\nmistral_url = {checked.mistral_url}\n{relay}\n{more}\n"
        )
        done = run_command("check", "--config-file", file, "--json", *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        assert str(settings.credential.api_key) not in done.stdout + done.stderr
        return {row["check"]: (row["result"], row["detail"]) for row in json.loads(done.stdout)}

    return run


def test_a_working_installation_passes_all_checks(check: Check) -> None:
    found = check("--probe", status=0)
    assert {name: result for name, (result, _) in found.items()} == dict.fromkeys(
        [
            "entry points",
            "options",
            "StackStorm",
            "permissions",
            "event stream",
            "notifier",
            "Mistral",
            "project",
            "policy",
            "action filter",
            "provider",
            "database",
            "scheduler",
            "size limit",
            "clocks",
            "relay",
            "probe",
        ],
        "ok",
    )
    assert found["StackStorm"][1] == "authenticated as st2admin"


def test_without_a_probe_no_execution_is_created(check: Check, checked: Bench) -> None:
    before = len(checked.stackstorm.executions.all())
    assert check(status=0)["permissions"] == ("ok", "may list executions and run core.noop")
    assert len(checked.stackstorm.executions.all()) == before


def test_a_probe_that_ran_in_another_stackstorm_fails(check: Check) -> None:
    with StackStorm() as other:
        found = check(
            "--probe",
            st2=f"api_url = {other.base_url}/api/v1\nstream_url = {other.stream_url}\n"
            f"api_key = {other.create_api_key()}",
        )
    assert found["StackStorm"][0] == "ok"
    failed, message = found["probe"]
    assert failed == "failed"
    assert "is not in the StackStorm of this configuration" in message


def test_findings_are_printed_as_a_table(checked: Bench) -> None:
    config = checked.sandbox.folder / "relay.conf"
    done = run_command("check", "--config-file", config)
    assert done.returncode == 0, done.stderr
    assert "ok       StackStorm    authenticated as st2admin" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("api_key =", "There is no credential for StackStorm: set [st2] api_key"),
        ("username = me", "keep one of [st2] api_key"),
        ("api_url = ftp://x", "[st2] api_url"),
        ("site = two words", "[st2] site: 'two words'"),
    ],
)
def test_invalid_options_end_the_checks(check: Check, options: str, message: str) -> None:
    found = check(st2=options)
    assert list(found) == ["entry points", "options"]
    assert found["options"][0] == "failed"
    assert message in found["options"][1]


def test_a_wrong_key_fails_and_skips_what_needs_stackstorm(check: Check) -> None:
    found = check(st2="api_key = nonsense")
    assert found["StackStorm"][0] == "failed"
    assert "StackStorm rejects [st2] api_key" in found["StackStorm"][1]
    assert found["event stream"] == ("skipped", "needs StackStorm")


def test_an_unreachable_stackstorm_fails(check: Check) -> None:
    with refusing() as unreachable:
        found = check(st2=f"api_url = {unreachable}")
    assert "no connection (Connection refused)" in found["StackStorm"][1]
    assert found["Mistral"][0] == "ok"


def test_missing_permissions_are_named(check: Check) -> None:
    # The StackStorm stand-in has no roles: this server rejects in its place.
    no = answer(403, {"faultstring": "User lacks action_execute"})
    with BreakingServer(answer(200, {"username": "reader"}), no) as server:
        found = check(st2=f"api_url = {server.url}")
    assert "a role with action_view and action_execute" in found["permissions"][1]
    assert "may not list executions" in found["permissions"][1]


def test_missing_permission_to_list_executions_is_named(check: Check, checked: Bench) -> None:
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
    failed, message = found["permissions"]
    assert failed == "failed"
    assert "a role with execution_list" in message
    assert "action_execute" not in message
    assert found["event stream"][0] == "ok"


@pytest.mark.parametrize(
    ("counts", "isolated"), [([3], True), ([3, 1], False), ([1], False), ([None], False)]
)
def test_hidden_executions_of_other_users_fail(
    check: Check, checked: Bench, counts: list[int | None], isolated: bool
) -> None:
    # StackStorm removes the executions of others from a page, but counts them.
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
    result, message = found["permissions"]
    assert (result, "[rbac] permission_isolation" in message) == (
        ("failed", True) if isolated else ("ok", False)
    )


def test_an_unreachable_event_stream_fails(check: Check) -> None:
    with refusing() as unreachable:
        found = check(st2=f"stream_url = {unreachable}/v1/stream")
    assert found["StackStorm"][0] == "ok"
    assert "no connection" in found["event stream"][1]


def test_missing_permission_to_read_the_event_stream_is_named(check: Check, checked: Bench) -> None:
    no = answer(403, {"faultstring": 'User "reader" doesn\'t have required permission "stream_view"'})
    with BreakingServer(no) as server:
        found = check(st2=f"stream_url = {server.url}/stream")
    failed, message = found["event stream"]
    assert failed == "failed"
    assert "a role with stream_view" in message


def test_an_empty_event_stream_fails(check: Check) -> None:
    with BreakingServer(answer(200, b"", {"Content-Type": "text/event-stream"})) as server:
        found = check(st2=f"stream_url = {server.url}")
    assert "ends at once: is st2stream running?" in found["event stream"][1]


def test_an_unreachable_mistral_fails_and_skips_what_needs_it(check: Check) -> None:
    with refusing() as unreachable:
        found = check(relay=f"mistral_url = {unreachable}/v2")
    assert "no connection" in found["Mistral"][1]
    assert found["relay"] == ("skipped", "needs both systems")


def test_a_mistral_without_the_actions_fails(check: Check) -> None:
    # Mistral answers like this for a plugin that its options forbid.
    hidden = answer(404, {"faultstring": "Action not found"})
    with BreakingServer(hidden, answer(200, {"uri": "http://mistral/v2"})) as server:
        found = check(relay=f"mistral_url = {server.url}")
    assert "Mistral has no action st2.action. Install the package" in found["Mistral"][1]


def test_a_service_that_is_not_mistral_fails(check: Check, checked: Bench) -> None:
    stackstorm = checked.sandbox.st2_settings.api_url.removesuffix("/api/v1")
    found = check(relay=f"mistral_url = {stackstorm}/v2")
    assert "does not respond as Mistral does" in found["Mistral"][1]


def test_a_size_limit_above_mistrals_fails(check: Check) -> None:
    found = check(
        relay="field_size_limit_kb = 2048", more="[engine]\nexecution_field_size_limit_kb = 512"
    )
    assert "field_size_limit_kb is 2048" in found["size limit"][1]
    assert "is 512" in found["size limit"][1]


def test_a_wrong_clock_fails(check: Check) -> None:
    early = answer(
        200, {"username": "me"}, {"Date": "Mon, 23 Nov 2020 04:47:03 GMT", "X-Which": "clock"}
    )
    with BreakingServer(early) as server:
        found = check(st2=f"api_url = {server.url}")
    assert "StackStorm's clock differs" in found["clocks"][1]


def test_undelivered_results_fail(checked: Bench) -> None:
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
        clients, relay = ProjectClients(checked.mistral), replace(SETTINGS, site="mistral")
        with pytest.raises(CheckFailed, match="1 results are in StackStorm and not in Mistral"):
            undelivered_results(checked.st2, clients, relay, sleep=lambda _: None)
    finally:
        checked.sandbox.relay.start()
    checked.wait(started)


def test_an_entry_point_that_does_not_load_fails(tmp_path: Path, checked: Bench) -> None:
    # Another distribution whose entry point st2.action names a missing module.
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
    assert "failed   entry points  st2.action cannot be loaded" in done.stdout
