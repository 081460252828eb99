from __future__ import annotations

import pytest

from st2actions_mistral.client.st2_messages import judge, names, page_limit
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


def test_names_searches_the_message_for_the_parameter() -> None:
    error = Answered("POST", URL, 400, "Additional properties ('check' was unexpected)")
    assert names(error, "check")
    assert not names(error, "other")
