"""The directive ``sequence`` draws a sequence diagram as SVG inside the page.

The first line names the participants. ``A -> B: text`` is a call, ``A --> B: text`` an answer, and
``A: text`` something that A does by itself::

    ```{sequence} One request
    client, server
    client -> server: GET /
    server: reads the page
    server --> client: 200
    ```

The drawing is 440 units wide, so that its text can be read on a phone.
"""

import re
import textwrap
from dataclasses import dataclass
from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

_WIDTH = 440
_MARGIN = 52  # from the edge to the first participant's line
_LINE = 15  # from one line of text to the next
_CHARACTER = 6.9  # average width of a character of 12 units

_STEP = re.compile(r"(?P<a>[^:>]+?)\s*(?:(?P<arrow>-->|->)\s*(?P<b>[^:]+?)\s*)?:\s*(?P<text>.+)")


@dataclass(frozen=True)
class Step:
    """One line of the diagram. A step without a target is something that the source does by itself."""

    source: str
    target: str | None
    is_answer: bool
    text: str


def parse(lines: list[str]) -> tuple[list[str], list[Step]]:
    """Return the participants and the steps.

    :raises ValueError: a line is invalid, or names an unknown participant.
    """
    participants = [name.strip() for name in lines[0].split(",")]
    steps = []
    for line in filter(str.strip, lines[1:]):
        found = _STEP.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"invalid step: {line}")
        step = Step(found["a"], found["b"], found["arrow"] == "-->", found["text"])
        for name in (step.source, step.target or step.source):
            if name not in participants:
                raise ValueError(f"unknown participant {name}: {line}")
        steps.append(step)
    return participants, steps


def draw(title: str, participants: list[str], steps: list[Step]) -> str:
    """Return the diagram as an SVG element."""
    gap = (_WIDTH - 2 * _MARGIN) / (len(participants) - 1)
    middle = {name: _MARGIN + index * gap for index, name in enumerate(participants)}
    parts: list[str] = []
    y = 46.0
    for number, step in enumerate(steps, 1):
        drawn, y = _step(number, step, middle, y)
        parts.append(drawn)
    height = y + 8
    lifelines = "".join(
        f'<line class="lifeline" x1="{x:.0f}" y1="30" x2="{x:.0f}" y2="{height:.0f}"/>'
        f'<rect x="{x - 48:.0f}" y="4" width="96" height="26" rx="3"/>'
        f'<text class="participant" x="{x:.0f}" y="21">{escape(name)}</text>'
        for name, x in middle.items()
    )
    return (
        f'<svg class="sequence" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        f"{lifelines}{''.join(parts)}</svg>"
    )


def _step(number: int, step: Step, middle: dict[str, float], y: float) -> tuple[str, float]:
    start = middle[step.source]
    end = middle[step.target] if step.target else start
    left = min(start, end)
    text = textwrap.wrap(f"{number}. {step.text}", int((_WIDTH - 32) / _CHARACTER))
    longest = max(map(len, text)) * _CHARACTER
    x = max(8.0, min(left + 8, _WIDTH - longest - 8))
    drawn = []
    for line in text:
        y += _LINE
        drawn.append(f'<text x="{x:.0f}" y="{y:.0f}">{escape(line)}</text>')
    if step.target is None:
        drawn.append(f'<circle cx="{start:.0f}" cy="{y + 8:.0f}" r="4"/>')
        return "".join(drawn), y + 16
    y += 8
    head = end - 7 if end > start else end + 7
    kind = "answer" if step.is_answer else "call"
    drawn.append(
        f'<line class="{kind}" x1="{start:.0f}" y1="{y:.0f}" x2="{end:.0f}" y2="{y:.0f}"/>'
        f'<path d="M{end:.0f} {y:.0f} L{head:.0f} {y - 4:.0f} L{head:.0f} {y + 4:.0f} Z"/>'
    )
    return "".join(drawn), y + 6


class Sequence(Directive):
    """Draw the steps that the content lists. The argument is the title."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram as HTML."""
        try:
            drawn = draw(self.arguments[0], *parse(list(self.content)))
        except ValueError as error:
            raise self.error(str(error)) from error
        return [nodes.raw("", f'<div class="sequence">{drawn}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
