"""Compare the documentation with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from mistral import policies

from st2actions_mistral.cli.checks.finding import Finding
from st2actions_mistral.cli.file_report import FileReport
from st2actions_mistral.cli.function_plugins import Function
from st2actions_mistral.cli.main import build_parser
from st2actions_mistral.config.options import list_opts
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.status import Pending
from st2actions_mistral.runner import options as runner_options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return the text below one heading of the second level."""
    _, _, rest = text.partition(f"\n## {heading}\n")
    assert rest, f"no heading {heading}"
    return rest.split("\n## ")[0]


def first_column(text: str) -> list[str]:
    """Return the names in code style in the first column of all tables."""
    cells = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_page_lists_every_metric_of_the_relay() -> None:
    samples = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
    }
    listed = first_column(section(page("reference/metrics.md"), "Which metrics are there?"))
    assert sorted(listed) == sorted(samples)


def test_alert_rules_use_metrics_that_exist() -> None:
    listed = first_column(page("reference/metrics.md"))
    used = set(re.findall(r"st2_relay_\w+", page("_static/alerts.yaml")))
    assert used
    assert used <= set(listed)


def test_page_has_a_section_for_every_command() -> None:
    commands = re.findall(r"^    ([a-z]+)\s", build_parser().format_help(), re.MULTILINE)
    headings = re.findall(r"^## (.+)$", page("reference/commands.md"), re.MULTILINE)
    assert sorted(headings) == sorted(commands)


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("actions", {"name", "pack", "signature", "input", "description"}),
        ("check", {field.name for field in fields(Finding)}),
        ("functions", {field.name for field in fields(Function)}),
        ("status", {field.name for field in fields(Pending)}),
        ("validate", {field.name for field in fields(FileReport)} | {"valid"}),
    ],
)
def test_page_lists_every_json_key(command: str, keys: set[str]) -> None:
    assert set(first_column(section(page("reference/commands.md"), command))) == keys


def options() -> Iterator[str]:
    for group, opts in [*list_opts(), *runner_options.list_opts()]:
        for opt in opts:
            yield f"[{group}] {opt.dest}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_options_named_in_prose_exist(path: Path) -> None:
    named = re.findall(
        r"\[(?:st2|st2_auth|st2_provider|st2_relay|mistral)\] [a-z][a-z0-9_]+(?=`)",
        path.read_text("utf-8"),
    )
    assert set(named) <= set(options())


def test_policy_rules_exist_in_mistral() -> None:
    known = {rule.name for rule in policies.list_rules()}
    named = set(re.findall(r"`([a-z_]+:[a-z]+)`", page("security/mistral-policies.md")))
    assert named
    assert named <= known


def test_tests_named_by_the_guarantees_exist() -> None:
    text = page("concepts/guarantees.md")
    named = re.findall(r"`((?:unit|e2e|cloud|faults|processes|contract)/[\w./]+)`", text)
    assert named
    assert [path for path in named if not (ROOT / "tests" / path).exists()] == []


def test_readme_is_short_and_its_links_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("\n") <= 120
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [path for path in linked if not (ROOT / path).exists()] == []


def logged(path: Path) -> Iterator[str]:
    """Return the texts that a module logs at INFO and above, with … for what varies."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("info", "warning", "error", "exception")
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "LOG"
        ):
            text = node.args[0]
            assert isinstance(text, ast.Constant), f"{path}:{node.lineno}"
            yield re.sub(r"%[-.\d]*[sdrf]", "…", text.value)


def test_page_explains_every_log_message() -> None:
    messages = {
        message for path in (ROOT / "st2actions_mistral").rglob("*.py") for message in logged(path)
    }
    explained = re.findall(r"^`([^`]+)`$", page("reference/log-messages.md"), re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert messages - set(explained) == set()
    assert set(explained) - messages == set()


def texts(path: Path) -> Iterator[str]:
    """Return the string constants of a module, with … for what an f-string inserts."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    "heading", ["Actions that could not be scheduled", "Workflows that could not be started"]
)
def test_errors_quoted_by_the_page_exist_in_the_code(heading: str) -> None:
    code = [text for path in (ROOT / "st2actions_mistral").rglob("*.py") for text in texts(path)]
    named = re.findall(r"^\| (`.+?) \|", section(page("reference/errors.md"), heading), re.MULTILINE)
    quoted = [quote for cell in named for quote in re.findall(r"`([^`]+)`", cell)]
    # Statuses come from the server; "error" is in the header of the table.
    quoted = [quote for quote in quoted if quote != "error" and not quote.isdecimal()]
    assert len(quoted) > 5
    assert [quote for quote in quoted if not any(quote in text for text in code)] == []
