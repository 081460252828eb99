"""The headers of a request to Mistral: no client names its own user, project or roles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from oslo_context.context import RequestContext
from webob import Request

from st2actions_mistral.auth.headers import KEY, TOKEN, Credential, Identity, put, take
from st2actions_mistral.auth.refusal import Forbidden, Rejected

# Everything that oslo.context and Mistral 20 to 23 read from a request.
SPOOFED = {
    "X-Auth-Token": "canary-token",
    "X-Domain-Id": "spoofed",
    "X-Domain-Name": "spoofed",
    "X-Identity-Status": "Confirmed",
    "X-Is-Admin-Project": "false",
    "X-Project-Domain-Id": "spoofed",
    "X-Project-Domain-Name": "spoofed",
    "X-Project-Id": "spoofed",
    "X-Project-Name": "spoofed",
    "X-Region-Name": "spoofed",
    "X-Role": "admin",
    "X-Roles": "admin",
    "X-Service-Identity-Status": "Confirmed",
    "X-Service-Project-Id": "spoofed",
    "X-Service-Roles": "admin",
    "X-Service-Token": "spoofed",
    "X-Service-User-Id": "spoofed",
    "X-Storage-Token": "spoofed",
    "X-Target-Auth-Token": "spoofed",
    "X-Target-Auth-Uri": "http://spoofed",
    "X-Target-Insecure": "True",
    "X-Target-Project-Id": "spoofed",
    "X-Target-Region-Name": "spoofed",
    "X-Target-Service-Catalog": "c3Bvb2ZlZA==",
    "X-Target-User-Id": "spoofed",
    "X-Target-User-Name": "spoofed",
    "X-Tenant": "spoofed",
    "X-Tenant-Id": "spoofed",
    "X-Tenant-Name": "spoofed",
    "X-User": "spoofed",
    "X-User-Domain-Id": "spoofed",
    "X-User-Domain-Name": "spoofed",
    "X-User-Id": "spoofed",
    "X-User-Name": "spoofed",
    "OpenStack-System-Scope": "all",
}

ADA = Identity("ada", "<default-project>", ("st2:observer",))


def request(**headers: str) -> Request:
    return Request.blank("/v2/workflows", headers={k.replace("_", "-"): v for k, v in headers.items()})


def context_of(req: Request) -> RequestContext:
    """Return the context that Mistral makes of a request, but for what X-Target-… adds."""
    # In a thread of its own: oslo.context keeps the context of a thread, and oslo.log shows it.
    with ThreadPoolExecutor(1) as own:
        return own.submit(RequestContext.from_environ, req.environ).result()


def test_nothing_that_a_client_sends_reaches_mistral() -> None:
    spoofing = Request.blank("/v2/workflows", headers=SPOOFED)
    assert take(spoofing.environ).credential == Credential(TOKEN, "canary-token")
    put(spoofing.environ, ADA)
    honest = request(X_Auth_Token="canary-token")
    take(honest.environ)
    put(honest.environ, ADA)
    for body in ("wsgi.input", "wsgi.errors"):
        del spoofing.environ[body], honest.environ[body]
    assert spoofing.environ == honest.environ
    made = context_of(spoofing)
    assert made.user_id == made.user_name == "ada"
    assert made.project_id == "<default-project>"
    assert made.roles == ["st2:observer"]
    assert "spoofed" not in str(made.to_dict())


def test_credential_is_not_in_the_environment_any_more() -> None:
    for headers in ({"X_Auth_Token": "canary-1"}, {"St2_Api_Key": "canary-1"}):
        req = request(**headers, St2_Mistral_Project="p")
        take(req.environ)
        put(req.environ, ADA)
        assert "canary" not in repr(req.environ)
        assert "canary" not in str(context_of(req).to_dict())


def test_rejected_request_keeps_no_identity_either() -> None:
    req = request(X_Roles="admin", X_Project_Id="p")
    with pytest.raises(Rejected):
        take(req.environ)
    assert context_of(req).roles == []
    assert context_of(req).project_id is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "has no credential. Send a StackStorm token in the header X-Auth-Token, or an API key"),
        ({"Cookie": "auth-token=canary-1"}, "has no credential"),
        ({"Authorization": "Bearer canary-1"}, "has no credential"),
        ({"X_Auth_Token": ""}, "has no credential"),
        ({"X_Auth_Token": "canary-1", "St2_Api_Key": "canary-2"}, "both X-Auth-Token and St2-Api-Key"),
        ({"X_Auth_Token": "canary 1"}, "X-Auth-Token is no credential of StackStorm"),
        ({"X_Auth_Token": "canary-1,\tcanary-2"}, "X-Auth-Token is no credential"),
        ({"X_Auth_Token": "canary\xe4"}, "X-Auth-Token is no credential"),
        ({"St2_Api_Key": "canary" * 100}, "St2-Api-Key is no credential"),
    ],
)
def test_request_without_one_valid_credential_is_rejected(headers: dict[str, str], words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        take(request(**headers).environ)
    assert "canary" not in str(caught.value)


def test_credential_in_the_query_is_not_taken() -> None:
    with pytest.raises(Rejected):
        take(Request.blank("/v2/workflows?x-auth-token=canary&st2-api-key=canary").environ)


def test_project_to_act_in_is_taken() -> None:
    given = take(request(St2_Api_Key="k", St2_Mistral_Project="<default-project>").environ)
    assert (given.credential, given.project_id) == (Credential(KEY, "k"), "<default-project>")
    assert take(request(St2_Api_Key="k").environ).project_id is None


@pytest.mark.parametrize("project", ["", "a b", "x" * 81, "\xe4"])
def test_project_that_cannot_be_one_is_forbidden(project: str) -> None:
    with pytest.raises(Forbidden, match="St2-Mistral-Project"):
        take(request(St2_Api_Key="k", St2_Mistral_Project=project).environ)


def test_repr_shows_no_credential() -> None:
    assert "canary" not in repr(take(request(St2_Api_Key="canary").environ))
