"""Choose the server for the contract tests, and the tests that it can run.

The marker ``needs`` names a requirement of a test (see NEEDS). The marker ``recordings`` names the
recordings that a test replays, which is checked after the test.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.contract.client import Client, NewClient
from support.contract.external_runner import Extern
from support.contract.recordings import Fill, Recording
from support.contract.target import NEEDS, Target, chosen, missing, of_environment, of_stand_in

from st2_mistral_sandbox.stackstorm import StackStorm

ACTIONS = Path(__file__).parent / "actions"
_DESELECTED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(requirement): a test that not every server can run")
    config.addinivalue_line("markers", "recordings(*names): the recordings that the test replays")
    config.stash[_DESELECTED] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unmet = missing(os.environ)
    here, deselected = Path(__file__).parent, []
    for item in items:
        if not unmet or here not in item.path.parents:
            continue
        needed = [mark.args[0] for mark in item.iter_markers("needs") if mark.args[0] in unmet]
        if needed:
            config.stash[_DESELECTED][needed[0]] += 1
            deselected.append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for need, count in config.stash[_DESELECTED].items():
        url = os.environ["ST2_API_URL"]
        terminalreporter.write_line(f"{count} tests not run against {url}: they need {NEEDS[need]}")


@pytest.fixture(scope="module")
def extern() -> Extern:
    return Extern()


@pytest.fixture(scope="module")
def st2(extern: Extern) -> Iterator[StackStorm]:
    """Start the stand-in, for tests that cannot run against a server."""
    runners = {"extern-async": extern.runner()}
    with StackStorm(runners=runners, action_dirs=[ACTIONS], heartbeat=0.5) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if chosen():
        actions = [yaml.safe_load(path.read_text()) for path in sorted(ACTIONS.iterdir())]
        plain = [action for action in actions if action["runner_type"] != "extern-async"]
        found = of_environment(os.environ, plain)
    else:
        found = of_stand_in(request.getfixturevalue("st2"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def fill(target: Target) -> Fill:
    """Return the values for the placeholders and names in the recordings."""
    return {
        "{token}": target.token,
        "{expired}": target.expired_token(),
        "{key}": target.key,
        "{basic}": target.basic(target.password),
        "{wrong-basic}": target.basic("nope"),
        "st2admin": target.user,
        "exttest": target.pack,
        # The recorded server has no such runner.
        "mistral-v2": "no-such-runner",
    }


@pytest.fixture
def new_client(request: pytest.FixtureRequest, target: Target, fill: Fill) -> Iterator[NewClient]:
    clients: list[Client] = []

    def new(recordings: dict[str, Recording]) -> Client:
        clients.append(Client(target, recordings, fill))
        return clients[-1]

    yield new
    if getattr(request.node, "passed", True):
        declared = {name for mark in request.node.iter_markers("recordings") for name in mark.args}
        assert {name for client in clients for name in client.replayed} == declared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.passed = report.passed
    return report
