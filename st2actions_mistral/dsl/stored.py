"""What is in the YAML texts that Mistral shows of the definitions it has, whoever saved them."""

from __future__ import annotations

import re
from typing import Any, Final

from st2actions_mistral.dsl.definition import is_reverse, load, tasks_of
from st2actions_mistral.dsl.shorthand import name_of
from st2actions_mistral.errors import InputError

_VERSION: Final = re.compile(r"^version\s*:", re.MULTILINE)


def base(action: str) -> str | None:
    """The ``base`` in the text of an ad-hoc action, ``NAME: {base: …}``."""
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
    """The names of the tasks that each task of a reverse workflow requires, by its name; nothing where
    it is no reverse one.

    :param workflow: its full name. In the text it may have the short one that it has in its workbook.
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


def stands_alone(workflow: str) -> bool:
    """Whether the text of a workflow is a file of its own: of a workbook's, Mistral keeps the part of
    the text that is about it, which has no version."""
    return _VERSION.search(workflow) is not None


def _names(value: Any) -> set[str]:
    """One name, or several in a list."""
    found = value if isinstance(value, list) else [value]
    return {name for name in found if isinstance(name, str)}
