"""What StackStorm says when it says no."""

from __future__ import annotations


class Fault(Exception):
    """An answer ``{"faultstring": text}``.

    The status is usually 4xx or 5xx, but StackStorm also refuses to cancel with a 200.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def bad_request(text: str) -> Fault:
    return Fault(400, text)


def not_found(text: str = "The resource could not be found.") -> Fault:
    return Fault(404, text)


def unknown_id(identifier: str) -> Fault:
    return not_found(f'Unable to identify resource with id "{identifier}".')
