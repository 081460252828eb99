"""The command ``sandbox``: its instructions, and the check of a given StackStorm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from st2_mistral_sandbox.commands import sandbox as command
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.errors import ConfigError


def instructions(folder: Path, *bin_folders: Path, auth: bool = True, real: bool = False) -> str:
    url = "http://127.0.0.1:9"
    sandbox = SimpleNamespace(
        folder=folder,
        auth=auth,
        packs=folder / "packs",
        mistral_settings=MistralSettings(),
        st2_settings=St2Settings(credential=Credential(api_key="k")),
        stackstorm=None
        if real
        else SimpleNamespace(api_url=url, stream_url=f"{url}/stream", auth_url=url),
    )
    return command.instructions(cast("Sandbox", sandbox), *bin_folders)


def test_instructions_name_the_configuration_file(tmp_path: Path) -> None:
    assert f"st2-mistral status --config-file {tmp_path}/relay.conf\n" in instructions(tmp_path)


def test_instructions_say_how_to_install_or_find_the_clients(tmp_path: Path) -> None:
    here, st2 = tmp_path / "venv" / "bin", tmp_path / "venv-st2client" / "bin"
    text = instructions(tmp_path, here, st2)
    assert "In another terminal (pip install python-mistralclient st2actions-mistral):\n" in text
    assert "(pip install st2client 'setuptools<81'):\n" in text
    assert "export PATH" not in text
    for folder, name in ((here, "mistral"), (st2, "st2")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    text = instructions(tmp_path, here, st2)
    assert "pip install" not in text
    assert f"  export PATH={here}:$PATH\n" in text
    assert f"  export PATH={st2}:$PATH\n" in text


def test_instructions_log_in_to_mistral(tmp_path: Path) -> None:
    login = "  export MISTRAL_AUTH_TYPE=st2 OS_TARGET_AUTH_URL=st2\n"
    _, found, after = instructions(tmp_path).partition(f"{login}  export ST2_API_KEY=k\n")
    assert found
    assert after.startswith("  mistral workbook-list\n")
    assert "MISTRAL_AUTH_TYPE" not in instructions(tmp_path, auth=False)
    text = instructions(tmp_path, real=True)
    assert f"{login}  # and ST2_API_KEY or ST2_AUTH_TOKEN, as for st2\n" in text
    assert "ST2_API_KEY=" not in text


def test_access_check_accepts_a_valid_credential_and_disabled_authentication() -> None:
    with StackStorm() as st2:
        credential = Credential(api_key=st2.create_api_key())
        assert command.check_access(St2Settings(api_url=st2.api_url, credential=credential))
    with StackStorm(auth=False) as st2:
        assert not command.check_access(St2Settings(api_url=st2.api_url))


@pytest.mark.parametrize("credential", [Credential(), Credential(api_key="wrong")])
def test_access_check_rejects_an_invalid_credential(credential: Credential) -> None:
    with (
        StackStorm() as st2,
        pytest.raises(ConfigError, match=r"^--st2-api-url: .*401 .*ST2_API_KEY or ST2_AUTH_TOKEN"),
    ):
        command.check_access(St2Settings(api_url=st2.api_url, credential=credential))


def test_access_check_reports_a_missing_server() -> None:
    with pytest.raises(ConfigError, match=r"^--st2-api-url: .*no connection .*/api/v1"):
        command.check_access(St2Settings(api_url="http://127.0.0.1:1/v1"))
