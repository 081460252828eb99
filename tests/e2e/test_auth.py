"""A real Mistral whose users StackStorm authenticates, with relay and command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from support.command_line import run_command
from support.mistral_bench import Bench, new_bench
from support.waiting import TIMEOUT, eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.auth import St2Credential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Credential, St2Settings, Tls
from st2actions_mistral.client.st2_login import St2Login
from st2actions_mistral.model import states
from st2actions_mistral.model.project import DEFAULT_PROJECT, PROJECT_HEADER

RELAY = "resync_interval = 3"

# Mistral's policy reserves this for administrators.
FOR_ADMINS = "/executions?all_projects=true"


@pytest.fixture(scope="module")
def authenticated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox with one project for all users. Only operators create environments in Mistral."""
    folder = tmp_path_factory.mktemp("auth")
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text('"environments:create": "role:st2:operator"\n')
    options = (
        "[st2_auth]\nadmin_roles = system_admin\ncache_seconds = 1\n"
        f"[oslo_policy]\npolicy_file = {policy}"
    )
    for bench in new_bench(folder, auth=True, relay_options=RELAY, options=options):
        bench.stackstorm.set_roles("root", ["system_admin"])
        bench.stackstorm.set_roles("olga", ["operator"])
        yield bench


@pytest.fixture(scope="module")
def separate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox with a project for each user. The relay is the stand-in's first user."""
    folder = tmp_path_factory.mktemp("auth-projects")
    options = "[st2_auth]\nproject_per_user = true\nadmin_roles = admin\nrelay_users = st2admin"
    for bench in new_bench(folder, auth=True, relay_options=RELAY, options=options):
        bench.stackstorm.set_roles("root", ["admin"])
        yield bench


def key_of(bench: Bench, user: str) -> dict[str, str]:
    """Return the headers of a StackStorm user."""
    key: str = bench.stackstorm.create_api_key(user=user)
    return {"St2-Api-Key": key}


def call(
    bench: Bench, path: str, headers: dict[str, str], body: Any = None, method: str | None = None
) -> requests.Response:
    method = method or ("GET" if body is None else "POST")
    url = bench.mistral_url + path
    return requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT)


