"""The sandbox's one error of its own."""

from __future__ import annotations

from st2actions_mistral.errors import St2MistralError


class SandboxError(St2MistralError):
    """A part of the sandbox did not start, stop or finish in time. The text ends with its log."""
