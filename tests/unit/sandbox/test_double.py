"""The example of the documentation: StackStorm as a test double for other packages."""

from __future__ import annotations

# docs: begin
import requests

from st2_mistral_sandbox import RunRequest, RunResult, StackStorm


def restart(request: RunRequest) -> RunResult:
    """Do what the action of the pack would do."""
    return RunResult("succeeded", {"restarted": request.parameters["service"]})


def test_client_restarts_a_service() -> None:
    with StackStorm(runners={"restarter": restart}) as st2:
        st2.register_action(
            {
                "pack": "services",
                "name": "restart",
                "runner_type": "restarter",
                "parameters": {"service": {"type": "string", "required": True}},
            }
        )
        response = requests.post(
            f"{st2.api_url}/executions",
            json={"action": "services.restart", "parameters": {"service": "nginx"}},
            headers={"St2-Api-Key": st2.create_api_key()},
            timeout=5,
        )
        execution = st2.executions.wait(response.json()["id"])
    assert execution["status"] == "succeeded"
    assert execution["result"] == {"restarted": "nginx"}


# docs: end
