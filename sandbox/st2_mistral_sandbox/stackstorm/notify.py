"""Show whom StackStorm notifies of the end of an execution."""

from __future__ import annotations

from typing import Any


def notify_view(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``notify`` as StackStorm shows it: in its own order, without empty values."""
    shown: dict[str, Any] = {}
    for event in ("on-complete", "on-success", "on-failure"):
        route = given.get(event)
        if route:
            content = {name: route[name] for name in ("message", "data") if route.get(name)}
            routes = route.get("routes") or route.get("channels")
            shown[event] = {**content, **({"routes": routes} if routes else {})}
    return shown
