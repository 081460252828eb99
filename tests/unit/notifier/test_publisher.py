"""Test what Mistral calls: the publisher, with real sockets on the other side."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mistral.notifiers import base
from oslo_config import cfg
from support.breaking_servers import BreakingServer, Exchange, answer
from support.relay import WORKFLOW, parent, workflow
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.notifier.publisher import St2Publisher

TRIGGER = "tests.mistral_event"
DATA = {"id": WORKFLOW, "workflow_name": "n", "state": "SUCCESS", "root_execution_id": None}


def conf_of(folder: Path, text: str) -> cfg.ConfigOpts:
    file = folder / "mistral.conf"
    file.write_text(text)
    return config.read_files([str(file)])


class Mistral(BreakingServer):
    """A Mistral that shows one final workflow without tasks."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.hold = threading.Event()
        self.hold.set()

    def _answer(self, exchange: Exchange) -> bool:
        self.hold.wait(30)
        assert exchange.request is not None
        path = exchange.request.path
        found: Any = {"tasks": []} if path.startswith("/v2/tasks") else workflow(state="SUCCESS")
        return answer(200, found)(exchange)


@pytest.fixture
def mistral() -> Iterator[Mistral]:
    with Mistral() as server:
        yield server


@pytest.fixture
def st2() -> Iterator[StackStorm]:
    with StackStorm() as stackstorm:
        stackstorm.register_trigger({"pack": "tests", "name": "mistral_event"})
        yield stackstorm


def options(mistral: Mistral, st2: StackStorm, more: str = "") -> str:
    return (
        f"[st2]\napi_url = {st2.api_url}\napi_key = {st2.create_api_key()}\nsite = here\n"
        f"[st2_relay]\nmistral_url = {mistral.url}/v2\n[st2_notifier]\n{more}\n"
    )


def publish(publisher: St2Publisher, event: str = "WORKFLOW_SUCCEEDED", **more: Any) -> None:
    publisher.publish(None, WORKFLOW, {**DATA, **more}, event, "2026-11-23 04:16:07")


def test_mistral_loads_the_publisher_by_its_name() -> None:
    try:
        assert isinstance(base.get_notification_publisher("st2"), St2Publisher)
    finally:
        base.cleanup()


def test_event_reaches_both_the_parent_and_the_trigger(mistral: Mistral, tmp_path: Path) -> None:
    puts: list[dict[str, Any]] = []
    posts: list[dict[str, Any]] = []

    def stackstorm(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "PUT":
            puts.append(json.loads(exchange.request.body))
            return answer(200, {**parent(), "status": "succeeded"})(exchange)
        if exchange.request.method == "POST":
            posts.append(json.loads(exchange.request.body))
            return answer(202, posts[-1])(exchange)
        return answer(200, parent())(exchange)

    with BreakingServer(stackstorm) as server:
        text = (
            f"[st2]\napi_url = {server.url}/v1\napi_key = k\nsite = here\n"
            f"[st2_relay]\nmistral_url = {mistral.url}/v2\n[st2_notifier]\ntrigger = {TRIGGER}\n"
        )
        publisher = St2Publisher(conf_of(tmp_path, text))
        publish(publisher)
        eventually(lambda: puts and posts, "both requests arrive")
        del publisher
        gc.collect()
    assert puts[0]["status"] == "succeeded"
    assert posts == [{"trigger": TRIGGER, "payload": posts[0]["payload"]}]
    assert posts[0]["payload"]["workflow_execution_id"] == WORKFLOW


def test_publish_does_not_wait_for_the_systems(
    mistral: Mistral, st2: StackStorm, tmp_path: Path
) -> None:
    publisher = St2Publisher(conf_of(tmp_path, options(mistral, st2, "queue_size = 10")))
    publish(publisher)
    mistral.hold.clear()
    begun = time.monotonic()
    for number in range(1000):
        publish(publisher, id=f"w{number}")
    assert time.monotonic() - begun < 2
    mistral.hold.set()


def test_several_entries_for_one_event_are_one_event(
    mistral: Mistral, st2: StackStorm, tmp_path: Path
) -> None:
    """Mistral adds the operator's entry to those of the author, and again for a sub-workflow."""
    publisher = St2Publisher(conf_of(tmp_path, options(mistral, st2, f"trigger = {TRIGGER}")))
    for id_ in ("w0", "w1", "w1"):
        data = {**DATA, "id": id_}
        for entry in ({"url": "http://x"}, {}, {"event_types": ["WORKFLOW_LAUNCHED"]}):
            # It passes the same object for each entry.
            publisher.publish(None, id_, data, "WORKFLOW_LAUNCHED", None, **entry)
    publisher.publish(None, "last", {**DATA, "id": "last"}, "WORKFLOW_LAUNCHED", None)

    def seen() -> list[str]:
        return [i["payload"]["workflow_execution_id"] for i in st2.trigger_instances(TRIGGER)]

    eventually(lambda: len(seen()) >= 4, "all events arrive")
    assert sorted(seen()) == ["last", "w0", "w1", "w1"]


def test_invalid_options_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publisher = St2Publisher(conf_of(tmp_path, "[st2_notifier]\ntrigger = none\n"))
    for _ in range(3):
        publish(publisher)
    assert caplog.messages == [
        "The notifier does nothing, and everything is left to the relay: [st2_notifier] trigger:"
        " 'none' does not name a trigger as pack.name, such as examples.mistral_event."
    ]


def test_what_is_no_event_starts_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    publisher = St2Publisher(conf_of(tmp_path, ""))
    publisher.publish(None, "t", {"id": "t", "workflow_execution_id": "w"}, None, None)  # type: ignore[arg-type] # Mistral does so
    assert not caplog.messages


def test_threads_end_with_the_publisher(mistral: Mistral, st2: StackStorm, tmp_path: Path) -> None:
    def own() -> set[str]:
        return {
            thread.name for thread in threading.enumerate() if thread.name.startswith("st2-notifier-")
        }

    publisher = St2Publisher(conf_of(tmp_path, options(mistral, st2, f"trigger = {TRIGGER}")))
    publish(publisher)
    assert own() == {f"st2-notifier-{kind}-{n}" for kind in ("parents", "triggers") for n in range(4)}
    del publisher
    gc.collect()
    eventually(lambda: not own(), "the threads end")


# eventlet, which other tests import, and Python 3.12 warn of each fork.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_starts_threads_of_its_own(mistral: Mistral, st2: StackStorm, tmp_path: Path) -> None:
    publisher = St2Publisher(conf_of(tmp_path, options(mistral, st2, f"trigger = {TRIGGER}")))
    publish(publisher, "WORKFLOW_LAUNCHED")
    eventually(lambda: len(st2.trigger_instances()) == 1, "the event of the parent process arrives")
    pid = os.fork()
    if pid == 0:
        # Nothing but os._exit may end it: it shares the test's files and fixtures.
        try:
            publish(publisher, "WORKFLOW_RERUN")
            eventually(lambda: (tmp_path / "done").exists(), "the event arrives", 30)
        finally:
            os._exit(0)
    try:
        eventually(lambda: len(st2.trigger_instances()) == 2, "the event of the fork arrives")
    finally:
        (tmp_path / "done").touch()
        os.waitpid(pid, 0)
    assert {i["payload"]["event"] for i in st2.trigger_instances()} == {
        "WORKFLOW_LAUNCHED",
        "WORKFLOW_RERUN",
    }
