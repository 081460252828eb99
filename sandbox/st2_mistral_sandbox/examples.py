"""Find the example workbooks and the StackStorm actions that start them."""

from __future__ import annotations

import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from st2_mistral_sandbox.errors import SandboxError

_PACK: Final = "examples."


@dataclass(frozen=True)
class Example:
    """An example workbook and its action."""

    ref: str
    """``examples.NAME``, the action that starts it in StackStorm, and the name of the workbook."""
    description: str
    parameters: dict[str, Any]
    """The action's parameters by name, each with ``type``, ``description``, ``default`` …"""
    metadata: Path
    """The action's metadata, for ``st2 action create``."""
    workbook: Path


def folder() -> Path:
    """Return the folder of the examples, in a checkout or as installed by pip.

    :raises SandboxError: it does not exist.
    """
    candidates = [
        Path(__file__).parents[2] / "examples" / "actions",
        Path(sysconfig.get_path("data")) / "share" / "st2actions-mistral" / "examples" / "actions",
    ]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise SandboxError(
        f"no examples in {' or '.join(map(str, candidates))}: install st2actions-mistral again"
    )


def load() -> dict[str, Example]:
    """Return all examples by ref."""
    found = {}
    for path in sorted(folder().glob("*.yaml")):
        metadata = yaml.safe_load(path.read_text(encoding="utf-8"))
        ref = f"{metadata['pack']}.{metadata['name']}"
        found[ref] = Example(
            ref=ref,
            description=metadata["description"],
            parameters=metadata["parameters"],
            metadata=path,
            workbook=path.parent / metadata["entry_point"],
        )
    return found


def copy_to(packs: Path) -> Path:
    """Copy the examples to the pack ``examples``; keep the files that exist.

    :return: the folder of its actions.
    """
    actions = packs / "examples" / "actions"
    for path in folder().rglob("*.yaml"):
        target = actions / path.relative_to(folder())
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return actions


def trigger() -> dict[str, Any]:
    """Return the metadata of the trigger type ``examples.mistral_event``."""
    path = folder().parent / "triggers" / "mistral_event.yaml"
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def find(name: str) -> Example:
    """Return an example by name, with or without ``examples.``.

    :raises SandboxError: it is unknown. The text lists all names.
    """
    examples = load()
    example = examples.get(name) or examples.get(_PACK + name)
    if example is None:
        known = ", ".join(ref.removeprefix(_PACK) for ref in examples)
        raise SandboxError(f"unknown example {name!r:.80}; the examples are: {known}")
    return example
