"""Read and write YAML as Mistral does: without anchors and aliases."""

from __future__ import annotations

from typing import Any, Final

import yaml

from st2actions_mistral.errors import InputError

# Columns. Folded lines are harder to read than long ones.
_WIDTH: Final = 100_000

# Anchors that one error lists after the first.
_MAX_LISTED: Final = 20


class Loader(yaml.SafeLoader):
    """A loader that treats ``&``, ``*`` and ``@`` at the start of a value as text, like Mistral's."""

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return self.peek() == "@" or bool(super().check_plain())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node.

        :raises yaml.YAMLError: the value does not fit its tag, or is an integer that is too large for
            Python to print.
        """
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int):
                str(made)
        except (ValueError, LookupError, AttributeError, ArithmeticError) as error:
            # PyYAML raises these for !!bool maybe, !!timestamp maybe, !!int '' and 2026-99-99.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"cannot be read as {kind:.40}", node.start_mark
            ) from error
        return made


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these line ends without quotes, and then reads them as something else.
    style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def load(text: str, where: str) -> Any:
    """Parse YAML as Mistral does.

    :param where: the name of the file, for errors.
    :raises InputError: the text is not valid YAML; with the line, from 1, if it is known.
    """
    try:
        return yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if _may_need_anchors(text, error) and (anchors := _find_anchors(text)):
            raise InputError(where, _anchors_message(anchors), line=anchors[0][0]) from error
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = f"is not valid YAML: {line}{error.problem or error.context}."
        raise InputError(where, reason, line=mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(where, f"is not valid YAML: {error!s:.200}.") from error


def dump(data: Any) -> str:
    """Return the YAML text from which :func:`load` makes ``data``.

    :raises InputError: the data is nested too deeply.
    """
    try:
        return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH))
    except RecursionError as error:
        raise InputError("definition", "is nested too deeply.") from error


def _may_need_anchors(text: str, error: yaml.MarkedYAMLError) -> bool:
    """Return True if an anchor or alias may have caused the error."""
    if isinstance(error, yaml.constructor.ConstructorError):
        # "<<: *a" fails because the text "*a" cannot be merged into a mapping.
        mark = error.problem_mark
        return mark is not None and text.startswith("*", mark.index)
    return isinstance(error, (yaml.scanner.ScannerError, yaml.parser.ParserError))


def _find_anchors(text: str) -> list[tuple[int, str]]:
    """List the anchors and aliases of a text, "&a" and "*a", with their lines from 1.

    Return an empty list if the text is invalid with anchors too. Aliases are not expanded, so a text
    that would grow without bound is safe.
    """
    found = []
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None and event.start_mark:
                sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
                found.append((event.start_mark.line + 1, f"{sign}{event.anchor:.40}"))
    except (yaml.YAMLError, ValueError):
        return []
    return found


def _anchors_message(anchors: list[tuple[int, str]]) -> str:
    (line, first), *others = anchors
    kind = "alias" if first.startswith("*") else "anchor"
    also = ", ".join(f"{name} (line {at})" for at, name in others[:_MAX_LISTED])
    rest = ", …" if len(others) > _MAX_LISTED else ""
    more = f" Also: {also}{rest}." if also else ""
    return (
        f"line {line}: Mistral does not support YAML anchors. Replace the {kind} {first} with the full"
        f" text.{more}"
    )
