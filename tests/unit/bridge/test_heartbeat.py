from __future__ import annotations

from st2actions_mistral.bridge.heartbeat import with_heartbeat


def test_every_row_and_the_end_of_a_listing_are_a_heartbeat() -> None:
    done: list[str] = []
    for row in with_heartbeat(["a", "b"], lambda: done.append("heartbeat")):
        done.append(row)
    assert done == ["heartbeat", "a", "heartbeat", "b", "heartbeat"]


def test_listing_is_read_row_by_row() -> None:
    read: list[int] = []
    rows = (read.append(number) or number for number in range(3))
    assert next(with_heartbeat(rows, lambda: None)) == 0
    assert read == [0]
