"""Find and translate the expressions of 2014 in the values of a YAML text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from st2actions_mistral.dsl.functions import unknown_in
from st2actions_mistral.dsl.lines import scalars
from st2actions_mistral.dsl.shorthand import is_expression
from st2actions_mistral.migrate.gone import find_gone, find_moved_results
from st2actions_mistral.migrate.outdated import find_outdated
from st2actions_mistral.migrate.translate import Resolve, UnreadableError, translate
from st2actions_mistral.migrate.yaml_edit import YamlEdit

# The start of an expression in a value, and in the line of an action: name="$.x", name=$.x or {$.x}.
_IN_VALUE: Final = re.compile(r"\{\$")
_IN_LINE: Final = re.compile(
    r"(?P<key>=)(?:(?P<quote>[\"'])(?P<quoted>\$[^\"']*)(?P=quote)|(?P<bare>\$[^\s\"']*))|\{\$"
)
# An expression of break-on or continue-on in a line follows this text, of at most this length.
_BREAK: Final = re.compile(r"(?:break|continue)-on(?:=[\"']?)?\Z")
_BREAK_LENGTH: Final = len("continue-on='")
_ANCHOR: Final = re.compile(r"[&*]\w")
_ITEMS: Final = re.compile(r"(\s*(\w+)\s+in\s+)(\S.*)", re.DOTALL)
_OF_2015: Final = re.compile(r"<%((?:(?!<%).)*?)%>", re.DOTALL)
_JINJA: Final = re.compile(r"\{([{%])((?:(?!\{[{%]).)*?)[}%]\}", re.DOTALL)
_LOOKS_LIKE: Final = re.compile(r"\$\.|\$\{|\{\{|\{%")
_OF_TODAY: Final = re.compile(r"<%|\{\{\s*(_\b|task\(|tasks\(|env\(|execution\()")


# Functions that find_outdated reports, with what to write instead.
_KNOWN_AS_OUTDATED: Final = ("length",)


@dataclass(frozen=True)
class Found:
    """An expression of 2014 in a text."""

    start: int
    end: int
    text: str
    """The expression with the brackets or quotes around it."""
    expression: str
    key: str = ""
    """The ``=`` before it."""
    quote: str = ""


def find_expressions(text: str, *, in_line: bool = False) -> Iterator[Found]:
    """Yield the expressions in a text as Mistral of 2014 found them: ``{$`` up to the next ``}``.

    The time is proportional to the length of the text: no character is searched twice for a bracket.

    :param in_line: also yield the values in the line of an action that are expressions.
    """
    start = _IN_LINE if in_line else _IN_VALUE
    last_closing = text.rfind("}")
    at = 0
    while match := start.search(text, at):
        at = match.end()
        groups = match.groupdict()
        if key := groups.get("key"):
            expression = groups["quoted"] or groups["bare"]
            yield Found(match.start(), at, match[0], expression, key, groups["quote"] or "")
        elif at <= last_closing:
            begin, at = match.start(), text.find("}", at) + 1
            yield Found(begin, at, text[begin:at], text[begin:at].strip("{}"))


def variable_of(node: yaml.Node) -> str | None:
    """Return the variable of a with-items value: ``i`` of ``i in $.list``."""
    match = _ITEMS.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
    return match[2] if match else None


class Expressions:
    """Translates the expressions in one text.

    :param report: takes the line, from 1, and a message about a place that the author must check.
    """

    def __init__(self, edit: YamlEdit, report: Callable[[int, str], None]) -> None:
        self._edit = edit
        self._add_to_report = report
        self._is_of_today = _OF_TODAY.search(edit.text) is not None

    def report_anchors(self, node: yaml.Node | None) -> None:
        """Report texts that are anchors or aliases in YAML, but not in Mistral's YAML."""
        for scalar in filter(_is_anchor, scalars(node)):
            message = (
                f"Mistral has no anchors today and reads {_short(scalar.value)} as text: write it out"
            )
            self._report(scalar, message)

    def report_outdated(
        self,
        node: yaml.Node,
        tasks: Collection[str],
        of_mistral: Collection[str] = (),
        own: str | None = None,
    ) -> None:
        """Report outdated syntax in expressions of today's form.

        :param tasks: names of tasks that are not names of variables.
        :param of_mistral: tasks that call ``mistral-v2`` actions.
        :param own: the name of the task that the node belongs to.
        """
        for scalar in scalars(node):
            for function in unknown_in(scalar.value, _KNOWN_AS_OUTDATED, may_be_for_stackstorm=True):
                self._report(scalar, function.message)
            for match in _OF_2015.finditer(scalar.value):
                messages = [*find_outdated(match[1], tasks), *find_gone(match[1], is_yaql=True)]
                for message in [*messages, *find_moved_results(match[1], of_mistral, own)]:
                    self._report(scalar, message, match.start())
            for match in _JINJA.finditer(scalar.value):
                messages = find_gone(match[2], is_yaql=False)
                for message in [*messages, *find_moved_results(match[2], of_mistral, own)]:
                    self._report(scalar, message, match.start())

    def with_items(self, node: yaml.Node, resolve: Resolve) -> None:
        """Translate ``i in $.list``."""
        if isinstance(node, yaml.ScalarNode) and (match := _ITEMS.fullmatch(node.value)):
            expression = match[3].strip()
            if "$" in expression and not is_expression(expression):
                self._edit.set(node, match[1] + self._required(node, expression, resolve))

    def conditions(self, node: yaml.Node, resolve: Resolve) -> None:
        """Translate values that must be expressions if they contain a ``$``."""
        if isinstance(node, yaml.ScalarNode):
            if "$" in node.value and not is_expression(node.value):
                self._edit.set(node, self._required(node, node.value.strip(), resolve))
            return
        for part in _parts(node):
            self.conditions(part, resolve)

    def value(self, node: yaml.Node, resolve: Resolve, *, alone: bool = False) -> None:
        """Translate a value that may be text, an expression, or text with expressions in it.

        :param alone: a single ``$`` is an expression, not a dollar sign.
        """
        if isinstance(node, yaml.ScalarNode):
            if node.tag.endswith(":str") and node.value:
                self._text(node, resolve, alone)
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                # {$.name} without quotes.
                if str(key.value).startswith("$") and not value.value:
                    self._report(
                        key, f"{{{key.value}}} is a mapping: put it in quotes if it is an expression"
                    )
        for part in _parts(node):
            self.value(part, resolve, alone=alone)

    def line(self, node: yaml.Node, resolve: Resolve, for_breaks: Resolve | None = None) -> None:
        """Translate ``action: std.echo output="{$.name}"``.

        :param for_breaks: resolves ``break-on`` and ``continue-on`` in the line of a ``retry``.
        """
        if isinstance(node, yaml.ScalarNode) and not is_expression(node.value):
            self._replace(node, resolve, for_breaks, in_line=True)

    def _required(self, node: yaml.Node, expression: str, resolve: Resolve) -> str:
        """Translate a text that must be an expression."""
        whole = next(find_expressions(expression), None)
        if whole and whole.text == expression:
            expression = expression[1:-1]
        done = self._translated(node, expression, resolve)
        if done is None:
            self._report(node, f"cannot parse the expression: {_short(expression)}")
            return f"<% {expression} %>"
        return done

    def _text(self, node: yaml.ScalarNode, resolve: Resolve, alone: bool) -> None:
        text = node.value
        if _is_anchor(node):
            return
        if "<%" in text:
            if next(find_expressions(text), None):
                self._report(node, f"not changed, as it has expressions of both kinds: {_short(text)}")
        elif text.startswith("$"):
            done = self._translated(node, text.strip(), resolve) if text != "$" or alone else None
            if done is not None:
                self._edit.set(node, done)
            elif not self._is_of_today or text.startswith("$."):
                self._report_unchanged(node, text)
        else:
            self._replace(node, resolve)

    def _replace(
        self,
        node: yaml.ScalarNode,
        resolve: Resolve,
        for_breaks: Resolve | None = None,
        *,
        in_line: bool = False,
    ) -> None:
        """Translate each expression in a text."""
        text = node.value
        parts, done, rest, at, after = [], [], [], 0, 0
        for found in find_expressions(text, in_line=in_line):
            rest.append(text[after : found.start])
            after = found.end
            is_break = _BREAK.search(text[max(found.start - _BREAK_LENGTH, 0) : found.start])
            new = self._part(node, found, for_breaks if for_breaks and is_break else resolve, in_line)
            if new is None:
                self._report_unchanged(node, found.text, found.start)
                continue
            parts.append((found.text, new))
            done += [text[at : found.start], new]
            at = found.end
        # Do not report a place twice, nor expressions that are meant for today's Mistral.
        remaining = "".join([*rest, text[after:]])
        if not self._is_of_today and (like := _LOOKS_LIKE.search(remaining)):
            line = remaining[like.start() :].partition("\n")[0]
            self._report_unchanged(node, line, like.start(), remaining)
        if parts:
            self._edit.set(node, "".join([*done, text[at:]]), parts)

    def _part(self, node: yaml.ScalarNode, found: Found, resolve: Resolve, in_line: bool) -> str | None:
        """Return the translation of an expression within a text, or None if it stays as it is."""
        if "{{" in node.value[max(found.start - 1, 0) : found.start + 2]:
            return None
        text = self._translated(node, found.expression, resolve)
        # A line cannot have quotes within quotes.
        if text is None or (in_line and re.search("[\"']", text)):
            return None
        return f"{found.key}{found.quote}{text}{found.quote}"

    def _translated(self, node: yaml.Node, expression: str, resolve: Resolve) -> str | None:
        try:
            text, doubts = translate(expression, resolve)
        except UnreadableError:
            return None
        done = f"<% {text} %>"
        for doubt in [
            *doubts,
            *(function.message for function in unknown_in(done, _KNOWN_AS_OUTDATED)),
        ]:
            self._report(node, doubt)
        return done

    def _report_unchanged(
        self, node: yaml.Node, what: str, start: int | None = None, text: str | None = None
    ) -> None:
        self._report(node, f"looks like an expression, not changed: {_short(what)}", start, text)

    def _report(
        self, node: yaml.Node, message: str, start: int | None = None, text: str | None = None
    ) -> None:
        """Report a place in a value.

        :param start: the position of the place in ``text``, which is the value by default.
        """
        line = node.start_mark.line + 1
        if start is not None and isinstance(node, yaml.ScalarNode) and node.style == "|":
            line += 1 + (node.value if text is None else text).count("\n", 0, start)
        self._add_to_report(line, message)


def _is_anchor(node: yaml.ScalarNode) -> bool:
    return node.style is None and _ANCHOR.match(node.value) is not None


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]} …"
