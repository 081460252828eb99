"""The log of the relay, as the options of oslo.log ask for it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.logging_state import logging_as_before

from st2actions_mistral import config
from st2actions_mistral.cli import logs
from st2actions_mistral.errors import ConfigError

LOG = logging.getLogger("st2actions_mistral.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.fixture(autouse=True)
def _no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def set_up(folder: Path, options: str, *, debug: bool = False) -> None:
    file = folder / "mistral.conf"
    file.write_text(f"[DEFAULT]\n{options}\n")
    logs.set_up(config.read_files([str(file)], register=logs.register_options), debug=debug)


def write() -> None:
    LOG.debug("few")
    LOG.info("one %s", "result")
    logging.getLogger("urllib3.connectionpool").debug("a request")
    logging.getLogger("keystoneauth.session").debug("headers")
    logging.getLogger("keystoneauth.identity").warning("rejected")


def test_without_options_the_log_goes_to_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(tmp_path, "")
    write()
    printed = capfd.readouterr()
    assert printed.out == ""
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} "
    assert re.sub(f"(?m)^{time}", "T ", printed.err) == (
        "T INFO st2actions_mistral.test: one result\nT WARNING keystoneauth.identity: rejected\n"
    )


def test_no_time_for_the_journal_which_has_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    set_up(tmp_path, "")
    try:
        raise ValueError("why")
    except ValueError:
        LOG.exception("failed")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "ERROR st2actions_mistral.test: failed: ValueError: why"
    assert "ERROR st2actions_mistral.test: ValueError: why" in lines


@pytest.mark.parametrize("option", ["debug = true", "flag"])
def test_debug_leaves_out_the_requests_of_libraries(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    set_up(tmp_path, "" if option == "flag" else option, debug=option == "flag")
    write()
    lines = [line.split(maxsplit=2)[2] for line in capfd.readouterr().err.splitlines()]
    assert lines == [
        "DEBUG st2actions_mistral.test: few",
        "INFO st2actions_mistral.test: one result",
        "WARNING keystoneauth.identity: rejected",
    ]


def test_default_log_levels_can_ask_for_the_requests_of_libraries(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(tmp_path, "debug = true\ndefault_log_levels = urllib3=DEBUG,st2actions_mistral=WARN")
    write()
    names = [line.split()[3] for line in capfd.readouterr().err.splitlines()]
    assert names == ["urllib3.connectionpool:", "keystoneauth.identity:"]


@pytest.mark.parametrize("name", ["relay.log", ""])
def test_log_file_and_log_dir_are_used_instead(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    set_up(tmp_path, f"log_dir = {tmp_path}" + (f"\nlog_file = {name}" if name else ""))
    write()
    assert capfd.readouterr() == ("", "")
    (file,) = tmp_path.glob("*.log")
    assert not name or file.name == name
    assert f" {os.getpid()} INFO st2actions_mistral.test [-] one result\n" in file.read_text()


def test_formats_are_those_of_the_options(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    set_up(
        tmp_path,
        "logging_default_format_string = plain %(message)s\n"
        "logging_context_format_string = %(request_id)s %(message)s",
    )
    LOG.info("one")
    LOG.info("two", extra={"request_id": "req-1"})
    assert capfd.readouterr().err == "plain one\nreq-1 two\n"


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("log_file = /nowhere/relay.log", "/nowhere/relay.log"),
        ("log_config_append = /nowhere/logging.ini", "/nowhere/logging.ini"),
        ("default_log_levels = amqp=LOUD", "LOUD"),
        ("use_syslog = true\nsyslog_log_facility = NONE", "syslog facility"),
    ],
)
def test_unusable_options_are_reported(tmp_path: Path, option: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)) as raised:
        set_up(tmp_path, option)
    assert "logging options of [DEFAULT]" in str(raised.value)


def test_invalid_value_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"\[DEFAULT\] has an invalid value"):
        set_up(tmp_path, "debug = maybe")
    assert "debug" in capfd.readouterr().err
