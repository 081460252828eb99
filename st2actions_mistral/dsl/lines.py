"""Find the lines of keys and values in a YAML text. Lines count from 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from st2actions_mistral.dsl.mistral_yaml import Loader


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the line of the last key of a path that the text has, or None if it has none.

    :param text: valid YAML.
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


def lines_of_scalars(text: str) -> dict[str, list[int]]:
    """Return the lines on which each key and each value starts, in order.

    :param text: valid YAML.
    """
    lines: dict[str, list[int]] = {}
    for node in scalars(yaml.compose(text, Loader=Loader)):
        lines.setdefault(node.value, []).append(node.start_mark.line + 1)
    return lines


def scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Yield the keys and values of a tree of nodes, in order."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for part in pair:
                yield from scalars(part)
