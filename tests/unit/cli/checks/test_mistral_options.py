"""The checks of Mistral's own options."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from mistral.utils.filter_utils import filtered_by_allow_deny_list
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.cli.checks import mistral_options
from st2actions_mistral.cli.checks.finding import CheckFailed, CheckWarning
from st2actions_mistral.errors import ConfigError

SECRET = "canary-password"
MYSQL = f"mysql+pymysql://mistral:{SECRET}@db/mistral"


def conf_of(folder: Path, text: str) -> cfg.ConfigOpts:
    file = folder / "mistral.conf"
    file.write_text(text)
    return config.read_files([str(file)])


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            "[action_providers]\nallowlist = adhoc, dynamic",
            "Add legacy to [action_providers] allowlist.",
        ),
        ("[action_providers]\ndenylist = l*", "[action_providers] denylist not match legacy."),
        (
            "[legacy_action_provider]\nallowlist = std.*, st2.action",
            "Add st2.callback to [legacy_action_provider] allowlist.",
        ),
        (
            "[legacy_action_provider]\ndenylist = st2.*",
            "[legacy_action_provider] denylist not match st2.action and st2.callback.",
        ),
        ("[legacy_action_provider]\nonly_builtin_actions = true", "only_builtin_actions to false."),
        ("[legacy_action_provider]\nload_action_plugins = false", "load_action_plugins to true."),
    ],
)
def test_option_that_hides_the_actions_is_named(tmp_path: Path, text: str, remedy: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        mistral_options.action_filter(conf_of(tmp_path, text))
    assert remedy in str(caught.value)
    assert "restart" in str(caught.value)


def test_all_options_that_hide_the_actions_are_named_at_once(tmp_path: Path) -> None:
    text = "[action_providers]\nallowlist = adhoc\n[legacy_action_provider]\nonly_builtin_actions = yes"
    with pytest.raises(CheckFailed, match=r"\[action_providers\] allowlist.*only_builtin_actions"):
        mistral_options.action_filter(conf_of(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[action_providers]\nallowlist = legacy",
        # Mistral ignores a denylist beside an allowlist.
        "[legacy_action_provider]\nallowlist = st?.*\ndenylist = st2.action",
    ],
)
def test_options_that_hide_nothing(tmp_path: Path, text: str) -> None:
    assert "hide neither" in mistral_options.action_filter(conf_of(tmp_path, text))


@pytest.mark.parametrize("allowed", [[], ["st2.*"], ["std.*"], ["ST2.*"]])
@pytest.mark.parametrize("denied", [[], ["st2.callback"], ["*.action"], ["[st]*"]])
def test_lists_mean_the_same_as_in_mistral(
    tmp_path: Path, allowed: list[str], denied: list[str]
) -> None:
    hides = any(
        filtered_by_allow_deny_list(allowed, denied, name) for name in ("st2.action", "st2.callback")
    )
    conf = conf_of(
        tmp_path,
        f"[legacy_action_provider]\nallowlist = {','.join(allowed)}\ndenylist = {','.join(denied)}",
    )
    if hides:
        with pytest.raises(CheckFailed):
            mistral_options.action_filter(conf)
    else:
        mistral_options.action_filter(conf)


@pytest.mark.parametrize(
    ("version", "warns"),
    [
        ("20.1.1.dev1", False),
        ("20.1.1.dev11", True),
        ("20.1.1.dev12", False),
        ("20.2.0", False),
        ("21.0.0", False),
        ("21.0.1.dev3", True),
        ("21.0.1.dev12", False),
        ("22.0.0", True),
        ("22.0.1.dev10", True),
        ("22.0.1.dev11", False),
        ("22.0.1", False),
        ("23.0.0", False),
    ],
)
def test_versions_that_leave_the_isolation_level_to_mysql(
    tmp_path: Path, version: str, warns: bool
) -> None:
    conf = conf_of(tmp_path, f"[database]\nconnection = {MYSQL}")
    if not warns:
        assert version in mistral_options.database(conf, version)
        return
    with pytest.raises(CheckWarning) as caught:
        mistral_options.database(conf, version)
    assert "READ-COMMITTED" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "connection = postgresql://u:p@db/mistral",
        "connection = sqlite:///mistral.sqlite",
        "",
        f"connection = {MYSQL}?init_command=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+COMMITTED",
        f"connection = {MYSQL}\nconnection_parameters = init_command=SET SESSION TRANSACTION ISOLATION"
        " LEVEL READ COMMITTED",
    ],
)
def test_databases_that_need_no_warning(tmp_path: Path, text: str) -> None:
    mistral_options.database(conf_of(tmp_path, f"[database]\n{text}"), "22.0.0")


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        ("", False),
        ("[DEFAULT]\nscheduler_type = legacy", False),
        ("[DEFAULT]\nscheduler_type = default", True),
        ("[DEFAULT]\nscheduler_type = default\n[engine]\nexecution_integrity_check_delay = 0", True),
        ("[DEFAULT]\nscheduler_type = default\n[engine]\nexecution_integrity_check_delay = -1", False),
    ],
)
def test_scheduler_that_fails_after_reruns(tmp_path: Path, text: str, warns: bool) -> None:
    conf = conf_of(tmp_path, text)
    if not warns:
        assert "scheduler_type" in mistral_options.scheduler(conf)
        return
    with pytest.raises(CheckWarning, match="execution_integrity_check_delay = -1"):
        mistral_options.scheduler(conf)


def test_database_of_the_installed_mistral(tmp_path: Path) -> None:
    installed = metadata.version("mistral")
    assert installed in mistral_options.database(conf_of(tmp_path, f"[database]\nconnection = {MYSQL}"))


def test_database_is_unknown_without_mistral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert "not installed beside" in mistral_options.database(conf_of(tmp_path, ""))


def test_invalid_connection_is_not_shown(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, f"[database]\nconnection = mysql://u:${SECRET}@db/mistral")
    with pytest.raises(ConfigError) as caught:
        mistral_options.database(conf, "22.0.0")
    assert SECRET not in str(caught.value)
