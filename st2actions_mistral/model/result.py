"""What travels back: its shape, and its size."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from st2actions_mistral.model import json_values
from st2actions_mistral.model.context import MistralIds

# What is kept of one value when a result is cut: enough to see what it was, and small against any
# sensible limit.
_KEPT_BYTES: Final = 2048

# StackStorm reads and writes JSON with orjson, to which a larger integer is a float or an error.
_ST2_INTEGER_BITS: Final = 63


def task_result(child: Mapping[str, Any]) -> dict[str, Any]:
    """What a task gets: the child's result object plus the key ``st2``.

    :param child: an execution as StackStorm's API shows it: ``id``, ``status``, ``web_url``,
        ``result`` (normally an object; anything else is put under the key ``result``).
    :return: ``{…the child's result…, "st2": {"execution_id", "status", "web_url"}}``; where the result
        :func:`is_left_out`, only ``st2``, with the key ``cut`` as :func:`fit` makes it.
    """
    result = child.get("result")
    if result is None:
        result = {}
    elif not isinstance(result, Mapping):
        result = {"result": result}
    whole = {
        **result,
        "st2": {
            "execution_id": child["id"],
            "status": child["status"],
            "web_url": child.get("web_url"),
        },
    }
    if is_left_out(child):
        size_kb = child["result_size"] // 1024
        return _with_cut(whole, "The result is larger than the relay reads.", size_kb=size_kb)
    return whole


def is_left_out(child: Mapping[str, Any]) -> bool:
    """Whether an execution has a result that is not in it, because it is large."""
    return "result" not in child and isinstance(child.get("result_size"), int)


def fit(result: Mapping[str, Any], limit_kb: int) -> dict[str, Any]:
    """A task's result as it is, or as much of it as Mistral takes.

    What JSON cannot say is replaced, see ``model.json_values.sanitize``; ``st2`` then gets the key
    ``replaced``: what it was, in words. What is too large is cut to a summary, in which each value
    above 2 KiB is replaced by its beginning, or by a note of its size; ``st2`` then gets the key
    ``cut``: ``{"size_kb", "limit_kb", "message"}``. Above the limit even so, only ``st2`` is left.

    :param limit_kb: Mistral's ``[engine] execution_field_size_limit_kb``; negative: no limit.
    """
    whole, replaced = json_values.sanitize(result)
    assert isinstance(whole, dict)
    if replaced:
        whole["st2"]["replaced"] = replaced
    size_kb = _size_kb(whole)
    if limit_kb < 0 or size_kb <= limit_kb:
        return whole
    cut = _with_cut(
        whole, "The result is larger than Mistral stores.", size_kb=size_kb, limit_kb=limit_kb
    )
    summary = {name: shortened(value) for name, value in whole.items() if name != "st2"} | cut
    return summary if _size_kb(summary) <= limit_kb else cut


def refused(result: Mapping[str, Any], status: int | None) -> dict[str, Any]:
    """What is left of a task's result that Mistral, or a proxy in front of it, does not take: ``st2``.

    :param status: of the answer; None where there was none.
    """
    return _with_cut(result, f"Mistral does not take the result ({status or 'no answer'}).")


def parent_result(
    output: Any,
    state: str,
    ids: MistralIds,
    *,
    extra: Mapping[str, Any] | None = None,
    tasks: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What a parent execution gets, from ``st2.callback`` or from the relay: always an object.

    :param output: what the workflow reports, anything JSON.
    :param state: the state in the workflow author's word.
    :param extra: what else is under ``mistral``.
    :param tasks: see ``model.report``.
    :return: ``{"output", "state", "mistral": {"workflow_execution_id", "workflow_name", …}}``, and
        ``tasks`` where they are given. What StackStorm or JSON cannot say is replaced; ``mistral`` then
        has the key ``replaced``.
    """
    whole = {"output": output, "state": state, "mistral": {**ids.as_dict(), **(extra or {})}}
    if tasks is not None:
        whole["tasks"] = [dict(task) for task in tasks]
    report, replaced = json_values.sanitize(whole, integer_bits=_ST2_INTEGER_BITS)
    assert isinstance(report, dict)
    if replaced:
        report["mistral"]["replaced"] = replaced
    return report


def cut_parent_result(report: Mapping[str, Any]) -> dict[str, Any]:
    """A :func:`parent_result` that StackStorm can store whatever it was: the beginning of ``output``
    as a text, no ``tasks``, and under ``mistral`` the key ``cut``: ``{"size_bytes", "message"}``.
    """
    text = json.dumps(report["output"])
    begin = f"{text[: _KEPT_BYTES // 4]}… ({len(text)} bytes of JSON, cut)"
    message = "StackStorm did not take the result."
    action = report["mistral"].get("action_execution_id")
    workflow = report["mistral"].get("workflow_execution_id")
    if action:
        message += f" The whole of it is in Mistral, in the input of action execution {action}."
    elif workflow:
        message += f" The whole of it is in Mistral, in workflow execution {workflow}."
    cut = {"size_bytes": len(text), "message": message}
    kept = {name: value for name, value in report.items() if name != "tasks"}
    return {**kept, "output": begin, "mistral": {**report["mistral"], "cut": cut}}


def shortened(value: Any) -> Any:
    """A value as it is up to 2 KiB of JSON; above that its beginning, or a note of its size."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = len(text.encode(errors="replace"))
    if size <= _KEPT_BYTES:
        return value
    if isinstance(value, str):
        return f"{value[: _KEPT_BYTES // 4]}… ({size} bytes, cut)"
    return f"({size} bytes of JSON, cut)"


def _with_cut(result: Mapping[str, Any], why: str, **sizes: int) -> dict[str, Any]:
    st2 = result["st2"]
    where = f"The whole of it is in StackStorm, in execution {st2['execution_id']}."
    return {"st2": {**st2, "cut": {**sizes, "message": f"{why} {where}"}}}


def _size_kb(result: Mapping[str, Any]) -> int:
    # Mistral 20 to 23 measures the memory of Python's str() of what it stores, in whole KiB: one
    # character outside Latin-1 makes every other one count two or four bytes.
    return sys.getsizeof(str({"result": result})) // 1024
