"""What travels back: its shape, and its size."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.model.context import MistralIds

# What is kept of one value when a result is cut: enough to see what it was, and small against any
# sensible limit.
_KEPT_BYTES: Final = 2048


def task_result(child: Mapping[str, Any]) -> dict[str, Any]:
    """What a task gets: the child's result object plus the key ``st2``.

    :param child: an execution as StackStorm's API shows it: ``id``, ``status``, ``web_url``,
        ``result`` (normally an object; anything else is put under the key ``result``).
    :return: ``{…the child's result…, "st2": {"execution_id", "status", "web_url"}}``.
    """
    result = child.get("result")
    if result is None:
        result = {}
    elif not isinstance(result, Mapping):
        result = {"result": result}
    return {
        **result,
        "st2": {
            "execution_id": child["id"],
            "status": child["status"],
            "web_url": child.get("web_url"),
        },
    }


def fit(result: Mapping[str, Any], limit_kb: int) -> dict[str, Any]:
    """A task's result as it is, or cut to a summary where Mistral would refuse it.

    In the summary each value above 2 KiB is replaced by its beginning, or by a note of its size, and
    ``st2`` gets the key ``cut``: ``{"size_kb", "limit_kb", "message"}``. Above the limit even so,
    only ``st2`` is left.

    :param limit_kb: Mistral's ``[engine] execution_field_size_limit_kb``; negative: no limit.
    """
    size_kb = _size_kb(result)
    if limit_kb < 0 or size_kb <= limit_kb:
        return dict(result)
    st2 = {
        **result["st2"],
        "cut": {
            "size_kb": size_kb,
            "limit_kb": limit_kb,
            "message": "The result is larger than Mistral stores. The whole of it is in StackStorm,"
            f" in execution {result['st2']['execution_id']}.",
        },
    }
    summary = {name: _shortened(value) for name, value in result.items() if name != "st2"}
    summary["st2"] = st2
    return summary if _size_kb(summary) <= limit_kb else {"st2": st2}


def parent_result(
    output: Any, state: str, ids: MistralIds, *, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a parent execution gets from ``st2.callback``: always an object.

    :param output: what the workflow reports, anything JSON.
    :param state: the state in the workflow author's word.
    :return: ``{"output", "state", "mistral": {"workflow_execution_id", "workflow_name", …}}``.
    """
    return {"output": output, "state": state, "mistral": {**ids.as_dict(), **(extra or {})}}


def _size_kb(result: Mapping[str, Any]) -> int:
    # Mistral 20 to 23 measures the memory of Python's str() of what it stores, in whole KiB: one
    # character outside Latin-1 makes every other one count two or four bytes.
    return sys.getsizeof(str({"result": result})) // 1024


def _shortened(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = len(text.encode(errors="replace"))
    if size <= _KEPT_BYTES:
        return value
    if isinstance(value, str):
        return f"{value[: _KEPT_BYTES // 4]}… ({size} bytes, cut)"
    return f"({size} bytes of JSON, cut)"
