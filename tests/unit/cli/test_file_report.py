"""The report on one file, with a Mistral that accepts or rejects it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer, refusing
from support.catalogue import Catalogue

from st2actions_mistral.cli.file_report import FileReport, Problem, report, workflows_of
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import NotSent, OutcomeUnknown

VALID = answer(200, {"valid": True})
WORKFLOW = "version: '2.0'\nmain:\n  tasks:\n    one: {action: core.noop}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a.yaml"
    made.write_text(WORKFLOW)
    return made


@contextmanager
def client(url: str) -> Iterator[MistralClient]:
    with closing(MistralClient(MistralSettings(f"{url}/v2", timeouts=Timeouts(5, 5, 0)))) as made:
        yield made


def reported(file: Path, *script: Behaviour) -> tuple[FileReport, list[bytes]]:
    """Return the report, and the texts that Mistral validated."""
    with BreakingServer(*script) as server, client(server.url) as mistral:
        found = report(file, Catalogue(), mistral)
        return found, [request.body for request in server.requests]


def test_valid_file_has_no_problem(file: Path) -> None:
    found, _ = reported(file, VALID)
    assert found == FileReport(str(file), "workflow", "main", ())
    assert found.as_dict() == {
        "file": str(file),
        "kind": "workflow",
        "name": "main",
        "problems": (),
        "warnings": (),
        "valid": True,
    }


def test_unknown_functions_are_problems_or_warnings(file: Path) -> None:
    lines = ["publish:", "  a: <% plugin($.x) %>", "  b: <% regex_mach($.x) %>", "  c: <% theirs(1) %>"]
    file.write_text(WORKFLOW.replace("{action: core.noop}", "\n      ".join(["", *lines])))
    with BreakingServer(VALID) as server, client(server.url) as mistral:
        found = report(file, Catalogue(), mistral, {"theirs"})
    place = "workflow main, task one: YAQL has no function"
    assert Problem(7, f"{place} regex_mach. Did you mean regex_match?") in found.problems
    assert found.warnings == (Problem(6, f"{place} plugin, unless a plugin of Mistral brings it."),)


def test_mistral_validates_the_authors_text_first(file: Path) -> None:
    _, validated = reported(file, VALID)
    assert validated[0] == WORKFLOW.encode()
    assert len(validated) == 2
    assert b"st2.action" in validated[1]


def test_problem_that_mistral_finds_has_its_line(file: Path) -> None:
    message = "Invalid DSL: unknown 'one'"
    found, _ = reported(file, answer(200, {"valid": False, "error": message}))
    assert found.problems == (Problem(4, f"Mistral: {message}"),)
    assert found.as_dict()["valid"] is False


def test_problems_of_the_authors_calls_are_sorted_by_line(file: Path) -> None:
    file.write_text(
        "version: '2.0'\nmain:\n  tasks:\n    one: {action: std.noop, on-success: two}\n"
        "    two: {action: core.local}\n    three: {action: core.nonesuch}\n"
    )
    found, _ = reported(file, VALID)
    assert [problem.line for problem in found.problems] == [5, 6]


def test_500_of_mistral_is_a_problem_of_the_text(file: Path) -> None:
    found, _ = reported(file, answer(500, {"faultstring": "x"}))
    assert "cannot validate this text" in found.problems[0].message


def test_mistral_that_does_not_respond_is_no_problem_of_the_text(file: Path) -> None:
    with pytest.raises(OutcomeUnknown):
        reported(file, answer(503))
    with refusing() as url, client(url) as mistral, pytest.raises(NotSent):
        report(file, Catalogue(), mistral)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (None, None, "cannot be read: No such file or directory."),
        (b"\xff", None, "cannot be read: it is not UTF-8."),
        (b"version: '2.0'\nmain: [\n", 3, ""),
        (b"name: x\n", None, ""),
    ],
)
def test_unreadable_file_has_one_problem(
    tmp_path: Path, content: bytes | None, line: int | None, message: str
) -> None:
    file = tmp_path / "b.yaml"
    if content is not None:
        file.write_bytes(content)
    found, validated = reported(file, VALID)
    assert (found.kind, found.name, validated) == (None, None, [])
    (problem,) = found.problems
    assert problem.line == line
    assert message in problem.message


def test_workflows_of_several_files(file: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("version: '2.0'\nname: b\nworkflows:\n  w: {tasks: {one: {action: std.noop}}}\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("[")
    assert workflows_of([file, book, broken, tmp_path / "missing.yaml"]) == {"main", "b.w"}
