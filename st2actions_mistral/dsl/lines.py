"""Find the lines of keys and values in a YAML text. Lines count from 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from st2actions_mistral.dsl.mistral_yaml import Loader

# Mistral does not validate what is below these keys.
_FREE: Final = frozenset(
    ("input", "base-input", "publish", "publish-on-error", "publish-on-skip", "output", "vars")
)

# Keys that Mistral adds to the mappings that it validates.
_ADDED: Final = frozenset(("name", "version"))


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


def line_of_value(text: str, path: Sequence[str], value: Any, key: str | None = None) -> int | None:
    """Return the line of the first value that equals another, of those that Mistral validates.

    :param text: valid YAML.
    :param path: the keys that lead to the value, without those before; empty: anywhere.
    :param value: as Mistral validated it, which adds ``name`` and ``version`` to a mapping.
    :param key: the key in the mapping whose line is wanted instead.
    :return: None if no value is equal.
    """
    loader = Loader(text)
    root: yaml.Node | None = loader.get_single_node()
    for line, found_at, node in _validated(root) if root is not None else ():
        if found_at[len(found_at) - len(path) :] != tuple(path):
            continue
        if not _is_equal(loader.construct_object(node, deep=True), value):
            continue
        for name, _ in node.value if key is not None and isinstance(node, yaml.MappingNode) else ():
            if name.value == key:
                line = name.start_mark.line + 1
        return line
    return None


def _validated(
    node: yaml.Node, path: tuple[str, ...] = (), line: int = 1
) -> Iterator[tuple[int, tuple[str, ...], yaml.Node]]:
    """Yield each value with the line of its key, or of itself in a list, and the keys before it."""
    yield line, path, node
    if path and path[-1] in _FREE:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield from _validated(value, (*path, key.value), key.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _validated(item, path, item.start_mark.line + 1)


def _is_equal(ours: Any, validated: Any) -> bool:
    if isinstance(ours, dict) and isinstance(validated, dict):
        return (
            ours.keys() <= validated.keys()
            and validated.keys() - ours.keys() <= _ADDED
            and all(_is_equal(value, validated[key]) for key, value in ours.items())
        )
    return type(ours) is type(validated) and bool(ours == validated)


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
