from __future__ import annotations

import pytest

from st2actions_mistral.bridge.rejection import breaks_on, may_be_for_body
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

SMALL = {"stdout": "x"}
# With the quotes, braces and the key, at the limit of 65536 characters.
LARGE = {"stdout": "x" * (65536 - len('{"stdout": ""}'))}


def failed(method: str = "PUT", status: int | None = None) -> OutcomeUnknown:
    return OutcomeUnknown(method, "http://st2/v1/executions/e", "reset", status=status)


@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_500_may_be_for_the_body(body: dict[str, str]) -> None:
    assert breaks_on(failed(status=500), body)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_other_5xx_is_not_for_the_body(status: int) -> None:
    assert not breaks_on(failed(status=status), LARGE)


def test_broken_connection_may_be_for_a_large_body_only() -> None:
    assert breaks_on(failed(), LARGE)
    assert not breaks_on(failed(), {"stdout": LARGE["stdout"][1:]})


@pytest.mark.parametrize("status", [None, 500])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_error_of_another_request_is_not_for_the_body(method: str, status: int | None) -> None:
    assert not breaks_on(failed(method, status), LARGE)


CREATE = "http://st2/v1/executions"
COMPLETE = "http://mistral/v2/action_executions/a"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutcomeUnknown("POST", CREATE, "no", status=500), True),
        (OutcomeUnknown("PUT", COMPLETE, "no", status=500), True),
        (OutcomeUnknown("PUT", COMPLETE, "reset"), True),
        (Answered("PUT", COMPLETE, 403, "no"), True),
        (OutcomeUnknown("POST", CREATE, "no", status=503), False),
        (OutcomeUnknown("POST", CREATE, "reset"), False),
        (OutcomeUnknown("POST", "http://st2/auth/v1/tokens", "no", status=500), False),
        (OutcomeUnknown("PUT", COMPLETE, "no", status=503), False),
        (Answered("PUT", COMPLETE, 401, "no"), False),
        (NotSent("PUT", COMPLETE, "refused"), False),
        (OutcomeUnknown("GET", CREATE, "no", status=500), False),
    ],
)
def test_failure_that_goes_on_may_be_for_the_body(error: RemoteError, expected: bool) -> None:
    assert may_be_for_body(error) is expected
