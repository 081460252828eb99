"""Build the result of a parent execution from its final workflow: its output and its tasks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.links import WorkflowRef
from st2actions_mistral.model.mistral_fields import decoded, has_items
from st2actions_mistral.model.result import parent_result, truncate
from st2actions_mistral.model.tracebacks import without_tracebacks

# Bytes of JSON. StackStorm's documents may have 16 MB and hold a result once. A listing with results
# should not take too long.
_LARGEST_TASK: Final = 16 * 1024
_ALL_TASKS: Final = 1024 * 1024
_LARGEST_OUTPUT: Final = 4 * 1024 * 1024

MAX_TASKS: Final = 1000
"""Later tasks are only counted."""


@dataclass(frozen=True)
class Task:
    """One task of a final workflow."""

    shown: Mapping[str, Any]
    """The task as Mistral's API shows it, with ``result`` (JSON in a string)."""
    started: Sequence[str] = ()
    """The workflow executions that it started."""
    children: Sequence[str] = ()
    """Its StackStorm executions, the oldest first; needed where it :func:`lacks_children`."""

    def entry(self) -> dict[str, Any]:
        """Return the task as it is in the result of the parent execution.

        :return: ``{"name", "state", "result"}``; with ``execution_id`` of its child execution, or
            ``execution_ids`` for a task with items; with ``workflow_execution_id`` or
            ``workflow_execution_ids`` of its sub-workflows; with ``published`` where it published
            variables; with ``state_info`` in ERROR.
        """
        several = has_items(self.shown)
        # Before anything is truncated: a part of a traceback could not be recognized.
        result = without_tracebacks(decoded(self.shown.get("result")))
        if result == [] and not several and self.shown.get("state") != states.SUCCESS:
            # Mistral shows an empty list if no action is final, after a timeout for example.
            result = None
        entry: dict[str, Any] = {
            "name": self.shown.get("name"),
            "state": self.shown.get("state"),
            "result": _truncate(result, _LARGEST_TASK),
        }
        published = without_tracebacks(decoded(self.shown.get("published")))
        if published:
            entry["published"] = _truncate(published, _LARGEST_TASK)
        entry |= _named("execution_id", self._children(result, several), several)
        entry |= _named("workflow_execution_id", list(self.started), several)
        if self.shown.get("state") == states.ERROR and self.shown.get("state_info"):
            entry["state_info"] = truncate(without_tracebacks(self.shown["state_info"]))
        return entry

    def _children(self, result: Any, several: bool) -> list[str]:
        """Return the child executions: those in the result, completed by those that were created.

        The last one counts for a task with several attempts. All count for a task with items, because
        it is unknown which item was retried.
        """
        named = _in_result(result)
        if several:
            return [*named, *(id_ for id_ in self.children if id_ not in named)]
        return named or list(self.children[-1:])


def lacks_children(task: Mapping[str, Any]) -> bool:
    """Return True if the result of a task names fewer StackStorm executions than it has items.

    A task without items has one.

    :param task: see ``Task.shown``.
    """
    if task.get("type") == "WORKFLOW":
        return False
    return len(_in_result(decoded(task.get("result")))) < _actions_of(task)


def in_order(
    tasks: Sequence[Mapping[str, Any]], required: Mapping[str, Collection[str]] | None = None
) -> list[Mapping[str, Any]]:
    """Return tasks in an order in which none comes before one that it followed or required.

    Mistral's times are whole seconds, so they do not give the order.

    :param tasks: as Mistral's API lists them, the oldest first.
    :param required: the names of the tasks that each task of a reverse workflow requires.
    """
    known = {task["id"]: task for task in tasks}
    triggered_by = {id_: _followed(task) for id_, task in known.items()}
    if required:
        # A task of a reverse workflow runs once.
        ids = {task["name"]: id_ for id_, task in known.items()}
        for name, id_ in ids.items():
            triggered_by[id_] += [
                ids[other] for other in sorted(required.get(name, ())) if other in ids
            ]
    placed: dict[str, Mapping[str, Any]] = {}
    for task in tasks:
        waiting = {task["id"]: task}
        while waiting:
            id_ = next(reversed(waiting))
            before = next((b for b in triggered_by[id_] if b in known and b not in placed), None)
            if before is None or before in waiting:
                placed.setdefault(id_, waiting.pop(id_))
            else:
                waiting[before] = known[before]
    return list(placed.values())


