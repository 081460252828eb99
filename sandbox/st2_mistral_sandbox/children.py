"""Give runners of the stand-in what runners of StackStorm have in the same process."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import requests

from st2_mistral_sandbox.stackstorm import RunRequest

_SECONDS: Final = 10


class Executions:
    """The executions, as the user of the running one may use them."""

    def __init__(self, request: RunRequest) -> None:
        self._url = f"{request.api_url}/executions"
        self._headers = {"X-Auth-Token": request.auth_token}

    def ask(self, method: str, path: str = "", body: Any = None, **headers: str) -> dict[str, Any]:
        """Send a request.

        :param path: below ``/executions``.
        :raises requests.RequestException: StackStorm refused it, or has stopped.
        """
        response = requests.request(
            method,
            f"{self._url}{path}",
            json=body,
            headers={**self._headers, **headers},
            timeout=_SECONDS,
        )
        response.raise_for_status()
        shown: dict[str, Any] = response.json()
        return shown


def pass_on(request: RunRequest, status: str, wanted: str) -> None:
    """Request a status of the children of a workflow that have another one."""
    api = Executions(request)
    for child in request.execution.get("children", ()):
        if api.ask("GET", f"/{child}")["status"] == status:
            # Another runner than those of workflows refuses it.
            with contextlib.suppress(requests.HTTPError):
                api.ask("PUT", f"/{child}", {"status": wanted})
