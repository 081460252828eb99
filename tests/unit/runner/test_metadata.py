from __future__ import annotations

from st2actions_mistral.runner.metadata import metadata


def test_metadata_describes_the_runner() -> None:
    found = metadata()
    assert found["name"] == "mistral-v2"
    assert found["enabled"] is True
    assert found["runner_parameters"]


def test_each_call_returns_a_new_object() -> None:
    # StackStorm's registration changes it.
    metadata()["runner_parameters"].clear()
    assert metadata()["runner_parameters"]
