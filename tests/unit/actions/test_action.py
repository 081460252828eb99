from __future__ import annotations

import inspect
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mistral_lib import actions as mistral
from mistral_lib import serialization
from mistral_lib.actions.context import SecurityContext
from oslo_config import cfg
from support.breaking_servers import (
    BreakingServer,
    answer,
    forward,
    not_accepting,
    redirect,
    refusing,
    reset,
    stall,
)

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.bridge import clients
from st2actions_mistral.model.context import ids_are_signed, sign

PARENT_ID = "6b03c160746e6986596007f7"
MADE = answer(201, {"id": "e1", "status": "requested"})

Configure = Callable[..., None]
MakeContext = Callable[..., Any]


def context_sent_to(server: BreakingServer) -> Any:
    return json.loads(server.requests[-1].headers["st2-context"])


def executions_of(st2: StackStorm, action_execution_id: str) -> list[dict[str, Any]]:
    return [
        execution
        for execution in st2.executions.all()
        if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
    ]


def test_only_ref_is_required() -> None:
    parameters = inspect.signature(St2Action).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {
        "ref": inspect.Parameter.empty,
        "parameters": None,
        "st2_context": None,
        "render_jinja": None,
    }


def test_run_creates_one_execution_and_returns_no_result(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key=st2.create_api_key(), site="east")
    action = St2Action("core.local", {"cmd": "echo '{{ 1 + 1 }} {% endraw %} 😀'"})
    assert not action.is_sync()
    assert action.run(make_context(action_execution_id="one")) is None
    assert not action.is_sync()
    [execution] = executions_of(st2, "one")
    assert execution["context"]["mistral"] == {
        "site": "east",
        "workflow_execution_id": "w-1",
        "workflow_name": "wf",
        "task_execution_id": "t-1",
        "action_execution_id": "one",
    }
    assert st2.executions.wait(execution["id"])["result"]["stdout"] == "{{ 1 + 1 }} {% endraw %} 😀"


def test_execution_has_the_parent_of_the_context(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key=st2.create_api_key())
    assert St2Action("test.job").run(make_context(action_execution_id="p")) is None
    [parent] = executions_of(st2, "p")
    context = {"parent": {"execution_id": parent["id"], "user": "root"}}
    assert (
        St2Action("core.noop", st2_context=context).run(make_context(action_execution_id="c")) is None
    )
    [execution] = executions_of(st2, "c")
    assert execution["parent"] == parent["id"]
    # The context is not signed.
    assert "user" not in execution["context"]["parent"]


def test_input_render_jinja_overrides_the_option(
    configure: Configure, make_context: MakeContext
) -> None:
    parameters = {"cmd": "{{ 1 + 1 }}"}
    with BreakingServer(MADE) as server:
        for configured, asked, rendered in (
            (False, None, False),
            (True, None, True),
            (False, True, True),
            (True, False, False),
        ):
            configure(api_url=server.url, render_jinja=configured)
            St2Action("core.local", parameters, render_jinja=asked).run(make_context())
            sent = server.requests[-1].json()["parameters"]
            assert (sent == parameters) is rendered


def test_execution_has_the_signed_project_of_the_action(
    configure: Configure, make_context: MakeContext
) -> None:
    security = SecurityContext(project_id="p", auth_token="hush-token")
    with BreakingServer(MADE) as server:
        configure(api_url=server.url, context_key=["hush-key"])
        assert St2Action("core.noop").run(make_context(security)) is None
        ids = context_sent_to(server)["mistral"]
        assert ids["project_id"] == "p"
        assert ids_are_signed(ids, "hush-key")
        assert not any("hush" in f"{r.path}{r.headers}{r.body!r}" for r in server.requests)


