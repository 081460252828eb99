"""A StackStorm user's project and roles in Mistral."""

from __future__ import annotations

from dataclasses import replace

import pytest

from st2actions_mistral.auth.access import identity_of, project_of
from st2actions_mistral.auth.headers import Identity
from st2actions_mistral.auth.refusal import Forbidden
from st2actions_mistral.auth.users import User
from st2actions_mistral.config.auth import AuthSettings

SHARED = AuthSettings("http://st2/v1")
PER_USER = replace(SHARED, project_per_user=True, relay_users=frozenset({"relay"}))
WITH_ADMINS = frozenset({"system_admin", "admin"})
ADA = User("ada", frozenset())
RELAY = User("relay", frozenset({"observer"}))


def test_all_users_share_the_project_of_a_mistral_without_authentication() -> None:
    assert identity_of(ADA, SHARED, "POST") == Identity("ada", "<default-project>", ())


def test_each_user_has_a_project_if_configured() -> None:
    assert identity_of(ADA, PER_USER, "POST") == Identity("ada", "ada", ())


@pytest.mark.parametrize(
    "name", ["Ada", "ada ", "\xe4da", "<default-project>", "a" * 65, "user:1", "\udcff", "a/b"]
)
def test_name_that_mysql_may_take_for_another_is_hashed(name: str) -> None:
    assert project_of(name) == project_of(name)
    assert project_of(name).startswith("user:")
    assert len(project_of(name)) <= 80
    assert project_of(name) != project_of(f"{name}x")


def test_roles_of_stackstorm_are_none_that_mistral_knows() -> None:
    user = User("ada", frozenset({"admin", "Admin", "x,admin", " admin", "ops-1", "r\xf4le", "a" * 65}))
    assert identity_of(user, SHARED, "GET").roles == ("st2:Admin", "st2:admin", "st2:ops-1")


@pytest.mark.parametrize("settings", [SHARED, PER_USER])
def test_administrators_are_those_of_the_configured_roles(settings: AuthSettings) -> None:
    admin = User("ada", frozenset({"system_admin"}))
    assert "admin" not in identity_of(admin, settings, "GET").roles
    settings = replace(settings, admin_roles=WITH_ADMINS)
    assert identity_of(admin, settings, "PUT").roles == ("st2:system_admin", "admin")
    assert "admin" not in identity_of(ADA, settings, "GET").roles
    assert "admin" not in identity_of(User("ada", frozenset({"x,admin"})), settings, "GET").roles


@pytest.mark.parametrize("user", [ADA, User("ada", frozenset({"admin"}))])
def test_user_may_name_the_own_project_but_not_as_administrator(user: User) -> None:
    for settings, own in ((SHARED, "<default-project>"), (PER_USER, "ada")):
        settings = replace(settings, admin_roles=WITH_ADMINS)
        identity = identity_of(user, settings, "PUT", own)
        assert identity.project_id == own
        assert "admin" not in identity.roles


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("user", [ADA, User("ada", frozenset({"admin"}))])
def test_user_may_not_name_another_project(user: User, method: str) -> None:
    for settings in (SHARED, PER_USER):
        settings = replace(settings, admin_roles=WITH_ADMINS)
        with pytest.raises(Forbidden, match=r"'ada' may not act in project 'bob'.*relay_users"):
            identity_of(user, settings, method, "bob")


def test_relay_reads_all_projects_as_administrator() -> None:
    assert identity_of(RELAY, PER_USER, "GET") == Identity("relay", "relay", ("st2:observer", "admin"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_relay_changes_nothing_without_naming_a_project(method: str) -> None:
    with pytest.raises(Forbidden, match=r"'relay' is in \[st2_auth\] relay_users, so it must name"):
        identity_of(RELAY, PER_USER, method)


def test_relay_acts_in_any_project_but_not_as_administrator() -> None:
    settings = replace(PER_USER, admin_roles=frozenset({"observer"}))
    for project in ("bob", "relay", "<default-project>"):
        assert identity_of(RELAY, settings, "PUT", project) == Identity(
            "relay", project, ("st2:observer",)
        )


def test_relay_is_a_user_as_any_other_where_all_share_a_project() -> None:
    settings = replace(SHARED, relay_users=frozenset({"relay"}))
    assert identity_of(RELAY, settings, "PUT") == Identity(
        "relay", "<default-project>", ("st2:observer",)
    )
    with pytest.raises(Forbidden):
        identity_of(RELAY, settings, "GET", "bob")
