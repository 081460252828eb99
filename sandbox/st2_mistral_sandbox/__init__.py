"""Run a real Mistral, a StackStorm stand-in and the relay on one machine, without services.

``StackStorm`` alone is a test double for any client of StackStorm's API; ``Sandbox`` is all three. The
names are imported on first use: the sandbox's child processes import this package too, and most of them
need none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st2_mistral_sandbox.errors import SandboxError
    from st2_mistral_sandbox.sandbox import Sandbox
    from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm

__all__ = ["RunRequest", "RunResult", "Runner", "Sandbox", "SandboxError", "StackStorm"]

_MODULES = dict.fromkeys(__all__, "stackstorm") | {"Sandbox": "sandbox", "SandboxError": "errors"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
