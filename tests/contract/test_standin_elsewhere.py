"""The suite against a server that the environment names; here a stand-in in its own process."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.contract.recordings import assert_same, load
from support.contract.target import Target, missing, of_environment, roots

HERE = Path(__file__).parent


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """What it printed: api, auth, stream, user, password, api key."""
    command = [sys.executable, "-m", "st2_mistral_sandbox.stackstorm", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = "".join(process.stdout.readline() for _ in range(6))
        yield dict(re.findall(r"^(api key|\w+) +(\S+)$", said, re.M))
        process.terminate()


@pytest.mark.needs("stand-in")
def test_cases_are_chosen_and_run(server: dict[str, str]) -> None:
    environment = {
        **os.environ,
        "ST2_API_URL": server["api"],
        "ST2_USERNAME": server["user"],
        "ST2_PASSWORD": server["password"],
    }
    words = ["-q", "-p", "no:cacheprovider", "-k", "test_query or test_content or 04_30"]
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
    assert f" not run against {server['api']}: they need the runner extern-async" in done.stdout


@pytest.mark.needs("stand-in")
def test_a_key_is_enough_and_nothing_is_left_behind(server: dict[str, str]) -> None:
    environment = {"ST2_API_URL": server["api"], "ST2_API_KEY": server["api key"]}
    assert {"token", "password"} < missing(environment)
    action = {"name": "made_for_a_test", "runner_type": "noop", "entry_point": ""}
    target = of_environment(environment, [action])
    assert target.user == server["user"]
    assert target.ask("GET", "/actions/default.made_for_a_test").status_code == 200
    target.close()
    assert target.ask("GET", "/actions/default.made_for_a_test").status_code == 404


def test_what_an_action_made_over_the_api_has_is_not_compared() -> None:
    recording = load("refusals")["04_07"]
    recorded = recording["response"]
    body = copy.deepcopy(recorded["body"])
    body["action"] |= {"metadata_file": "", "output_schema": {"additionalItems": {}, "default": {}}}
    answer = requests.Response()
    answer.status_code = recorded["status"]
    answer.headers.update({name: str(value) for name, value in recorded["headers"].items()})
    answer._content = json.dumps(body).encode()
    assert_same(Target({}), answer, recording)
    answer._content = json.dumps({**body, "status": "failed"}).encode()
    with pytest.raises(AssertionError):
        assert_same(Target({}), answer, recording)


@pytest.mark.parametrize(
    ("api", "auth", "stream"),
    [
        ("http://st2:9101/v1", "http://st2:9100", "http://st2:9102"),
        ("http://st2:9101", "http://st2:9100", "http://st2:9102"),
        ("https://st2/api/v1/", "https://st2/auth", "https://st2/stream"),
    ],
)
def test_other_services_are_found_beside_the_api(api: str, auth: str, stream: str) -> None:
    found = roots({"ST2_API_URL": api})
    assert (found["/auth"], found["/stream"]) == (auth, stream)
    named = {"ST2_AUTH_URL": f"{auth}/v1", "ST2_STREAM_URL": f"{stream}/v1/stream"}
    assert roots({"ST2_API_URL": api, **named}) == found
