"""The contract tests against the server that the environment names: a stand-in in its own process."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.contract.recordings import assert_same, load, response_of
from support.contract.target import Target, missing, of_environment, roots

HERE = Path(__file__).parent


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """Start a stand-in and yield what it printed: api, auth, stream, user, password, api key."""
    command = [sys.executable, "-m", "st2_mistral_sandbox.stackstorm", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        output = "".join(process.stdout.readline() for _ in range(6))
        yield dict(re.findall(r"^(api key|\w+) +(\S+)$", output, re.M))
        process.terminate()


@pytest.mark.needs("stand-in")
def test_only_the_tests_that_the_server_can_run_are_selected(server: dict[str, str]) -> None:
    environment = {
        **os.environ,
        "ST2_API_URL": server["api"],
        "ST2_USERNAME": server["user"],
        "ST2_PASSWORD": server["password"],
    }
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "test_query_request or test_content_request or expired_token",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(HERE / "test_standin_replay.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^1\d passed, \d+ deselected", done.stdout, re.M), done.stdout
    assert f" tests not run against {server['api']}: they need the runner extern-async" in done.stdout


@pytest.mark.needs("stand-in")
def test_actions_are_deleted_after_a_run_with_an_api_key_only(server: dict[str, str]) -> None:
    environment = {"ST2_API_URL": server["api"], "ST2_API_KEY": server["api key"]}
    assert {"token", "password"} < missing(environment)
    action = {"name": "created_for_a_test", "runner_type": "noop", "entry_point": ""}
    target = of_environment(environment, [action])
    assert target.user == server["user"]
    assert target.ask("GET", "/actions/default.created_for_a_test").status_code == 200
    target.close()
    assert target.ask("GET", "/actions/default.created_for_a_test").status_code == 404


def test_defaults_of_an_action_created_over_the_api_are_ignored() -> None:
    recording = load("refusals")["int_as_string"]
    recorded = recording["response"]
    body = copy.deepcopy(recorded["body"])
    body["action"] |= {"metadata_file": "", "output_schema": {"additionalItems": {}, "default": {}}}
    headers = {name: str(value) for name, value in recorded["headers"].items()}

    def answer(body: dict[str, Any]) -> requests.Response:
        response = requests.Response()
        response.status_code = recorded["status"]
        response.headers.update(headers)
        response.raw = io.BytesIO(json.dumps(body).encode())
        return response

    assert_same(Target({}), answer(body), recording)
    with pytest.raises(AssertionError):
        assert_same(Target({}), answer({**body, "status": "failed"}), recording)


@pytest.mark.parametrize(
    ("version", "status"), [("3.9.0", 400), ("3.9.1", 400), ("3.10dev", 500), ("3.10.0", 500)]
)
def test_server_must_answer_as_its_version_does(version: str, status: int) -> None:
    assert response_of(load("refusals")["body_list"], version)["status"] == status


@pytest.mark.parametrize(
    ("api", "auth", "stream"),
    [
        ("http://st2:9101/v1", "http://st2:9100", "http://st2:9102"),
        ("http://st2:9101", "http://st2:9100", "http://st2:9102"),
        ("https://st2/api/v1/", "https://st2/auth", "https://st2/stream"),
    ],
)
def test_urls_of_other_services_are_derived_from_the_api(api: str, auth: str, stream: str) -> None:
    found = roots({"ST2_API_URL": api})
    assert (found["/auth"], found["/stream"]) == (auth, stream)
    named = {"ST2_AUTH_URL": f"{auth}/v1", "ST2_STREAM_URL": f"{stream}/v1/stream"}
    assert roots({"ST2_API_URL": api, **named}) == found
