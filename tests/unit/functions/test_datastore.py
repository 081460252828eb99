"""``st2kv`` against a StackStorm."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from mistral.expressions import evaluate
from support.breaking_servers import BreakingServer, answer, refusing, stall

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.datastore import st2kv
from st2actions_mistral.model.context import sign

Configure = Callable[..., None]

PARENT = {"execution_id": "6b03c160746e6986596007f7", "user": "ada"}
SECRET = "hush-context"


@pytest.fixture
def _connected(configure: Configure, st2: StackStorm, key: str) -> None:
    configure(api_url=st2.api_url, api_key=key)


def context(st2_context: Any = None, workflow: str = "w-1") -> dict[str, Any]:
    """Return Mistral's context of a workflow."""
    env = {"__actions": {"st2.action": {"st2_context": st2_context}}} if st2_context else {}
    return {"__env": env, "__execution": {"id": workflow}, "name": "system.marco"}


@pytest.mark.usefixtures("_connected")
def test_key_of_the_system(put: Callable[..., None]) -> None:
    put("marco", "polo")
    assert st2kv(context(), "system.marco") == "polo"
    assert evaluate("<% st2kv('system.marco') %>", context()) == "polo"
    assert evaluate("{{ st2kv('system.marco') }}", context()) == "polo"
    assert evaluate("{{ _.name | st2kv }} and <", context()) == "polo and <"


@pytest.mark.usefixtures("_connected")
def test_key_of_the_credentials_user(put: Callable[..., None]) -> None:
    put("mine", "own", scope="user")
    assert st2kv(context(), "mine") == "own"
    with pytest.raises(InputError, match="st2kv: StackStorm has no key 'mine' in the scope system"):
        st2kv(context(), "system.mine")


@pytest.mark.usefixtures("_connected")
def test_secret_is_decrypted_on_request_only(put: Callable[..., None]) -> None:
    put("sec", "hush", secret=True)
    assert st2kv(context(), "system.sec", decrypt=True) == "hush"
    assert evaluate("<% st2kv('system.sec', decrypt => true) %>", context()) == "hush"
    assert st2kv(context(), "system.sec").startswith("30303030")


@pytest.mark.parametrize("decrypt", ["false", 1, None])
def test_decrypt_is_true_or_false(configure: Configure, decrypt: Any) -> None:
    configure(api_url="http://127.0.0.1:1")
    with pytest.raises(InputError, match="st2kv: decrypt must be true or false"):
        st2kv(context(), "system.sec", decrypt)


@pytest.mark.usefixtures("_connected")
@pytest.mark.parametrize("name", ["a.b.c", "a:b", "ä/ö", "..", "a b?c=d&user=x", "%41"])
def test_name_reaches_stackstorm_unchanged(st2: StackStorm, name: str) -> None:
    with pytest.raises(InputError, match="st2kv: StackStorm has no key"):
        st2kv(context(), f"system.{name}")
    with pytest.raises(InputError, match="of the user of Mistral's credential"):
        st2kv(context(), name)


@pytest.mark.parametrize("name", ["", "system.", None, 5, ["system.a"]])
def test_invalid_key(configure: Configure, name: Any) -> None:
    configure(api_url="http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"is no key. Write 'system.KEY', or 'KEY' for a user's own"):
        st2kv(context(), name)


def value(text: str = "v") -> Any:
    return answer(200, {"name": "k", "value": text})


def test_signed_user_is_whose_key_is_read(configure: Configure) -> None:
    with BreakingServer(value()) as server:
        configure(api_url=server.url, context_key=[SECRET])
        signed = sign({"parent": PARENT}, SECRET)
        assert st2kv(context(signed), "k") == "v"
        assert st2kv(context(signed), "system.k") == "v"
        assert st2kv(context(), "k") == "v"
        assert [request.path for request in server.requests] == [
            "/keys/k?scope=user&user=ada",
            "/keys/k?scope=system",
            "/keys/k?scope=user",
        ]


def test_unsigned_user_is_not_passed_on(configure: Configure) -> None:
    """The workflow's actions run as the credential's user too then."""
    with BreakingServer(value()) as server:
        configure(api_url=server.url)
        assert st2kv(context({"parent": PARENT}), "k") == "v"
        assert [request.path for request in server.requests] == ["/keys/k?scope=user"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"parent": PARENT}, "st2_context.signature: does not match"),
        ({**sign({"parent": PARENT}, SECRET), "parent": {**PARENT, "user": "eve"}}, "st2_context.sig"),
        (
            sign({"parent": PARENT, "workflow_execution_id": "w-2"}, SECRET),
            "another workflow execution",
        ),
        (sign({"parent": {"execution_id": "x"}}, SECRET), "24 hexadecimal digits"),
        ("text", "st2_context: must be an object"),
    ],
)
def test_context_that_is_not_trusted_reads_no_key_of_a_user(
    configure: Configure, given: Any, reason: str
) -> None:
    with BreakingServer(value()) as server:
        configure(api_url=server.url, context_key=[SECRET])
        with pytest.raises(InputError, match=reason):
            st2kv(context(given), "k")
        assert server.requests == []


