"""Public names, options and entry points, and imports without side effects."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import io
import json
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import stevedore
from oslo_config import cfg, generator
from support import st2common_stub

import st2_mistral_sandbox
import st2actions_mistral
from st2actions_mistral import config

ROOT = Path(__file__).parents[2]
DISTRIBUTION = "st2actions-mistral"
SANDBOX = "st2-mistral-sandbox"


FUNCTIONS = {
    "from_json_string": "data",
    "from_yaml_string": "data",
    "json_escape": "data",
    "json_pp": "data",
    "jsonpath_query": "jsonpath",
    "regex_match": "patterns",
    "regex_replace": "patterns",
    "regex_search": "patterns",
    "regex_substring": "patterns",
    "st2kv": "datastore",
    "to_complex": "data",
    "to_human_time_from_seconds": "times",
    "to_json_string": "data",
    "to_yaml_string": "data",
    "use_none": "data",
    "version_bump_major": "versions",
    "version_bump_minor": "versions",
    "version_bump_patch": "versions",
    "version_compare": "versions",
    "version_equal": "versions",
    "version_less_than": "versions",
    "version_match": "versions",
    "version_more_than": "versions",
    "version_strip_patch": "versions",
}


def modules(*below: str) -> list[str]:
    return sorted(
        info.name
        for info in pkgutil.walk_packages(st2actions_mistral.__path__, "st2actions_mistral.")
        if not info.name.endswith("__main__")
        and (not below or info.name.removeprefix("st2actions_mistral.").startswith(below))
    )


# On Python 3.10 mistral_lib imports eventlet, by way of oslo.utils, and hears that it should not. WebOb
# imports cgi.
NOT_OURS = r"""
import warnings
deprecated = r"\s*Eventlet is deprecated|eventletutils module is deprecated|'cgi' is deprecated"
warnings.filterwarnings("ignore", deprecated)
"""


def in_a_fresh_process(code: str) -> Any:
    """Return what a program prints, decoded from JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NOT_OURS + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def entry_points(distribution: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in importlib.metadata.distribution(distribution).entry_points:
        found.setdefault(entry.group, []).append(f"{entry.name} = {entry.value}")
    return found


def test_entry_points() -> None:
    assert entry_points(DISTRIBUTION) == {
        "console_scripts": ["st2-mistral = st2actions_mistral.cli.main:main"],
        "mistral.action.providers": ["st2 = st2actions_mistral.provider.provider:St2ActionProvider"],
        "mistral.actions": [
            "st2.action = st2actions_mistral.actions.action:St2Action",
            "st2.callback = st2actions_mistral.actions.callback:St2Callback",
        ],
        "mistral.auth": ["st2 = st2actions_mistral.auth.server:St2AuthHandler"],
        "mistral.expression.functions": [
            f"{name} = st2actions_mistral.functions.{module}:{name}"
            for name, module in sorted(FUNCTIONS.items())
        ],
        "mistralclient.auth": ["st2 = st2actions_mistral.auth.client:St2AuthHandler"],
        "mistral.notification.publishers": ["st2 = st2actions_mistral.notifier.publisher:St2Publisher"],
        "oslo.config.opts": [
            "st2actions_mistral = st2actions_mistral.config:list_opts",
            "st2actions_mistral.runner = st2actions_mistral.runner.options:list_opts",
        ],
        "st2common.runners.runner": ["mistral-v2 = st2actions_mistral.runner.mistral_v2"],
    }


def test_entry_points_of_the_sandbox() -> None:
    assert entry_points(SANDBOX) == {
        "st2actions_mistral.commands": [
            "demo = st2_mistral_sandbox.commands.demo",
            "sandbox = st2_mistral_sandbox.commands.sandbox",
        ]
    }


def test_sandbox_requires_the_package_in_its_own_version() -> None:
    version = importlib.metadata.version(DISTRIBUTION)
    assert importlib.metadata.version(SANDBOX) == version
    requirements = importlib.metadata.requires(SANDBOX) or []
    (own,) = [line for line in requirements if line.startswith(DISTRIBUTION)]
    assert own == f"{DISTRIBUTION}[functions,mistral,relay,runner]=={version}"


def test_no_extra_for_users_requires_a_server() -> None:
    requirements = importlib.metadata.requires(DISTRIBUTION) or []
    users = {line.split(">=")[0] for line in requirements if 'extra == "test"' not in line}
    assert "prometheus-client" in users
    assert users.isdisjoint({"werkzeug", "rich", "Jinja2", "mistral", SANDBOX})


@pytest.mark.parametrize("name", st2_mistral_sandbox.__all__)
def test_public_name_of_the_sandbox_is_imported_on_first_use(name: str) -> None:
    assert getattr(st2_mistral_sandbox, name).__name__ == name


def test_public_names_of_the_sandbox() -> None:
    assert st2_mistral_sandbox.__all__ == [
        "RunRequest",
        "RunResult",
        "Runner",
        "Sandbox",
        "SandboxError",
        "StackStorm",
    ]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        st2_mistral_sandbox.nothing  # noqa: B018 - reading it raises the error


def test_every_entry_point_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in st2common_stub.modules(None).items():
        monkeypatch.setitem(sys.modules, name, module)
    for distribution in (DISTRIBUTION, SANDBOX):
        for entry in importlib.metadata.distribution(distribution).entry_points:
            loaded = entry.load()
            if entry.group == "st2actions_mistral.commands":
                assert callable(loaded.add_to)
            else:
                assert callable(loaded) or (loaded.get_runner() and loaded.get_metadata())
    st2common_stub.forget()


@pytest.mark.parametrize("name", ["st2.action", "st2.callback"])
def test_mistral_finds_the_actions(name: str) -> None:
    from mistral_lib.actions import Action

    manager: stevedore.DriverManager[Any] = stevedore.DriverManager("mistral.actions", name)
    plugin: Any = manager.driver
    assert issubclass(plugin, Action)
    assert len(plugin.__doc__ or "") > 100


def test_options_and_their_defaults() -> None:
    listed = {group: {opt.name: opt.default for opt in opts} for group, opts in config.list_opts()}
    # Beside the relay's own there are keystoneauth's.
    keystone = {"auth_type", "auth_section", "auth-url", "username", "password", "project-name"}
    assert keystone < set(listed["st2_relay"])
    own = {"mistral_url", "cafile", "insecure", "resync_interval", "workers", "field_size_limit_kb"}
    listed["st2_relay"] = {name: listed["st2_relay"][name] for name in own}
    assert listed == {
        "st2": {
            "api_url": "http://127.0.0.1:9101/v1",
            "stream_url": None,
            "auth_url": None,
            "api_key": None,
            "auth_token": None,
            "username": None,
            "password": None,
            "cafile": None,
            "insecure": False,
            "connect_timeout": 5,
            "read_timeout": 30,
            "retry_deadline": 60,
            "site": "mistral",
            "allowed_api_urls": [],
            "context_key": [],
            "render_jinja": False,
            "result_layout": "output",
        },
        "st2_provider": {
            "enabled": False,
            "packs": [],
            "refresh_interval": 60,
            "max_actions": 5000,
        },
        "st2_relay": {
            "mistral_url": "http://127.0.0.1:8989/v2",
            "cafile": None,
            "insecure": False,
            "resync_interval": 30,
            "workers": 16,
            "field_size_limit_kb": 1024,
        },
        "st2_auth": {
            "project_per_user": False,
            "admin_roles": [],
            "relay_users": [],
            "cache_seconds": 60,
            "timeout": 5,
            "checks_per_minute": 1200,
        },
        "st2_notifier": {"trigger": None, "workers": 4, "queue_size": 1000},
    }


def test_secret_options_are_marked_and_all_have_help() -> None:
    opts = [opt for _, group in config.list_opts() for opt in group]
    assert {opt.name for opt in opts if opt.secret} == {
        "api_key",
        "auth_token",
        "password",
        "context_key",
    }
    assert all(opt.help for opt in opts)


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("st2actions_mistral", "st2actions-mistral.conf.sample"),
        ("st2actions_mistral.runner", "st2.conf.sample"),
    ],
)
def test_sample_configuration_is_up_to_date(namespace: str, name: str) -> None:
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--namespace", namespace], default_config_files=[])
    written = io.StringIO()
    generator.generate(conf, written)
    sample = ROOT / "etc" / name
    assert sample.read_text().strip() == written.getvalue().strip()