def workflow_report(
    workflow: Mapping[str, Any], tasks: Sequence[Task], ref: WorkflowRef, *, omitted: int = 0
) -> dict[str, Any]:
    """Return the result of a parent execution, see ``model.result.parent_result``, with ``tasks``.

    ``mistral`` also has ``state_info`` where Mistral has one, and ``truncated`` where something was
    omitted.

    :param workflow: the execution as Mistral's API shows it.
    :param tasks: the oldest first.
    :param omitted: the number of further tasks.
    """
    truncated: list[str] = []
    entries: list[dict[str, Any]] = []
    results = bare = 0
    for task in tasks:
        entry = task.entry()
        size = _size(entry["result"]) + _size(entry.get("published"))
        if results + size > _ALL_TASKS:
            del entry["result"]
            entry.pop("published", None)
            truncated = ["results of tasks"]
        else:
            results += size
        bare += _size({**entry, "result": None, "published": None})
        if bare > _ALL_TASKS:
            break
        entries.append(entry)
    omitted += len(tasks) - len(entries)
    if omitted:
        truncated.append(f"{omitted} tasks")
    info = without_tracebacks(workflow.get("state_info"))
    output = without_tracebacks(decoded(workflow.get("output")))
    if _size(output) > _LARGEST_OUTPUT:
        truncated.append(f"the output above {_LARGEST_OUTPUT // 2**20} MiB")
        output = _truncate(output, _LARGEST_OUTPUT)
    extra: dict[str, Any] = {}
    if info:
        extra["state_info"] = truncate(info)
    if truncated:
        extra["truncated"] = {
            "message": f"Omitted: {', '.join(truncated)}."
            f" The whole result is in Mistral, in workflow execution {ref.execution_id}."
        }
    return parent_result(output, workflow["state"], _ids(ref), extra=extra, tasks=entries)


def lost_report(ref: WorkflowRef, reason: str) -> dict[str, Any]:
    """Return the result of a parent execution whose workflow Mistral does not know."""
    return parent_result(None, states.ERROR, _ids(ref), extra={"state_info": reason})


def _ids(ref: WorkflowRef) -> MistralIds:
    return MistralIds(ref.site, workflow_execution_id=ref.execution_id, workflow_name=ref.workflow_name)


def _followed(task: Mapping[str, Any]) -> list[str]:
    """Return the ids of the tasks that triggered this one."""
    context = decoded(task.get("runtime_context"))
    triggers = context.get("triggered_by") if isinstance(context, Mapping) else None
    found = [t.get("task_id") for t in triggers or () if isinstance(t, Mapping)]
    return [id_ for id_ in found if isinstance(id_, str)]


def _named(name: str, ids: list[str], several: bool) -> dict[str, Any]:
    if not ids:
        return {}
    return {f"{name}s": ids} if several or len(ids) > 1 else {name: ids[0]}


def _actions_of(task: Mapping[str, Any]) -> int:
    """Return the number of actions that a task needs at least."""
    if not has_items(task):
        return 1
    count = decoded(task["runtime_context"])["with_items"]
    count = count.get("count") if isinstance(count, Mapping) else None
    return count if isinstance(count, int) else 1


def _in_result(result: Any) -> list[str]:
    """Return the ids of the StackStorm executions in the result of a task."""
    found = [_child(item) for item in (result if isinstance(result, list) else [result])]
    return [id_ for id_ in found if id_]


def _child(result: Any) -> str | None:
    """Return the id of the StackStorm execution in a result of ``model.result.task_result``."""
    st2 = result.get("st2") if isinstance(result, Mapping) else None
    found = st2.get("execution_id") if isinstance(st2, Mapping) else None
    return found if isinstance(found, str) else None


def _truncate(value: Any, limit: int) -> Any:
    """Return a value of about ``limit`` bytes of JSON at most."""
    if _size(value) <= limit:
        return value
    if isinstance(value, Mapping):
        kept = {name: item if name == "st2" else truncate(item) for name, item in value.items()}
        if _size(kept) <= limit:
            return kept
        return {"st2": value["st2"]} if "st2" in value else truncate(value)
    if isinstance(value, list):
        items: list[Any] = []
        size = 0
        for item in value:
            items.append(_truncate(item, min(limit, _LARGEST_TASK) // 8))
            size += _size(items[-1])
            if size > limit:
                items[-1] = f"({len(value) - len(items) + 1} more, truncated)"
                break
        return items
    return truncate(value)


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
