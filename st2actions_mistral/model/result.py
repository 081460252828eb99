"""Build the results of tasks and of parent executions, and truncate them to the size limits."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from st2actions_mistral.model import json_values
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.tracebacks import without_tracebacks

# Bytes that are kept of one value when a result is truncated: enough to recognize it, and small against
# any sensible limit.
_KEPT_BYTES: Final = 2048

OUTPUT_LAYOUT: Final = "output"
ST2MISTRAL_LAYOUT: Final = "st2mistral"

_SUB_WORKFLOWS: Final = ("workflow_execution_id", "workflow_execution_ids")

# StackStorm reads and writes JSON with orjson, which turns a larger integer into a float or an error.
_ST2_INTEGER_BITS: Final = 63


def task_result(child: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a task: the result of its child execution plus the key ``st2``.

    :param child: an execution as StackStorm's API shows it: ``id``, ``status``, ``web_url``,
        ``result`` (normally an object; anything else becomes the value of the key ``result``).
    :return: ``{…the child's result…, "st2": {"execution_id", "status", "web_url"}}``. If the result
        :func:`is_omitted`, only ``st2``, with the key ``truncated`` as :func:`fit` returns it.
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
    if is_omitted(child):
        size_kb = child["result_size"] // 1024
        return _link(whole, "The result is larger than the relay reads.", size_kb=size_kb)
    return whole


def is_omitted(child: Mapping[str, Any]) -> bool:
    """Return True if StackStorm left the result out of an execution because of its size."""
    return "result" not in child and isinstance(child.get("result_size"), int)


def fit(result: Mapping[str, Any], limit_kb: int) -> dict[str, Any]:
    """Return a task's result, truncated to the size that Mistral stores.

    Values that JSON does not have are replaced, see ``model.json_values.sanitize``. ``st2`` then has
    the key ``replaced``, a list of what was replaced. A result that is too large becomes a summary, in
    which each value above 2 KiB is replaced by its beginning or by a note of its size. ``st2`` then has
    the key ``truncated``: ``{"size_kb", "limit_kb", "message"}``. If the summary is too large as well,
    only ``st2`` is left.

    :param limit_kb: Mistral's ``[engine] execution_field_size_limit_kb``; negative: no limit.
    """
    whole, replaced = json_values.sanitize(result)
    assert isinstance(whole, dict)
    if replaced:
        whole["st2"]["replaced"] = replaced
    size_kb = _size_kb(whole)
    if limit_kb < 0 or size_kb <= limit_kb:
        return whole
    message = "The result is larger than Mistral stores."
    link = _link(whole, message, size_kb=size_kb, limit_kb=limit_kb)
    summary = {name: truncate(value) for name, value in whole.items() if name != "st2"} | link
    return summary if _size_kb(summary) <= limit_kb else link


def truncate_rejected(result: Mapping[str, Any], status: int | None) -> dict[str, Any]:
    """Return the ``st2`` of a task's result that Mistral, or a proxy in front of it, rejects.

    :param status: of the response; None where there was none.
    """
    return _link(result, f"Mistral rejects the result ({status or 'no response'}).")


def parent_result(
    output: Any,
    state: str,
    ids: MistralIds,
    *,
    extra: Mapping[str, Any] | None = None,
    tasks: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the result of a parent execution, from ``st2.callback`` or from the relay.

    :param output: of the workflow, any JSON.
    :param state: of the workflow; with ``st2.callback`` in the author's own word.
    :param extra: further keys of ``mistral``.
    :param tasks: see ``model.report``.
    :return: ``{"output", "state", "mistral": {"workflow_execution_id", "workflow_name", …}}``, and
        ``tasks`` where they are given. It has no tracebacks of Mistral. Values that StackStorm or JSON
        does not have are replaced. ``mistral`` then has the key ``replaced``.
    """
    whole = {"output": output, "state": state, "mistral": {**ids.as_dict(), **(extra or {})}}
    if tasks is not None:
        whole["tasks"] = [dict(task) for task in tasks]
    report, replaced = json_values.sanitize(without_tracebacks(whole), integer_bits=_ST2_INTEGER_BITS)
    assert isinstance(report, dict)
    if replaced:
        report["mistral"]["replaced"] = replaced
    return report


