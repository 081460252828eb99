"""The catalogue over the APIs of both systems."""

from __future__ import annotations

from contextlib import closing

from support.breaking_servers import BreakingServer, answer

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.bridge import native
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner.catalogue import ActionCatalogue

ONE_TRY = Timeouts(5, 5, 0)
KEY = Credential(api_key="k")


def settings(stackstorm: StackStorm) -> St2Settings:
    return St2Settings(stackstorm.api_url, Credential(api_key=stackstorm.create_api_key()))


def test_parameters_include_those_of_the_runner() -> None:
    with (
        StackStorm() as stackstorm,
        closing(St2Client(settings(stackstorm))) as st2,
        closing(MistralClient(MistralSettings("http://127.0.0.1:1/v2", timeouts=ONE_TRY))) as mistral,
    ):
        catalogue: Catalogue = ActionCatalogue(st2.action, mistral)
        action = catalogue.action("core.local")
        assert action is not None
        local = action.parameters
        assert local["cmd"]["required"] is True
        assert local["timeout"]["default"] == 60
        # The runner defines its type; the action makes it immutable.
        assert local["sudo"]["type"] == "boolean"
        assert local["sudo"]["immutable"] is True
        assert catalogue.action("core.noop") == St2Action({})
        assert catalogue.action("core.lokal") is None


def test_each_name_is_looked_up_once() -> None:
    action = answer(200, {"ref": "a.b", "parameters": {}})
    echo = answer(200, {"id": "std.echo", "name": "std.echo"})
    definition = native.definition("core.local")
    local = answer(200, {"id": "core.local", "name": "core.local", "definition": definition})
    with (
        BreakingServer(action, answer(404)) as st2_server,
        BreakingServer(echo, answer(404), local, echo, answer(404)) as mistral_server,
        closing(St2Client(St2Settings(f"{st2_server.url}/v1", KEY, timeouts=ONE_TRY))) as st2,
        closing(
            MistralClient(MistralSettings(f"{mistral_server.url}/v2", timeouts=ONE_TRY))
        ) as mistral,
    ):
        catalogue = ActionCatalogue(st2.action, mistral, ["soon"])
        for _ in range(2):
            assert catalogue.action("a.b") == St2Action({})
            assert catalogue.action("a.c") is None
            assert catalogue.in_mistral("std.echo")
            assert not catalogue.is_native("std.echo")
            assert not catalogue.in_mistral("std.ekho")
            assert not catalogue.is_native("std.ekho")
            assert catalogue.is_native("core.local")
            assert not catalogue.in_mistral("core.local")
            assert catalogue.workflow_in_mistral("there")
            assert not catalogue.workflow_in_mistral("gone")
            assert catalogue.workflow_in_mistral("soon")
        assert len(st2_server.requests) == 2
        assert len(mistral_server.requests) == 5


def test_mistral_is_asked_once_whether_it_allows_yaql() -> None:
    # An invalid definition is validated twice.
    disabled = answer(200, {"valid": False, "error": "The 'yaql' expression language is disabled."})
    with (
        BreakingServer(answer(200, {"valid": True}), disabled, disabled) as server,
        closing(MistralClient(MistralSettings(f"{server.url}/v2", timeouts=ONE_TRY))) as mistral,
    ):
        allowing, refusing = (ActionCatalogue(lambda ref: None, mistral) for _ in range(2))
        assert [allowing.allows_yaql(), allowing.allows_yaql()] == [True, True]
        assert [refusing.allows_yaql(), refusing.allows_yaql()] == [False, False]
        assert len(server.requests) == 3
