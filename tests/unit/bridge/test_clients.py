from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from st2actions_mistral.bridge import clients
from st2actions_mistral.client.settings import Credential, St2Settings


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    clients.close_all()


def test_equal_settings_share_a_client() -> None:
    first = clients.client_for(St2Settings(credential=Credential(api_key="k")))
    assert clients.client_for(St2Settings(credential=Credential(api_key="k"))) is first


def test_other_settings_get_another_client() -> None:
    first = clients.client_for(St2Settings(credential=Credential(api_key="k")))
    assert clients.client_for(St2Settings(credential=Credential(api_key="other"))) is not first


def test_fork_gets_a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one socket would read each other's responses."""
    first = clients.client_for(St2Settings())
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert clients.client_for(St2Settings()) is not first


def test_close_all_forgets_the_clients() -> None:
    first = clients.client_for(St2Settings())
    clients.close_all()
    assert clients.client_for(St2Settings()) is not first
