from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from st2actions_mistral.sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm

pytest.register_assert_rewrite("standin_recordings")


def run_extern(request: RunRequest) -> RunResult:
    """The runner that the recordings were made with: stays running until somebody PUTs."""
    context = {"extern": {"wf_id": "w-00000000-0000-0000-0000-000000000000"}}
    return RunResult("running", request.parameters["first_result"], context)


def cancel_extern(request: RunRequest) -> RunResult:
    stays = request.parameters.get("cancel_mode") == "stay"
    return RunResult("canceling" if stays else "canceled", {})


EXTERN = Runner(
    run_extern,
    cancel_extern,
    {
        "description": "Test runner driven from outside (stays running until PUT)",
        "runner_package": "extern_runner",
        "runner_module": "extern_runner",
        "runner_parameters": {
            "first_result": {
                "type": "object",
                "default": {"note": "started"},
                "description": "what run() returns as result",
            }
        },
    },
)


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    folder = Path(__file__).parent / "actions"
    with StackStorm(runners={"extern-async": EXTERN}, action_dirs=[folder], heartbeat=0.5) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def fill(st2: StackStorm) -> dict[str, str]:
    """What stands for the placeholders of the recordings."""

    def basic(password: str) -> str:
        return base64.b64encode(f"{st2.username}:{password}".encode()).decode()

    return {
        "{token}": st2.create_token(),
        "{expired}": st2.create_token(ttl_seconds=-1),
        "{key}": st2.create_api_key(),
        "{basic}": basic(st2.password),
        "{wrong-basic}": basic("nope"),
    }
