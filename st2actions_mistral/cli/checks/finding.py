"""Report the result of one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from st2actions_mistral.errors import St2MistralError

OK: Final = "ok"
WARNING: Final = "warning"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"


class CheckFailed(St2MistralError):
    """A check found something wrong; the text says what, and what to do about it."""


class CheckWarning(St2MistralError):
    """A check found something that may be wrong, and cannot tell; the text says what to do."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    result: str
    """``ok``, ``warning``, ``failed`` or ``skipped``."""
    detail: str
    """The observation; where the check failed, with the remedy."""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as JSON shows it."""
        return asdict(self)


def find(check: str, look: Callable[[], str]) -> Finding:
    """Run one check. Every error of the package is a failure, except a warning."""
    try:
        return Finding(check, OK, look())
    except CheckWarning as warning:
        return Finding(check, WARNING, str(warning))
    except St2MistralError as error:
        return Finding(check, FAILED, str(error))


def skip(check: str, needed: str) -> Finding:
    """Return the finding of a check that cannot run, because another one failed."""
    return Finding(check, SKIPPED, f"needs {needed}")