def test_missing_ids_of_an_ad_hoc_run_are_omitted(
    configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        ids = dict.fromkeys(("workflow_execution_id", "workflow_name", "task_execution_id"))
        assert St2Action("core.noop").run(make_context(**ids)) is None
        assert context_sent_to(server) == {"mistral": {"site": "mistral", "action_execution_id": "a-1"}}
        assert St2Action("core.noop").run(make_context(**ids, action_execution_id=None)) is None
        assert context_sent_to(server) == {"mistral": {"site": "mistral"}}


def test_notify_is_omitted_for_a_skipped_task(configure: Configure, make_context: MakeContext) -> None:
    notify = {"on-complete": {"routes": ["slack"]}}
    context = {"notify": notify, "skip_notify_tasks": ["quiet"]}
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        for task, expected in (("loud", notify), ("quiet", None), (None, notify)):
            mistral_context = make_context()
            # Mistral 20 to 23 pass no task name; a later version may.
            mistral_context.execution.task_name = task
            assert St2Action("core.noop", st2_context=context).run(mistral_context) is None
            assert server.requests[-1].json().get("notify") == expected


def test_task_name_in_the_context_counts(configure: Configure, make_context: MakeContext) -> None:
    parent = {"execution_id": "6b03c160746e6986596007f7"}
    context = {"parent": parent, "notify": {"on-complete": {}}, "skip_notify_tasks": ["quiet"]}
    signed = sign(context, "hush")
    with BreakingServer(MADE) as server:
        configure(api_url=server.url, context_key=["hush"])
        for task, expected in (("loud", {"on-complete": {}}), ("quiet", None)):
            action = St2Action("core.noop", st2_context={**signed, "task_name": task})
            assert action.run(make_context()) is None
            assert server.requests[-1].json().get("notify") == expected
            assert context_sent_to(server)["chain"] == {"name": task}


def test_ref_is_the_name_without_a_task_name(configure: Configure, make_context: MakeContext) -> None:
    context = {"parent": {"execution_id": PARENT_ID}}
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        assert St2Action("core.noop", st2_context=context).run(make_context()) is None
        assert context_sent_to(server)["chain"] == {"name": "core.noop"}


# -- rejected before anything is sent ------------------------------------------------------------


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("inputs", "options", "named"),
    [
        ({"ref": ""}, {}, "ref"),
        ({"ref": "local"}, {}, "ref"),
        ({"ref": None}, {}, "ref"),
        ({"ref": ["core.local"]}, {}, "ref"),
        ({"parameters": "cmd=date"}, {}, "parameters"),
        ({"parameters": []}, {}, "parameters"),
        ({"parameters": {"p": float("nan")}}, {}, "parameters"),
        ({"render_jinja": "yes"}, {}, "render_jinja"),
        ({"render_jinja": 1}, {}, "render_jinja"),
        ({"st2_context": "x"}, {}, "st2_context"),
        ({"st2_context": {"parent": "x"}}, {}, "st2_context.parent"),
        ({"st2_context": {"parent": {"execution_id": "x"}}}, {}, "st2_context.parent.execution_id"),
        ({"st2_context": {"api_url": "http://elsewhere/v1"}}, {}, "st2_context.api_url"),
        ({"st2_context": {"notify": []}}, {}, "st2_context.notify"),
        ({"st2_context": {"notify": nested(150)}}, {}, "st2_context.notify"),
        ({"st2_context": {"notify": nested(900)}}, {}, "st2_context.notify"),
        ({"st2_context": {"notify": nested(5000)}}, {}, "st2_context.notify"),
        ({"parameters": nested(900)}, {}, "parameters"),
        ({"st2_context": {"skip_notify_tasks": "x"}}, {}, "st2_context.skip_notify_tasks"),
        (
            {"st2_context": {"parent": {"execution_id": PARENT_ID}}},
            {"context_key": ["hush"]},
            "st2_context.signature",
        ),
        ({}, {"site": "a b"}, "[st2] site"),
        ({}, {"api_key": "k", "auth_token": "t"}, "[st2] api_key"),
        ({}, {"username": "u"}, "[st2] username"),
        ({}, {"api_url": None}, "[st2] api_url"),
        ({}, {"api_url": "http://st2/v1?key=hush"}, "[st2] api_url"),
    ],
)
def test_invalid_input_or_option_is_named_and_nothing_is_sent(
    configure: Configure,
    make_context: MakeContext,
    inputs: dict[str, Any],
    options: dict[str, Any],
    named: str,
) -> None:
    with BreakingServer(MADE) as server:
        configure(**{"api_url": server.url, **options})
        action = St2Action(**{"ref": "core.local", **inputs})
        result = action.run(make_context())
        assert server.connections == 0
    assert result is not None
    assert result.is_error()
    assert named in result.error["error"]
    assert result.error["ref"] == action.ref
    assert "hush" not in str(result.error)
    # Mistral drops the error of an asynchronous action that is the base of an ad-hoc action.
    assert action.is_sync()


