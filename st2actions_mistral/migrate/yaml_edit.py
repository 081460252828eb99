"""Edit a YAML text in place, so that its comments and its layout stay.

Each edit is made twice: in the text, by position, and in the tree of nodes. If the two differ in the
end, the text is written again from the tree, without comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from st2actions_mistral.dsl.mistral_yaml import Loader, dump

_STR_TAG: Final = "tag:yaml.org,2002:str"
_INVALID: Final = object()
_BLANKS: Final = re.compile(" *")


class YamlEdit:
    """One text and the edits of it.

    :param text: YAML that :func:`mistral_yaml.load` accepts. ``text`` keeps the original.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._loader = Loader(text)
        self.root = self._loader.get_single_node()
        self._edits: list[tuple[int, int, str]] = []
        self._loses_comment = False

    def set(self, node: yaml.ScalarNode, value: str, parts: Sequence[tuple[str, str]] = ()) -> None:
        """Replace the text of a key or a value.

        :param parts: the changes within the text, old and new, in order; empty if all of it changes.
        """
        start, end = node.start_mark.index, node.end_mark.index
        self._edits.append((start, end, _scalar(self.text[start:end], node.style, value, parts)))
        node.value, node.tag = value, _STR_TAG

    def hoist(self, parent: yaml.MappingNode, at: int) -> None:
        """Replace pair ``at``, whose value is a mapping, with the pairs of that mapping."""
        key, inner = parent.value[at]
        if parent.flow_style or inner.flow_style:
            separator = ", " if parent.flow_style else self._line_end() + " " * key.start_mark.column
            begin = key.start_mark.index
            for name, value in inner.value:
                self._drop(begin, name.start_mark.index, "" if name is inner.value[0][0] else separator)
                begin = value.end_mark.index
            self._drop(begin, inner.end_mark.index, "")
        else:
            self._dedent(key, inner)
        parent.value[at : at + 1] = inner.value

    def drop(self, parent: yaml.MappingNode, at: int) -> None:
        """Remove pair ``at`` from a mapping."""
        key, value = parent.value.pop(at)
        start, end = key.start_mark.index, value.end_mark.index
        if parent.flow_style:
            if at < len(parent.value):
                end = parent.value[at][0].start_mark.index
            elif parent.value:
                start = parent.value[-1][1].end_mark.index
            self._drop(start, end, "")
        elif not parent.value:
            self._drop(start, end, "{}")
        else:
            line, below = self.text.rfind("\n", 0, start) + 1, self._next_line(end)
            if not (self.text[line:start] + self.text[end:below]).strip():
                start, end = line, below
            self._drop(start, end, "")

    def bare(self, node: yaml.MappingNode) -> yaml.ScalarNode:
        """Replace a mapping of one key, a scalar without a value, with this key, and return the key."""
        key: yaml.ScalarNode
        key, value = node.value[0]
        if node.flow_style:
            self._drop(node.start_mark.index, key.start_mark.index, "")
            self._drop(key.end_mark.index, node.end_mark.index, "")
        else:
            self._drop(key.end_mark.index, value.end_mark.index, "")
        return key

    def finish(self) -> tuple[str, bool]:
        """Return the edited text, and True if its layout was kept."""
        if not self._edits:
            return self.text, True
        data = self._loader.construct_document(self.root)
        text = None if self._loses_comment else self._edited()
        if text is not None and _read(text) == data:
            return text, True
        return dump(data), False

    def _edited(self) -> str | None:
        done, at = [], 0
        # Of those that start together an insertion comes first, then the longest.
        for start, end, new in sorted(
            self._edits, key=lambda edit: (edit[0], edit[0] != edit[1], -edit[1])
        ):
            if start < end <= at:
                continue  # within a text that is replaced or removed as a whole
            if start < at:
                return None
            done += [self.text[at:start], new]
            at = end
        return "".join([*done, self.text[at:]])

    def _drop(self, start: int, end: int, instead: str) -> None:
        # A comment between brackets would be lost.
        if "#" in self.text[start:end]:
            self._loses_comment = True
        self._edits.append((start, end, instead))

    def _dedent(self, key: yaml.Node, inner: yaml.MappingNode) -> None:
        first = inner.value[0][0].start_mark
        by = first.column - key.start_mark.column
        line = self.text.rfind("\n", 0, key.start_mark.index) + 1
        below = self._next_line(key.end_mark.index)
        comment = self.text.find("#", key.end_mark.index, below)
        if comment >= 0:
            self._edits.append((key.start_mark.index, comment, ""))
        else:
            self._edits.append((line, below, ""))
        while below < inner.end_mark.index:
            blanks = _BLANKS.match(self.text, below)
            if blanks and blanks.end() - below >= first.column:
                self._edits.append((below, below + by, ""))
            below = self._next_line(below)

    def _next_line(self, index: int) -> int:
        return self.text.find("\n", index) + 1 or len(self.text)

    def _line_end(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"


def _scalar(raw: str, style: str | None, value: str, parts: Sequence[tuple[str, str]]) -> str:
    """Return the YAML for a value, in the style of ``raw`` if that style can express it."""
    block = style in ("|", ">")
    if block and parts:
        return _block(raw, parts)
    quote, line_ends = ("", raw[len(raw.rstrip()) :]) if block else (style or "", "")
    single = "'" + value.replace("'", "''") + "'"
    for candidate in (single,) if quote == "'" else (f"{quote}{value}{quote}", single):
        # Between brackets fewer texts are valid without quotes.
        if _read(f"[{candidate}]") == [value] and _read(f"k: {candidate}") == {"k": value}:
            return candidate + line_ends
    return json.dumps(value, ensure_ascii=False) + line_ends


def _block(raw: str, parts: Sequence[tuple[str, str]]) -> str:
    done, at = [], 0
    for old, new in parts:
        found = raw.find(old, at)
        if found >= 0:
            done += [raw[at:found], new]
            at = found + len(old)
    return "".join([*done, raw[at:]])


def _read(text: str) -> Any:
    try:
        return yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return _INVALID
