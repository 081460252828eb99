"""The example workbooks, and the StackStorm actions that start them."""

from __future__ import annotations

import json
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from st2_mistral_sandbox.errors import SandboxError

_PACK: Final = "examples."


@dataclass(frozen=True)
class Example:
    """One example."""

    ref: str
    """``examples.NAME``, the action that starts it in StackStorm, and the name of the workbook."""
    description: str
    parameters: dict[str, Any]
    """The action's parameters by name, each with ``type``, ``description``, ``default`` …"""
    metadata: Path
    """The file that ``st2 action create`` makes the action of."""
    workbook: Path


def folder() -> Path:
    """Where the examples are: beside the package in a checkout, else where pip puts them.

    :raises SandboxError: they are not there.
    """
    places = [
        Path(__file__).parents[2] / "examples" / "actions",
        Path(sysconfig.get_path("data")) / "share" / "st2actions-mistral" / "examples" / "actions",
    ]
    for place in places:
        if place.is_dir():
            return place
    raise SandboxError(
        f"The examples are in neither of {' and '.join(str(place) for place in places)}. Install the"
        " package again."
    )


def load() -> dict[str, Example]:
    """All examples by ref."""
    found = {}
    for path in sorted(folder().glob("*.json")):
        metadata = json.loads(path.read_text(encoding="utf-8"))
        ref = f"{metadata['pack']}.{metadata['name']}"
        found[ref] = Example(
            ref=ref,
            description=metadata["description"],
            parameters=metadata["parameters"],
            metadata=path,
            workbook=path.with_name(metadata["entry_point"]),
        )
    return found


def add_to(packs: Path) -> Path:
    """Make the pack ``examples``; what is there already, changed perhaps, stays as it is.

    :return: the folder of its actions.
    """
    actions = packs / "examples" / "actions"
    actions.mkdir(parents=True, exist_ok=True)
    for path in folder().iterdir():
        if path.is_file() and not (actions / path.name).exists():
            shutil.copy(path, actions)
    return actions


def named(name: str) -> Example:
    """The example of a name, with or without ``examples.``.

    :raises SandboxError: there is none; the text lists those that there are.
    """
    examples = load()
    example = examples.get(name) or examples.get(_PACK + name)
    if example is None:
        known = ", ".join(ref.removeprefix(_PACK) for ref in examples)
        raise SandboxError(f"There is no example {name!r:.80}. There are: {known}.")
    return example
