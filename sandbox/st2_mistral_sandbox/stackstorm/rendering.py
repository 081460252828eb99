"""Render parameters with Jinja, as StackStorm does when an execution is created.

Clients must protect their values against this, so it follows StackStorm exactly:

* A string with ``{{`` or ``{%`` is a template. So is a list or an object whose Python representation
  contains one of them; that representation is parsed to find the variables.
* A template that does not parse is left unchanged.
* A list or object is encoded as compact JSON, each ``"{{name}}"`` becomes ``{{name | to_complex}}``,
  and the rendered text is decoded again.
* Every variable must be known: a parameter, ``action_context``, ``config_context`` or ``st2kv``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

from st2_mistral_sandbox.stackstorm.datastore import Datastore, Lookup
from st2_mistral_sandbox.stackstorm.json_format import from_json, to_json
from st2_mistral_sandbox.stackstorm.parameters import NONE_MARK, cast

Schemas = Mapping[str, Mapping[str, Any]]
_MARKERS = ("{{", "{%")
_WHOLE_VARIABLE = re.compile(r'"{{([A-z0-9_-]+)}}"')


class RenderingError(Exception):
    """A parameter cannot be rendered. The text is StackStorm's message."""


class _Node:
    """A variable in the dependency graph. If it has a template and a value, the template is used.

    It can have both: StackStorm adds a parameter's default to the node of a template that a user gave.
    If the default is a template too, it replaces the user's.
    """

    def __init__(self) -> None:
        self.template: Any = None
        self.value: Any = None
        self.known = False
        self.needs: set[str] = set()


class Renderer:
    """Renders parameters with the values of a datastore."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self._environment = jinja2.sandbox.SandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.filters.update(
            {
                "decrypt_kv": self._decrypt_kv,
                "from_json_string": from_json,
                "json_escape": lambda value: json.dumps(value).strip('"'),
                "to_complex": json.dumps,
                "to_json_string": _to_json_string,
                "use_none": lambda value: NONE_MARK if value is None else value,
            }
        )

    def live_parameters(
        self,
        parameters: Mapping[str, Any],
        context: Mapping[str, Any],
        action_schemas: Schemas,
        runner_schemas: Schemas,
    ) -> dict[str, Any]:
        """Return the parameters that an execution shows: the given ones, and defaults with templates.

        :raises RenderingError: a template fails or a variable is unknown. ``parameters.cast`` raises
            others.
        """
        nodes = self._base(context)
        for name, value in parameters.items():
            self._add(nodes, name, value)
        rendered = self._resolve(nodes, action_schemas, runner_schemas)
        return _cast_all(parameters, rendered, (action_schemas, runner_schemas))

    def final_parameters(
        self,
        parameters: Mapping[str, Any],
        context: Mapping[str, Any],
        action_schemas: Schemas,
        runner_schemas: Schemas,
    ) -> dict[str, Any]:
        """Return the parameters for the runner: the live ones, not rendered again, and every default.

        :raises RenderingError: a default fails or needs an unknown variable.
        """
        nodes = self._base(context)
        for name, value in parameters.items():
            node = nodes.setdefault(name, _Node())
            node.value, node.known = value, True
        rendered = self._resolve(nodes, action_schemas, runner_schemas)
        wanted = {*action_schemas, *runner_schemas}
        rendered = {name: value for name, value in rendered.items() if name in wanted}
        return _cast_all(rendered, rendered, (action_schemas, runner_schemas))

    def _base(self, context: Mapping[str, Any]) -> dict[str, _Node]:
        user = str(context.get("api_user") or context.get("user") or "")
        nodes: dict[str, _Node] = {}
        for name, value in (
            ("st2kv", self._datastore.lookups(user)),
            ("action_context", context),
            ("config_context", {}),
        ):
            node = nodes.setdefault(name, _Node())
            node.value, node.known = value, True
        return nodes

    def _add(self, nodes: dict[str, _Node], name: str, value: Any) -> None:
        node = nodes.setdefault(name, _Node())
        if not is_template(value):
            node.value, node.known = value, True
            return
        try:
            tree = self._environment.parse(str(value))
        except jinja2.TemplateSyntaxError:
            node.value, node.known = value, True
            return
        node.template, node.known = value, True
        for dependency in jinja2.meta.find_undeclared_variables(tree):
            node.needs.add(dependency)
            nodes.setdefault(dependency, _Node())

    def _resolve(self, nodes: dict[str, _Node], *schema_groups: Schemas) -> dict[str, Any]:
        for schemas in schema_groups:
            for name, prop in schemas.items():
                if name not in nodes or nodes[name].value is None or prop.get("immutable"):
                    self._add(nodes, name, prop.get("default"))
        for name, node in nodes.items():
            if not node.known:
                raise RenderingError(f'Dependency unsatisfied in variable "{name}"')
        try:
            order = list(TopologicalSorter({n: node.needs for n, node in nodes.items()}).static_order())
        except CycleError as error:
            names = ", ".join(sorted(set(error.args[1])))
            raise RenderingError(
                f"Cyclic dependency found in the following variables: {names}. "
                "Likely the variable is referencing itself"
            ) from error
        rendered: dict[str, Any] = {}
        for name in order:
            rendered[name] = self._render(name, nodes[name], rendered)
        return rendered

    def _render(self, name: str, node: _Node, rendered: Mapping[str, Any]) -> Any:
        if node.template is None:
            return node.value
        structured = isinstance(node.template, (list, dict))
        text = str(node.template)
        if structured:
            text = _WHOLE_VARIABLE.sub(r"{{\1 | to_complex}}", to_json(node.template))
        # A template is user code and may raise any error.
        try:
            result = self._environment.from_string(text).render(rendered)
            return from_json(result) if structured else result
        except Exception as error:
            raise RenderingError(f'Failed to render parameter "{name}": {error}') from error

    def _decrypt_kv(self, value: Any) -> str:
        text = str(value)
        if isinstance(value, Lookup) and not text:
            raise ValueError("Referenced datastore item doesn't exist or it contains an empty string")
        return self._datastore.decrypt(text)


def is_template(value: Any) -> bool:
    """Return whether StackStorm takes a value for a template."""
    text = str(value) if isinstance(value, (list, dict)) else value
    return isinstance(text, str) and any(marker in text for marker in _MARKERS)


def _to_json_string(value: Any, indent: int | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, indent=indent, sort_keys=sort_keys, separators=(",", ": "))


def _cast_all(
    given: Mapping[str, Any], rendered: Mapping[str, Any], groups: tuple[Schemas, ...]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in given:
        prop: Mapping[str, Any] = {}
        for schemas in groups:
            prop = schemas.get(name, prop)
        result[name] = cast(rendered[name], prop)
    for schemas in groups:
        for name, prop in schemas.items():
            default = prop.get("default")
            untouched = isinstance(default, str) and is_template(default) and name not in given
            if untouched and not prop.get("immutable") and default != rendered[name]:
                result[name] = cast(rendered[name], prop)
    return result
