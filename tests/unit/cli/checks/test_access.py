"""The checks of keystone's roles and Mistral's policy, with a server that answers as Mistral does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

import pytest
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer

from st2actions_mistral.cli.checks import access
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.mistral_rules import LISTING, RULES
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.model.project import Project, Scope

OWN = Scope("own", is_admin=True)
PROJECTS = [Project("1", "a"), Project("2", "b"), Project("3", "b")]


class User:
    """A user with roles on projects. Its token is the id of the token's project."""

    def __init__(self, scope: Scope | None, projects: Collection[Project]) -> None:
        self._scope = scope
        self._projects = projects

    def headers(self) -> dict[str, str]:
        return {"X-Auth-Token": (self._scope.project_id or "") if self._scope else ""}

    def renew(self, rejected: dict[str, str]) -> bool:
        return False

    def hint(self) -> str:
        return ""

    def scope(self) -> Scope | None:
        return self._scope

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> User:
        return User(Scope(project_id), self._projects)

    def projects(self) -> list[Project]:
        return list(self._projects)


def policy(*denied: tuple[str, str]) -> Behaviour:
    """Answer as a Mistral with one pending action, of project 1.

    :param denied: pairs of a project and a rule.
    """
    refused = {
        (project, RULES[rule].method, RULES[rule].path.partition("?")[0]) for project, rule in denied
    }

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        request = exchange.request
        token, path = request.headers.get("x-auth-token", ""), request.path.removeprefix("/v2")
        if (token, request.method, path.partition("?")[0]) in refused:
            return answer(403, {"faultstring": "Operation forbidden"})(exchange)
        if path.startswith("/action_executions?"):
            rows = [{"id": "1", "name": "st2.action", "state": "RUNNING", "project_id": "1"}]
            return answer(200, {"action_executions": rows})(exchange)
        return answer(404, {"faultstring": "not found"})(exchange)

    return act


@contextmanager
def clients(
    *denied: tuple[str, str], scope: Scope | None = OWN, projects: Collection[Project] = PROJECTS
) -> Iterator[ProjectClients]:
    with BreakingServer(policy(*denied)) as server:
        settings = MistralSettings(f"{server.url}/v2", timeouts=Timeouts(5, 5, 0))
        with closing(MistralClient(settings, credential=User(scope, projects))) as mistral:
            yield ProjectClients(mistral)


def test_policy_is_irrelevant_without_authentication() -> None:
    with clients(scope=None) as found:
        assert access.policy(found) == "Mistral has no authentication"


def test_policy_of_the_projects_of_pending_actions_is_checked() -> None:
    with clients() as found:
        assert access.policy(found) == (
            "has the rules that the relay needs (projects checked: 1); with the role admin it sees all"
            " projects; its user has a role on a, b, b"
        )


def test_policy_of_a_named_project_is_checked_too() -> None:
    with clients(("2", "tasks:get"), projects=PROJECTS[:2]) as found:
        access.policy(found)
        with pytest.raises(CheckFailed, match="in project 2: tasks:get"):
            access.policy(found, "b")


def test_many_projects_are_not_all_named() -> None:
    many = [Project(str(number), f"p{number:02}") for number in range(12)]
    with clients(projects=many) as found:
        assert access.policy(found).endswith("p08, p09 and 2 more")


@pytest.mark.parametrize("rule", LISTING)
def test_rules_for_all_projects_come_first(rule: str) -> None:
    with clients(("own", rule), ("1", "tasks:get")) as found, pytest.raises(CheckFailed) as caught:
        access.policy(found)
    assert f"in project own: {rule}. Allow" in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
def test_rules_for_a_project_are_named_with_it(rule: str) -> None:
    with clients(("1", rule)) as found, pytest.raises(CheckFailed, match=f"in project 1: {rule}"):
        access.policy(found)


@pytest.mark.parametrize("wanted", ["1", "a"])
def test_project_is_found_by_name_and_id(wanted: str) -> None:
    with clients() as found:
        assert access.find_project(found, wanted) == Project("1", "a")


@pytest.mark.parametrize(
    ("wanted", "scope", "said"),
    [
        ("c", OWN, "no role on a project 'c'. It has one on a, b, b."),
        ("b", OWN, "Several projects are named 'b': use --project with one of 2, 3"),
        ("a", None, "no authentication"),
    ],
)
def test_project_that_cannot_be_chosen(wanted: str, scope: Scope | None, said: str) -> None:
    with clients(scope=scope) as found, pytest.raises(CheckFailed) as caught:
        access.find_project(found, wanted)
    assert said in str(caught.value)


def test_probe_runs_in_the_project_of_the_token_by_default() -> None:
    with clients(scope=Scope("own")) as found:
        assert access.client_for_probe(found, None) == (found.lister, " in project own")
    with clients(scope=None) as found:
        assert access.client_for_probe(found, None) == (found.lister, "")


def test_probe_of_an_administrator_needs_a_project() -> None:
    with clients() as found, pytest.raises(CheckFailed, match="name it with --project"):
        access.client_for_probe(found, None)


NAMED = Scope(None, is_named=True)


def test_projects_are_not_known_where_stackstorm_authenticates() -> None:
    with clients(scope=NAMED, projects=()) as found:
        assert access.policy(found) == (
            "has the rules that the relay needs (projects checked: 2); StackStorm authenticates its"
            " users"
        )
        assert access.find_project(found, "ada") == Project("ada", "ada")


def test_denied_rule_is_named_where_stackstorm_authenticates() -> None:
    with (
        clients(("<default-project>", "tasks:get"), scope=NAMED) as found,
        pytest.raises(CheckFailed, match="in project <default-project>: tasks:get"),
    ):
        access.policy(found)


def test_probe_runs_in_the_shared_project_where_stackstorm_authenticates() -> None:
    with clients(scope=NAMED) as found:
        assert access.client_for_probe(found, None)[1] == " in project <default-project>"
        assert access.client_for_probe(found, "ada")[1] == " in project ada"
