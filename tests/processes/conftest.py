"""What the real-process suite shares: virtualenvs, the built wheel, one running Mistral per version.

``ST2_MISTRAL_E2E=required`` makes a broker or a database that is missing an error.
``ST2_MISTRAL_E2E_VERSIONS`` names the versions of Mistral (``23.0.0 20.2.0``). Where broker and
database are: see ``services``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import services, venvs
from support.cluster.mistral_cluster import Cluster
from support.mistral_bench import JOB, Bench

REQUIRED = "ST2_MISTRAL_E2E"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have those that share a Mistral run in one place where the tests are spread."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            given = getattr(item, "callspec", None)
            version = given.params.get("version", "") if given else ""
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} {version}"))


@pytest.fixture(scope="session")
def working_folder() -> Iterator[Path]:
    with venvs.working_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def distribution(working_folder: Path) -> venvs.Distribution:
    """The checkout, built."""
    return venvs.distribution(working_folder)


@pytest.fixture(scope="session", params=venvs.versions())
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def outside() -> services.Services:
    """Broker and database, which are there."""
    known = services.from_environment()
    missing = services.missing(known)
    if missing:
        say = f"The real-process tests were not run: {'; '.join(missing)}."
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(say)
        pytest.skip(say)
    return known


@pytest.fixture(scope="session")
def cluster(
    outside: services.Services,
    version: str,
    distribution: venvs.Distribution,
    working_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """The processes of one version, with the plugin from the wheel; the folder keeps their logs."""
    venv = venvs.base(version).copy(working_folder / f"cluster-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    with Cluster(version, venv, tmp_path_factory.mktemp(f"mistral-{version}-")) as running:
        running.stackstorm.register_action(JOB)
        yield running


@pytest.fixture
def bench(cluster: Cluster) -> Bench:
    """What the embedded Mistral is tested with, too."""
    return Bench(cluster)  # type: ignore[arg-type]
