"""The check of the notifier."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.breaking_servers import BreakingServer, answer
from support.clients import to_st2

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.cli.checks.finding import CheckFailed, CheckWarning
from st2actions_mistral.cli.checks.notifier import notifier
from st2actions_mistral.errors import ConfigError

ON = 'notify = [{"type": "st2"}]'


def check(folder: Path, mistral: str, ours: str = "", url: str = "http://127.0.0.1:1") -> str:
    file = folder / "mistral.conf"
    file.write_text(f"[notifier]\n{mistral}\n[st2_notifier]\n{ours}\n")
    with to_st2(url) as st2:
        return notifier(config.read_files([str(file)]), st2)


@pytest.mark.parametrize(
    ("mistral", "where"),
    [
        (ON, "on, in the processes of Mistral's notifier; trigger: none"),
        (f"{ON}\ntype = local", "on, in the engines; trigger: none"),
        ('notify = [{"type": "noop"}, {"type": "st2", "event_types": []}]\ntype = local', "engines"),
        ("", "off: [notifier] notify does not name it on this host"),
        ('notify = [{"type": "noop"}, 5]', "off"),
        (
            'notify = [{"type": "st2", "event_types": ["WORKFLOW_SUCCEEDED", "WORKFLOW_FAILED"]},'
            ' {"type": "st2", "event_types": ["WORKFLOW_CANCELLED", "WORKFLOW_PAUSED",'
            ' "WORKFLOW_RESUMED", "TASK_FAILED"]}]',
            "on",
        ),
    ],
)
def test_options_tell_where_the_notifier_is_on(tmp_path: Path, mistral: str, where: str) -> None:
    assert where in check(tmp_path, mistral)


def test_missing_events_are_named(tmp_path: Path) -> None:
    line = 'notify = [{"type": "st2", "event_types": ["WORKFLOW_SUCCEEDED", "WORKFLOW_FAILED"]}]'
    with pytest.raises(CheckWarning) as caught:
        check(tmp_path, line)
    assert "WORKFLOW_CANCELLED, WORKFLOW_PAUSED, WORKFLOW_RESUMED: add them" in str(caught.value)


@pytest.mark.parametrize("line", ["notify = st2", "notify = [st2]", "notify = [{]"])
def test_value_that_mistral_cannot_read_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[notifier\] notify"):
        check(tmp_path, line)


def test_trigger_must_exist(tmp_path: Path) -> None:
    with StackStorm(auth=False) as st2:
        with pytest.raises(CheckFailed, match=r"does not know the trigger tests\.event"):
            check(tmp_path, ON, "trigger = tests.event", st2.api_url)
        st2.register_trigger({"pack": "tests", "name": "event"})
        assert "trigger: tests.event" in check(tmp_path, ON, "trigger = tests.event", st2.api_url)
        with pytest.raises(CheckWarning, match="does not name it"):
            check(tmp_path, "", "trigger = tests.event", st2.api_url)


def test_missing_permission_is_named(tmp_path: Path) -> None:
    behaviours = [answer(200, {"ref": "tests.event"}), answer(403, {"faultstring": "no"})]
    with (
        BreakingServer(*behaviours) as server,
        pytest.raises(CheckFailed, match="webhook_send on webhook:st2"),
    ):
        check(tmp_path, ON, "trigger = tests.event", server.url)
