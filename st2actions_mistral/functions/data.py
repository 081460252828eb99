"""Read and write JSON and YAML."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from jinja2 import pass_context

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.values import MAX_VALUES, plain, text

# StackStorm turns this text into null when it casts a parameter.
_NONE: Final = "%*****__%NONE%__*****%"

_MAX_INDENT: Final = 32


@pass_context
def from_json_string(context: Any, value: Any) -> Any:
    """Return the value of a JSON text."""
    name = "from_json_string"
    try:
        return json.loads(text(name, value))
    except RecursionError:
        raise InputError(name, "the text is nested too deeply.") from None
    except ValueError as error:
        raise InputError(name, f"the text is not JSON: {error}.") from None


@pass_context
def to_json_string(
    context: Any,
    value: Any,
    indent: Any = 4,
    sort_keys: bool = False,
    separators: Any = (",", ":"),
) -> str:
    """Return a value as JSON."""
    name = "to_json_string"
    marks = plain(name, separators)
    if marks is not None and (
        not isinstance(marks, list) or [type(mark) for mark in marks] != [str, str]
    ):
        raise InputError(name, "separators must be a list of two texts, such as [',', ': '].")
    return _json(
        name,
        value,
        indent=_indent(name, indent),
        sort_keys=bool(sort_keys),
        separators=None if marks is None else tuple(marks),
    )


@pass_context
def to_complex(context: Any, value: Any) -> str:
    """Return a value as JSON in one line."""
    return _json("to_complex", value)


@pass_context
def json_escape(context: Any, value: Any) -> str:
    """Return a text with the escapes that it needs within the quotes of a JSON string."""
    escaped = _json("json_escape", value)
    return escaped[1:-1] if escaped.startswith('"') else escaped


@pass_context
def json_pp(context: Any, data: Any) -> str:
    """Return a value as JSON for readers: indented, with line ends in texts as line ends."""
    return _json("json_pp", data, indent=4).replace("\\n", "\n").replace(" \n", "\n")


@pass_context
def from_yaml_string(context: Any, value: Any) -> Any:
    """Return the value of a YAML text."""
    name = "from_yaml_string"
    written = text(name, value)
    try:
        root = yaml.compose(written, Loader=_LOADER)
        if root is None:
            return None
        _check_size(name, root)
        loader = _LOADER("")
        try:
            return plain(name, loader.construct_document(root))
        finally:
            loader.dispose()
    except RecursionError:
        raise InputError(name, "the text is nested too deeply.") from None
    except yaml.YAMLError as error:
        raise InputError(name, f"the text is not YAML: {_problem(error)}.") from None
    except ValueError as error:
        # A date such as 2026-02-30.
        raise InputError(name, f"the text has an invalid value: {error}.") from None
    except (LookupError, AttributeError):
        # PyYAML's own ones, for a text such as "!!bool maybe" or "!!timestamp today".
        raise InputError(name, "the text has a value that does not fit its tag.") from None


@pass_context
def to_yaml_string(context: Any, value: Any, indent: Any = 4, allow_unicode: bool = True) -> str:
    """Return a value as YAML."""
    name = "to_yaml_string"
    written: str = yaml.dump(
        plain(name, value),
        Dumper=_Dumper,
        indent=_indent(name, indent),
        allow_unicode=bool(allow_unicode),
        default_flow_style=False,
    )
    return written


@pass_context
def use_none(context: Any, value: Any) -> Any:
    """Return a value unchanged, and for null the text that stands for it."""
    return _NONE if value is None else value


class _Dumper(yaml.SafeDumper):
    """Write each value in full, without anchors for values that occur twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# libyaml's loader, where PyYAML was built with it, is ten times as fast.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _json(name: str, value: Any, **options: Any) -> str:
    try:
        return json.dumps(plain(name, value), **options)
    except TypeError:
        # Keys of different types cannot be sorted.
        raise InputError(name, "the keys cannot be sorted: they have different types.") from None


def _indent(name: str, indent: Any) -> int | None:
    if indent is None:
        return None
    if type(indent) is int and 0 <= indent <= _MAX_INDENT:
        return indent
    raise InputError(name, f"indent must be null or a number from 0 to {_MAX_INDENT}.")


def _check_size(name: str, root: yaml.Node) -> None:
    """Check how many values a document has once all of its aliases are written out.

    A text of a few hundred characters can stand for billions of values.

    :raises InputError: more than :data:`MAX_VALUES`, or an anchor that contains itself.
    """
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise InputError(name, "an anchor contains an alias for itself.")
        if known:
            return known
        sizes[id(node)] = None
        total = 1
        if isinstance(node, yaml.MappingNode):
            total += sum(size(key) + size(item) for key, item in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(map(size, node.value))
        if total > MAX_VALUES:
            raise InputError(name, f"the text stands for more than {MAX_VALUES} values.")
        sizes[id(node)] = total
        return total

    size(root)


def _problem(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return f"{where}{problem or type(error).__name__}"
