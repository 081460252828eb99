"""StackStorm does not respond for a while, then responds again at the same URL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.mistral_bench import Bench
from support.proxy import TcpProxy
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings

# Seconds.
DOWNTIME = float(os.environ.get("ST2_MISTRAL_AWAY", "8"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Bench, TcpProxy]]:
    with StackStorm() as stackstorm, TcpProxy(urlsplit(stackstorm.base_url).port or 0) as proxy:
        settings = St2Settings(
            api_url=f"http://127.0.0.1:{proxy.port}/api/v1",
            stream_url=f"http://127.0.0.1:{proxy.port}{urlsplit(stackstorm.stream_url).path}",
            credential=Credential(api_key=stackstorm.create_api_key()),
        )
        options = f"retry_deadline = {DOWNTIME * 3}"
        with Sandbox(tmp_path, st2=settings, options=options) as sandbox:
            sandbox.stackstorm = stackstorm
            yield Bench(sandbox), proxy


def test_workflow_survives_an_outage_of_stackstorm(place: tuple[Bench, TcpProxy]) -> None:
    """Executions are created, finish and deliver results when the outage starts."""
    bench, proxy = place
    workflow = bench.workbook(
        """
        each:
          with-items: i in <% range(30) %>
          action: st2.action
          input: {ref: sandbox.sleep, parameters: {seconds: 2}}
          on-success: after
        after: {action: st2.action, input: {ref: core.noop}}
        """
    )
    started = bench.start(workflow)
    eventually(lambda: len(bench.stackstorm.executions.all()) > 8, "some executions are created")
    proxy.block()
    time.sleep(DOWNTIME)
    proxy.unblock()
    opened = time.monotonic()
    run = bench.wait(started, timeout=300)
    print(f"all done {time.monotonic() - opened:.1f} s after StackStorm responded again")
    assert run.execution["state"] == "SUCCESS"
    assert [action["state"] for action in run.actions] == ["SUCCESS"] * 31
    made = [
        child["context"]["mistral"]["action_execution_id"]
        for child in bench.stackstorm.executions.all()
    ]
    assert sorted(made) == sorted(action["id"] for action in run.actions)
