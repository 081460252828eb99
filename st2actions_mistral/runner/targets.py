"""Find the tasks that a re-run names, also those of sub-workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.mistral_fields import decoded
from st2actions_mistral.runner.request import Rerun

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One task execution to re-run."""

    path: str
    """Name of the task, after those of the tasks that call its sub-workflow: ``call.flaky``."""
    task: Task
    """The task execution, as Mistral's API shows it."""
    below: Sequence[str] = ()
    """The sub-workflow executions on the path, the outermost first."""


def find_targets(mistral: MistralClient, rerun: Rerun) -> list[Target]:
    """Return the task executions of a re-run: those in the workflow itself first.

    A path through a sub-workflow with items may lead to several.

    :raises InputError: with all paths that lead to no task in ERROR, or that exclude each other.
    :raises RemoteError: Mistral does not respond.
    """
    search = _Search(mistral)
    found: list[Target] = []
    problems = []
    for path in rerun.tasks:
        reached = list(search.find(rerun.workflow_execution_id, path, path, ()))
        failed = [target for target in reached if target.task["state"] == states.ERROR]
        found += failed
        if not reached:
            problems.append(f"there is no task {path!r:.100}")
        elif not failed:
            problems.append(f"{path} is {reached[-1].task['state']}")
    if problems:
        known = ", ".join(search.failed(rerun.workflow_execution_id))
        raise InputError(
            "rerun_tasks",
            f"only tasks in ERROR can be re-run, but {', '.join(problems)}."
            f" In ERROR: {known or 'none'}.",
        )
    for outer in rerun.tasks:
        inner = next((path for path in rerun.tasks if path.startswith(f"{outer}.")), None)
        if inner is not None:
            raise InputError(
                "rerun_tasks",
                f"{outer} starts its sub-workflow anew, so {inner} cannot be re-run together with it.",
            )
    return sorted(found, key=lambda target: len(target.below))


class _Search:
    """Lists the tasks of each workflow once."""

    def __init__(self, mistral: MistralClient) -> None:
        self._mistral = mistral
        self._tasks: dict[str, dict[str, Task]] = {}

    def find(self, workflow_id: str, names: str, path: str, below: Sequence[str]) -> Iterator[Target]:
        """Yield the tasks that a path leads to from a workflow execution, in any state."""
        tasks = self._tasks_of(workflow_id)
        # The name of a task may have dots itself.
        if names in tasks:
            yield Target(path, tasks[names], below)
            return
        for name, task in tasks.items():
            if names.startswith(f"{name}."):
                for sub_id in self._failed_below(task):
                    rest = names.removeprefix(f"{name}.")
                    yield from self.find(sub_id, rest, path, (*below, sub_id))

    def failed(self, workflow_id: str, prefix: str = "") -> list[str]:
        """Return the paths of all tasks in ERROR, at any depth."""
        paths: dict[str, None] = {}
        for name, task in self._tasks_of(workflow_id).items():
            if task["state"] == states.ERROR:
                paths[f"{prefix}{name}"] = None
                for sub_id in self._failed_below(task):
                    paths |= dict.fromkeys(self.failed(sub_id, f"{prefix}{name}."))
        return list(paths)

    def _tasks_of(self, workflow_id: str) -> dict[str, Task]:
        """Return the tasks by name. Of several in a loop, the last one counts."""
        if workflow_id not in self._tasks:
            rows = self._mistral.tasks(workflow_id)
            self._tasks[workflow_id] = {str(task["name"]): task for task in rows}
        return self._tasks[workflow_id]

    def _failed_below(self, task: Task) -> list[str]:
        """Return the sub-workflow executions of a task in ERROR that are in ERROR.

        Of several attempts for one item, the last one counts.
        """
        if task.get("type") != "WORKFLOW" or task["state"] != states.ERROR:
            return []
        last: dict[Any, Mapping[str, Any]] = {}
        for row in self._mistral.sub_executions(task["id"], "id,state,params"):
            params = decoded(row.get("params"))
            last[params.get("index", 0) if isinstance(params, Mapping) else 0] = row
        return [row["id"] for row in last.values() if row["state"] == states.ERROR]
