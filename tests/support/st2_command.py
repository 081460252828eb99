"""Find StackStorm's own command line, ``st2``, and make its environment."""

from __future__ import annotations

import os
from pathlib import Path

from st2_mistral_sandbox.stackstorm import StackStorm

ST2 = Path(
    os.environ.get("ST2_COMMAND") or Path(__file__).parents[2].joinpath(".venv-st2client", "bin", "st2")
)


def environment_of(st2: StackStorm, home: Path) -> dict[str, str]:
    """Return the environment in which ``st2`` uses a stand-in."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "COLUMNS": "160",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # Otherwise standard error comes before standard output.
        "PYTHONUNBUFFERED": "1",
        "ST2_API_URL": st2.base_url,
        "ST2_AUTH_URL": f"{st2.base_url}/auth",
        "ST2_STREAM_URL": f"{st2.base_url}/stream/v1",
    }
