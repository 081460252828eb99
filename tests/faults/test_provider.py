"""StackStorm does not respond, or lists something else than its actions. Mistral goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer, forward, reset, stall
from support.mistral_bench import Bench
from support.proxy import TcpProxy
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts

OPTIONS = "enabled = true\nrefresh_interval = 1\nmax_actions = 300"

ELSEWHERE = "one: {action: std.echo output='x', on-success: two}\ntwo: {action: std.noop}"
NATIVE = "say: {action: core.local cmd='echo hi', on-success: next}\nnext: {action: std.noop}"


@contextmanager
def mistral(folder: Path, stackstorm: StackStorm, base_url: str) -> Iterator[Bench]:
    """Start a sandbox in which the API of StackStorm is behind something else."""
    settings = St2Settings(
        api_url=f"{base_url}/api/v1",
        stream_url=stackstorm.stream_url,
        credential=Credential(api_key=stackstorm.create_api_key()),
        timeouts=Timeouts(2, 2, retry_deadline=120),
    )
    with Sandbox(folder, st2=settings, provider_options=OPTIONS) as sandbox:
        sandbox.stackstorm = stackstorm
        yield Bench(sandbox)


def names(bench: Bench) -> set[str]:
    return {row["name"] for row in bench.get("/actions")["actions"]}


def test_stackstorm_that_does_not_respond_at_the_start_and_later(tmp_path: Path) -> None:
    with StackStorm() as stackstorm, TcpProxy(urlsplit(stackstorm.base_url).port or 0) as proxy:
        proxy.block()
        with mistral(tmp_path, stackstorm, f"http://127.0.0.1:{proxy.port}") as bench:
            # At the start.
            assert bench.run(bench.workbook(ELSEWHERE)).execution["state"] == "SUCCESS"
            waits = bench.start(bench.workbook(NATIVE))
            assert "core.local" not in names(bench)
            assert bench.run(bench.workbook(ELSEWHERE)).execution["state"] == "SUCCESS"
            proxy.unblock()
            assert bench.wait(waits).execution["state"] == "SUCCESS"
            eventually(lambda: "core.local" in names(bench), "the actions are listed")
            # Later.
            proxy.block()
            waits = bench.start(bench.workbook(NATIVE))
            assert bench.run(bench.workbook(ELSEWHERE)).execution["state"] == "SUCCESS"
            log = bench.sandbox.mistral_server.log_path
            failed = "The actions of StackStorm cannot be listed"
            eventually(lambda: failed in log.read_text(errors="replace"), "the failure is logged")
            assert "core.local" in names(bench)
            invalid = bench.run(bench.workbook("say: {action: core.local}"))
            assert "missing=['cmd']" in invalid.execution["state_info"]
            proxy.unblock()
            assert bench.wait(waits).execution["state"] == "SUCCESS"


NUMBERS = count()


def endless(exchange: Exchange) -> bool:
    numbers = [next(NUMBERS) for _ in range(100)]
    return answer(200, [{"id": f"i{n}", "ref": f"a{n}.b", "parameters": {}} for n in numbers])(exchange)


WRONG: dict[str, Behaviour] = {
    "no list": answer(200, {"actions": []}),
    "not JSON": answer(200, b"<html>" * 1000),
    "wrong rows": answer(200, [None, 7, "core.local", {"ref": ["x"]}]),
    "wrong fields": answer(
        200,
        [
            {"id": "1", "ref": "core.broken", "parameters": [1], "description": {"a": 1}},
            {"id": "2", "ref": "std.echo", "parameters": {"evil": {"required": True}}},
            {"id": "3", "ref": "x" * 1000},
        ],
    ),
    "deep": answer(200, b"[" * 100_000),
    "large": answer(200, b"[" + b" " * 20_000_000 + b"]"),
    "stall": stall(),
    "reset": reset(),
    "not allowed": answer(403, {"faultstring": "no"}),
    "endless": endless,
}


def test_wrong_listings_do_not_affect_other_workflows(tmp_path: Path) -> None:
    current: list[Behaviour] = [reset()]
    listings: list[str] = []

    with StackStorm() as stackstorm:

        def act(exchange: Exchange) -> bool:
            assert exchange.request is not None
            if "/actions/views/overview?" not in exchange.request.path:
                return forward(stackstorm.base_url)(exchange)
            listings.append(exchange.request.path)
            return current[0](exchange)

        with BreakingServer(act) as server, mistral(tmp_path, stackstorm, server.url) as bench:
            workflow = bench.workbook(ELSEWHERE)
            for name, behaviour in WRONG.items():
                current[0] = behaviour
                had = len(listings)
                names(bench)
                eventually(lambda had=had: len(listings) > had, f"{name}: the listing")
                run = bench.run(workflow)
                assert run.execution["state"] == "SUCCESS", name
                assert run.result("one") == "x", name
            eventually(lambda: len(names(bench) - {"std.echo"}) > 300, "the endless listing ends")
            found = [row for row in names(bench) if row.endswith(".b")]
            assert len(found) == 300
            current[0] = forward(stackstorm.base_url)
            eventually(lambda: "core.local" in names(bench), "the actions of StackStorm are listed")
            assert bench.run(bench.workbook(NATIVE)).execution["state"] == "SUCCESS"
