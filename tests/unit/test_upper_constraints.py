"""Installation with the upper constraints of the two newest releases of OpenStack.

A deployment installs everything with these pins: each requirement of ours must accept them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FILES = sorted((Path(__file__).parents[1] / "data" / "upper-constraints").glob("*.txt"))

# Extras that are installed beside Mistral or StackStorm, not for tests or documentation.
EXTRAS = ("", "functions", "mistral", "relay", "runner")

# Services have no pin, and neither has this project. OpenStack itself requires none of the others.
WITHOUT_PIN = {
    "2025.2": {"mistral", "st2actions-mistral", "regex", "semver", "jsonpath-ng"},
    "2026.1": {"mistral", "st2actions-mistral", "regex", "semver"},
}


def requirements() -> Iterator[Requirement]:
    for distribution in ("st2actions-mistral", "st2-mistral-sandbox"):
        for line in importlib.metadata.requires(distribution) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
                yield requirement


def pins(file: Path) -> dict[str, list[Version]]:
    """Return the versions of each package, one for each Python that has a pin of its own."""
    found: dict[str, list[Version]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("===")
            version = Version(rest.partition(";")[0])
            found.setdefault(canonicalize_name(name), []).append(version)
    return found


def test_the_two_newest_releases_are_there() -> None:
    assert [file.stem for file in FILES] == ["2025.2", "2026.1"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_requirement_accepts_the_pin(file: Path) -> None:
    pinned = pins(file)
    rejected = [
        f"{requirement} does not accept {version}"
        for requirement in requirements()
        for version in pinned.get(canonicalize_name(requirement.name), ())
        if version not in requirement.specifier
    ]
    assert rejected == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_files_have_the_pins_of_all_requirements(file: Path) -> None:
    """For a new requirement, copy its line of upper-constraints.txt, see the head of the file."""
    required = {canonicalize_name(requirement.name) for requirement in requirements()}
    # urllib3 is used, and required by way of requests.
    assert {"urllib3", *required} - WITHOUT_PIN[file.stem] == set(pins(file))
