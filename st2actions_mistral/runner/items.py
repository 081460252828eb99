"""Find tasks whose items would be the characters of a text.

The Mistral of StackStorm 3.2 refused a text in ``with-items``. Later ones run the action for each
character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from st2actions_mistral.dsl.definition import tasks_of
from st2actions_mistral.dsl.shorthand import is_expression

# Only an expression that is nothing but one variable is certain.
_VARIABLE: Final = re.compile(
    r"\s*\w+\s+in\s+(?:<%\s*\$\.(?P<yaql>\w+)\s*%>|{{\s*_\.(?P<jinja>\w+)\s*}})\s*"
)
_ASSIGNS: Final = frozenset(("publish", "publish-on-error", "publish-on-skip", "vars"))


def tasks_with_text(
    workflow: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each task with a text for its items, and the name of the input that has it.

    Inputs that the workflow overwrites are accepted: the value is unknown before it runs.

    :param inputs: what is given to the workflow.
    """
    texts = {
        name
        for name, value in {**_defaults(workflow), **inputs}.items()
        if isinstance(value, str) and not is_expression(value)
    }
    texts -= set(_assigned(workflow))
    for task, spec in tasks_of(workflow).items():
        given = spec.get("with-items")
        for item in given if isinstance(given, list) else [given]:
            found = _VARIABLE.fullmatch(item) if isinstance(item, str) else None
            name = found and (found["yaql"] or found["jinja"])
            if name in texts:
                yield task, str(name)


def _defaults(workflow: Mapping[str, Any]) -> dict[str, Any]:
    declared = workflow.get("input")
    found: dict[str, Any] = {}
    for item in declared if isinstance(declared, list) else ():
        if isinstance(item, dict):
            found |= item
    return found


def _assigned(node: object, below: bool = False) -> Iterator[str]:
    """Yield the names of the variables that a workflow sets, and some others."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if below:
                yield str(key)
            yield from _assigned(value, below or key in _ASSIGNS)
    elif isinstance(node, list):
        for value in node:
            yield from _assigned(value, below)
