"""The check of the action provider, against servers that answer as Mistral's API does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer

from st2actions_mistral import config
from st2actions_mistral.bridge import native
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.provider import native_actions
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import RemoteError

ON = "[st2_provider]\nenabled = true\n"


def action(name: str, *, is_native: bool = True) -> dict[str, Any]:
    return {"id": name, "name": name, "definition": native.definition(name) if is_native else ""}


OWN = [action("std.echo", is_native=False), action("st2.action", is_native=False)]
WITHOUT = answer(200, {"actions": OWN})
WITH = answer(200, {"actions": [*OWN, action("core.local"), action("core.noop")]})


def look(folder: Path, text: str, *script: Behaviour) -> tuple[str, int]:
    """Return the detail of the check, and how often it waited."""
    file = folder / "mistral.conf"
    file.write_text(text)
    waits: list[float] = []
    with BreakingServer(*script) as server:
        settings = MistralSettings(f"{server.url}/v2", timeouts=Timeouts(5, 5, 0))
        with closing(MistralClient(settings)) as mistral:
            detail = native_actions(config.read_files([str(file)]), mistral, waits.append)
    return detail, len(waits)


def test_actions_are_counted(tmp_path: Path) -> None:
    assert look(tmp_path, ON, WITH) == ("Mistral has 2 actions of StackStorm", 0)


def test_provider_that_is_off(tmp_path: Path) -> None:
    assert look(tmp_path, "", WITHOUT) == ("[st2_provider] enabled is false", 0)
    detail, _ = look(tmp_path, "", WITH)
    assert detail == "[st2_provider] enabled is false, but Mistral's API has 2 actions of StackStorm"


def test_first_question_starts_the_listing(tmp_path: Path) -> None:
    assert look(tmp_path, ON, WITHOUT, WITHOUT, WITH) == ("Mistral has 2 actions of StackStorm", 2)


def test_mistral_without_the_actions_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="Mistral's API has no action of StackStorm"):
        look(tmp_path, ON, WITHOUT)


@pytest.mark.parametrize(
    ("lists", "remedy"),
    [
        ("allowlist = legacy,adhoc", "Add st2 to [action_providers] allowlist."),
        ("denylist = s*", "Let [action_providers] denylist not match st2."),
    ],
)
def test_options_that_hide_the_provider_are_named(tmp_path: Path, lists: str, remedy: str) -> None:
    with pytest.raises(CheckFailed) as failed:
        look(tmp_path, f"{ON}[action_providers]\n{lists}\n", WITHOUT)
    assert remedy in str(failed.value)


def test_lists_do_not_matter_if_the_provider_is_off(tmp_path: Path) -> None:
    look(tmp_path, "[action_providers]\ndenylist = st2\n", WITHOUT)


def test_user_who_may_not_list_actions(tmp_path: Path) -> None:
    detail, _ = look(tmp_path, ON, answer(403, {"faultstring": "Policy doesn't allow it."}))
    assert detail == "[st2_provider] enabled is true; Mistral does not let this user list its actions"


@pytest.mark.parametrize("body", [{}, {"actions": "x"}, {"actions": [{"id": "x"}]}])
def test_listing_of_another_shape_is_an_error(tmp_path: Path, body: Any) -> None:
    with pytest.raises(RemoteError):
        look(tmp_path, ON, answer(200, body))
