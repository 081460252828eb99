"""Read the texts of definitions that Mistral stores."""

from __future__ import annotations

import re
from typing import Any, Final

from st2actions_mistral.dsl.definition import is_reverse, tasks_of
from st2actions_mistral.dsl.mistral_yaml import load
from st2actions_mistral.dsl.shorthand import name_of
from st2actions_mistral.errors import InputError

_VERSION: Final = re.compile(r"^version\s*:", re.MULTILINE)


def base(action: str) -> str | None:
    """Return the name in the ``base`` of an ad-hoc action, ``NAME: {base: …}``."""
    try:
        parsed = load(action, "definition")
        for spec in parsed.values() if isinstance(parsed, dict) else ():
            line = spec.get("base") if isinstance(spec, dict) else None
            if isinstance(line, str) and line.strip():
                return name_of(line)
    except InputError:
        pass
    return None


def required_tasks(text: str, workflow: str) -> dict[str, set[str]]:
    """Return the names of the tasks that each task of a reverse workflow requires, by task.

    Return an empty dict for any other workflow.

    :param workflow: the full name. The text may have the short name that its workbook uses.
    """
    try:
        parsed = load(text, "definition")
    except InputError:
        return {}
    for name, spec in parsed.items() if isinstance(parsed, dict) else ():
        if f".{workflow}".endswith(f".{name}") and isinstance(spec, dict) and is_reverse(spec):
            defaults = spec.get("task-defaults")
            of_all = _names(defaults.get("requires") if isinstance(defaults, dict) else None)
            tasks = tasks_of(spec)
            return {task: (_names(tasks[task].get("requires")) | of_all) - {task} for task in tasks}
    return {}


def is_own_file(workflow: str) -> bool:
    """Return True if a workflow was published by itself, not as part of a workbook.

    For a workflow of a workbook Mistral stores only that part of the text, without the version.
    """
    return _VERSION.search(workflow) is not None


def _names(value: Any) -> set[str]:
    """Return the names in a value: one name, or a list of them."""
    found = value if isinstance(value, list) else [value]
    return {name for name in found if isinstance(name, str)}
