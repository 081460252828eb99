"""Remove the tracebacks of Mistral's own code from what goes to StackStorm.

Mistral adds them to its reasons for a failure. They have paths of its host, and they recur in results:
the result of a failed sub-workflow is its reason, and a workflow may publish it or report it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.model.json_values import MAX_DEPTH

_START: Final = "Traceback (most recent call last):"

# A line end, also within a string that is quoted as Python or JSON, once or several times.
_END: Final = r"(?:\n|\\+n)"

# Mistral ends each traceback with a line end. The reason of another task, action or workflow may
# follow, or the quote that ends a string. Otherwise all of the rest belongs to the traceback: the text
# of the exception may have several lines.
_TRACEBACK: Final = re.compile(
    rf":?{_END}?{re.escape(_START)}.*?"
    rf"(?={_END} +[^\n\\]* \[task_ex_id=|{_END}    \[(?:action|wf)_ex_id=|{_END}\\*['\"]|\Z)",
    re.DOTALL,
)

# A file of Mistral: each of its tracebacks has the function that reported it.
_FRAME_OF_MISTRAL: Final = re.compile(
    r"""["/\\]mistral/(?:api|db|engine|event_engine|executors|expressions|lang|notifiers|rpc|scheduler"""
    r"""|services|utils|workflow)/"""
)


def without_tracebacks(value: Any) -> Any:
    """Return a JSON value without the tracebacks of Mistral, in whatever text they are.

    Tracebacks of other programs stay, such as those of a StackStorm action. So does what is nested
    deeper than ``json_values.MAX_DEPTH`` levels, which no result keeps.
    """
    return _without(value, MAX_DEPTH)


def _without(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return _TRACEBACK.sub(_replacement, value) if _START in value else value
    if levels and isinstance(value, Mapping):
        return {name: _without(item, levels - 1) for name, item in value.items()}
    if levels and isinstance(value, (list, tuple)):
        return [_without(item, levels - 1) for item in value]
    return value


def _replacement(found: re.Match[str]) -> str:
    return "" if _FRAME_OF_MISTRAL.search(found[0]) else found[0]
