"""What a parent execution gets of a workflow that has ended: its output, and what its tasks did."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.result import parent_result, shortened
from st2actions_mistral.model.workflow import WorkflowRef, decoded, has_items

# Bytes of JSON. StackStorm's documents may have 16 MB, and hold a result once; a listing with results
# should still be read with patience.
_LARGEST_TASK: Final = 16 * 1024
_ALL_TASKS: Final = 1024 * 1024
_LARGEST_OUTPUT: Final = 4 * 1024 * 1024

# Mistral puts the traceback of its own code behind the reason of a failure. Behind that again come the
# others, in a list of tasks that failed.
_TRACEBACK: Final = re.compile(
    r":?\nTraceback \(most recent call last\):\n.*?"
    r"(?=\n+  [^\n]* \[task_ex_id=|\n+    \[(?:action|wf)_ex_id=|\Z)",
    re.DOTALL,
)

MOST_TASKS: Final = 1000
"""The others, the later ones, are counted only."""


@dataclass(frozen=True)
class Task:
    """One task of a workflow that has ended."""

    shown: Mapping[str, Any]
    """As Mistral's API shows it, with ``result`` (JSON in a text)."""
    started: Sequence[str] = ()
    """The workflow executions that it has started."""
    children: Sequence[str] = ()
    """The StackStorm executions made for it, the oldest first; wanted where it
    :func:`lacks_children`."""

    def entry(self) -> dict[str, Any]:
        """``{"name", "state", "result"}``; with ``execution_id`` of its child in StackStorm, or
        ``execution_ids`` of a task with items; with ``workflow_execution_id`` or
        ``workflow_execution_ids`` of its sub-workflows; with ``state_info`` in ERROR."""
        several = has_items(self.shown)
        result = decoded(self.shown.get("result"))
        if result == [] and not several and self.shown.get("state") != states.SUCCESS:
            # What Mistral shows of a task none of whose actions has ended, as of one that timed out.
            result = None
        entry: dict[str, Any] = {
            "name": self.shown.get("name"),
            "state": self.shown.get("state"),
            "result": _cut(result, _LARGEST_TASK),
        }
        entry |= _named("execution_id", self._children(result, several), several)
        entry |= _named("workflow_execution_id", list(self.started), several)
        if self.shown.get("state") == states.ERROR and self.shown.get("state_info"):
            entry["state_info"] = shortened(_reason(self.shown["state_info"]))
        return entry

    def _children(self, result: Any, several: bool) -> list[str]:
        """Those in its result. What the result has not got is found among all that were made: of a task
        tried several times the last one; of items, each child, for it is not known which one was tried
        again."""
        named = _in_result(result)
        if several:
            return [*named, *(id_ for id_ in self.children if id_ not in named)]
        return named or list(self.children[-1:])


def lacks_children(task: Mapping[str, Any]) -> bool:
    """Whether the result of a task names no StackStorm execution, or of a task with items fewer than
    there are items.

    :param task: see ``Task.shown``.
    """
    if task.get("type") == "WORKFLOW":
        return False
    return len(_in_result(decoded(task.get("result")))) < _actions_of(task)


def in_order(
    tasks: Sequence[Mapping[str, Any]], required: Mapping[str, Collection[str]] | None = None
) -> list[Mapping[str, Any]]:
    """Tasks, none before one that it followed or required: Mistral's times are whole seconds.

    :param tasks: as Mistral's API lists them, the oldest first as far as that can be told.
    :param required: the names of the tasks that each task of a reverse workflow requires.
    """
    known = {task["id"]: task for task in tasks}
    begun_by = {id_: _followed(task) for id_, task in known.items()}
    if required:
        # A task of a reverse workflow runs once.
        ids = {task["name"]: id_ for id_, task in known.items()}
        for name, id_ in ids.items():
            begun_by[id_] += [ids[other] for other in sorted(required.get(name, ())) if other in ids]
    placed: dict[str, Mapping[str, Any]] = {}
    for task in tasks:
        waiting = {task["id"]: task}
        while waiting:
            id_ = next(reversed(waiting))
            before = next((b for b in begun_by[id_] if b in known and b not in placed), None)
            if before is None or before in waiting:
                placed.setdefault(id_, waiting.pop(id_))
            else:
                waiting[before] = known[before]
    return list(placed.values())


