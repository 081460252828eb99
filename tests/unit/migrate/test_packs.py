"""Runner types of actions, from the metadata of packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral.migrate.packs import Packs


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """Return a folder with two packs."""
    for pack in ("examples", "other"):
        (tmp_path / pack / "actions" / "workflows").mkdir(parents=True)
    actions = tmp_path / "examples" / "actions"
    (actions / "child.json").write_text('{"name": "child", "runner_type": "mistral-v2"}')
    (actions / "code.yaml").write_text("name: code\nrunner_type: python-script\nentry_point: code.py\n")
    (actions / "broken.yaml").write_text("name: [")
    (actions / "list.yaml").write_text("[1]")
    (actions / "code.py").write_text("pass\n")
    (tmp_path / "other" / "actions" / "it.yaml").write_text("name: it\nrunner_type: remote-shell-cmd\n")
    return tmp_path


@pytest.mark.parametrize("file", ["book.yaml", "workflows/book.yaml"])
def test_packs_beside_a_workbook_are_read(packs: Path, file: str) -> None:
    found = Packs(packs / "examples" / "actions" / file)
    refs = ("examples.child", "examples.code", "other.it", "other.nope", "nope.it", "code")
    assert [found.runner(ref) for ref in refs] == [
        "mistral-v2",
        "python-script",
        "remote-shell-cmd",
        None,
        None,
        None,
    ]


def test_further_folders_are_read(packs: Path, tmp_path: Path) -> None:
    assert Packs(tmp_path / "book.yaml").runner("examples.child") is None
    assert Packs(tmp_path / "book.yaml", packs).runner("examples.child") == "mistral-v2"
    assert Packs(None, packs).runner("examples.child") == "mistral-v2"


def test_a_checkout_has_the_name_in_its_pack_yaml(packs: Path) -> None:
    (packs / "examples").rename(packs / "stackstorm-mine")
    (packs / "stackstorm-mine" / "pack.yaml").write_text("ref: mine\nname: My pack\n")
    found = Packs(packs / "stackstorm-mine" / "actions" / "book.yaml")
    assert found.runner("mine.child") == "mistral-v2"
    assert found.runner("examples.child") is None
