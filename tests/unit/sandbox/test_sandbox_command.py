"""``st2-mistral sandbox``: what it says, and what it looks at before it starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from st2_mistral_sandbox.commands import sandbox as command
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.errors import ConfigError


def how_to(folder: Path) -> str:
    url = "http://127.0.0.1:9"
    sandbox = SimpleNamespace(
        folder=folder,
        packs=folder / "packs",
        mistral_settings=MistralSettings(),
        st2_settings=St2Settings(credential=Credential(api_key="k")),
        stackstorm=SimpleNamespace(api_url=url, stream_url=f"{url}/stream", auth_url=url),
    )
    return command._how_to(cast("Sandbox", sandbox))


def test_it_says_how_to_point_our_own_commands_at_it(tmp_path: Path) -> None:
    assert f"st2-mistral status --config-file {tmp_path}/relay.conf\n" in how_to(tmp_path)


def test_it_says_how_to_come_by_the_command_lines(tmp_path: Path, monkeypatch: Any) -> None:
    here, st2 = tmp_path / "venv" / "bin", tmp_path / "venv-st2client" / "bin"
    monkeypatch.setattr(command, "_BIN", here)
    monkeypatch.setattr(command, "_ST2_BIN", st2)
    said = how_to(tmp_path)
    assert "In another terminal (pip install python-mistralclient):\n" in said
    assert "(pip install st2client 'setuptools<81'):\n" in said
    assert "export PATH" not in said
    for folder, name in ((here, "mistral"), (st2, "st2")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    said = how_to(tmp_path)
    assert "pip install" not in said
    assert f"  export PATH={here}:$PATH\n" in said
    assert f"  export PATH={st2}:$PATH\n" in said


def test_a_stackstorm_that_lets_us_in() -> None:
    with StackStorm() as st2:
        credential = Credential(api_key=st2.create_api_key())
        command.must_let_in(St2Settings(api_url=st2.api_url, credential=credential))
    with StackStorm(auth=False) as st2:
        command.must_let_in(St2Settings(api_url=st2.api_url))


@pytest.mark.parametrize("credential", [Credential(), Credential(api_key="wrong")])
def test_one_that_does_not_is_told_before_anything_starts(credential: Credential) -> None:
    with (
        StackStorm() as st2,
        pytest.raises(ConfigError, match=r"^--st2-api-url: .*401 .*ST2_API_KEY or ST2_AUTH_TOKEN"),
    ):
        command.must_let_in(St2Settings(api_url=st2.api_url, credential=credential))


def test_one_that_is_not_there_is_told_too() -> None:
    with pytest.raises(ConfigError, match=r"^--st2-api-url: .*no connection .*/api/v1"):
        command.must_let_in(St2Settings(api_url="http://127.0.0.1:1/v1"))
