"""Fixtures of the tests with real processes: virtualenvs, the built wheel, one Mistral per version.

``ST2_MISTRAL_E2E=required`` fails the tests if the broker or the database does not respond.
``ST2_MISTRAL_E2E_VERSIONS`` names the versions of Mistral (``23.0.0 20.2.0``).
``support.cluster.services`` describes how to name the broker and the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cluster import services, venvs
from support.cluster.mistral_cluster import Cluster
from support.mistral_bench import JOB, Bench
from support.shared import shared_folder
from xdist.scheduler import LoadScopeScheduling

REQUIRED = "ST2_MISTRAL_E2E"


class ByMistral(LoadScopeScheduling):
    """Run all tests that share a Mistral in one worker: those of one file and one version.

    pytest-xdist has marks for that, but version 3.8 cannot read them with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, rest = nodeid.partition("::")
        parameters = rest.rstrip("]").partition("[")[2].split("-")
        return " ".join([file, *(version for version in venvs.versions() if version in parameters)])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByMistral:
    return ByMistral(config, log)


@pytest.fixture(scope="session")
def working_folder() -> Iterator[Path]:
    with venvs.working_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> venvs.Distribution:
    """Build the checkout."""
    return venvs.distribution(shared_folder(tmp_path_factory, "distribution", venvs.build))


@pytest.fixture(scope="session", params=venvs.versions())
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def outside() -> services.Services:
    """Return the broker and the database, which respond."""
    known = services.from_environment()
    unreachable = services.unreachable(known)
    if unreachable:
        reason = f"The tests with real processes were not run: {'; '.join(unreachable)}."
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return known


@pytest.fixture(scope="session")
def cluster(
    outside: services.Services,
    version: str,
    distribution: venvs.Distribution,
    working_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """Start the processes of one version, with the built wheel. The folder keeps their logs.

    Native actions and the notifier are on, and StackStorm authenticates Mistral's users.
    """
    venv = venvs.base(version).copy(working_folder / f"cluster-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[functions,relay]")
    folder = tmp_path_factory.mktemp(f"mistral-{version}-")
    with Cluster(version, venv, folder, auth=True) as running:
        running.stackstorm.register_action(JOB)
        yield running


@pytest.fixture
def bench(cluster: Cluster) -> Bench:
    """Return the same helper that the tests of the sandbox use."""
    return Bench(cluster)
