from __future__ import annotations

import pytest

from st2actions_mistral import errors


def test_every_error_has_the_same_root() -> None:
    named = (item for item in vars(errors).values() if isinstance(item, type))
    found = [item for item in named if item.__module__ == errors.__name__]
    assert len(found) >= 8
    assert all(issubclass(item, errors.St2MistralError) for item in found)


def test_three_kinds_of_remote_error_are_disjoint() -> None:
    fates = [errors.NotSent, errors.OutcomeUnknown, errors.Answered]
    for fate in fates:
        assert issubclass(fate, errors.RemoteError)
        assert [other for other in fates if issubclass(fate, other)] == [fate]


def test_input_error_names_the_input() -> None:
    error = errors.InputError("ref", "does not name an action.")
    assert str(error) == "ref: does not name an action."
    assert (error.name, error.reason) == ("ref", "does not name an action.")


def test_not_sent_is_retryable_unless_permanent() -> None:
    assert not errors.NotSent("GET", "http://x", "refused").permanent
    assert errors.NotSent("GET", "http://x", "refused", permanent=True).permanent


@pytest.mark.parametrize("message", ["", "Not found."])
def test_answered_has_status_and_message(message: str) -> None:
    error = errors.Answered("GET", "http://x", 404, message, retry_after=2)
    assert str(error) == f"GET http://x: 404 {message}".rstrip()
    assert (error.status, error.message, error.retry_after) == (404, message, 2)
    assert (error.method, error.url) == ("GET", "http://x")


def test_outcome_unknown_may_have_a_status() -> None:
    error = errors.OutcomeUnknown("PUT", "http://x", "503 busy", status=503, retry_after=7)
    assert (error.status, error.retry_after) == (503, 7)
    assert errors.OutcomeUnknown("PUT", "http://x", "reset").status is None
    later = errors.OutcomeUnknown.of(errors.Answered("PUT", "http://x", 429, "no", retry_after=7))
    assert (str(later), later.status, later.retry_after) == ("PUT http://x: 429 no", 429, 7)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (errors.Answered("GET", "http://x", 404, "no"), {"status": 404, "message": "no"}),
        (errors.OutcomeUnknown("GET", "http://x", "503 later", status=503), {}),
        (errors.InputError("ref", "is none"), {}),
    ],
)
def test_result_has_the_status_of_an_answer_only(
    error: errors.St2MistralError, result: dict[str, object]
) -> None:
    assert errors.as_result(error) == {"error": str(error), **result}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.Answered("POST", "http://x", 400, "'hush' is not an integer"), "POST http://x: 400."),
        (errors.Answered("PUT", "http://x", 500, "hush: document too large"), "PUT http://x: 500."),
        (
            errors.Answered("PUT", "http://x", 401, "hush Set api_key.", hint="Set api_key."),
            "PUT http://x: 401 Set api_key.",
        ),
        (errors.Answered("GET", "http://x", 404, "no such id"), "GET http://x: 404 no such id"),
        (errors.OutcomeUnknown("POST", "http://x", "500 hush", status=500), "POST http://x: 500."),
        (
            errors.OutcomeUnknown.of(errors.Answered("POST", "http://x", 429, "hush")),
            "POST http://x: 429.",
        ),
        (
            errors.OutcomeUnknown.of(errors.Answered("PUT", "http://x", 401, "hush A.", hint="A.")),
            "PUT http://x: 401 A.",
        ),
        (
            errors.OutcomeUnknown.of(errors.NotSent("GET", "http://x", "refused"), "look-up: "),
            "GET http://x: look-up: refused",
        ),
        (errors.OutcomeUnknown("POST", "http://x", "reset"), "POST http://x: reset"),
        (errors.OutcomeUnknown("GET", "http://x", "503 later", status=503), "GET http://x: 503 later"),
        (errors.OutcomeUnknown("GET", "http://x", "reset"), "GET http://x: reset"),
        (errors.NotSent("GET", "http://x", "refused"), "GET http://x: refused"),
        (errors.InputError("ref", "is none"), "ref: is none"),
    ],
)
def test_log_text_has_no_message_that_may_quote_the_request(
    error: errors.St2MistralError, text: str
) -> None:
    assert error.log_text() == text
