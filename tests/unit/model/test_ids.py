from __future__ import annotations

import pytest

from st2actions_mistral.model.ids import is_execution_id


def test_object_id_is_an_execution_id() -> None:
    assert is_execution_id("6b03c160746e6986596007f7")


@pytest.mark.parametrize(
    "value",
    [
        "last",
        "",
        "6b03c160746e6986596007f",
        "6b03c160746e6986596007f77",
        "6B03C160746E6986596007F7",
        "6b03c160746e6986596007f7\n",
        "6b03c160746e6986596007fg",
        None,
        12,
        ["6b03c160746e6986596007f7"],
    ],
)
def test_other_values_are_no_execution_ids(value: object) -> None:
    assert not is_execution_id(value)
