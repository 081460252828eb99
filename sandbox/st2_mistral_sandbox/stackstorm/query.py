"""Evaluate the query of ``/v1/executions``: filters, order, page and attributes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.store import Execution
from st2_mistral_sandbox.stackstorm.timestamps import iso, parse

Matcher = Callable[[Execution], bool]
Query = Mapping[str, str]

DEFAULT_LIMIT = 100
EXCLUDABLE = ("result", "trigger_instance", "status")
# The fields of StackStorm's document. Filters may name the fields of those that are objects.
_OBJECTS = {
    "action",
    "runner",
    "liveaction",
    "parameters",
    "result",
    "context",
    "trigger",
    "trigger_type",
    "trigger_instance",
    "rule",
}
_PLAIN = {
    "id",
    "workflow_execution",
    "task_execution",
    "status",
    "start_timestamp",
    "end_timestamp",
    "result_size",
    "parent",
    "children",
    "log",
    "delay",
    "web_url",
}
_ALIASES = {
    "action": "action.ref",
    "liveaction": "liveaction.id",
    "runner": "runner.name",
    "rule": "rule.name",
    "trigger": "trigger.name",
    "trigger_type": "trigger_type.name",
    "trigger_instance": "trigger_instance.id",
    "user": "context.user",
    "status": "status",
}


@dataclass(frozen=True)
class Page:
    """One page of the executions that match."""

    executions: list[Execution]
    total: int
    """The number of executions on all pages."""
    limit: int
    """The maximum number on a page; 0: no limit."""


def select_page(executions: Iterable[Execution], query: Query) -> Page:
    """Return the page that a query requests.

    :raises Fault: 400.
    """
    limit, offset = limit_of(query), _integer(query.get("offset") or "0")
    projection(query)
    matchers = [*_plain_filters(query), *_advanced_filters(query.get("filter") or "")]
    found = [e for e in executions if all(matches(e) for matches in matchers)]
    found.sort(key=lambda e: e.start, reverse=_newest_first(query))
    end = offset + limit if limit else None
    return Page(found[offset:end], len(found), limit)


def limit_of(query: Query, default: int = DEFAULT_LIMIT) -> int:
    """Return the limit of a query; 0: no limit.

    :raises Fault: 400.
    """
    text = query.get("limit")
    if text is None or text == "":
        return default
    limit = _integer(text)
    if limit == -1:
        return 0
    if limit == 0:
        raise bad_request('Limit, "0" specified, must be a positive number or -1 for full result set.')
    if limit < -1:
        raise bad_request(f'Limit, "{limit}" specified, must be a positive number.')
    return limit


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(str(error)) from error


def _newest_first(query: Query) -> bool:
    if query.get("timestamp_lt") or query.get("sort_desc"):
        return True
    if query.get("timestamp_gt") or query.get("sort_asc"):
        return False
    begin, dots, end = query.get("timestamp", "").partition("..")
    return not (dots and parse(begin) < parse(end))


def _plain_filters(query: Query) -> Iterable[Matcher]:
    for name, path in _ALIASES.items():
        if query.get(name):
            yield _equals(path, query[name])
    if query.get("id"):
        wanted = query["id"].split(",")
        yield lambda e: e.id in wanted
    if query.get("parent"):
        parent = None if query["parent"] in ("null", "None") else query["parent"]
        yield lambda e: e.parent == parent
    if query.get("timestamp_gt"):
        after = parse(query["timestamp_gt"])
        yield lambda e: e.start > after
    if query.get("timestamp_lt"):
        before = parse(query["timestamp_lt"])
        yield lambda e: e.start < before
    if query.get("timestamp"):
        yield _within(query["timestamp"])


def _within(text: str) -> Matcher:
    begin, dots, end = text.partition("..")
    if not dots:
        at = parse(begin)
        return lambda e: e.start == at
    low, high = sorted((parse(begin), parse(end)))
    return lambda e: low <= e.start <= high


def _advanced_filters(text: str) -> Iterable[Matcher]:
    for token in text.split(" ") if text else ():
        path, colon, value = token.partition(":")
        if not colon:
            raise bad_request(f'invalid format for filter "{token}"')
        first, *rest = path.split(".")
        if first not in _OBJECTS | _PLAIN:
            raise bad_request(f'Cannot resolve field "{first}"')
        if rest and first in _PLAIN:
            raise bad_request(f'Cannot resolve field "{rest[0]}"')
        yield _equals(path, value)


def _equals(path: str, value: str) -> Matcher:
    keys = path.split(".")

    def matches(execution: Execution) -> bool:
        found = _value_of(execution, keys)
        if isinstance(found, list):
            return value in found
        if len(keys) == 1 and isinstance(found, int):
            return str(found) == value
        if isinstance(found, datetime):
            return iso(found) == value
        return isinstance(found, str) and found == value

    return matches


def _value_of(execution: Execution, keys: list[str]) -> Any:
    first, *rest = keys
    if first == "liveaction":
        found: Any = {
            "id": execution.liveaction_id,
            "action": execution.action["ref"],
            "parameters": execution.parameters,
            "callback": execution.callback,
            "notify": execution.notify,
            "runner_info": execution.runner_info,
        }
    else:
        renamed = {"start_timestamp": "start", "end_timestamp": "end"}.get(first, first)
        found = getattr(execution, renamed, None)
    for key in rest:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def projection(
    query: Query,
    attributes: Collection[str] = _OBJECTS | _PLAIN,
    excludable: Collection[str] = EXCLUDABLE,
    always: Collection[str] = ("id",),
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that reduces a document to the attributes that a query requests.

    :param attributes: those that it may include; by default those of executions.
    :param excludable: those that it may exclude.
    :param always: those that are there beside the included ones.
    :raises Fault: 400, an unknown attribute, or both includes and excludes.
    """
    include = [name for name in (query.get("include_attributes") or "").split(",") if name]
    exclude = [name for name in (query.get("exclude_attributes") or "").split(",") if name]
    if include and exclude:
        raise bad_request(
            "exclude_fields and include_fields arguments are mutually exclusive. "
            "You need to provide either one or another, but not both."
        )
    for name in include:
        if name.split(".")[0] not in attributes:
            raise bad_request(f"Invalid or unsupported include attribute specified: {name}")
    for name in exclude:
        if name not in excludable:
            raise bad_request(f"Invalid or unsupported exclude attribute specified: {name}")
    if include:
        return lambda document: _only(document, {*always, *include})
    return lambda document: {key: value for key, value in document.items() if key not in exclude}


def _only(document: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in document.items():
        below = {name[len(key) + 1 :] for name in wanted if name.startswith(f"{key}.")}
        if key in wanted:
            kept[key] = value
        elif below and isinstance(value, dict):
            kept[key] = _only(value, below)
    return kept
