"""The runner of the recordings: an execution runs until a client PUTs a final status."""

from __future__ import annotations

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult


class Extern:
    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        """The token of every run by execution id."""

    def run(self, request: RunRequest) -> RunResult:
        self.tokens[request.execution["id"]] = request.auth_token
        context = {"extern": {"wf_id": "w-00000000-0000-0000-0000-000000000000"}}
        return RunResult("running", request.parameters["first_result"], context)

    def cancel(self, request: RunRequest) -> RunResult:
        stays = request.parameters.get("cancel_mode") == "stay"
        return RunResult("canceling" if stays else "canceled", {})

    def runner(self) -> Runner:
        metadata = {
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
        }
        return Runner(self.run, self.cancel, metadata)