def test_sample_configuration_is_valid() -> None:
    sample = config.read_files([str(ROOT / "etc" / "st2actions-mistral.conf.sample")])
    assert config.load_settings(sample) == config.load_settings(config.read_files(["/dev/null"]))


def test_package_is_marked_as_typed() -> None:
    assert importlib.resources.files(st2actions_mistral).joinpath("py.typed").is_file()


def test_core_requirements() -> None:
    requirements = importlib.metadata.requires(DISTRIBUTION) or []
    core = {line.split(">=")[0] for line in requirements if "extra ==" not in line}
    # Both virtualenvs have these. Only Mistral's has mistral-lib.
    assert core == {"jsonschema", "oslo.config", "requests", "stevedore", "tenacity"}


def test_import_registers_no_option_opens_no_socket_and_starts_no_thread() -> None:
    seen = in_a_fresh_process(
        f"""
        import importlib, json, sys
        from oslo_config import cfg
        # What the modules import may do as it likes; it goes first.
        foreign = set()
        events = []
        names = {modules("actions", "auth", "client", "config", "errors", "model", "relay")!r}

        import mistral_lib.actions, requests, tenacity, webob, yaml
        before = set(cfg.CONF)
        sys.addaudithook(
            lambda event, args: events.append(event)
            if event in ("socket.__new__", "socket.connect", "socket.bind", "_thread.start_new_thread",
                         "subprocess.Popen", "os.fork")
            else None
        )
        for name in names:
            importlib.import_module(name)
        print(json.dumps([len(names), events, sorted(set(cfg.CONF) - before)]))
        """
    )
    assert seen[0] > 15
    assert seen[1:] == [[], []]


