"""Turn the values that YAQL and Jinja pass to a function into plain JSON values, and bound them."""

from __future__ import annotations

import base64
import datetime
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.json_values import MAX_DEPTH

MAX_TEXT: Final = 4 * 1024 * 1024
"""Characters of a text that is parsed or searched.

Four times the size of a value that Mistral stores by default.
"""

MAX_VALUES: Final = 1_000_000
"""Values, with all those inside them. A text of this many characters can hold no more."""


# Python writes integers of up to 4,300 digits.
_MAX_BITS: Final = 14_000


def plain(name: str, value: Any) -> Any:
    """Return a value of YAQL or Jinja as dicts, lists and scalars.

    YAQL passes frozen dictionaries, tuples and iterators, which JSON and YAML cannot write.

    :param name: the function, for the error.
    :raises InputError: it has more than :data:`MAX_VALUES` values, a number of more than 4,200 digits,
        or more than ``MAX_DEPTH`` levels, for example because it contains itself.
    """
    return _plain(name, value, MAX_DEPTH, iter(range(MAX_VALUES)))


def library(name: str, module: str) -> Any:
    """Import a module that only the extra ``functions`` brings.

    :param name: the function, for the error.
    :raises InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            name,
            f"needs the module {error.name}. Install st2actions-mistral[functions] in Mistral's"
            " virtualenv, on the hosts of the engines.",
        ) from None


def _plain(name: str, value: Any, levels: int, budget: Iterator[int]) -> Any:
    if next(budget, None) is None:
        raise InputError(name, f"the value has more than {MAX_VALUES} values in it.")
    if value is None or isinstance(value, (str, int, float)):
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise InputError(name, "the value has a number of more than 4200 digits.")
        # Also what only behaves as a text, such as Jinja's Markup.
        return value if type(value) in _EXACT else _exact(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if levels == 0:
        raise InputError(name, f"the value is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, Mapping):
        return {_key(key): _plain(name, item, levels - 1, budget) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        # Sets have no order of their own.
        value = sorted(value, key=str)
    if isinstance(value, Iterable):
        return [_plain(name, item, levels - 1, budget) for item in value]
    raise InputError(name, f"a {type(value).__name__} is not a JSON value.")


def _key(key: Any) -> Any:
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    # JSON and YAML write these; str() would not write null, true and numbers as JSON does.
    return key if type(key) in _EXACT else str(key)


_EXACT: Final = frozenset({type(None), str, bool, int, float})


def _exact(value: Any) -> Any:
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise AssertionError(type(value))


def text(name: str, value: Any, limit: int = MAX_TEXT) -> str:
    """Return a value as text, as Python writes it if it is none.

    :raises InputError: it is longer than ``limit`` characters.
    """
    shown = str(value) if isinstance(value, str) else str(plain(name, value))
    if len(shown) > limit:
        raise InputError(name, f"the text has {len(shown)} characters. It may have {limit}.")
    return shown
