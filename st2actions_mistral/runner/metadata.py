"""The runner type, as StackStorm registers it."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def metadata() -> dict[str, Any]:
    """What ``runner.yaml`` says, anew each time: StackStorm's registration changes it."""
    text = resources.files(__package__).joinpath("runner.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)[0]
    return found
