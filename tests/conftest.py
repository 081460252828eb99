"""Configuration of all tests. Code that tests share is in ``tests/support``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from support.keystone.api import Keystone

# A change is judged by the same cases each time; chance is for where somebody looks at what it finds.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# pytest explains a failed assert only in modules that it knows before they are imported.
pytest.register_assert_rewrite("support")


@pytest.fixture(scope="session")
def keystone_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a KeystoneServer copies."""
    from support.keystone import server
    from support.shared import shared_folder

    return shared_folder(tmp_path_factory, "keystone-template", server.make_template)


@pytest.fixture(scope="module")
def keystone(keystone_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """Start a keystone with the projects and users of ``support.keystone.cloud``.

    Each module has its own: any two modules may run in one process, in any order.
    """
    from support.keystone import server

    with server.running(tmp_path_factory.mktemp("keystone"), keystone_template) as api:
        yield api
