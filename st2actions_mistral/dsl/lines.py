"""On which line of a text something stands. The text is YAML that can be read; lines count from 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from st2actions_mistral.dsl.definition import Loader


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line of the last key of a path, or of the last one that is found; None where none is.

    :param path: keys, from the outermost mapping on.
    """
    node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    line = None
    for wanted in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        for key, value in pairs:
            if isinstance(key, yaml.ScalarNode) and key.value == wanted:
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return line


def lines_of_words(text: str) -> dict[str, list[int]]:
    """The lines on which each key and each value begins, in order."""
    lines: dict[str, list[int]] = {}
    for node in scalars(yaml.compose(text, Loader=Loader)):
        lines.setdefault(node.value, []).append(node.start_mark.line + 1)
    return lines


def scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """The keys and the values of a tree of nodes, in order."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for part in pair:
                yield from scalars(part)
