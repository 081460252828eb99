"""The commands do not retry, and their errors name the options to look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer, refusing
from support.command_records import ACTION, MISTRAL_ROOT, NOT_FOUND, PARENT

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("words", [["status"], ["repair", ACTION]])
def test_an_unreachable_mistral_is_reported_without_retries(run: Run, words: list[str]) -> None:
    begun = time.monotonic()
    with BreakingServer(answer(200, PARENT)) as st2, refusing() as unreachable:
        status, _, error = run(*words, st2=st2.url, mistral=unreachable)
    assert status == 1
    assert "no connection (Connection refused)" in error
    assert time.monotonic() - begun < 10


def test_status_requires_a_credential(run: Run) -> None:
    nothing = answer(200, {"action_executions": [], "executions": []})
    with BreakingServer(nothing) as mistral, refusing() as unreachable:
        status, printed, error = run("status", st2=unreachable, mistral=mistral.url, key="")
    assert (status, printed) == (1, "")
    assert "There is no credential for StackStorm: set [st2] api_key" in error
    assert "--config-file" in error


def test_validate_without_a_credential_names_the_configuration(run: Run, workbook: str) -> None:
    with refusing() as unreachable:
        status, _, error = run("validate", workbook, st2=unreachable, mistral=unreachable, key="")
    assert status == 1
    assert "no connection" in error
    assert "[st2] api_url" in error
    assert "(Is this the right --config-file?)" in error


@pytest.mark.parametrize(
    ("root", "other_service"),
    [
        (NOT_FOUND, True),
        (answer(200, b"<html>"), True),
        (answer(200, {"versions": []}), True),
        (MISTRAL_ROOT, False),
        (answer(403, {"faultstring": "no"}), False),
    ],
)
def test_a_service_that_is_not_mistral_is_named(run: Run, root: Any, other_service: bool) -> None:
    with BreakingServer(NOT_FOUND, root) as server, refusing() as unreachable:
        status, _, error = run("status", st2=unreachable, mistral=server.url)
    assert status == 1
    assert ("does not respond as Mistral does" in error) == other_service


@pytest.mark.parametrize("words", [["repair", ACTION]])
@pytest.mark.parametrize(("root", "is_mistral"), [(NOT_FOUND, False), (MISTRAL_ROOT, True)])
def test_an_unknown_id_is_reported_only_where_the_service_is_mistral(
    run: Run, words: list[str], root: Behaviour, is_mistral: bool
) -> None:
    with (
        BreakingServer(answer(200, PARENT)) as st2,
        BreakingServer(NOT_FOUND, root) as server,
    ):
        status, printed, error = run(*words, st2=st2.url, mistral=server.url)
    assert (status, printed) == (1, "")
    assert ("does not respond as Mistral does" in error) == (not is_mistral)
    assert (words[1] in error and "know" in error) == is_mistral
