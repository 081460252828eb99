from __future__ import annotations

import pytest

from st2actions_mistral.client import listing
from st2actions_mistral.client.listing import Progress
from st2actions_mistral.errors import OutcomeUnknown


def test_a_listing_of_ever_new_rows_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST", 25)
    progress = Progress("http://x")
    for page in range(2):
        progress.goes_on_after({"id": f"{page}-{n}"} for n in range(10))
    with pytest.raises(OutcomeUnknown, match=r"GET http://x: .* more than 25 rows"):
        progress.goes_on_after({"id": f"2-{n}"} for n in range(10))


def test_what_is_remembered_does_not_grow_with_the_ids() -> None:
    progress = Progress("http://x")
    progress.goes_on_after([{"id": "x" * 1_000_000}])
    assert all(isinstance(seen, int) for seen in progress._seen)


def test_pages_that_bring_something_new_now_and_then_are_no_circle() -> None:
    progress = Progress("http://x")
    for n in range(20):
        progress.goes_on_after([{"id": "0"}, {"id": str(n // 2)}])
