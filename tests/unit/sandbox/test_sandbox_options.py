"""The options of ``[st2]`` that the sandbox writes for Mistral and the relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st2_mistral_sandbox.sandbox import Sandbox
from st2actions_mistral import config
from st2actions_mistral.client.settings import Credential, St2Settings
from st2actions_mistral.config.options import ST2_GROUP, ST2_OPTS
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError

GIVEN = """\
[st2]
api_url = https://st2.example.org/api/v1
stream_url = https://st2.example.org/elsewhere
auth_url = https://st2.example.org/auth/v1
username = us
password = "'$$ecret' "
cafile = /etc/ca.pem
insecure = true
connect_timeout = 1.5
read_timeout = 2
retry_deadline = 3
site = east
allowed_api_urls = http://a/v1,http://b/v1
context_key = new $$key
context_key = 'old"key"'
context_key = "'quoted'"
render_jinja = true
result_layout = st2mistral
"""


def values(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "read.conf"
    file.write_text(text)
    return read_group(config.read_files([str(file)]), ST2_GROUP.name, ST2_OPTS)


def test_every_option_is_written_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(GIVEN)
    conf = config.read_files([str(file)])
    given = read_group(conf, ST2_GROUP.name, ST2_OPTS)
    # GIVEN must set every option, also new ones.
    unset = {opt.name for opt in ST2_OPTS if given[opt.name] == opt.default}
    assert unset == {"api_key", "auth_token"}
    st2 = config.load_bridge_settings(conf).st2
    assert values(tmp_path, Sandbox(st2=st2, conf=conf).st2_options(st2)) == given


def test_arguments_override_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(GIVEN)
    st2 = St2Settings("http://st2:9101/v1", Credential(api_key="mine"))
    sandbox = Sandbox(
        st2=st2, conf=config.read_files([str(file)]), context_key="first", options="site = west"
    )
    found = values(tmp_path, sandbox.st2_options(st2))
    assert (found["api_url"], found["api_key"]) == ("http://st2:9101/v1", "mine")
    assert [found[name] for name in ("stream_url", "username", "password", "cafile")] == [None] * 4
    assert (found["insecure"], found["retry_deadline"], found["site"]) == (False, 60, "west")
    assert found["context_key"] == ["first", "new $key", 'old"key"', "'quoted'"]


def test_defaults_are_written_without_a_configuration(tmp_path: Path) -> None:
    found = values(tmp_path, Sandbox().st2_options(St2Settings()))
    assert found == {**values(tmp_path, ""), "api_url": "http://127.0.0.1:9101/v1"}


@pytest.mark.parametrize("line", ["site = two words", "context_key ="])
def test_invalid_option_is_rejected_before_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text(f"[st2]\n{line}\n")
    with pytest.raises(ConfigError, match=r"\[st2\] (site|context_key)"):
        Sandbox(conf=config.read_files([str(file)]))
