"""Errors that the API answers, with StackStorm's messages."""

from __future__ import annotations


class Fault(Exception):
    """A response ``{"faultstring": text}``.

    The status is usually 4xx or 5xx. StackStorm rejects a cancellation with 200.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def bad_request(text: str) -> Fault:
    """Make a fault 400."""
    return Fault(400, text)


def not_found(text: str = "The resource could not be found.") -> Fault:
    """Make a fault 404."""
    return Fault(404, text)


def unknown_id(identifier: str) -> Fault:
    """Make a fault 404 for an unknown id."""
    return not_found(f'Unable to identify resource with id "{identifier}".')
