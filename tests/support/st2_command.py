"""The ``st2`` command of StackStorm's own client, and the environment it runs in."""

from __future__ import annotations

import os
from pathlib import Path

from st2_mistral_sandbox.stackstorm import StackStorm

ST2 = Path(
    os.environ.get("ST2_COMMAND") or Path(__file__).parents[2].joinpath(".venv-st2client", "bin", "st2")
)


def environment_of(st2: StackStorm, home: Path) -> dict[str, str]:
    """What ``st2`` finds in its environment."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "COLUMNS": "160",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # Otherwise what goes to stderr comes first.
        "PYTHONUNBUFFERED": "1",
        "ST2_API_URL": st2.base_url,
        "ST2_AUTH_URL": f"{st2.base_url}/auth",
        "ST2_STREAM_URL": f"{st2.base_url}/stream/v1",
    }
