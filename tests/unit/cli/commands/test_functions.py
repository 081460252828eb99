"""``st2-mistral functions`` lists the expression functions."""

from __future__ import annotations

import json

import pytest

from st2actions_mistral.cli.main import main


def test_json_has_signatures_of_this_package_and_names_of_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["functions", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["use_none"] == {
        "name": "use_none",
        "signature": "use_none(value)",
        "description": "Return a value unchanged, and for null the text that stands for it.",
        "distribution": "st2actions-mistral",
    }
    assert found["task"] == {
        "name": "task",
        "signature": None,
        "description": None,
        "distribution": "mistral",
    }
    assert found["to_json_string"]["signature"] == (
        "to_json_string(value, indent=4, sort_keys=false, separators=[',', ':'])"
    )


def test_table_has_a_row_for_each_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["functions"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["function", "description", "distribution"]
    assert len(rows) == 35
    assert any(row.startswith("st2kv(key, decrypt=false)  ") for row in rows)
