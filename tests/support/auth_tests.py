"""A test of a process of Mistral's API whose users StackStorm authenticates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from support.breaking_servers import BreakingServer, answer, stall
from support.cluster.mistral_cluster import Cluster
from support.mistral_bench import Bench
from support.proxy import Switch
from support.waiting import TIMEOUT

FORGED = {
    "X-Roles": "admin",
    "X-Project-Id": "another",
    "X-User-Id": "another",
    "X-Target-Auth-Uri": "http://another",
    "X-Target-Auth-Token": "another",
    "X-Target-Project-Id": "another",
}


def test_stackstorm_authenticates_users(cluster: Cluster, bench: Bench) -> None:
    """Mistral 20 to 23: a user, rejections, an outage, forged headers, and the command line."""
    switch = Switch(cluster.stackstorm.base_url)
    key = cluster.stackstorm.create_api_key(user="ada")
    login = {"St2-Api-Key": key}
    workflow = bench.workbook("run: {action: st2.action, input: {ref: core.noop}}")
    with BreakingServer(switch) as gate:
        options = (
            "[DEFAULT]\nauth_type = st2\ndebug = true\n[pecan]\nauth_enable = true\n"
            f"[st2]\napi_url = {gate.url}/api/v1\n[st2_auth]\ntimeout = 1\ncache_seconds = 1\n"
        )
        with cluster.second_api(options) as url:

            def send(path: str, headers: dict[str, str], body: Any = None) -> requests.Response:
                method = "POST" if body else "GET"
                return requests.request(method, url + path, json=body, headers=headers, timeout=60)

            for headers in ({}, {"X-Auth-Token": "unknown"}, {"X-Identity-Status": "Confirmed"}):
                refused = send("/workflows", headers)
                assert refused.status_code == 401
                assert refused.headers["Server-Error-Message"] == refused.json()["faultstring"]
            # Mistral's policy reserves this for administrators.
            assert send("/executions?all_projects=true", {**login, **FORGED}).status_code == 403

            started = send("/executions", {**login, **FORGED}, {"workflow_name": workflow})
            assert started.status_code == 201, started.text
            run = bench.wait(started.json()["id"])
            assert (run.execution["state"], run.execution["project_id"]) == (
                "SUCCESS",
                "<default-project>",
            )
            listed = mistral(url, ST2_API_KEY=key)
            assert "st2.action" in {row["Name"] for row in json.loads(listed.stdout)}, listed.stderr
            assert "StackStorm rejects the credential" in mistral(url, ST2_API_KEY="unknown").stderr

            for behaviour in (stall(), answer(500, b""), answer(200, {"valid": True})):
                switch.behaviour = behaviour
                away = send("/workflows", {"X-Auth-Token": cluster.stackstorm.create_token()})
                assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
            for file in cluster.folder.glob("*.log"):
                assert key not in file.read_text(errors="replace"), file
            assert "Traceback" not in (cluster.folder / "second-api.log").read_text()


def mistral(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """List the actions with the unmodified command line."""
    login = {"MISTRAL_AUTH_TYPE": "st2", "OS_TARGET_AUTH_URL": "st2", "OS_MISTRAL_URL": url}
    return subprocess.run(
        [Path(sys.prefix, "bin", "mistral"), "action-list", "-f", "json"],
        env={"PATH": os.environ["PATH"], **login, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
