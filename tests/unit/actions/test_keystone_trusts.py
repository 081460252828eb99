"""``st2.action`` makes a trust for the relay before it schedules."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from mistral_lib.actions.context import SecurityContext
from oslo_config import cfg
from support.breaking_servers import BreakingServer, answer, refusing

from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.model.context import ids_are_signed

Configure = Callable[..., None]
MakeContext = Callable[..., Any]

CREATED = answer(201, {"id": "e1", "status": "requested"})
TOKEN = {"user": {"id": "u"}, "project": {"id": "p"}, "roles": [{"id": "r"}]}
TRUST = {
    "id": "tr-1",
    "trustee_user_id": "relay",
    "project_id": "p",
    "impersonation": True,
    "roles": [{"id": "r"}],
    "expires_at": None,
}


@pytest.fixture
def use_trusts(configure: Configure) -> Callable[[str], None]:
    """Return a function that sets ``project_auth`` and keystone's URL."""

    def use(url: str) -> None:
        # As keystoneauth names them.
        cfg.CONF.register_opts([cfg.StrOpt("auth-url"), cfg.StrOpt("user-id")], group="st2_relay")
        configure("st2_relay", project_auth="trust", auth_url=url, user_id="relay")

    return use


def security(**given: Any) -> SecurityContext:
    return SecurityContext(
        **{"auth_token": "hush-token", "project_id": "p", "service_catalog": TOKEN, **given}
    )


def test_child_has_the_signed_id_of_the_trust(
    configure: Configure, use_trusts: Callable[[str], None], make_context: MakeContext
) -> None:
    keystone = BreakingServer(answer(200, {"trusts": []}), answer(201, {"trust": TRUST}))
    with BreakingServer(CREATED) as server, keystone:
        configure(api_url=server.url, context_key=["hush-key"])
        use_trusts(keystone.url)
        action = St2Action("core.noop")
        before = dict(vars(action))
        for _ in range(20):
            assert action.run(make_context(security())) is None
        assert keystone.calls() == ["GET /v3/OS-TRUST/trusts", "POST /v3/OS-TRUST/trusts"]
        for request in server.requests:
            ids = json.loads(request.headers["st2-context"])["mistral"]
            assert (ids["project_id"], ids["trust_id"]) == ("p", "tr-1")
            assert ids_are_signed(ids, "hush-key")
            assert "hush" not in f"{request.path}{request.headers}{request.body!r}"
    assert vars(action) == before


def test_child_of_a_cron_trigger_has_no_trust(
    configure: Configure, use_trusts: Callable[[str], None], make_context: MakeContext
) -> None:
    with BreakingServer(CREATED) as server, refusing() as nowhere:
        configure(api_url=server.url)
        use_trusts(nowhere)
        of_cron = security(is_trust_scoped=True, service_catalog=None)
        assert St2Action("core.noop").run(make_context(of_cron)) is None
        ids = json.loads(server.requests[-1].headers["st2-context"])["mistral"]
        assert ids["project_id"] == "p"
        assert "trust_id" not in ids


def test_nothing_is_sent_to_stackstorm_without_keystone(
    configure: Configure,
    use_trusts: Callable[[str], None],
    make_context: MakeContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with BreakingServer(CREATED) as server, refusing() as nowhere:
        configure(api_url=server.url, retry_deadline=0)
        use_trusts(nowhere)
        action = St2Action("core.noop", {"password": "hush-parameter"})
        with caplog.at_level(logging.DEBUG):
            result = action.run(make_context(security()))
        assert server.requests == []
    assert result is not None
    assert result.is_error()
    assert action.is_sync()
    assert "Nothing was sent to StackStorm" in result.error["error"]
    assert "hush" not in f"{result.error}{caplog.text}{action!r}"


def test_missing_option_is_an_error_before_anything_is_sent(
    configure: Configure, use_trusts: Callable[[str], None], make_context: MakeContext
) -> None:
    with BreakingServer(CREATED) as server:
        configure(api_url=server.url)
        use_trusts("http://127.0.0.1")
        configure("st2_relay", user_id=None)
        result = St2Action("core.noop").run(make_context(security()))
        assert server.requests == []
    assert result is not None
    assert "user_id is not set" in result.error["error"]


def test_invalid_input_makes_no_trust(
    configure: Configure, use_trusts: Callable[[str], None], make_context: MakeContext
) -> None:
    with BreakingServer(CREATED) as server, BreakingServer(answer(500)) as keystone:
        configure(api_url=server.url)
        use_trusts(keystone.url)
        result = St2Action("noop").run(make_context(security()))
        assert result is not None
        # An action that nobody saved cannot be completed either.
        assert St2Action("core.noop").run(make_context(security(), action_execution_id=None)) is None
        assert keystone.requests == []
