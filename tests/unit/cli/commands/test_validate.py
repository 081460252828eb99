"""``st2-mistral validate`` reports its progress to a terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.breaking_servers import BreakingServer, answer, refusing

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_progress_is_shown_on_a_terminal_only(
    run: Run, workbook: str, terminal: bool, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    mistral = BreakingServer(answer(200, {"valid": True, "name": "std.noop", "id": "1"}))
    with mistral, refusing() as closed:
        status, printed, error = run("validate", workbook, *options, st2=closed, mistral=mistral.url)
    assert status == 0, error
    assert workbook in printed
    assert error == (f"Checking {workbook} …\n" if terminal and not options else "")
