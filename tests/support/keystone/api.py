"""Change a keystone by its REST API, as its administrator or as one of its users."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from keystoneauth1.exceptions import NotFound
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

DOMAIN: Final = "default"
"""The id of the domain of all projects and users."""

ADMIN: Final = "admin"
"""The user that keystone's bootstrap creates, and its project."""


def password_of(user: str) -> str:
    """Return the password that all users of this name get."""
    return f"secret-of-{user}"


class Keystone:
    """A keystone whose users and projects are in one domain, and named.

    Methods take names of users, projects and roles, and send one request each beside the look-ups.

    :param url: of version 3 of the API.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._admin = self.session(ADMIN, ADMIN)

    def project(self, name: str) -> str:
        """Return the id of a project."""
        return self._id("projects", name)

    def user(self, name: str) -> str:
        """Return the id of a user."""
        return self._id("users", name)

    def role(self, name: str) -> str:
        """Return the id of a role."""
        return self._id("roles", name)

    def create_project(self, name: str) -> str:
        """Create a project, and return its id."""
        body = {"project": {"name": name, "domain_id": DOMAIN}}
        return str(self._send("POST", "/projects", body)["project"]["id"])

    def create_user(self, name: str) -> str:
        """Create a user with the password :func:`password_of`, and return its id."""
        body = {"user": {"name": name, "domain_id": DOMAIN, "password": password_of(name)}}
        return str(self._send("POST", "/users", body)["user"]["id"])

    def create_role(self, name: str) -> str:
        """Create a role, and return its id."""
        return str(self._send("POST", "/roles", {"role": {"name": name}})["role"]["id"])

    def grant(self, role: str, user: str, project: str) -> None:
        """Give a user a role on a project."""
        self._send("PUT", self._assignment(role, user, project))

    def revoke(self, role: str, user: str, project: str) -> None:
        """Take a role on a project from a user."""
        self._send("DELETE", self._assignment(role, user, project))

    def grant_inherited(self, role: str, user: str) -> None:
        """Give a user a role on all projects of the domain, also on later ones."""
        self._send("PUT", self._inherited(role, user))

    def revoke_inherited(self, role: str, user: str) -> None:
        """Take from a user what :meth:`grant_inherited` gave."""
        self._send("DELETE", self._inherited(role, user))

    def enable_user(self, name: str, enabled: bool = True) -> None:
        """Enable or disable a user."""
        self._send("PATCH", f"/users/{self.user(name)}", {"user": {"enabled": enabled}})

    def delete_user(self, name: str) -> None:
        self._send("DELETE", f"/users/{self.user(name)}")

    def enable_project(self, name: str, enabled: bool = True) -> None:
        """Enable or disable a project."""
        self._send("PATCH", f"/projects/{self.project(name)}", {"project": {"enabled": enabled}})

    def delete_project(self, name: str) -> None:
        self._send("DELETE", f"/projects/{self.project(name)}")

    def set_endpoint(self, service: str, url: str) -> None:
        """Create or replace the public endpoint of a service, such as "workflowv2"."""
        found = self._send("GET", f"/services?type={service}")["services"]
        if not found:
            body = {"service": {"type": service, "name": service}}
            found = [self._send("POST", "/services", body)["service"]]
        about = {"service_id": found[0]["id"], "interface": "public"}
        query = "&".join(f"{key}={value}" for key, value in about.items())
        for endpoint in self._send("GET", f"/endpoints?{query}")["endpoints"]:
            self._send("DELETE", f"/endpoints/{endpoint['id']}")
        self._send("POST", "/endpoints", {"endpoint": {**about, "url": url}})

    def create_trust(
        self,
        trustor: str,
        project: str,
        trustee: str,
        *roles: str,
        expires_at: datetime | None = None,
        impersonation: bool = True,
    ) -> str:
        """Create a trust, as the trustor, and return its id.

        :param roles: names of roles that the trustor has on the project.
        """
        trust = {
            "trustor_user_id": self.user(trustor),
            "trustee_user_id": self.user(trustee),
            "project_id": self.project(project),
            "impersonation": impersonation,
            "roles": [{"name": role} for role in roles],
            "expires_at": expires_at and expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        session = self.session(trustor, project)
        return str(
            _send(session, self.url, "POST", "/OS-TRUST/trusts", {"trust": trust})["trust"]["id"]
        )

    def trusts(self, trustor: str | None = None) -> list[dict[str, Any]]:
        """Return all trusts, or those of a user, without the deleted ones."""
        query = f"?trustor_user_id={self.user(trustor)}" if trustor else ""
        found: list[dict[str, Any]] = self._send("GET", f"/OS-TRUST/trusts{query}")["trusts"]
        return found

    def trust(self, trust_id: str) -> dict[str, Any] | None:
        """Return a trust with its roles; None if it was deleted or its user is gone."""
        try:
            found: dict[str, Any] = self._send("GET", f"/OS-TRUST/trusts/{trust_id}")["trust"]
        except NotFound:
            return None
        return found

    def delete_trust(self, trust_id: str) -> None:
        self._send("DELETE", f"/OS-TRUST/trusts/{trust_id}")

    def create_application_credential(
        self, user: str, project: str, *, unrestricted: bool = False
    ) -> tuple[str, str]:
        """Create one with all of the user's roles on the project, and return its id and its secret.

        :param unrestricted: it may create trusts and further application credentials.
        """
        path = f"/users/{self.user(user)}/application_credentials"
        given = {"name": f"of-{user}-{project}", "unrestricted": unrestricted}
        session = self.session(user, project)
        made = _send(session, self.url, "POST", path, {"application_credential": given})
        found = made["application_credential"]
        return str(found["id"]), str(found["secret"])

    def password(self, user: str, project: str | None) -> v3.Password:
        """Return the plugin of keystoneauth for a user and a project; None: without a project."""
        scope = (
            {"project_name": project, "project_domain_id": DOMAIN} if project else {"unscoped": True}
        )
        return v3.Password(
            auth_url=self.url,
            username=user,
            password=password_of(user),
            user_domain_id=DOMAIN,
            **scope,
        )

    def session(self, user: str, project: str | None) -> Session:
        """Return a session of a user with a token for a project; None: a token without a project."""
        return Session(auth=self.password(user, project))

    def trust_session(self, trustee: str, trust_id: str) -> Session:
        """Return a session of a user with a token of a trust."""
        return Session(
            auth=v3.Password(
                auth_url=self.url,
                username=trustee,
                password=password_of(trustee),
                user_domain_id=DOMAIN,
                trust_id=trust_id,
            )
        )

    def token(self, user: str, project: str | None) -> str:
        """Return a new token of a user for a project; None: without a project."""
        return str(self.session(user, project).get_token())

    def options(self, user: str, project: str) -> str:
        """Return the options of keystoneauth for a user with a token for a project."""
        return (
            f"auth_type = v3password\nauth_url = {self.url}\n"
            f"username = {user}\npassword = {password_of(user)}\nuser_domain_id = {DOMAIN}\n"
            f"project_name = {project}\nproject_domain_id = {DOMAIN}\n"
        )

    def _assignment(self, role: str, user: str, project: str) -> str:
        return f"/projects/{self.project(project)}/users/{self.user(user)}/roles/{self.role(role)}"

    def _inherited(self, role: str, user: str) -> str:
        return (
            f"/OS-INHERIT/domains/{DOMAIN}/users/{self.user(user)}/roles/{self.role(role)}"
            "/inherited_to_projects"
        )

    def _id(self, kind: str, name: str) -> str:
        (found,) = self._send("GET", f"/{kind}?name={name}")[kind]
        return str(found["id"])

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        return _send(self._admin, self.url, method, path, body)


def _send(session: Session, url: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request, and return the decoded answer."""
    answer = session.request(url + path, method, json=body)
    return answer.json() if answer.content else None