def test_other_stackstorm_gets_no_credential(configure: Configure) -> None:
    with BreakingServer(value()) as server, BreakingServer(value("own")) as own:
        configure(api_url=own.url, api_key="k")
        with pytest.raises(InputError, match="is neither the configured StackStorm"):
            st2kv(context({"api_url": server.url}), "system.k")
        configure(allowed_api_urls=[server.url])
        assert st2kv(context({"api_url": server.url}), "system.k") == "v"
        (request,) = server.requests
        assert "st2-api-key" not in request.headers


def test_value_is_kept_for_the_same_question_only(configure: Configure) -> None:
    with BreakingServer(*[value(str(number)) for number in range(1, 10)]) as server:
        configure(api_url=server.url, context_key=[SECRET])
        ada = context(sign({"parent": PARENT}, SECRET))
        bob = context(sign({"parent": {**PARENT, "user": "bob"}}, SECRET))
        asked = [(ada, "k"), (bob, "k"), (context(), "k"), (ada, "system.k"), (bob, "system.k")]
        assert [st2kv(who, what) for who, what in asked] == ["1", "2", "3", "4", "4"]
        assert st2kv(ada, "k", decrypt=True) == "5"
        assert [st2kv(who, what) for who, what in asked] == ["1", "2", "3", "4", "4"]
        configure(api_key="other")
        assert st2kv(ada, "k") == "6"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (
            403,
            {"faultstring": "no"},
            r"Mistral's credential .* the user ada.*RBAC is enabled.*403 no",
        ),
        (401, {"faultstring": "Unauthorized"}, "StackStorm rejects the request: .*401 Unauthorized"),
        (404, {"faultstring": "missing"}, "StackStorm has no key 'k' of the user ada"),
        (500, {"faultstring": "broken"}, "StackStorm does not respond: .*500"),
        (200, {"name": "k"}, "StackStorm does not respond: .*has no value"),
        (302, {}, "StackStorm rejects the request: .*302"),
    ],
)
def test_refusals(configure: Configure, status: int, body: Any, reason: str) -> None:
    with BreakingServer(answer(status, body)) as server:
        configure(api_url=server.url, api_key="hush-key", context_key=[SECRET])
        with pytest.raises(InputError, match=f"st2kv: {reason}") as caught:
            st2kv(context(sign({"parent": PARENT}, SECRET)), "k")
        assert "hush" not in str(caught.value)
        assert len(server.requests) == 1
        assert caught.value.__context__ is None


def test_user_without_rbac_is_refused(configure: Configure, st2: StackStorm, key: str) -> None:
    configure(api_url=st2.api_url, api_key=key, context_key=[SECRET])
    with pytest.raises(InputError, match="only if RBAC is enabled in StackStorm"):
        st2kv(context(sign({"parent": PARENT}, SECRET)), "k")


def test_stackstorm_that_is_away_is_asked_once(configure: Configure) -> None:
    with refusing() as url:
        configure(api_url=url, retry_deadline=60)
        with pytest.raises(InputError, match=r"st2kv: StackStorm does not respond: .*connection"):
            st2kv(context(), "system.k")


def test_slow_stackstorm_holds_an_engine_for_seconds_only(configure: Configure) -> None:
    with BreakingServer(stall()) as server:
        configure(api_url=server.url, read_timeout=30, retry_deadline=60)
        start = time.monotonic()
        with pytest.raises(InputError, match=r"st2kv: StackStorm does not respond: .*2 s"):
            st2kv(context(), "system.k")
        # Two seconds, and what a busy machine adds.
        assert time.monotonic() - start < 20
        assert len(server.requests) == 1
