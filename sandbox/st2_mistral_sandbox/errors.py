"""The error of the sandbox."""

from __future__ import annotations

from st2actions_mistral.errors import St2MistralError


class SandboxError(St2MistralError):
    """A part of the sandbox failed. If it is a process, the text ends with its log."""
