"""The checks of Mistral, against servers that answer as Mistral does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer

from st2actions_mistral.bridge import native
from st2actions_mistral.cli.checks import mistral
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, ConfigError
from st2actions_mistral.model.project import Scope

UNKNOWN = answer(404, {"faultstring": "Action not found"})
KNOWN = answer(200, {"id": "1", "name": "st2.action"})


class Token:
    """A credential of one project."""

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    def headers(self) -> dict[str, str]:
        return {}

    def renew(self, rejected: dict[str, str]) -> bool:
        return False

    def hint(self) -> str:
        return ""

    def scope(self) -> Scope | None:
        return self._scope

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> None:
        """Have no token for another project."""


@contextmanager
def client(*script: Behaviour, scope: Scope | None = None) -> Iterator[MistralClient]:
    with BreakingServer(*script) as server:
        settings = MistralSettings(f"{server.url}/v2", timeouts=Timeouts(5, 5, 0))
        with closing(MistralClient(settings, credential=Token(scope))) as made:
            yield made


def running(*projects: str | None) -> Behaviour:
    rows: list[dict[str, Any]] = [
        {
            "id": f"a{number}",
            "name": "st2.action",
            "state": "RUNNING",
            "created_at": "2026-11-25 06:00:00",
            "project_id": project,
        }
        for number, project in enumerate(projects)
    ]
    rows.append({**rows[0], "id": "other", "name": "std.async_noop", "project_id": "theirs"})
    rows[-2]["name"] = "core.local"
    listing = answer(200, {"action_executions": rows})
    definition = native.definition("core.local")
    local = answer(200, {"id": "core.local", "name": "core.local", "definition": definition})

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        path = exchange.request.path
        if path.startswith("/v2/action_executions?"):
            return listing(exchange)
        return (local if path == "/v2/actions/core.local" else UNKNOWN)(exchange)

    return act


def is_mistral() -> None:
    pass


def is_not_mistral() -> None:
    raise ConfigError("It is not Mistral.")


def test_both_actions_are_known() -> None:
    with client(KNOWN) as found:
        assert mistral.actions(found, is_not_mistral) == "has st2.action and st2.callback"


def test_missing_action_is_named() -> None:
    with client(KNOWN, UNKNOWN) as found, pytest.raises(CheckFailed, match=r"no action st2\.callback"):
        mistral.actions(found, is_mistral)


def test_server_that_is_not_mistral_is_reported_as_that() -> None:
    with client(UNKNOWN) as found, pytest.raises(ConfigError, match="not Mistral"):
        mistral.actions(found, is_not_mistral)


def test_project_is_irrelevant_without_authentication() -> None:
    with client(UNKNOWN) as found:
        assert mistral.project(ProjectClients(found)) == "Mistral has no authentication"


def test_token_without_a_project_fails() -> None:
    with (
        client(UNKNOWN, scope=Scope(None)) as found,
        pytest.raises(CheckFailed, match="has no project"),
    ):
        mistral.project(ProjectClients(found))


def test_actions_of_projects_without_access_fail() -> None:
    # Only actions named st2.action count.
    with (
        client(running("ours", "theirs"), scope=Scope("ours")) as found,
        pytest.raises(CheckFailed, match=r"does not complete 1 pending actions.*'theirs'"),
    ):
        mistral.project(ProjectClients(found))


def test_trust_of_an_action_is_not_known_here() -> None:
    with client(running("ours", "theirs"), scope=Scope("ours")) as found:
        mistral.project(ProjectClients(found, trusts=True))
        assert list(mistral.pending_actions(ProjectClients(found, trusts=True))) == ["a0", "a1"]


def test_actions_of_the_own_project_pass() -> None:
    with client(running("ours", "ours"), scope=Scope("ours")) as found:
        expected = "the relay completes actions of project ours only"
        assert mistral.project(ProjectClients(found)) == expected


def test_pending_actions_are_those_that_the_relay_may_complete() -> None:
    with client(running("theirs", "ours", None), scope=Scope("ours")) as found:
        assert list(mistral.pending_actions(ProjectClients(found))) == ["a1"]


class Login(Token):
    """A credential that names the project of each request."""

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> Login:  # type: ignore[override]
        return Login(Scope(project_id, is_named=True))


@contextmanager
def stackstorms_client(*script: Behaviour) -> Iterator[MistralClient]:
    with BreakingServer(*script) as server:
        settings = MistralSettings(f"{server.url}/v2", timeouts=Timeouts(5, 5, 0))
        login = Login(Scope(None, is_named=True))
        with closing(MistralClient(settings, credential=login)) as made:
            yield made


def test_user_whom_stackstorm_authenticates_may_act() -> None:
    with stackstorms_client(running("a", "b")) as found:
        assert mistral.project(ProjectClients(found)) == (
            "the relay may act in the projects of all pending actions"
        )


def test_user_who_may_not_name_projects_fails_with_mistrals_words() -> None:
    refusal = answer(403, {"faultstring": "The user may not. Add it to [st2_auth] relay_users."})
    with (
        stackstorms_client(refusal) as found,
        pytest.raises(CheckFailed, match=r"^The user may not\. Add it to \[st2_auth\] relay_users"),
    ):
        mistral.project(ProjectClients(found))


def test_other_error_of_the_check_is_raised() -> None:
    with stackstorms_client(answer(401, {})) as found, pytest.raises(Answered):
        mistral.project(ProjectClients(found))