def truncate_parent_result(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a :func:`parent_result` that StackStorm can store, whatever it was.

    It has the beginning of ``output`` as a string, no ``tasks``, and under ``mistral`` the key
    ``truncated``: ``{"size_bytes", "message"}``.
    """
    text = json.dumps(report["output"])
    start = f"{text[: _KEPT_BYTES // 4]}… ({len(text)} bytes of JSON, truncated)"
    message = "StackStorm rejected the result."
    action = report["mistral"].get("action_execution_id")
    workflow = report["mistral"].get("workflow_execution_id")
    if action:
        message += f" The whole result is in Mistral, in the input of action execution {action}."
    elif workflow:
        message += f" The whole result is in Mistral, in workflow execution {workflow}."
    truncated = {"size_bytes": len(text), "message": message}
    kept = {name: value for name, value in report.items() if name != "tasks"}
    return {**kept, "output": start, "mistral": {**report["mistral"], "truncated": truncated}}


def laid_out(report: Mapping[str, Any], layout: str) -> dict[str, Any]:
    """Return a :func:`parent_result` in a layout of ``[st2] result_layout``.

    :return: for :data:`OUTPUT_LAYOUT` the same. For :data:`ST2MISTRAL_LAYOUT`, as in StackStorm 3.2:
        ``{…the output…, "extra": {"state", "state_info", "mistral"}}``, and ``tasks`` where the report
        has them. An output that is no object becomes the value of the key ``result``.
    """
    if layout != ST2MISTRAL_LAYOUT:
        return dict(report)
    about = dict(report["mistral"])
    extra = {"state": report["state"], "state_info": about.pop("state_info", None), "mistral": about}
    output = report["output"]
    if output is None:
        output = {}
    elif not isinstance(output, Mapping):
        output = {"result": output}
    laid = {**output, "extra": extra}
    if "tasks" in report:
        laid["tasks"] = [_task_of_3_2(task, about) for task in report["tasks"]]
    return laid


def _task_of_3_2(task: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of ``tasks`` with the keys that StackStorm 3.2 had.

    There, ``workflow_execution_id`` is the workflow of the task. ``input`` was always null, because
    Mistral's API has none.
    """
    below = {name: task[name] for name in _SUB_WORKFLOWS if name in task}
    return {
        "state_info": None,
        "published": {},
        "input": None,
        **{name: value for name, value in task.items() if name not in below},
        **{f"sub_{name}": value for name, value in below.items()},
        "workflow_execution_id": about.get("workflow_execution_id"),
        "workflow_name": about.get("workflow_name"),
    }


def truncate(value: Any) -> Any:
    """Return a value of up to 2 KiB of JSON; for a larger one its beginning, or a note of its size."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = len(text.encode(errors="replace"))
    if size <= _KEPT_BYTES:
        return value
    if isinstance(value, str):
        return f"{value[: _KEPT_BYTES // 4]}… ({size} bytes, truncated)"
    return f"({size} bytes of JSON, truncated)"


def _link(result: Mapping[str, Any], reason: str, **sizes: int) -> dict[str, Any]:
    st2 = result["st2"]
    where = f"The whole result is in StackStorm, in execution {st2['execution_id']}."
    return {"st2": {**st2, "truncated": {**sizes, "message": f"{reason} {where}"}}}


def _size_kb(result: Mapping[str, Any]) -> int:
    # As Mistral 20 to 23 does: the memory of Python's str() of the value, in whole KiB. One character
    # outside Latin-1 makes all others count two or four bytes.
    return sys.getsizeof(str({"result": result})) // 1024
