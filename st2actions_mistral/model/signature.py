"""Describe a StackStorm action as Mistral shows an action: one line of text for its input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# As in StackStorm's own schema of actions. Mistral splits its text at commas and equal signs. The name
# of the context is taken, see bridge.native.
_PARAMETER: Final = re.compile(r"(?!st2_context$)\w+")
_REF: Final = re.compile(r"[\w-]+(\.[\w-]+)+")

# Mistral stores the name of an action execution in a column of this size.
_MAX_NAME: Final = 255

# Characters. A server could send megabytes for each action.
_MAX_DESCRIPTION: Final = 1000
_MAX_DEFAULT: Final = 40
_MAX_PARAMETERS: Final = 200

_NOT_SHOWN: Final = "..."
_MASKED: Final = "********"


@dataclass(frozen=True)
class Signature:
    """A StackStorm action, and the names of its parameters."""

    ref: str
    """``pack.action``"""
    description: str
    spec: str
    """The parameters as Mistral shows those of an action: ``cmd, timeout=60``."""

    @property
    def pack(self) -> str:
        """The part of ``ref`` before the first dot."""
        return self.ref.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.ref}({self.spec})"


def signature_of(row: Mapping[str, Any]) -> Signature | None:
    """Return the signature of an action that can be run.

    Required parameters come first, both parts by name: StackStorm's own order differs from one request
    to the next. A required parameter with a default is optional, an immutable one is left out.
    Defaults are for the reader only: StackStorm fills them in. That of a secret is not shown.

    :param row: a row of ``/actions/views/overview``.
    :return: None for an action that is disabled or that Mistral cannot name.
    """
    ref, given = row.get("ref"), row.get("parameters")
    if not isinstance(ref, str) or len(ref) > _MAX_NAME or not _REF.fullmatch(ref):
        return None
    if row.get("enabled") is False:
        return None
    parameters = given if isinstance(given, Mapping) else {}
    if len(parameters) > _MAX_PARAMETERS:
        return None
    required, optional = [], []
    for name in sorted(name for name in parameters if _PARAMETER.fullmatch(name)):
        schema = parameters[name] if isinstance(parameters[name], Mapping) else {}
        if schema.get("immutable"):
            continue
        if schema.get("required") and "default" not in schema:
            required.append(name)
        else:
            optional.append(f"{name}={_shown(schema)}")
    description = row.get("description")
    description = description if isinstance(description, str) else ""
    return Signature(ref, description[:_MAX_DESCRIPTION], ", ".join(required + optional))


def _shown(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default is None:
        return "null"
    if schema.get("secret"):
        return _MASKED
    if default and isinstance(default, (Mapping, list)):
        return _NOT_SHOWN
    text = json.dumps(default, ensure_ascii=False)
    # Mistral splits the text at these, and takes ** for "any parameter".
    unreadable = any(part in text for part in (",", "=", "**")) or not text.isprintable()
    return _NOT_SHOWN if unreadable or len(text) > _MAX_DEFAULT else text
