"""Parameter values that arrive in StackStorm as they were, although StackStorm renders them.

StackStorm 3.9 takes every top-level parameter that holds ``{{`` or ``{%`` for a Jinja template: a
text is rendered as it stands; a list or an object is encoded as JSON, rendered as one text and
decoded again, keys included (measured). ``{% raw %}`` is no way out: a value may hold
``{% endraw %}``, and Jinja drops a newline after a block and turns ``\\r\\n`` into ``\\n``. So a value
that would be taken for a template is turned into one that renders to exactly that value:

* A text becomes one expression with a string literal, in which backslash, quote and line ends are
  escaped: ``{{ "…" }}``.
* Inside a list or an object the rendered text must be valid JSON, so a literal there would need two
  layers of quotes and escapes, and StackStorm's first look is at Python's ``str()`` of the value
  with escapes of its own. An expression without quotes and backslashes passes all three unchanged:
  each brace that could open a tag becomes ``{{ {}|string|first }}``, which renders to ``{``.

Everything else is sent untouched, since StackStorm does not render it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# A brace that opens an expression, a block or a comment.
_OPENING: Final = re.compile(r"\{(?=[{%#])")
_BRACE: Final = "{{ {}|string|first }}"

_IN_LITERAL: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def as_literals(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that StackStorm renders to exactly ``parameters``.

    :param parameters: anything JSON by name. Names are left alone: StackStorm renders only values.
    """
    return {name: _literal(value) for name, value in parameters.items()}


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return '{{ "' + value.translate(_IN_LITERAL) + '" }}' if _is_template(value) else value
    if isinstance(value, dict | list | tuple) and _is_template(str(value)):
        return _nested(value)
    return value


def _nested(value: Any) -> Any:
    if isinstance(value, str):
        return _OPENING.sub(_BRACE, value)
    if isinstance(value, dict):
        return {_nested(key): _nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return value


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text
