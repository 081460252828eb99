"""The listing of StackStorm's actions, also from servers that send something else."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer, reset

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.limits import Limits
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.provider import ProviderSettings
from st2actions_mistral.errors import Answered, OutcomeUnknown, RemoteError
from st2actions_mistral.provider.listing import Listing, list_actions, read_actions

ALL = ProviderSettings(enabled=True)
KEY = Credential(api_key="k")
# Nothing is retried, whatever the options say.
SLOW = Timeouts(5, 5, 3600)


def read(server: BreakingServer, settings: ProviderSettings = ALL) -> Listing:
    return read_actions(St2Settings(f"{server.url}/v1", KEY, timeouts=SLOW), settings)


def row(number: int, **more: Any) -> dict[str, Any]:
    ref = f"p{number:05}.a"
    return {"id": f"{number:024x}", "ref": ref, "description": "", "parameters": {}, **more}


def pages(total: int) -> Behaviour:
    """List this many actions, as StackStorm does."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        query = parse_qs(urlsplit(exchange.request.path).query)
        start, limit = int(query["offset"][0]), int(query["limit"][0])
        rows = [row(number) for number in range(start, min(start + limit, total))]
        return answer(200, rows)(exchange)

    return act


def test_actions_of_stackstorm(st2: StackStorm, key: str) -> None:
    found = read_actions(St2Settings(st2.api_url, Credential(api_key=key)), ALL)
    signatures = {action.ref: str(action) for action in found.actions}
    # sudo is immutable in the action.
    assert signatures["core.local"] == (
        'core.local(cmd, cwd=null, env=null, kwarg_op="--", sudo_password=null, timeout=60)'
    )
    assert signatures["core.noop"] == "core.noop()"
    assert [action.ref for action in found.actions] == sorted(signatures)
    assert not found.is_cut
    described = {action.ref: action.description for action in found.actions}
    assert described["core.noop"] == "Action that does nothing"


def test_only_chosen_packs_are_listed(st2: StackStorm, key: str) -> None:
    settings = ProviderSettings(enabled=True, packs=frozenset({"test", "none"}))
    found = read_actions(St2Settings(st2.api_url, Credential(api_key=key)), settings)
    assert [action.ref for action in found.actions] == ["test.job"]


def test_all_pages_are_read_with_one_request_each() -> None:
    with BreakingServer(pages(250)) as server:
        assert len(read(server).actions) == 250
        queries = [parse_qs(urlsplit(request.path).query) for request in server.requests]
    assert [query["offset"][0] for query in queries] == ["0", "100", "200"]
    assert queries[0]["include_attributes"] == ["ref,description,enabled,parameters"]


def test_smaller_pages_of_a_stackstorm_are_accepted() -> None:
    refusal = {"faultstring": 'Limit "100" specified, maximum value is "50"'}
    with BreakingServer(answer(403, refusal), pages(120)) as server:
        assert len(read(server).actions) == 120
        assert len(server.requests) == 4


@pytest.mark.parametrize(("total", "is_cut"), [(249, False), (250, False), (251, True), (10_000, True)])
def test_listing_stops_at_the_bound(total: int, is_cut: bool) -> None:
    settings = ProviderSettings(enabled=True, max_actions=250)
    with BreakingServer(pages(total)) as server:
        found = read(server, settings)
        assert (len(found.actions), found.is_cut) == (min(total, 250), is_cut)
        assert len(server.requests) == 3


def test_listing_without_end_stops() -> None:
    numbers = count()

    def page(exchange: Exchange) -> bool:
        return answer(200, [row(next(numbers)) for _ in range(100)])(exchange)

    with BreakingServer(page) as server:
        found = read(server)
        assert (len(found.actions), found.is_cut) == (5000, True)
        assert len(server.requests) == 51


def test_listing_without_end_and_without_a_chosen_pack_is_an_error() -> None:
    numbers = count()

    def page(exchange: Exchange) -> bool:
        return answer(200, [row(next(numbers)) for _ in range(100)])(exchange)

    settings = ProviderSettings(enabled=True, packs=frozenset({"none"}))
    with (
        BreakingServer(page) as server,
        closing(
            St2Client(
                St2Settings(f"{server.url}/v1", KEY, timeouts=SLOW), bounds=Limits(listing_rows=1000)
            )
        ) as client,
        pytest.raises(OutcomeUnknown, match="more than 1000 rows"),
    ):
        list_actions(client, settings)


def test_listing_that_does_not_advance_is_an_error() -> None:
    same = answer(200, [row(number) for number in range(100)])
    with BreakingServer(same) as server, pytest.raises(OutcomeUnknown, match="without a new row"):
        read(server)


def test_huge_page_is_an_error() -> None:
    huge = answer(200, json.dumps([row(1, description="x" * 70_000)]).encode())
    with (
        BreakingServer(huge) as server,
        closing(
            St2Client(
                St2Settings(f"{server.url}/v1", KEY, timeouts=Timeouts(5, 5, 0)),
                bounds=Limits(response_bytes=65_536),
            )
        ) as client,
        pytest.raises(OutcomeUnknown, match="larger than 65536 bytes"),
    ):
        list_actions(client, ALL)


@pytest.mark.parametrize(
    "body",
    [
        {"faultstring": "no"},
        "text",
        None,
        [None],
        ["core.local"],
        [{"id": "1"}],
        [{"ref": "core.local"}],
        [{"id": 1, "ref": "core.local"}],
        [{"id": "1", "ref": ["core.local"]}],
    ],
)
def test_response_of_another_shape_is_an_error(body: Any) -> None:
    with BreakingServer(answer(200, json.dumps(body).encode())) as server:
        with pytest.raises(OutcomeUnknown):
            read(server)
        assert len(server.requests) == 1


def test_row_that_mistral_cannot_use_is_skipped() -> None:
    rows = [
        row(1, parameters="text"),
        row(2, ref="no dot"),
        row(3, enabled=False),
        row(4, parameters={"a": None, "b": [1], "c,d": {}}),
        row(5, description={"not": "text"}, parameters=None),
    ]
    with BreakingServer(answer(200, rows)) as server:
        found = [str(action) for action in read(server).actions]
    assert found == ["p00001.a()", "p00004.a(a=null, b=null)", "p00005.a()"]


@pytest.mark.parametrize("behaviour", [answer(401), answer(403), answer(503), reset()])
def test_failure_is_not_retried(behaviour: Behaviour) -> None:
    with BreakingServer(behaviour) as server:
        with pytest.raises(RemoteError) as failed:
            read(server)
        assert len(server.requests) == 1
    assert isinstance(failed.value, (Answered, OutcomeUnknown))
