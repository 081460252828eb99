"""Errors of ``st2-mistral check`` that are no findings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from st2actions_mistral.cli.main import main


def test_without_keystoneauth_the_error_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in StackStorm's virtualenv.
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    file = tmp_path / "mistral.conf"
    file.write_text("[st2]\napi_key = secret\n")
    assert main(["check", "--config-file", str(file)]) == 1
    assert "needs the module keystoneauth1. Install it" in capsys.readouterr().err
