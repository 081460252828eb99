"""Read the code in Jinja templates, and find keys of StackStorm's datastore in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from st2actions_mistral.dsl.function_names import OF_MISTRAL, OWN
from st2actions_mistral.model.literals import as_literals

_RAW: Final = re.compile(r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{#.*?#\}", re.DOTALL)
_OPENING: Final = re.compile(r"\{\{|\{%")
_CLOSING: Final = {"{{": "}}", "{%": "%}"}
_TOKEN: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\}\}|%\}|.""", re.DOTALL)
_FILTER: Final = re.compile(r"\|\s*\w+")
_DOTTED_KEY: Final = re.compile(r"(?<![\w.])st2kv\s*[.\[]")
# Variables and functions that only Mistral knows.
_OF_MISTRAL: Final = re.compile(rf"(?<![\w.])(?:_(?!\w)|(?:{'|'.join(sorted(OWN | OF_MISTRAL))})\s*\()")


class Code(NamedTuple):
    """The code between two brackets, with empty texts."""

    text: str
    is_block: bool
    """True for ``{% %}``, False for ``{{ }}``."""


def codes(text: str) -> Iterator[Code]:
    """Yield the code in a template, without what is raw or a comment."""
    text = _RAW.sub("", text)
    at = 0
    while opening := _OPENING.search(text, at):
        parts: list[str] = []
        at = opening.end()
        while token := _TOKEN.match(text, at):
            at = token.end()
            if token[0] == _CLOSING[opening[0]]:
                yield Code("".join(parts), opening[0] == "{%")
                break
            parts.append("''" if token[0][0] in "'\"" and len(token[0]) > 1 else token[0])


def has_dotted_key(code: str) -> bool:
    """Return True for code such as ``st2kv.system.x``, which only StackStorm can evaluate."""
    return _DOTTED_KEY.search(code) is not None


def resolve_in_stackstorm(inputs: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Let StackStorm resolve the parameters of an ``st2.action`` that read keys as ``st2kv.system.x``.

    As in StackStorm 3.2, Mistral passes such a parameter on as it is, and StackStorm renders it. That
    needs a parameter without anything for Mistral: data of a workflow must not be rendered.

    :return: the inputs, the same object if nothing changes, and the names of these parameters.
    """
    parameters, rendered = inputs.get("parameters"), inputs.get("render_jinja")
    if not isinstance(parameters, Mapping) or not (
        rendered is None or rendered is True or isinstance(rendered, list)
    ):
        return inputs, []
    names = [str(name) for name, value in parameters.items() if _is_for_stackstorm(value)]
    if not names:
        return inputs, []
    passed = {name: _unevaluated(parameters[name]) for name in names}
    if rendered is not True:
        rendered = list(dict.fromkeys([*(rendered or ()), *names]))
    return {**inputs, "parameters": {**parameters, **passed}, "render_jinja": rendered}, names


def _is_for_stackstorm(value: Any) -> bool:
    texts = list(_texts(value))
    found = [code.text for text in texts for code in codes(text)]
    return (
        any(map(has_dotted_key, found))
        and not any(_OF_MISTRAL.search(_FILTER.sub("", code)) for code in found)
        and not any("<%" in text or _RAW.search(text) for text in texts)
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _unevaluated(value: Any) -> Any:
    """Return a value that Mistral evaluates to ``value``. It evaluates no keys."""
    if isinstance(value, Mapping):
        return {key: _unevaluated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unevaluated(item) for item in value]
    return as_literals({"": value})[""] if isinstance(value, str) else value
