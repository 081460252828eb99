"""The actions in memory: what is found before, between and after listings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.waiting import eventually

from st2actions_mistral.config.provider import ProviderSettings
from st2actions_mistral.errors import NotSent
from st2actions_mistral.model.signature import Signature
from st2actions_mistral.provider.catalogue import Catalogue
from st2actions_mistral.provider.listing import Listing

AWAY = NotSent("GET", "http://st2/v1/actions/views/overview", "Connection refused.")

Made = tuple[Catalogue, "Source"]
MakeCatalogue = Callable[..., Made]


class Source:
    """StackStorm's listing. The background thread waits for its answer until a test lets it go on."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.error: Exception | None = None
        self.is_cut = False
        self.asked = 0
        self.answers_background = threading.Event()

    def __call__(self) -> Listing:
        self.asked += 1
        if threading.current_thread() is not threading.main_thread():
            self.answers_background.wait(60)
        if self.error is not None:
            raise self.error
        return Listing(tuple(Signature(ref, "", "a=null") for ref in self.actions), self.is_cut)


@pytest.fixture
def make_catalogue() -> Iterator[MakeCatalogue]:
    made: list[Made] = []

    def make(*actions: str, **options: Any) -> Made:
        source = Source()
        source.actions += actions
        made.append((Catalogue(source, ProviderSettings(enabled=True, **options)), source))
        return made[-1]

    yield make
    for catalogue, source in made:
        catalogue.stop()
        source.answers_background.set()


def refs(catalogue: Catalogue) -> list[str]:
    return [action.ref for action in catalogue.all()]


def test_nothing_is_listed_before_the_first_question(make_catalogue: MakeCatalogue) -> None:
    catalogue, source = make_catalogue("core.local")
    source.answers_background.set()
    assert source.asked == 0
    catalogue.find("core.local")
    eventually(catalogue.all, "the first listing")
    assert source.asked == 1


def test_questions_do_not_wait_for_a_listing(make_catalogue: MakeCatalogue) -> None:
    catalogue, source = make_catalogue("core.local")
    # These would hang.
    assert catalogue.find("core.local") is not None
    assert refs(catalogue) == []
    eventually(lambda: source.asked, "the listing begins")
    assert catalogue.find("std.echo.a") is None
    assert refs(catalogue) == []


def test_questions_make_no_request(make_catalogue: MakeCatalogue) -> None:
    catalogue, source = make_catalogue("core.local")
    assert catalogue.refresh()
    catalogue.all()
    eventually(lambda: source.asked == 2, "the listing in the background begins")
    for _ in range(1000):
        assert catalogue.find("core.local") is not None
        assert catalogue.find("core.nope") is None
    assert source.asked == 2


def test_only_listed_actions_are_found_after_the_first_listing(make_catalogue: MakeCatalogue) -> None:
    catalogue, _ = make_catalogue("core.local", "st2.kv.get")
    assert catalogue.refresh()
    found = catalogue.find("core.local")
    assert found == Signature("core.local", "", "a=null")
    assert catalogue.find("st2.kv.get") is not None
    assert catalogue.find("core.remote") is None
    assert refs(catalogue) == ["core.local", "st2.kv.get"]


@pytest.mark.parametrize("name", ["core.local", "any.thing", "examples.mistral-basic"])
def test_name_of_a_pack_and_an_action_is_found_before_the_first_listing(
    make_catalogue: MakeCatalogue, name: str
) -> None:
    catalogue, source = make_catalogue()
    source.error = AWAY
    assert not catalogue.refresh()
    assert catalogue.find(name) == Signature(name, "", "**parameters")
    assert refs(catalogue) == []


@pytest.mark.parametrize("name", ["local", "", ".a", "a.", "wb.std.echo", "examples.basic.core.local"])
def test_any_other_name_is_not_found_before_the_first_listing(
    make_catalogue: MakeCatalogue, name: str
) -> None:
    catalogue, _ = make_catalogue()
    assert catalogue.find(name) is None


def test_other_packs_are_not_found_before_the_first_listing(make_catalogue: MakeCatalogue) -> None:
    catalogue, _ = make_catalogue(packs=frozenset({"core", "linux"}))
    assert catalogue.find("linux.dig") is not None
    assert catalogue.find("std.ekho") is None


def test_failed_listing_keeps_the_actions(
    make_catalogue: MakeCatalogue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    catalogue, source = make_catalogue("core.local")
    assert catalogue.refresh()
    assert caplog.messages == ["Mistral has 1 actions of StackStorm."]
    caplog.clear()
    source.error = AWAY
    assert [catalogue.refresh() for _ in range(3)] == [False] * 3
    assert catalogue.find("core.local") is not None
    assert refs(catalogue) == ["core.local"]
    # Once, not three times.
    assert caplog.messages == [
        "The actions of StackStorm cannot be listed: GET http://st2/v1/actions/views/overview:"
        " Connection refused. Mistral keeps the 1 that it knows."
    ]
    caplog.clear()
    source.error = None
    assert [catalogue.refresh() for _ in range(2)] == [True] * 2
    assert caplog.messages == ["Mistral has 1 actions of StackStorm."]


def test_new_action_is_found_after_a_refresh(
    make_catalogue: MakeCatalogue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    catalogue, source = make_catalogue("core.local")
    assert catalogue.refresh()
    source.actions.append("new.action")
    assert catalogue.find("new.action") is None
    assert catalogue.refresh()
    assert catalogue.find("new.action") is not None
    assert caplog.messages[-1] == "Mistral has 2 actions of StackStorm."


def test_removed_action_is_found_and_not_listed(make_catalogue: MakeCatalogue) -> None:
    """Mistral asks for it when it gets the result of a running one."""
    catalogue, source = make_catalogue("core.local", "old.action")
    assert catalogue.refresh()
    source.actions.remove("old.action")
    for _ in range(2):
        assert catalogue.refresh()
        assert catalogue.find("old.action") is not None
        assert refs(catalogue) == ["core.local"]
    source.actions.append("old.action")
    assert catalogue.refresh()
    assert refs(catalogue) == ["core.local", "old.action"]


def test_removed_actions_are_bounded(make_catalogue: MakeCatalogue) -> None:
    catalogue, source = make_catalogue(max_actions=2)
    for number in range(5):
        source.actions = [f"a.a{number}"]
        assert catalogue.refresh()
    found = [number for number in range(5) if catalogue.find(f"a.a{number}")]
    assert found == [2, 3, 4]


def test_truncated_listing_is_reported_once(
    make_catalogue: MakeCatalogue, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue, source = make_catalogue("core.local", max_actions=1)
    source.is_cut = True
    for _ in range(3):
        assert catalogue.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "more actions than [st2_provider] max_actions, 1." in caplog.text
