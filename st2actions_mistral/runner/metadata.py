"""Load the definition of the runner type that StackStorm registers."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def metadata() -> dict[str, Any]:
    """Return the content of ``runner.yaml``.

    Each call returns a new object, because StackStorm's registration changes it.
    """
    text = resources.files(__package__).joinpath("runner.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)[0]
    return found
