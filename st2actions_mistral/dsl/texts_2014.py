"""Expressions of 2014 where they stand: in values, in conditions, in the line of an action."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

import yaml

from st2actions_mistral.dsl.draft import Draft
from st2actions_mistral.dsl.lines import scalars
from st2actions_mistral.dsl.shorthand import is_expression
from st2actions_mistral.dsl.yaql_2014 import Root, Unclear, leftovers, translate

# As Mistral looked for expressions in a text then.
_INLINE: Final = re.compile(r"\{\$\.*[^}]*\}")
_IN_LINE_OF_ACTION: Final = re.compile(
    rf"(?P<key>=)(?:(?P<quote>[\"'])(?P<quoted>\$[^\"']*)(?P=quote)|(?P<bare>\$[^\s\"']*))|{_INLINE.pattern}"
)
# What may be before an expression in a line, and how long that is.
_BREAK: Final = re.compile(r"(?:break|continue)-on(?:=[\"']?)?\Z")
_BEFORE: Final = len("continue-on='")
_ANCHOR: Final = re.compile(r"[&*]\w")
_ITEMS: Final = re.compile(r"(\s*(\w+)\s+in\s+)(\S.*)", re.DOTALL)
_OF_2015: Final = re.compile(r"<%((?:(?!<%).)*?)%>", re.DOTALL)
_LOOKS_LIKE: Final = re.compile(r"\$\.|\$\{|\{\{|\{%")
_OF_TODAY: Final = re.compile(r"<%|\{\{\s*(_\b|task\(|tasks\(|env\(|execution\()")


def variable_of(node: yaml.Node) -> str | None:
    """The variable of an item of with-items: ``i`` of ``i in $.list``."""
    match = _ITEMS.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
    return match[2] if match else None


class Texts:
    """Translates the texts of a draft.

    :param tell: takes what somebody has to look at: a line, from 1, and words.
    """

    def __init__(self, draft: Draft, tell: Callable[[int, str], None]) -> None:
        self._draft = draft
        self._say = tell
        self._of_today = _OF_TODAY.search(draft.text) is not None

    def anchors(self, node: yaml.Node | None) -> None:
        """Tell what is an anchor, or an alias, in YAML and a text in Mistral's."""
        for scalar in filter(_is_anchor, scalars(node)):
            words = f"Mistral knows no anchors today, {_short(scalar.value)} is a text: write it out"
            self._tell(scalar, words)

    def leftovers(self, node: yaml.Node, tasks: Collection[str]) -> None:
        """Tell what is between ``<%`` and ``%>`` and of 2015, which is not changed.

        :param tasks: names of tasks of which there is no variable.
        """
        for scalar in scalars(node):
            for match in _OF_2015.finditer(scalar.value):
                for words in leftovers(match[1], tasks):
                    self._tell(scalar, words, match)

    def with_items(self, node: yaml.Node, root: Root) -> None:
        if isinstance(node, yaml.ScalarNode) and (match := _ITEMS.fullmatch(node.value)):
            expression = match[3].strip()
            if "$" in expression and not is_expression(expression):
                self._draft.set(node, match[1] + self._forced(node, expression, root))

    def expressions(self, node: yaml.Node, root: Root) -> None:
        """Texts that cannot be anything but expressions, or else names of tasks, without a ``$``."""
        if isinstance(node, yaml.ScalarNode):
            if "$" in node.value and not is_expression(node.value):
                self._draft.set(node, self._forced(node, node.value.strip(), root))
            return
        for part in _parts(node):
            self.expressions(part, root)

    def _forced(self, node: yaml.Node, expression: str, root: Root) -> str:
        if _INLINE.fullmatch(expression):
            expression = expression[1:-1]
        done = self._translated(node, expression, root)
        if done is None:
            self._tell(node, f"an expression that could not be read: {_short(expression)}")
            return f"<% {expression} %>"
        return done

    def value(self, node: yaml.Node, root: Root, *, alone: bool = False) -> None:
        """What may be text, an expression, or text with expressions in it.

        :param alone: whether ``$`` alone is an expression there, and not a dollar.
        """
        if isinstance(node, yaml.ScalarNode):
            if node.tag.endswith(":str") and node.value:
                self._text(node, root, alone)
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                # {$.name} without quotes.
                if str(key.value).startswith("$") and not value.value:
                    self._tell(
                        key,
                        f"{{{key.value}}} is a mapping: if an expression is meant, quote it",
                    )
        for part in _parts(node):
            self.value(part, root, alone=alone)

    def _text(self, node: yaml.ScalarNode, root: Root, alone: bool) -> None:
        text = node.value
        if _is_anchor(node):
            return
        if "<%" in text:
            if _INLINE.search(text):
                self._tell(node, f"has expressions of both kinds, and was not touched: {_short(text)}")
        elif text.startswith("$"):
            done = self._translated(node, text.strip(), root) if text != "$" or alone else None
            if done is not None:
                self._draft.set(node, done)
            elif not self._of_today or text.startswith("$."):
                self._untouched(node, text)
        else:
            self._replace(node, _INLINE, root)

    def line(self, node: yaml.Node, root: Root, of_breaks: Root | None = None) -> None:
        """``action: std.echo output="{$.name}"``

        :param of_breaks: of ``break-on`` and ``continue-on`` in ``retry: count=3 delay={$.delay}``.
        """
        if isinstance(node, yaml.ScalarNode) and not is_expression(node.value):
            self._replace(node, _IN_LINE_OF_ACTION, root, of_breaks, quotes=False)

    def _replace(
        self,
        node: yaml.ScalarNode,
        pattern: re.Pattern[str],
        root: Root,
        of_breaks: Root | None = None,
        *,
        quotes: bool = True,
    ) -> None:
        """Translate what a pattern finds in a text.

        :param quotes: whether the new text may have quotes where the old one had none.
        """

        parts = []
        done, at = "", 0
        for match in pattern.finditer(node.value):
            is_break = _BREAK.search(node.value[max(match.start() - _BEFORE, 0) : match.start()])
            new = self._part(node, match, of_breaks if of_breaks and is_break else root, quotes)
            if new is None:
                self._untouched(node, match[0], match)
                continue
            parts.append((match[0], new))
            done, at = done + node.value[at : match.start()] + new, match.end()
        # What was told already is not told again, nor is what today's Mistral is meant to see.
        rest = pattern.sub("", node.value)
        if not self._of_today and (found := _LOOKS_LIKE.search(rest)):
            self._untouched(node, rest[found.start() :].partition("\n")[0], found)
        if parts:
            self._draft.set(node, done + node.value[at:], parts)

    def _part(
        self, node: yaml.ScalarNode, match: re.Match[str], root: Root, quotes: bool
    ) -> str | None:
        groups = match.groupdict()
        if "{{" in node.value[max(match.start() - 1, 0) : match.start() + 2]:
            return None
        expression = groups.get("quoted") or groups.get("bare") or match[0].strip("{}")
        text = self._translated(node, expression, root)
        if text is None or (not quotes and re.search("[\"']", text)):
            return None
        quote = groups.get("quote") or ""
        return f"{groups.get('key') or ''}{quote}{text}{quote}"

    def _untouched(self, node: yaml.Node, what: str, match: re.Match[str] | None = None) -> None:
        self._tell(node, f"looks like an expression, and was not touched: {_short(what)}", match)

    def _translated(self, node: yaml.Node, expression: str, root: Root) -> str | None:
        try:
            text, doubts = translate(expression, root)
        except Unclear:
            return None
        for doubt in doubts:
            self._tell(node, doubt)
        return f"<% {text} %>"

    def _tell(self, node: yaml.Node, words: str, match: re.Match[str] | None = None) -> None:
        line = node.start_mark.line + 1
        if match and isinstance(node, yaml.ScalarNode) and node.style == "|":
            line += 1 + match.string.count("\n", 0, match.start())
        self._say(line, words)


def _is_anchor(node: yaml.ScalarNode) -> bool:
    return node.style is None and _ANCHOR.match(node.value) is not None


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]} …"
