"""The public API of the distribution: names, and the example in its README."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from st2_mistral_sandbox import StackStorm

README = Path(__file__).parents[3] / "sandbox" / "README.md"


def test_example_in_the_readme_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    file = tmp_path / "test_example.py"
    file.write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, file],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_public_names_of_stackstorm() -> None:
    attributes = {name for name in dir(StackStorm) if not name.startswith("_")}
    assert attributes == {
        "api_url",
        "auth_url",
        "create_api_key",
        "create_token",
        "executions",
        "listeners",
        "put_key",
        "register_action",
        "register_runner",
        "register_trigger",
        "replica_set",
        "revoke_token",
        "set_roles",
        "start",
        "stop",
        "stream_url",
        "trigger_instances",
    }
    parameters = list(inspect.signature(StackStorm).parameters)
    assert parameters == [
        "host",
        "port",
        "runners",
        "action_dirs",
        "packs",
        "heartbeat",
        "backlog",
        "auth",
    ]


@pytest.mark.parametrize("name", ["all", "get", "remove", "set_status", "wait"])
def test_public_methods_of_executions_are_documented(name: str) -> None:
    with StackStorm() as st2:
        assert getattr(st2.executions, name).__doc__
