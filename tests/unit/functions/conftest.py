"""Fixtures for what reads StackStorm's datastore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.functions.datastore import CACHE


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    CACHE.clear()
    yield
    CACHE.clear()


@pytest.fixture
def put(st2: StackStorm, key: str) -> Callable[..., None]:
    """Return a function that sets a key as the user of Mistral's credential."""

    def put_key(name: str, value: str, **more: Any) -> None:
        response = requests.put(
            f"{st2.api_url}/keys/{name}",
            json={"name": name, "value": value, **more},
            headers={"St2-Api-Key": key},
            timeout=10,
        )
        assert response.status_code == 200, response.text

    return put_key
