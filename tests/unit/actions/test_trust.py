"""Both actions reject untrusted contexts before anything is sent."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.actions.callback import St2Callback
from st2actions_mistral.model.context import sign

Configure = Callable[..., None]
MakeContext = Callable[..., Any]

PARENT_ID = "6b03c160746e6986596007f7"
OTHER_ID = "6b03c160746e6986596007f8"
CONTEXT = {"parent": {"execution_id": PARENT_ID, "user": "stanley"}, "workflow_execution_id": "w-1"}
SIGNED = sign(CONTEXT, "hush-context")
DONE = answer(200, {"id": PARENT_ID, "status": "succeeded"})


def run(kind: str, st2_context: Any, context: Any) -> Any:
    """Run one of the actions and return its error, or None."""
    if kind == "action":
        result = St2Action("core.noop", {"a": 1}, st2_context).run(context)
    else:
        result = St2Callback("SUCCESS", "all", st2_context).run(context)
    return result.error if result is not None and result.is_error() else None


both = pytest.mark.parametrize("kind", ["action", "callback"])


def _spellings(port: int) -> list[str]:
    decimal = int(ipaddress.ip_address("127.0.0.1"))
    hosts = ["127.1", str(decimal), hex(decimal), "0x7f.1", "0177.0.0.1", "127.0.0.1.", "localhost"]
    hosts += ["0.0.0.0", "0", "[::ffff:127.0.0.1]", "u:p@127.0.0.1", "%31%32%37.0.0.1", "１２７.0.0.1"]
    urls = [f"http://{host}:{port}" for host in hosts]
    here = f"http://127.0.0.1:{port}"
    return [
        *urls,
        f"{here}/.",
        f"{here}/../",
        f"{here}?a",
        f"{here}#a",
        f"{here}\\",
        f"{here}\n",
        f" {here}",
    ]


@both
@pytest.mark.parametrize("number", range(20))
def test_another_spelling_of_our_url_gets_no_connection(
    configure: Configure, make_context: MakeContext, kind: str, number: int
) -> None:
    # Each spelling would reach the server, or at least be attempted.
    with BreakingServer(DONE) as server:
        api_url = _spellings(server.port)[number]
        configure(api_url=server.url, api_key="hush-key", context_key=["hush-context"])
        # Signed: even a holder of the key must not choose where our credential goes.
        context = sign({**CONTEXT, "api_url": api_url}, "hush-context")
        error = run(kind, context, make_context())
        assert server.connections == 0
    assert error["error"].startswith("st2_context.api_url: ")
    assert "hush" not in str(error)


def test_all_spellings_are_tested() -> None:
    assert len(_spellings(1)) == 20
    # Otherwise the test above would not be about the same host.
    assert socket.gethostbyname("127.1") == socket.gethostbyname("0x7f.1") == "127.0.0.1"


@both
def test_allowed_stackstorm_gets_no_credential(
    configure: Configure, make_context: MakeContext, kind: str
) -> None:
    with BreakingServer(DONE) as ours, BreakingServer(DONE) as other:
        configure(
            api_url=ours.url,
            api_key="hush-key",
            allowed_api_urls=[other.url],
            context_key=["hush-context"],
        )
        context = sign({**CONTEXT, "api_url": f"{other.url}/"}, "hush-context")
        assert run(kind, context, make_context()) is None
        assert ours.connections == 0
        [request] = other.requests
    assert "hush" not in str(dict(request.headers)) + request.path
    assert not {"st2-api-key", "x-auth-token", "authorization", "cookie"} & set(request.headers)


@both
@pytest.mark.parametrize(
    "context",
    [
        CONTEXT,
        {**SIGNED, "signature": None},
        {**SIGNED, "signature": ""},
        {**SIGNED, "signature": "0" * 64},
        {**SIGNED, "signature": SIGNED["signature"].upper()},
        {**SIGNED, "signature": [SIGNED["signature"]]},
        {**SIGNED, "parent": {"execution_id": OTHER_ID, "user": "stanley"}},
        {**SIGNED, "parent": {"execution_id": PARENT_ID, "user": "root"}},
        {**SIGNED, "parent": {"execution_id": PARENT_ID}},
        {**SIGNED, "parent": {"execution_id": PARENT_ID, "user": "stanley", "more": 1}},
        {**SIGNED, "api_url": "OURS"},
        {**SIGNED, "notify": {"on-complete": {"routes": ["evil"]}}},
        {**SIGNED, "skip_notify_tasks": ["a"]},
        {**SIGNED, "workflow_execution_id": None},
        {key: value for key, value in SIGNED.items() if key != "workflow_execution_id"},
        sign(CONTEXT, "hush-other"),
        sign(CONTEXT, ""),
        sign({**CONTEXT, "workflow_execution_id": "w-2"}, "hush-context"),
    ],
)
def test_unsigned_or_altered_context_is_rejected(
    configure: Configure, make_context: MakeContext, kind: str, context: dict[str, Any]
) -> None:
    with BreakingServer(DONE) as server:
        configure(api_url=server.url, api_key="hush-key", context_key=["hush-context", "hush-2"])
        if context.get("api_url"):
            context = {**context, "api_url": server.url}
        error = run(kind, context, make_context())
        assert server.connections == 0
    assert error["error"].startswith(("st2_context.signature: ", "st2_context.workflow_execution_id: "))
    assert "hush" not in str(error)


@both
@pytest.mark.parametrize("key", ["hush-context", "hush-2"])
def test_a_signature_by_either_key_is_valid(
    configure: Configure, make_context: MakeContext, kind: str, key: str
) -> None:
    with BreakingServer(DONE) as server:
        configure(api_url=server.url, context_key=["hush-context", "hush-2"])
        assert run(kind, sign(CONTEXT, key), make_context()) is None
        assert len(server.requests) == 1
