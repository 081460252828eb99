from __future__ import annotations

from st2actions_mistral.model.mistral_fields import decoded, has_items


def test_decoded_reads_json_in_a_string() -> None:
    assert decoded('{"a": 1}') == {"a": 1}
    assert decoded({"a": 1}) == {"a": 1}
    assert decoded("{") is None


def test_has_items_reads_the_runtime_context() -> None:
    assert has_items({"runtime_context": '{"with_items": {"count": 2}}'})
    assert not has_items({"runtime_context": {}})
    assert not has_items({"runtime_context": "{"})
