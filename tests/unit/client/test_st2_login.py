"""A StackStorm credential as a credential for Mistral."""

from __future__ import annotations

from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.client.st2_login import ExecutionToken, St2Login
from st2actions_mistral.model.project import NoAccess, Scope

ACTION = {"id": "1", "name": "st2.action", "state": "RUNNING", "project_id": "ada"}


class Source:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.renewed: list[dict[str, str]] = []

    def headers(self) -> dict[str, str]:
        return {"St2-Api-Key": "k"}

    def renew(self, rejected: dict[str, str]) -> bool:
        self.renewed.append(rejected)
        return True

    def hint(self) -> str:
        return "Do this."


def test_headers_are_those_for_stackstorm() -> None:
    source = Source()
    login = St2Login(source)
    assert login.headers() == {"St2-Api-Key": "k"}
    assert login.hint() == "Do this."
    assert login.renew({"St2-Api-Key": "k"})
    assert source.renewed == [{"St2-Api-Key": "k"}]
    assert login.projects() == []


def test_credential_for_a_project_names_it() -> None:
    login = St2Login(Source())
    assert login.scope() == Scope(None, is_named=True)
    scoped = login.scoped("ada")
    assert scoped is not None
    assert scoped.headers() == {"St2-Api-Key": "k", "St2-Mistral-Project": "ada"}
    assert scoped.scope() == Scope("ada", is_named=True)
    assert login.headers() == {"St2-Api-Key": "k"}


def test_there_are_no_trusts() -> None:
    assert St2Login(Source()).scoped(None, "trust") is None
    assert St2Login(Source()).scoped("ada", "trust") is None


def test_relay_lists_without_and_completes_with_the_project_of_the_record() -> None:
    with BreakingServer(answer(200, {"action_executions": [ACTION]}), answer(200, {})) as server:
        settings = MistralSettings(server.url, timeouts=Timeouts(5, 5, 0))
        mistral = MistralClient(settings, credential=St2Login(Source()))
        clients = ProjectClients(mistral)
        (action,) = mistral.running_actions()
        access = clients.access(action["project_id"])
        assert isinstance(access, MistralClient)
        access.complete_action(action["id"], "SUCCESS", {})
        mistral.close()
    listed, completed = server.requests
    assert "st2-mistral-project" not in listed.headers
    assert completed.headers["st2-mistral-project"] == "ada"


def test_record_without_a_project_is_left_alone() -> None:
    clients = ProjectClients(MistralClient(MistralSettings(), credential=St2Login(Source())))
    assert isinstance(clients.access(None), NoAccess)


def test_token_of_an_execution_is_not_renewed() -> None:
    token = ExecutionToken("t")
    assert token.headers() == {"X-Auth-Token": "t"}
    assert not token.renew(token.headers())
    assert "[DEFAULT] auth_type" in token.hint()