def workflow_report(
    workflow: Mapping[str, Any], tasks: Sequence[Task], ref: WorkflowRef, *, left_out: int = 0
) -> dict[str, Any]:
    """The result of a parent, see ``model.result.parent_result``, with ``tasks``.

    Under ``mistral`` stand also ``state_info`` where Mistral has one, and ``cut``, in words, where
    something was left out.

    :param workflow: the execution as Mistral's API shows it.
    :param tasks: the oldest first.
    :param left_out: how many more there were.
    """
    cut: list[str] = []
    entries: list[dict[str, Any]] = []
    results = bare = 0
    for task in tasks:
        entry = task.entry()
        size = _size(entry["result"])
        if results + size > _ALL_TASKS:
            del entry["result"]
            cut = ["results of tasks"]
        else:
            results += size
        bare += _size({**entry, "result": None})
        if bare > _ALL_TASKS:
            break
        entries.append(entry)
    left_out += len(tasks) - len(entries)
    if left_out:
        cut.append(f"{left_out} tasks")
    info = workflow.get("state_info")
    output = decoded(workflow.get("output"))
    # What Mistral gives a workflow that failed and says no output of its own.
    if info and isinstance(output, Mapping) and output.get("result") == info:
        output = {**output, "result": _reason(info)}
    if _size(output) > _LARGEST_OUTPUT:
        cut.append(f"of the output what is more than {_LARGEST_OUTPUT // 2**20} MiB")
        output = _cut(output, _LARGEST_OUTPUT)
    extra: dict[str, Any] = {}
    if info:
        extra["state_info"] = shortened(_reason(info))
    if cut:
        extra["cut"] = {
            "message": f"Left out: {', '.join(cut)}."
            f" The whole of it is in Mistral, in workflow execution {ref.execution_id}."
        }
    return parent_result(output, workflow["state"], _ids(ref), extra=extra, tasks=entries)


def lost_report(ref: WorkflowRef, reason: str) -> dict[str, Any]:
    """The result of a parent whose workflow Mistral does not know."""
    return parent_result(None, states.ERROR, _ids(ref), extra={"state_info": reason})


def _ids(ref: WorkflowRef) -> MistralIds:
    return MistralIds(ref.site, workflow_execution_id=ref.execution_id, workflow_name=ref.workflow_name)


def _reason(info: Any) -> Any:
    """Why something failed, in Mistral's words, without tracebacks."""
    return _TRACEBACK.sub("", info) if isinstance(info, str) else info


def _followed(task: Mapping[str, Any]) -> list[str]:
    """The tasks whose end began this one."""
    context = decoded(task.get("runtime_context"))
    triggers = context.get("triggered_by") if isinstance(context, Mapping) else None
    found = [t.get("task_id") for t in triggers or () if isinstance(t, Mapping)]
    return [id_ for id_ in found if isinstance(id_, str)]


def _named(name: str, ids: list[str], several: bool) -> dict[str, Any]:
    if not ids:
        return {}
    return {f"{name}s": ids} if several or len(ids) > 1 else {name: ids[0]}


def _actions_of(task: Mapping[str, Any]) -> int:
    """How many actions a task needs at least."""
    if not has_items(task):
        return 1
    count = decoded(task["runtime_context"])["with_items"]
    count = count.get("count") if isinstance(count, Mapping) else None
    return count if isinstance(count, int) else 1


def _in_result(result: Any) -> list[str]:
    """The StackStorm executions in the result of a task."""
    found = [_child(item) for item in (result if isinstance(result, list) else [result])]
    return [id_ for id_ in found if id_]


def _child(result: Any) -> str | None:
    """The StackStorm execution in a result as ``model.result.task_result`` makes it."""
    st2 = result.get("st2") if isinstance(result, Mapping) else None
    found = st2.get("execution_id") if isinstance(st2, Mapping) else None
    return found if isinstance(found, str) else None


def _cut(value: Any, limit: int) -> Any:
    """A value of at most ``limit`` bytes of JSON, or about as much."""
    if _size(value) <= limit:
        return value
    if isinstance(value, Mapping):
        kept = {name: item if name == "st2" else shortened(item) for name, item in value.items()}
        if _size(kept) <= limit:
            return kept
        return {"st2": value["st2"]} if "st2" in value else shortened(value)
    if isinstance(value, list):
        items: list[Any] = []
        size = 0
        for item in value:
            items.append(_cut(item, min(limit, _LARGEST_TASK) // 8))
            size += _size(items[-1])
            if size > limit:
                items[-1] = f"({len(value) - len(items) + 1} more, cut)"
                break
        return items
    return shortened(value)


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