def test_too_long_context_is_rejected_and_nothing_is_sent(
    configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        result = St2Action("core.noop").run(make_context(workflow_name="x" * 9_000))
        assert result is not None
        assert "8150" in result.error["error"]
        assert server.connections == 0


# -- rejected by StackStorm ----------------------------------------------------------------------


def test_error_result_has_status_message_and_ref(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key=st2.create_api_key())
    action = St2Action("core.missing", {"password": "hush"})
    result = action.run(make_context(action_execution_id="refused"))
    assert result is not None
    assert result.is_error()
    assert result.error["status"] == 400
    assert result.error["ref"] == "core.missing"
    assert "core.missing" in result.error["message"]
    assert f"POST {st2.api_url}/executions" in result.error["error"]
    assert "hush" not in str(result.error)
    assert executions_of(st2, "refused") == []
    assert action.is_sync()


def test_rejected_api_key_names_the_option(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key="hush")
    result = St2Action("core.noop").run(make_context())
    assert result is not None
    assert result.error["status"] == 401
    assert "[st2] api_key" in result.error["message"]
    assert "hush" not in str(result.error)


def test_run_authenticates_with_a_password(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, auth_url=st2.auth_url, username=st2.username, password=st2.password)
    assert St2Action("core.noop").run(make_context(action_execution_id="password")) is None
    assert len(executions_of(st2, "password")) == 1


def test_redirect_is_not_followed(configure: Configure, make_context: MakeContext) -> None:
    with BreakingServer(MADE) as thief, BreakingServer(redirect(f"{thief.url}/executions")) as server:
        configure(api_url=server.url, api_key="hush")
        result = St2Action("core.noop").run(make_context())
        assert result is not None
        assert result.error["status"] == 302
        assert thief.connections == 0


def test_stackstorm_of_the_context_gets_no_credential(
    configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(MADE) as other:
        configure(api_key="hush", allowed_api_urls=[other.url])
        context = {"api_url": other.url}
        assert St2Action("core.noop", st2_context=context).run(make_context()) is None
        [request] = other.requests
    assert "hush" not in str(request.headers)


# -- lost requests and responses -----------------------------------------------------------------


@pytest.mark.parametrize("nowhere", [refusing, not_accepting])
def test_unreachable_stackstorm_is_an_error_with_its_url(
    configure: Configure, make_context: MakeContext, nowhere: Any
) -> None:
    with nowhere() as url:
        configure(api_url=url, connect_timeout=0.2, retry_deadline=0.5)
        action = St2Action("core.noop")
        result = action.run(make_context())
    assert result is not None
    assert f"POST {url}/executions" in result.error["error"]
    assert "connection" in result.error["error"]
    assert "status" not in result.error
    assert action.is_sync()


def test_execution_is_found_after_a_lost_response(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(forward(st2.base_url, reset()), forward(st2.base_url)) as server:
        configure(api_url=f"{server.url}/api/v1", api_key=st2.create_api_key())
        assert St2Action("core.noop").run(make_context(action_execution_id="lost")) is None
    assert len(executions_of(st2, "lost")) == 1


@pytest.mark.parametrize("lost", [reset(), stall(), answer(500)])
def test_unknown_outcome_leaves_the_action_running(
    configure: Configure, make_context: MakeContext, caplog: pytest.LogCaptureFixture, lost: Any
) -> None:
    with BreakingServer(lost) as server:
        configure(api_url=server.url, read_timeout=0.2, retry_deadline=0.5)
        action = St2Action("core.noop")
        assert action.run(make_context()) is None
        assert not action.is_sync()
        assert server.calls().count("POST /executions") == 1
    assert "a-1" in caplog.text
    assert "relay" in caplog.text


def test_unknown_outcome_without_an_id_is_an_error(
    configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(reset()) as server:
        configure(api_url=server.url)
        result = St2Action("core.noop").run(make_context(action_execution_id=None))
        assert result is not None
        assert result.is_error()
        assert server.calls() == ["POST /executions"]


# -- actions as Mistral uses them ----------------------------------------------------------------


def test_action_runs_after_serialization(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key=st2.create_api_key(), context_key=["hush"])
    assert St2Action("test.job").run(make_context(action_execution_id="p2")) is None
    [parent] = executions_of(st2, "p2")
    signed = sign({"parent": {"execution_id": parent["id"], "user": "stanley"}}, "hush")
    action = St2Action("core.local", {"cmd": "echo é{{", "env": {"A": "1"}}, signed, False)
    wire = serialization.get_polymorphic_serializer().serialize(action)
    arrived = serialization.get_polymorphic_serializer().deserialize(wire)
    assert vars(arrived) == vars(action)
    assert arrived.run(make_context(action_execution_id="remote")) is None
    [execution] = executions_of(st2, "remote")
    assert execution["parent"] == parent["id"]
    assert execution["context"]["parent"]["user"] == "stanley"
    assert st2.executions.wait(execution["id"])["result"]["stdout"] == "é{{"


def test_attributes_are_json_without_credentials(configure: Configure) -> None:
    configure(api_key="hush")
    action = St2Action("core.local", {"cmd": "date"}, {"parent": None})
    assert "hush" not in json.dumps(vars(action))


def test_constructor_neither_sends_nor_validates(configure: Configure) -> None:
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        made: Any = St2Action(None, 5, "x", "y")
        assert server.connections == 0
    assert isinstance(made, mistral.Action)


def test_repr_and_log_show_no_parameter_and_no_credential(
    configure: Configure, make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = [MADE, answer(400, {"faultstring": "No."}), reset(), answer(200, []), MADE]
    with BreakingServer(*script) as server:
        configure(api_url=server.url, api_key="hush-key", context_key=["hush-context"])
        action = St2Action("core.local", {"password": "hush"})
        results = [action.run(make_context()) for _ in range(3)]
    assert [result is None for result in results] == [True, False, True]
    assert repr(action) == "<st2.action 'core.local'>"
    shown = repr(action) + str(action) + caplog.text + repr(results)
    assert "core.local" in caplog.text
    assert "hush" not in shown


# -- shared clients ------------------------------------------------------------------------------


def test_actions_share_a_connection(configure: Configure, make_context: MakeContext) -> None:
    with BreakingServer(MADE) as server:
        configure(api_url=server.url)
        for _ in range(5):
            St2Action("core.noop").run(make_context())
        assert server.connections == 1
        clients.close_all()
        St2Action("core.noop").run(make_context())
        assert server.connections == 2


def test_changed_configuration_creates_a_new_client(
    configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(MADE) as server:
        for key in ("one", "two"):
            configure(api_url=server.url, api_key=key)
            St2Action("core.noop").run(make_context())
        assert [request.headers["st2-api-key"] for request in server.requests] == ["one", "two"]


def test_concurrent_actions_create_one_execution_each(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, username=st2.username, password=st2.password, auth_url=st2.auth_url)
    ready = threading.Barrier(16)

    def run(number: int) -> None:
        ready.wait(10)
        assert St2Action("core.noop").run(make_context(action_execution_id=f"many-{number}")) is None

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(run, range(16)))
    assert all(len(executions_of(st2, f"many-{number}")) == 1 for number in range(16))


def test_run_reads_each_group_of_options_once(
    configure: Configure, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read = cfg.ConfigOpts.__getitem__

    def count(conf: cfg.ConfigOpts, name: str) -> Any:
        reads[name] += 1
        return read(conf, name)

    with BreakingServer(MADE) as server:
        configure(api_url=server.url, context_key=["hush"])
        context = sign({"parent": {"execution_id": PARENT_ID}}, "hush")
        monkeypatch.setattr(cfg.ConfigOpts, "__getitem__", count)
        assert St2Action("core.noop", {"a": 1}, context).run(make_context()) is None
    assert reads == {"st2": 1, "st2_relay": 1}
