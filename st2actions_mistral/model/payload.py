"""What can be sent as JSON at all, said before anything is sent."""

from __future__ import annotations

import json
from typing import Any

from st2actions_mistral.errors import InputError


def check(name: str, value: Any) -> None:
    """See that JSON has a word for every part of a value.

    :param name: the input in question, as its author knows it.
    :raises InputError: it holds NaN or an infinity, which Python's own JSON lets pass and others do
        not, half a surrogate pair, which UTF-8 has no bytes for, or something like a set or a date.
        The text shows nothing of the value.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(name, "is nested too deeply to be sent as JSON.") from None
    except UnicodeEncodeError:
        raise InputError(name, "holds half of a surrogate pair, which is no character.") from None
    except ValueError:
        raise InputError(name, "holds NaN or an infinite number, or itself: no JSON.") from None
    except TypeError as error:
        raise InputError(name, f"cannot be sent as JSON ({error}).") from None
