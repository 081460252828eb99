r"""Protect parameters from being rendered by StackStorm.

StackStorm 3.9 treats every top-level parameter that contains ``{{`` or ``{%`` as a Jinja template. A
string is rendered as it is. A list or an object is encoded as JSON, rendered as one string and
decoded again, including its keys (measured). ``{% raw %}`` does not help: a value may contain
``{% endraw %}``, and Jinja drops a newline after a block and turns ``\r\n`` into ``\n``. Therefore a
value that looks like a template is replaced by one that renders to exactly that value:

* A string becomes one expression with a string literal, in which backslash, quote and line ends are
  escaped: ``{{ "…" }}``.
* Inside a list or an object the rendered string must be valid JSON. A literal there would need two
  layers of quotes and escapes, and StackStorm searches Python's ``str()`` of the value, which has
  escapes of its own. An expression without quotes and backslashes passes all three unchanged: each
  brace that could open a tag becomes ``{{ {}|string|first }}``, which renders to ``{``.

StackStorm does not render any other value, so it is not changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# A brace that starts an expression, a block or a comment.
_OPENING: Final = re.compile(r"\{(?=[{%#])")
_BRACE: Final = "{{ {}|string|first }}"

_IN_LITERAL: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def as_literals(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters that StackStorm renders to exactly ``parameters``.

    :param parameters: any JSON by name. StackStorm does not render the names.
    """
    return {name: _literal(value) for name, value in parameters.items()}


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return '{{ "' + value.translate(_IN_LITERAL) + '" }}' if _is_template(value) else value
    if isinstance(value, (dict, list, tuple)) and _is_template(str(value)):
        return _nested(value)
    return value


def _nested(value: Any) -> Any:
    if isinstance(value, str):
        return _OPENING.sub(_BRACE, value)
    if isinstance(value, dict):
        return {_nested(key): _nested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nested(item) for item in value]
    return value


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text
