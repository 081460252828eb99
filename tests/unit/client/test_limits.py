from __future__ import annotations

import tracemalloc

import pytest

from st2actions_mistral.client.limits import Limits, Progress
from st2actions_mistral.errors import OutcomeUnknown


def test_progress_rejects_a_listing_with_too_many_rows() -> None:
    progress = Progress("http://x", Limits(listing_rows=25))
    for page in range(2):
        progress.add({"id": f"{page}-{n}"} for n in range(10))
    with pytest.raises(OutcomeUnknown, match=r"GET http://x: .* more than 25 rows"):
        progress.add({"id": f"2-{n}"} for n in range(10))


def test_progress_rejects_a_listing_that_repeats_its_rows() -> None:
    progress = Progress("http://x", Limits(stale_pages=2))
    progress.add([{"id": "0"}])
    progress.add([{"id": "0"}])
    with pytest.raises(OutcomeUnknown, match="without a new row"):
        progress.add([{"id": "0"}])


def test_progress_accepts_repeated_rows_beside_new_ones() -> None:
    progress = Progress("http://x")
    for n in range(20):
        progress.add([{"id": "0"}, {"id": str(n // 2)}])


def test_progress_does_not_keep_the_ids() -> None:
    progress = Progress("http://x")
    tracemalloc.start()
    try:
        for n in range(10):
            progress.add([{"id": f"{n}" * 1_000_000}])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