def mistral(bench: Bench, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the unmodified command line."""
    environment = {
        "PATH": os.environ["PATH"],
        "OS_MISTRAL_URL": bench.mistral_url,
        "MISTRAL_AUTH_TYPE": "st2",
        "OS_TARGET_AUTH_URL": "st2",
        **variables,
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("mistral")), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def save(bench: Bench, headers: dict[str, str], kind: str, text: str) -> None:
    url = f"{bench.mistral_url}/{kind}"
    headers = {**headers, "Content-Type": "text/plain"}
    saved = requests.post(url, data=textwrap.dedent(text), headers=headers, timeout=TIMEOUT)
    assert saved.status_code == 201, saved.text


def start(bench: Bench, headers: dict[str, str], workflow: str) -> str:
    started = call(bench, "/executions", headers, {"workflow_name": workflow})
    assert started.status_code == 201, started.text
    return str(started.json()["id"])


def ended(bench: Bench, headers: dict[str, str], id_: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = call(bench, f"/executions/{id_}", headers).json()
        return found if found["state"] in states.MISTRAL_FINAL else None

    return eventually(look, "the workflow ends")


def test_request_without_a_credential_is_401_and_says_what_to_do(authenticated: Bench) -> None:
    refused = call(authenticated, "/workflows", {})
    assert refused.status_code == 401
    assert "St2-Api-Key" in refused.json()["faultstring"]
    assert refused.headers["WWW-Authenticate"] == "StackStorm"
    # The versions of the API are open, as with keystone.
    assert call(authenticated, "/", {}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Auth-Token": "unknown"},
        {"St2-Api-Key": "unknown"},
        {"X-Auth-Token": "a", "St2-Api-Key": "b"},
        {"Cookie": "auth-token=unknown"},
        {"X-Identity-Status": "Confirmed", "X-User-Id": "root", "X-Roles": "admin"},
    ],
)
def test_invalid_credential_is_401(authenticated: Bench, headers: dict[str, str]) -> None:
    assert call(authenticated, "/workflows", headers).status_code == 401


def test_workflow_with_an_action_of_stackstorm_ends(authenticated: Bench) -> None:
    workflow = authenticated.workbook(
        "run: {action: st2.action, input: {ref: core.local, parameters: {cmd: echo hello}}}"
    )
    run = authenticated.run(workflow)
    assert run.execution["state"] == "SUCCESS"
    assert run.execution["project_id"] == DEFAULT_PROJECT
    assert run.result("run")["stdout"] == "hello"


def test_workflow_that_stackstorm_starts_ends(authenticated: Bench) -> None:
    execution = authenticated.execute("examples.mistral-basic", {"cmd": "echo hello"})
    assert execution["status"] == "succeeded", execution["result"]


def test_users_share_one_project(authenticated: Bench) -> None:
    workflow = authenticated.workbook("run: {action: std.noop}")
    id_ = start(authenticated, key_of(authenticated, "ada"), workflow)
    found = ended(authenticated, key_of(authenticated, "bob"), id_)
    assert (found["state"], found["project_id"]) == ("SUCCESS", DEFAULT_PROJECT)


def test_role_admin_is_that_of_the_configured_roles(authenticated: Bench) -> None:
    assert call(authenticated, FOR_ADMINS, key_of(authenticated, "ada")).status_code == 403
    assert call(authenticated, FOR_ADMINS, key_of(authenticated, "root")).status_code == 200


def test_policy_of_mistral_takes_the_roles_of_stackstorm(authenticated: Bench) -> None:
    body = {"name": "of-olga", "variables": "{}"}
    for user, status in (("ada", 403), ("root", 403), ("olga", 201)):
        answered = call(authenticated, "/environments", key_of(authenticated, user), body)
        assert answered.status_code == status, answered.text


def test_client_chooses_neither_user_nor_project_nor_roles(authenticated: Bench) -> None:
    workflow = authenticated.workbook("run: {action: std.echo output=<% $.openstack %>}")
    forged = {
        **key_of(authenticated, "ada"),
        "X-Roles": "admin",
        "X-Role": "admin",
        "X-User-Id": "root",
        "X-User": "root",
        "X-User-Name": "root",
        "X-Project-Id": "another",
        "X-Tenant-Id": "another",
        "X-Is-Admin-Project": "true",
        "X-Service-Roles": "admin",
        "OpenStack-System-Scope": "all",
        "X-Target-Auth-Uri": "http://another",
        "X-Target-Auth-Token": "another",
        "X-Target-Project-Id": "another",
        "X-Target-User-Id": "root",
        "X-Target-Insecure": "not a boolean",
    }
    assert call(authenticated, FOR_ADMINS, forged).status_code == 403
    run = authenticated.wait(start(authenticated, forged, workflow))
    assert run.execution["project_id"] == DEFAULT_PROJECT
    context = run.result("run")
    assert (context["user"], context["user_name"]) == ("ada", "ada")
    assert context["project_id"] == DEFAULT_PROJECT
    assert (context["roles"], context["is_admin"], context["is_target"]) == ([], False, False)
    assert "another" not in json.dumps(context)


def test_user_may_not_name_another_project(authenticated: Bench) -> None:
    headers = {**key_of(authenticated, "ada"), PROJECT_HEADER: "another"}
    refused = call(authenticated, "/workflows", headers)
    assert refused.status_code == 403
    assert "may not act in project 'another'" in refused.json()["faultstring"]


def test_revoked_token_ends_with_the_cache(authenticated: Bench) -> None:
    token = authenticated.stackstorm.create_token(user="ada")
    headers = {"X-Auth-Token": token}
    assert call(authenticated, "/workflows", headers).status_code == 200
    authenticated.stackstorm.revoke_token(token)
    # The cache lasts one second here.
    eventually(lambda: call(authenticated, "/workflows", headers).status_code == 401, "it ends", 30)


def test_command_line_logs_in_with_key_and_token(authenticated: Bench) -> None:
    for variables in (
        {"ST2_API_KEY": authenticated.stackstorm.create_api_key(user="ada")},
        {"ST2_AUTH_TOKEN": authenticated.stackstorm.create_token(user="ada")},
    ):
        done = mistral(authenticated, "action-list", "-f", "json", **variables)
        assert done.returncode == 0, done.stderr
        assert "st2.action" in {row["Name"] for row in json.loads(done.stdout)}


def test_command_line_shows_what_to_do(authenticated: Bench) -> None:
    done = mistral(authenticated, "workflow-list", ST2_API_KEY="unknown")
    assert done.returncode == 1
    assert "StackStorm rejects the credential in St2-Api-Key" in done.stderr
    # Without the variable, mistral sends no credential.
    done = mistral(authenticated, "workflow-list", ST2_API_KEY="k", OS_TARGET_AUTH_URL="")
    assert done.returncode == 1
    assert "OS_TARGET_AUTH_URL=st2" in done.stderr


def test_no_credential_is_stored_or_logged(authenticated: Bench) -> None:
    stackstorm: StackStorm = authenticated.stackstorm
    canaries = [stackstorm.create_api_key(user="ada"), stackstorm.create_token(user="ada")]
    for header, canary in zip(("St2-Api-Key", "X-Auth-Token"), canaries, strict=True):
        workflow = authenticated.workbook("run: {action: st2.action, input: {ref: core.noop}}")
        found = ended(authenticated, {header: canary}, start(authenticated, {header: canary}, workflow))
        assert found["state"] == "SUCCESS"
    canaries += ["canary-of-a-guess-1", "canary-of-a-guess-2"]
    for header, canary in zip(("St2-Api-Key", "X-Auth-Token"), canaries[2:], strict=True):
        assert call(authenticated, "/workflows", {header: canary}).status_code == 401
    files = [file for file in authenticated.sandbox.folder.rglob("*") if file.is_file()]
    assert {"mistral.sqlite", "mistral.log", "relay.log"} <= {file.name for file in files}
    for file in files:
        kept = file.read_bytes()
        assert [canary for canary in canaries if canary.encode() in kept] == [], file


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/cron_triggers", {"name": "t", "workflow_name": "std.x", "pattern": "* * * * *"}),
        (
            "/event_triggers",
            {"name": "t", "workflow_id": "1", "exchange": "e", "topic": "t", "event": "v"},
        ),
    ],
)
def test_triggers_that_need_keystone_are_refused_with_what_to_do(
    authenticated: Bench, path: str, body: dict[str, str]
) -> None:
    refused = call(authenticated, path, key_of(authenticated, "ada"), body)
    assert refused.status_code == 501
    assert "core.st2.CronTimer" in refused.json()["faultstring"]


OF_BOTH = """\
version: '2.0'
outer:
  tasks:
    first: {action: st2.action, input: {ref: core.noop}, on-success: second}
    second: {action: named, on-success: third}
    third: {workflow: inner, publish: {who: <% task(third).result.who %>}}
  output: {who: <% $.who %>, name: <% task(second).result %>}
"""
INNER = """\
version: '2.0'
inner:
  output: {{who: {user}}}
  tasks:
    only: {{action: st2.action, input: {{ref: core.noop}}}}
"""
NAMED = "version: '2.0'\nnamed: {{base: std.echo, base-input: {{output: {user}}}}}\n"


def test_workflows_of_two_users_never_touch_each_other(separate: Bench) -> None:
    users = {user: key_of(separate, user) for user in ("ada", "bob")}
    for user, headers in users.items():
        save(separate, headers, "actions", NAMED.format(user=user))
        save(separate, headers, "workflows", INNER.format(user=user))
        save(separate, headers, "workflows", OF_BOTH)
    started = {user: [start(separate, key, "outer") for _ in range(3)] for user, key in users.items()}
    for user, headers in users.items():
        for id_ in started[user]:
            found = ended(separate, headers, id_)
            assert found["state"] == "SUCCESS", found["state_info"]
            assert json.loads(found["output"]) == {"who": user, "name": user}
            (other,) = users.keys() - {user}
            assert call(separate, f"/executions/{id_}", users[other]).status_code == 404
    admin = key_of(separate, "root")
    for kind, count in (("executions", 6), ("tasks", 12), ("action_executions", 9)):
        rows = call(separate, f"/{kind}", admin).json()[kind]
        projects = [row["project_id"] for row in rows]
        assert sorted(projects) == ["ada"] * count + ["bob"] * count


def test_relays_user_changes_nothing_without_naming_the_project(separate: Bench) -> None:
    headers = key_of(separate, "st2admin")
    assert call(separate, "/executions", headers).status_code == 200
    refused = call(separate, "/executions", headers, {"workflow_name": "outer"})
    assert refused.status_code == 403
    assert "[st2_relay] auth_type = st2" in refused.json()["faultstring"]


def test_check_finds_a_relay_that_may_not_act(separate: Bench) -> None:
    for user, message in (("st2admin", None), ("ada", "relay_users")):
        settings = St2Settings(
            api_url=separate.stackstorm.api_url,
            credential=Credential(api_key=separate.stackstorm.create_api_key(user=user)),
        )
        file = separate.sandbox.folder / f"{user}.conf"
        file.write_text(
            f"[st2]\napi_url = {settings.api_url}\napi_key = {settings.credential.api_key}\n"
            f"[st2_relay]\nmistral_url = {separate.mistral_url}\nauth_type = st2\n"
        )
        file.chmod(0o600)
        done = run_command("check", "--config-file", file)
        if message is None:
            assert "the relay may act in the projects of all pending actions" in done.stdout
        else:
            assert message in done.stdout


OF_ADA = "version: '2.0'\nof-ada: {tasks: {only: {action: std.noop}}}\n"


def test_name_that_mysql_may_take_for_another_has_a_project_of_its_own(separate: Bench) -> None:
    save(separate, key_of(separate, "Ada"), "workflows", OF_ADA)
    assert call(separate, "/workflows/of-ada", key_of(separate, "Ada")).status_code == 200
    assert call(separate, "/workflows/of-ada", key_of(separate, "ada")).status_code == 404


def test_client_with_a_password_logs_in_for_mistral(authenticated: Bench) -> None:
    stackstorm: StackStorm = authenticated.stackstorm
    given = Credential(
        username=stackstorm.username, password=stackstorm.password, auth_url=stackstorm.auth_url
    )
    settings = St2Settings(api_url=stackstorm.api_url, credential=given)
    with closing(new_session(Tls())) as session:
        login = St2Login(St2Credential(settings, session))
        with closing(MistralClient(authenticated.sandbox.mistral_settings, credential=login)) as client:
            assert client.knows_action("st2.action")
