"""Test that each project's records are changed with a token for that project only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from support.breaking_servers import refusing
from support.clock import Clock
from support.identity import Identity, json_response, keystone_options
from werkzeug import Request, Response

from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import Access, ProjectClients
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, NotSent
from st2actions_mistral.model.project import NoAccess

TIMEOUTS = Timeouts(1, 1, 0)


class Bench:
    """A relay's user with the role admin in ``service`` and member in ``a``, and a stand-in Mistral."""

    def __init__(self, server: HTTPServer, folder: Path) -> None:
        self.identity = Identity(server)
        self.identity.members["relay"] = ("service", "admin")
        self.identity.roles = {"a": ["reader", "member"], "service": ["admin"]}
        self.clock = Clock()
        self.rejected: set[str] = set()
        """Tokens that Mistral does not accept any more."""
        self._server = server
        server.expect_request("/v2/tasks").respond_with_handler(self._tasks)
        file = folder / "mistral.conf"
        file.write_text(f"[st2_relay]\n{keystone_options(self.identity.url)}")
        settings = config.load_settings(config.read_files([str(file)]))
        url = server.url_for("/v2")
        self.lister = MistralClient(
            MistralSettings(url, timeouts=TIMEOUTS), credential=settings.credential
        )

    def clients(self, *, trusts: bool = False, limit: int = 1000) -> ProjectClients:
        return ProjectClients(self.lister, trusts=trusts, remember=15, limit=limit, clock=self.clock)

    def _tasks(self, request: Request) -> Response:
        token = request.headers.get("X-Auth-Token", "")
        if token in self.rejected:
            return json_response({"faultstring": "Unauthorized"}, 401)
        row = {"id": self.identity.project_of(token)}
        return json_response({"tasks": [row]})


