"""The keystone that tests with several projects use."""

from __future__ import annotations

import pytest
from keystoneauth1.exceptions import Forbidden, Unauthorized
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from support.keystone.api import Keystone
from support.keystone.cloud import RELAY_ROLE


def test_tokens_are_for_one_project(keystone: Keystone) -> None:
    session = keystone.session("user-of-a", "a")
    assert session.get_project_id() == keystone.project("a")
    assert session.get_user_id() == keystone.user("user-of-a")
    with pytest.raises(Unauthorized):
        keystone.token("user-of-a", "b")
    assert keystone.session("user-of-a", None).get_project_id() is None
    assert session.get_endpoint(service_type="identity", interface="internal") == keystone.url


def test_relay_has_a_plain_role_on_the_projects_of_others(keystone: Keystone) -> None:
    for project, expected in {"service": "admin", "a": RELAY_ROLE}.items():
        session = keystone.session("relay", project)
        access = session.auth.get_access(session)
        assert expected in access.role_names
        assert ("admin" in access.role_names) == (project == "service")


def test_role_that_is_inherited_from_the_domain(keystone: Keystone) -> None:
    keystone.create_user("inherits")
    keystone.create_project("later")
    keystone.grant_inherited(RELAY_ROLE, "inherits")
    keystone.create_project("even-later")
    assert keystone.token("inherits", "later")
    assert keystone.token("inherits", "even-later")
    keystone.revoke_inherited(RELAY_ROLE, "inherits")
    with pytest.raises(Unauthorized):
        keystone.token("inherits", "later")


def test_role_that_is_revoked(keystone: Keystone) -> None:
    keystone.create_user("revoked")
    keystone.grant("member", "revoked", "a")
    session = keystone.session("revoked", "a")
    assert session.get(f"{keystone.url}/auth/projects").status_code == 200
    keystone.revoke("member", "revoked", "a")
    with pytest.raises(Unauthorized):
        session.get(f"{keystone.url}/auth/projects")


def test_user_that_is_disabled(keystone: Keystone) -> None:
    keystone.create_user("disabled")
    keystone.grant("member", "disabled", "a")
    keystone.enable_user("disabled", False)
    with pytest.raises(Unauthorized):
        keystone.token("disabled", "a")
    keystone.enable_user("disabled")
    assert keystone.token("disabled", "a")


def test_trust(keystone: Keystone) -> None:
    keystone.create_user("trustor")
    keystone.grant("member", "trustor", "b")
    trust = keystone.create_trust("trustor", "b", "relay", "member")
    assert [row["id"] for row in keystone.trusts("trustor")] == [trust]
    session = keystone.trust_session("relay", trust)
    assert session.get_project_id() == keystone.project("b")
    assert session.get_user_id() == keystone.user("trustor")
    with pytest.raises(Forbidden):
        keystone.trust_session("user-of-a", trust).get_token()
    keystone.delete_trust(trust)
    assert keystone.trust(trust) is None
    with pytest.raises(Unauthorized):
        keystone.trust_session("relay", trust).get_token()


def test_application_credential(keystone: Keystone) -> None:
    keystone.create_user("owner")
    keystone.grant("member", "owner", "a")
    credential_id, secret = keystone.create_application_credential("owner", "a")
    credential = v3.ApplicationCredential(
        keystone.url, application_credential_id=credential_id, application_credential_secret=secret
    )
    assert Session(auth=credential).get_project_id() == keystone.project("a")
