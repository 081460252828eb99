"""Find the runner types of StackStorm actions in the metadata of their packs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Packs:
    """The packs beside a workbook, and those of further folders, such as ``/opt/stackstorm/packs``.

    Each pack is read once, when the first of its actions is looked up. Invalid files are ignored.

    :param workbook: a file in ``PACKS/PACK/actions``, or in a folder below it. Any other file has no
        packs beside it.
    :param folders: each has packs, as ``PACK/actions/*.yaml`` and ``*.json``.
    """

    def __init__(self, workbook: Path | None = None, *folders: Path) -> None:
        actions = _actions_folder(workbook.absolute()) if workbook else None
        self._own = actions.parent if actions else None
        self._folders = (*([self._own.parent] if self._own else []), *folders)
        self._runners: dict[str, dict[str, str]] = {}

    def runner(self, ref: str) -> str | None:
        """Return the runner type of an action, ``pack.action``; None for an unknown one."""
        pack, _, name = ref.partition(".")
        if pack not in self._runners:
            self._runners[pack] = dict(self._read(pack))
        return self._runners[pack].get(name)

    def _read(self, pack: str) -> Iterator[tuple[str, str]]:
        """Yield the actions of a pack with their runner types. Of two of one name the last counts."""
        found = [folder / pack for folder in reversed(self._folders)]
        # A checkout may have another name than its pack.
        if self._own and _name_of(self._own) == pack:
            found.append(self._own)
        for folder in found:
            for metadata in _metadata(folder / "actions"):
                name, runner = metadata.get("name"), metadata.get("runner_type")
                if isinstance(name, str) and isinstance(runner, str):
                    yield name, runner


def _actions_folder(workbook: Path) -> Path | None:
    return next((folder for folder in workbook.parents if folder.name == "actions"), None)


def _name_of(folder: Path) -> str | None:
    about = _load(folder / "pack.yaml")
    name = about.get("ref") or about.get("name")
    return name if isinstance(name, str) else None


def _metadata(actions: Path) -> Iterator[Mapping[str, Any]]:
    try:
        files = sorted(file for file in actions.iterdir() if file.suffix in _SUFFIXES)
    except OSError:
        return
    yield from map(_load, files)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
