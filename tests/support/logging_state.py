"""Restore the logging of this process, which the command ``relay`` sets up anew."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Restore handlers, levels and the hook for uncaught exceptions."""
    root = logging.getLogger()
    handlers, hook = list(root.handlers), sys.excepthook
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    level = root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    sys.excepthook = hook
