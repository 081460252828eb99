from __future__ import annotations

import pytest

from st2actions_mistral.client.st2_messages import judge, page_limit, rejects_context
from st2actions_mistral.errors import Answered, OutcomeUnknown

TOO_LARGE = "Failed to store: document too large"
URL = "http://st2/v1/executions"


def test_judge_returns_a_final_answer_for_a_document_that_is_too_large() -> None:
    error = judge(OutcomeUnknown("PUT", URL, f"500 {TOO_LARGE}", status=500, message=TOO_LARGE))
    assert isinstance(error, Answered)
    assert (error.method, error.url, error.status, error.message) == ("PUT", URL, 500, TOO_LARGE)
    assert error.is_permanent


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("PUT", URL, "500 Internal Server Error", status=500, message="Internal"),
        OutcomeUnknown("PUT", URL, "the connection broke."),
    ],
)
def test_judge_keeps_other_errors(error: OutcomeUnknown) -> None:
    assert judge(error) is error


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ('Limit "100" specified, maximum value is "20"', 20),
        ('Limit "100" specified, maximum value is "0"', None),
        ('Limit "100" specified, maximum value is "9999999999"', None),
        ("Forbidden", None),
    ],
)
def test_page_limit_reads_the_allowed_page_size(message: str, limit: int | None) -> None:
    assert page_limit(Answered("GET", URL, 403, message)) == limit


def test_rejects_context_reads_the_message_about_the_header() -> None:
    message = "Unable to convert st2-context from the headers into JSON (was <class 'str'>)."
    assert rejects_context(Answered("POST", URL, 400, message))
    assert not rejects_context(Answered("POST", URL, 400, 'Action "core.noop" cannot be found.'))