@pytest.fixture
def bench(httpserver: HTTPServer, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(httpserver, tmp_path)
    with closing(made.lister):
        yield made


def project_of(client: Access) -> str:
    """Return the project of the token with which a client calls Mistral."""
    assert isinstance(client, MistralClient)
    return str(client.tasks("w")[0]["id"])


def reason(access: Access) -> str:
    assert isinstance(access, NoAccess)
    return access.text


def test_each_project_has_a_client_with_a_token_of_its_own(bench: Bench) -> None:
    bench.identity.roles["b"] = ["member"]
    clients = bench.clients()
    assert [project_of(clients.access(name)) for name in "abab"] == ["a", "b", "a", "b"]
    assert project_of(clients.lister) == "service"
    assert bench.identity.scopes == ["a", "b"]


def test_one_token_serves_all_threads(bench: Bench) -> None:
    clients = bench.clients()
    with ThreadPoolExecutor(8) as pool:
        found = {id(client) for client in pool.map(clients.access, ["a"] * 50)}
    assert len(found) == 1
    assert bench.identity.scopes == ["a"]


def test_expiring_token_is_renewed(bench: Bench) -> None:
    bench.identity.lifetime = 10
    client = bench.clients().access("a")
    assert [project_of(client), project_of(client)] == ["a", "a"]
    assert bench.identity.scopes == ["a"] * len(bench.identity.scopes)
    assert len(bench.identity.scopes) > 2


def test_without_authentication_there_is_one_client() -> None:
    with closing(MistralClient(MistralSettings())) as lister:
        clients = ProjectClients(lister)
        assert clients.access("<default-project>") is lister
        assert clients.access(None) is lister


def test_plain_member_of_one_project_needs_no_further_token(bench: Bench) -> None:
    bench.identity.members["relay"] = ("tenant", "member")
    clients = bench.clients()
    assert clients.access("tenant") is clients.lister
    assert bench.identity.scopes == []
    assert "has no role" in reason(clients.access("b"))


def test_project_without_a_role_is_refused_with_the_remedy(bench: Bench) -> None:
    found = bench.clients().access("b")
    assert isinstance(found, NoAccess)
    assert found.project_id == "b"
    assert found.reason == "it belongs to project 'b', where the relay's user has no role"
    assert found.remedy == "Give the relay's user a role on the project, such as member, but not admin."


@pytest.mark.parametrize("project", ["admins", "service"])
def test_project_where_the_user_is_admin_is_refused(bench: Bench, project: str) -> None:
    bench.identity.roles["admins"] = ["member", "admin"]
    assert "has the role admin" in reason(bench.clients().access(project))


def test_roles_with_similar_names_are_no_administrators(bench: Bench) -> None:
    bench.identity.roles["a"] = ["Admin", "project_admin", "administrator"]
    assert project_of(bench.clients().access("a")) == "a"


def test_record_without_a_project_is_refused(bench: Bench) -> None:
    found = bench.clients().access(None)
    assert isinstance(found, NoAccess)
    assert found.project == "an unknown project"
    assert bench.identity.scopes == []


def test_refusal_is_remembered_for_some_seconds(bench: Bench) -> None:
    clients = bench.clients()
    for _ in range(1000):
        assert isinstance(clients.access("b"), NoAccess)
    assert bench.identity.scopes == ["b"]
    bench.identity.roles["b"] = ["member"]
    bench.clock.advance(14)
    assert isinstance(clients.access("b"), NoAccess)
    bench.clock.advance(2)
    assert project_of(clients.access("b")) == "b"


def test_lost_role_is_noticed_when_mistral_rejects_the_token(bench: Bench) -> None:
    clients = bench.clients()
    client = clients.access("a")
    assert project_of(client) == "a"
    bench.rejected.add(bench.identity.issued[-1])
    del bench.identity.roles["a"]
    with pytest.raises(Answered, match="401"):
        project_of(client)
    assert "has no role" in reason(clients.access("a"))


def test_new_administrator_is_noticed_within_minutes(bench: Bench) -> None:
    clients = bench.clients()
    assert project_of(clients.access("a")) == "a"
    bench.identity.roles["a"].append("admin")
    bench.clock.advance(301)
    assert "has the role admin" in reason(clients.access("a"))


def test_rejected_password_is_an_error_and_no_refusal(bench: Bench) -> None:
    clients = bench.clients()
    assert clients.scope() is not None
    bench.identity.password = "changed"
    assert bench.lister.credential is not None
    bench.lister.credential.renew({})
    with pytest.raises(Answered, match="401"):
        clients.access("a")


def test_unreachable_keystone_is_an_error_each_time(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    with refusing() as url:
        file.write_text(f"[st2_relay]\n{keystone_options(url + '/v3')}")
        settings = config.load_settings(config.read_files([str(file)]))
        with closing(MistralClient(MistralSettings(), credential=settings.credential)) as lister:
            clients = ProjectClients(lister)
            for _ in range(2):
                with pytest.raises(NotSent, match="keystone"):
                    clients.access("a")


def test_known_token_is_used_while_keystone_does_not_respond(bench: Bench) -> None:
    clients = bench.clients()
    found = clients.access("a")
    bench.identity.broken = True
    bench.clock.advance(301)
    assert clients.access("a") is found
    assert project_of(found) == "a"
    with pytest.raises(NotSent, match="keystone"):
        clients.access("b")


def test_number_of_kept_projects_is_bounded(bench: Bench) -> None:
    bench.identity.roles |= {"b": ["member"], "c": ["member"]}
    clients = bench.clients(limit=2)
    for project in "abacab":
        assert project_of(clients.access(project)) == project
    # "b" had to go for "c".
    assert bench.identity.scopes == ["a", "b", "c", "b"]


def test_credential_of_one_project_serves_that_project_only(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    identity = Identity(httpserver, project="tenant")
    file = tmp_path / "mistral.conf"
    file.write_text(
        f"[st2_relay]\nauth_type = v3applicationcredential\nauth_url = {identity.url}\n"
        "application_credential_id = relay\napplication_credential_secret = right\n"
    )
    settings = config.load_settings(config.read_files([str(file)]))
    assert settings.relay.project_auth == "service"
    with closing(MistralClient(MistralSettings(), credential=settings.credential)) as lister:
        clients = ProjectClients(lister)
        assert clients.access("tenant") is lister
        assert "one project only" in reason(clients.access("b"))
    assert identity.scopes == []


def test_trust_is_used_in_its_project(bench: Bench) -> None:
    bench.identity.trusts["t"] = ("b", ["member"])
    clients = bench.clients(trusts=True)
    assert project_of(clients.access("b", "t")) == "b"
    assert bench.identity.scopes == ["t"]


def test_trust_may_give_the_role_of_an_administrator(bench: Bench) -> None:
    """It acts with the rights of the user who started the workflow."""
    bench.identity.trusts["t"] = ("b", ["admin"])
    assert project_of(bench.clients(trusts=True).access("b", "t")) == "b"


def test_trust_for_another_project_does_not_count(bench: Bench) -> None:
    bench.identity.trusts["t"] = ("a", ["member"])
    text = reason(bench.clients(trusts=True).access("b", "t"))
    assert "its trust is for another one" in text
    assert "has no role" in text


def test_role_counts_where_the_trust_does_not(bench: Bench) -> None:
    bench.identity.trusts["t"] = ("b", ["member"])
    clients = bench.clients(trusts=True)
    assert project_of(clients.access("a", "t")) == "a"
    assert project_of(clients.access("a", "unknown")) == "a"


def test_deleted_trust_and_no_role_is_refused_with_both_reasons(bench: Bench) -> None:
    text = reason(bench.clients(trusts=True).access("b", "t"))
    assert "keystone refuses its trust" in text
    assert "has no role" in text


def test_trust_is_ignored_in_mode_service(bench: Bench) -> None:
    bench.identity.trusts["t"] = ("b", ["member"])
    assert isinstance(bench.clients().access("b", "t"), NoAccess)
    assert bench.identity.scopes == ["b"]
