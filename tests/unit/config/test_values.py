from __future__ import annotations

from pathlib import Path

import pytest

from st2actions_mistral import config
from st2actions_mistral.config.options import RELAY_GROUP, RELAY_OPTS, ST2_GROUP, ST2_OPTS
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError


def read(folder: Path, group: str, lines: str) -> dict[str, object]:
    file = folder / "mistral.conf"
    file.write_text(f"[{group}]\n{lines}\n")
    opts = ST2_OPTS if group == ST2_GROUP.name else RELAY_OPTS
    return read_group(config.read_files([str(file)]), group, opts)


def test_values_are_returned_by_option_name(tmp_path: Path) -> None:
    values = read(tmp_path, "st2_relay", "workers = 3")
    assert values["workers"] == 3
    assert values.keys() == {opt.name for opt in RELAY_OPTS}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("workers = many", "invalid literal for int() with base 10: 'many'."),
        ("workers = 0", "Should be greater than or equal to 1."),
        (
            "mistral_url = htp:/me:hush@x",
            "must be a URL that begins with http:// or https:// and names a host.",
        ),
    ],
)
def test_error_names_option_file_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    option = line.partition(" ")[0]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, RELAY_GROUP.name, line)
    file = tmp_path / "mistral.conf"
    assert str(caught.value) == f"[st2_relay] {option} in {file}: {reason}"


def test_error_explains_a_dollar_sign_without_the_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "st2", "password = x$hush")
    assert "[st2] password: " in str(caught.value)
    assert "Write $$" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_reference_to_a_group_is_a_config_error(tmp_path: Path) -> None:
    # oslo.config raises another error for "$GROUP" than for any other name.
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "st2", "api_key = a$st2\npassword = b$st2_relay")
    assert "a$" not in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1e300"])
@pytest.mark.parametrize(
    ("group", "option"),
    [
        ("st2", "connect_timeout"),
        ("st2", "read_timeout"),
        ("st2", "retry_deadline"),
        ("st2_relay", "resync_interval"),
        ("st2_relay", "reschedule_after"),
        ("st2_relay", "lost_after"),
    ],
)
def test_an_infinite_or_huge_number_of_seconds_is_rejected(
    tmp_path: Path, group: str, option: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=rf"\[{group}\] {option}"):
        read(tmp_path, group, f"{option} = {value}")
