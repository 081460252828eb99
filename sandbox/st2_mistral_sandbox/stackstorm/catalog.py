"""Store actions and runner types, as ``/v1/actions`` and ``/v1/runnertypes`` show them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request
from st2_mistral_sandbox.stackstorm.notify import notify_view
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.parameters import merged
from st2_mistral_sandbox.stackstorm.schema import ACTION_CREATE, validate

Document = dict[str, Any]


class RegistrationError(Exception):
    """A pack was not registered."""


class Catalog:
    """The registered actions and runner types.

    :param packs: the folder of all packs. An action that is created over the API has its entry point in
        ``PACK/actions`` below it.
    """

    def __init__(self, packs: Path | None = None) -> None:
        self._packs = packs
        self._lock = threading.Lock()
        self._actions: dict[str, Document] = {}
        self._runners: dict[str, Document] = {}
        self._folders: dict[str, Path] = {}
        built_in = resources.files(__package__).joinpath("packs.yaml").read_text(encoding="utf-8")
        known = yaml.safe_load(built_in)
        for runner in known["runner_types"]:
            self.add_runner(runner)
        for action in known["actions"]:
            self.add_action(action)

    def add_runner(self, metadata: Mapping[str, Any]) -> Document:
        """Register a runner type, or replace the one of this name; only ``name`` is required."""
        name = str(metadata["name"])
        runner: Document = {
            "name": name,
            "description": metadata.get("description", ""),
            "uid": f"runner_type:{name}",
            "enabled": metadata.get("enabled", True),
            "runner_package": metadata.get("runner_package", name),
            "runner_module": metadata.get("runner_module", name),
            "runner_parameters": copy.deepcopy(dict(metadata.get("runner_parameters") or {})),
        }
        if metadata.get("output_key"):
            runner["output_key"] = metadata["output_key"]
        runner["output_schema"] = dict(metadata.get("output_schema") or {})
        with self._lock:
            runner["id"] = self._runners.get(name, {}).get("id") or new_id()
            self._runners[name] = runner
        return runner

    def add_action(
        self,
        metadata: Mapping[str, Any],
        *,
        folder: Path | None = None,
        replace: bool = True,
        instead_of: Document | None = None,
    ) -> Document:
        """Register an action.

        :param folder: the folder with its entry point.
        :param replace: replace an action with the same ref; otherwise that is an error.
        :param instead_of: the action that it replaces, whose id it gets, also under a new name.
        :raises Fault: 400 invalid metadata or unknown runner, 409 the action exists.
        """
        validate(dict(metadata), ACTION_CREATE)
        pack, name = str(metadata.get("pack") or "default"), str(metadata["name"])
        ref = f"{pack}.{name}"
        runner_name = metadata["runner_type"]
        action: Document = {
            "tags": [],
            "uid": f"action:{pack}:{name}",
            "metadata_file": f"actions/{name}.yaml" if folder or pack in _BUILT_IN else "",
            "name": name,
            "ref": ref,
        }
        if metadata.get("description"):
            action["description"] = metadata["description"]
        action |= {
            "enabled": metadata.get("enabled", True),
            "entry_point": metadata.get("entry_point", ""),
            "pack": pack,
            "runner_type": runner_name,
            "parameters": copy.deepcopy(dict(metadata.get("parameters") or {})),
            "output_schema": {},
            "notify": notify_view(metadata.get("notify") or {}),
        }
        with self._lock:
            if runner_name not in self._runners:
                raise bad_request(
                    f"RunnerType {runner_name} is not found. If you are using old and deprecated "
                    "runner name, you need to switch to a new one. For more information, please "
                    "see https://docs.stackstorm.com/upgrade_notes.html#st2-v0-9"
                )
            known = self._actions.get(ref)
            if known and known != instead_of and not replace:
                raise Fault(409, f'Action "{ref}" already exists.')
            if instead_of:
                known = self._actions.pop(instead_of["ref"], instead_of)
                folder = self._folders.pop(instead_of["ref"], folder)
            action["id"] = known["id"] if known else new_id()
            self._actions[ref] = action
            if folder is not None:
                self._folders[ref] = folder
        return copy.deepcopy(action)

    def add_folder(self, folder: Path) -> None:
        """Register the action of every ``*.yaml`` and ``*.yml`` directly in a folder ``PACK/actions``.

        :raises RegistrationError: a file is not the metadata of an action, for example a workbook.
        """
        pack = folder.absolute().parent.name
        for path in sorted(folder.iterdir()):
            if path.suffix not in (".yaml", ".yml"):
                continue
            try:
                metadata = yaml.safe_load(path.read_text(encoding="utf-8"))
                if not isinstance(metadata, dict):
                    raise ValueError("it is not an object")
                self.add_action({"pack": pack, **metadata}, folder=folder)
            except (OSError, ValueError, RecursionError, yaml.YAMLError, Fault) as error:
                reason = f'Failed to register action "{path}" from pack "{pack}": {error}'
                raise RegistrationError(reason) from error

    def delete_action(self, ref: str) -> None:
        """Delete an action, if it exists."""
        with self._lock:
            self._actions.pop(ref, None)
            self._folders.pop(ref, None)

    def action(self, ref_or_id: str) -> Document | None:
        """Return an action, or None."""
        with self._lock:
            found = self._actions.get(ref_or_id) or _by_id(self._actions.values(), ref_or_id)
            return copy.deepcopy(found)

    def runner(self, name_or_id: str) -> Document | None:
        """Return a runner type, or None."""
        with self._lock:
            found = self._runners.get(name_or_id) or _by_id(self._runners.values(), name_or_id)
            return copy.deepcopy(found)

    def parameters(self, ref_or_id: str) -> Document | None:
        """Return the parameters of an action and its runner, or None for an unknown action."""
        action = self.action(ref_or_id)
        if action is None:
            return None
        runner = self.runner(action["runner_type"]) or {}
        return merged(action["parameters"], runner.get("runner_parameters", {}))

    def overview(self, ref_or_id: str) -> Document | None:
        """Return an action with the parameters of its runner, or None for an unknown action."""
        action = self.action(ref_or_id)
        return {**action, "parameters": self.parameters(ref_or_id)} if action else None

    def folder(self, ref: str) -> Path | None:
        """Return the folder of an action's entry point; None without a folder of packs."""
        with self._lock:
            return self._folders.get(ref) or self.pack_folder(ref.partition(".")[0])

    def pack_folder(self, pack: str) -> Path | None:
        """Return the folder of a pack's actions; None without a folder of packs."""
        return self._packs / pack / "actions" if self._packs else None

    def must_be_changeable(self, pack: str) -> None:
        """Check that the API may change actions of a pack.

        :raises Fault: 400.
        """
        if pack == "core":
            raise bad_request("Resources belonging to system level packs can't be manipulated")
        folder = self.pack_folder(pack)
        if folder is not None and pack not in (*_BUILT_IN, "default") and not folder.is_dir():
            raise bad_request(
                f'Content pack "{pack}" is not found or doesn\'t contain actions directory. '
                f"Searched in: {self._packs}"
            )

    def actions(self) -> list[Document]:
        """Return all actions by ref."""
        with self._lock:
            return sorted(copy.deepcopy(list(self._actions.values())), key=lambda a: str(a["ref"]))

    def runners(self) -> list[Document]:
        """Return all runner types by name."""
        with self._lock:
            return sorted(copy.deepcopy(list(self._runners.values())), key=lambda r: str(r["name"]))


_BUILT_IN = ("core", "sandbox", "mongodb")


def _by_id(documents: Iterable[Document], identifier: str) -> Document | None:
    return next((document for document in documents if document["id"] == identifier), None)