def test_code_that_runs_in_mistral_needs_no_extra() -> None:
    names = [
        name
        for name in modules("actions", "auth", "client", "config", "errors", "model")
        if name not in ("st2actions_mistral.client.stream", "st2actions_mistral.client.mistral")
    ]
    imported = in_a_fresh_process(
        f"""
        import importlib, json, sys
        for name in ("rich", "werkzeug", "mistral", "jinja2", "st2common"):
            sys.modules[name] = None
        for name in {names!r}:
            importlib.import_module(name)
        print(json.dumps(len({names!r})))
        """
    )
    assert imported == len(names) > 12


def test_plugin_of_mistralclient_imports_neither_oslo_nor_mistral() -> None:
    seen = in_a_fresh_process(
        """
        import json, sys
        import st2actions_mistral.auth.client
        roots = {name.split(".")[0] for name in sys.modules}
        servers = ("oslo", "mistral", "keystone", "webob")
        print(json.dumps(sorted(r for r in roots if r.startswith(servers))))
        """
    )
    assert seen == []


def test_clients_import_neither_oslo_nor_mistral() -> None:
    seen = in_a_fresh_process(
        f"""
        import importlib, json, sys
        for name in {modules("client", "model", "errors")!r}:
            importlib.import_module(name)
        roots = {{name.split(".")[0] for name in sys.modules}}
        print(json.dumps(sorted(r for r in roots if r.startswith(("oslo", "mistral", "st2common")))))
        """
    )
    assert seen == []
