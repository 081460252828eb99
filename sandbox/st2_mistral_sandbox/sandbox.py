"""Start and stop Mistral, StackStorm and the relay together."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from oslo_config import cfg

from st2_mistral_sandbox import call_runner, examples, lock, mistral_runner, ports
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import StackStorm
from st2_mistral_sandbox.stackstorm.catalog import RegistrationError
from st2actions_mistral import config
from st2actions_mistral.client.auth import St2Credential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.st2_login import St2Login
from st2actions_mistral.config.options import ST2_GROUP, ST2_OPTS
from st2actions_mistral.config.values import read_group

_COMMAND: Final = "st2actions_mistral.cli.main"
_PARENT_WATCH: Final = "st2_mistral_sandbox.parent_watch"
_HOST: Final = "127.0.0.1"

# A user of the sandbox creates an action, and wants to call it.
PROVIDER_OPTIONS: Final = "enabled = true\nrefresh_interval = 5"
_AUTH: Final = "[DEFAULT]\nauth_type = st2\n\n[pecan]\nauth_enable = true\n"
_RELAY_AUTH: Final = "auth_type = st2\n"


class Sandbox:
    """Mistral and the relay as child processes, and the StackStorm stand-in in this process.

    It is a context manager, which calls :meth:`start` and :meth:`stop`.

    :param folder: the folder for Mistral's database, the configuration and the logs; None: a temporary
        folder, which is removed at the end.
    :param mistral_port: 0 takes a free one.
    :param st2_port: the port of the stand-in; 0 takes a free one.
    :param st2: the settings of a StackStorm to use instead of the stand-in.
    :param relay: False does not start the relay.
    :param auth: let StackStorm authenticate Mistral's users.
    :param load_examples: publish all examples in Mistral at the start. Otherwise the runner publishes
        an example when it is run.
    :param register_examples: register the examples' actions in the stand-in. Their files are in its
        pack ``examples`` in any case, for ``st2 action create``.
    :param conf: the configuration whose group ``[st2]`` is used, but for URLs, credentials and TLS.
    :param context_key: the key that signs the parents of workflows; it comes before each ``[st2]
        context_key`` of ``conf``.
    :param options: more lines for the group ``[st2]`` of Mistral and of the relay.
    :param relay_options: more lines for the relay's group ``[st2_relay]``.
    :param provider_options: the lines of Mistral's group ``[st2_provider]``; by default Mistral has
        StackStorm's actions.
    :param notifier: False leaves the ends, pauses and resumes of workflows to the relay.
    :param notifier_options: more lines for Mistral's group ``[st2_notifier]``. The stand-in has the
        trigger ``examples.mistral_event``.
    :param on_step: called with a text before each step of the start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        mistral_port: int = 0,
        st2_port: int = 0,
        st2: St2Settings | None = None,
        relay: bool = True,
        auth: bool = False,
        load_examples: bool = False,
        register_examples: bool = True,
        conf: cfg.ConfigOpts | None = None,
        context_key: str | None = None,
        options: str = "",
        relay_options: str = "",
        provider_options: str = PROVIDER_OPTIONS,
        notifier: bool = True,
        notifier_options: str = "",
        on_step: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Read the options of ``conf``.

        :raises ConfigError: one is invalid.
        """
        self._given_folder = folder
        self._mistral_port = mistral_port
        self._st2_port = st2_port
        self._given_st2 = st2
        self._starts_relay = relay
        self.auth = auth
        """True if StackStorm authenticates Mistral's users."""
        self._load_examples = load_examples
        self._register_examples = register_examples
        conf = conf or _defaults()
        settings = config.load_bridge_settings(conf)
        self._site = settings.site
        self._result_layout = settings.result_layout
        self._timeouts = settings.st2.timeouts
        self._options_of_conf = read_group(conf, ST2_GROUP.name, ST2_OPTS)
        self._context_keys = [*([context_key] if context_key else []), *settings.context_keys]
        self._options = options
        self._relay_options = relay_options
        self._provider_options = provider_options
        self._notifier = '[notifier]\nnotify = [{"type": "st2"}]' if notifier else ""
        self._notifier_options = notifier_options
        self._on_step = on_step
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self.stackstorm: StackStorm | None = None
        """The stand-in; None with a real StackStorm."""
        self.packs: Path | None = None
        """The folder of the stand-in's packs; None with a real StackStorm."""

    def start(self) -> None:
        """Start all parts, or none.

        :raises SandboxError: a part did not start. The text ends with its log.
        """
        try:
            self._start()
        except (OSError, RegistrationError) as error:
            self.stop()
            raise SandboxError(f"cannot start the sandbox: {error}") from error
        except BaseException as error:
            self._report_interrupt(type(error))
            self.stop()
            raise

    def check_running(self) -> None:
        """Check that all parts run.

        :raises SandboxError: a part has ended. The text ends with its log.
        """
        self.mistral_server.check_running()
        if self._starts_relay:
            self.relay.check_running()

    def stop(self) -> None:
        """Stop all parts. Idempotent."""
        # A runner that starts a workflow now must not retry until Mistral is back.
        self._stopping.set()
        self._stack.close()

    def start_relay(self) -> None:
        """Start the relay, or start it again after it ended."""
        self._on_step("Starting the relay")
        self.relay.start()

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._report_interrupt(kind)
        self.stop()

    def _report_interrupt(self, kind: type[BaseException] | None) -> None:
        if kind is KeyboardInterrupt:
            self._on_step("Stopping")

    def _start(self) -> None:
        self._stopping.clear()
        self.folder = (
            self._make_folder(self._given_folder) if self._given_folder else self._temporary_folder()
        )
        if self._given_st2 is None:
            self._on_step("Starting the StackStorm stand-in")
            self.st2_settings = self._start_stand_in()
        else:
            self.st2_settings = self._given_st2

        self._on_step("Starting Mistral")
        options = (
            f"{_AUTH}\n[st2_relay]\n{_RELAY_AUTH}" if self.auth else "",
            self.st2_options(self.st2_settings),
            f"[st2_provider]\n{self._provider_options}",
            self._notifier,
            f"[st2_notifier]\n{self._notifier_options}",
        )
        self.mistral_server = MistralServer(
            self.folder, port=self._mistral_port, extra_config="\n".join(options)
        )
        self._stack.callback(self.mistral_server.close)
        self.mistral_server.start()
        self.mistral_settings = MistralSettings(url=self.mistral_server.url)
        self.mistral = MistralClient(
            self.mistral_settings, credential=self._credential(), stop=self._stopping
        )
        self._stack.callback(self.mistral.close)
        self.st2 = St2Client(self.st2_settings)
        self._stack.callback(self.st2.close)

        if self._load_examples:
            self._on_step("Loading the examples")
            for example in examples.load().values():
                # Tests validate them.
                text = example.workbook.read_text(encoding="utf-8")
                self.mistral.save_definition(text, validate=False)

        self.relay = self._relay_process()
        self._stack.callback(self.relay.stop)
        if self._starts_relay:
            self.start_relay()

    def _start_stand_in(self) -> St2Settings:
        self.packs = self.folder.absolute() / "packs"
        actions = examples.copy_to(self.packs)
        mistral_v2 = mistral_runner.runner(
            lambda: self.mistral,
            lambda: self.st2_settings.api_url,
            self._context_keys[0] if self._context_keys else None,
            self._site,
            self._result_layout,
        )
        with ports.reserve(
            _HOST, self._st2_port, "The StackStorm stand-in", "Choose another port with --st2-port."
        ) as reserved:
            stackstorm = StackStorm(
                _HOST,
                reserved.getsockname()[1],
                runners={"mistral-v2": mistral_v2, call_runner.RUNNER: call_runner.call_runner()},
                action_dirs=[actions] if self._register_examples else [],
                packs=self.packs,
            )
        stackstorm.register_action(call_runner.ACTION)
        stackstorm.register_trigger(examples.trigger())
        stackstorm.start()
        self._stack.callback(stackstorm.stop)
        self.stackstorm = stackstorm
        return St2Settings(
            api_url=stackstorm.api_url,
            credential=Credential(api_key=stackstorm.create_api_key()),
            timeouts=self._timeouts,
        )

    def _credential(self) -> St2Login | None:
        """Return the credential for Mistral, which is that for StackStorm."""
        if not self.auth:
            return None
        session = new_session(self.st2_settings.tls)
        self._stack.callback(session.close)
        return St2Login(St2Credential(self.st2_settings, session))

    def _relay_process(self) -> ChildProcess:
        config_path = self.folder / "relay.conf"
        config_path.touch(mode=0o600)
        config_path.write_text(
            f"{self.st2_options(self.st2_settings)}\n"
            f"[st2_relay]\nmistral_url = {self.mistral_server.url}\n"
            f"{_RELAY_AUTH if self.auth else ''}{self._relay_options}\n",
            encoding="utf-8",
        )
        # The relay must not outlive this process.
        return ChildProcess(
            "The relay",
            [_PARENT_WATCH, _COMMAND, "relay", "--config-file", str(config_path)],
            self.folder / "relay.log",
        )

    def st2_options(self, st2: St2Settings) -> str:
        """Return the group ``[st2]`` that Mistral and the relay get for a StackStorm."""
        values = {
            **self._options_of_conf,
            "api_url": st2.api_url,
            "stream_url": st2.stream_url,
            "auth_url": st2.credential.auth_url,
            "api_key": st2.credential.api_key,
            "auth_token": st2.credential.auth_token,
            "username": st2.credential.username,
            "password": st2.credential.password,
            "cafile": st2.tls.cafile,
            "insecure": st2.tls.insecure,
            "connect_timeout": st2.timeouts.connect_timeout,
            "read_timeout": st2.timeouts.read_timeout,
            "retry_deadline": st2.timeouts.retry_deadline,
            "context_key": self._context_keys,
        }
        return "\n".join(["[st2]", *_lines(values), self._options])

    def _make_folder(self, folder: Path) -> Path:
        try:
            # Mistral's configuration in it may contain credentials.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise SandboxError(f"--folder: {folder} is a file. Name a folder.") from error
        self._stack.callback(lock.acquire(folder).close)
        return folder

    def _temporary_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="st2-mistral-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder


def _defaults() -> cfg.ConfigOpts:
    """Return a configuration with the defaults."""
    conf = cfg.ConfigOpts()
    config.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    return conf


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Format the options of ``[st2]`` for a file."""
    lines = []
    for opt in ST2_OPTS:
        value = values[opt.name]
        if isinstance(opt, cfg.ListOpt):
            value = ",".join(value)
        several = value if isinstance(opt, cfg.MultiStrOpt) else [value]
        lines += [f"{opt.name} = {_escaped(one)}" for one in several if one not in (None, "")]
    return lines


def _escaped(value: object) -> str:
    # oslo.config reads $ as a reference to another option, and strips blanks and a pair of quotes
    # around a value. A continuation line is indented.
    text = str(value).replace("$", "$$").replace("\n", "\n ")
    first, *more = text.split("\n")
    if first != first.strip() or (first[:1] == first[-1:] and first[:1] in "'\""):
        first = f'"{first}"'
    return "\n".join([first, *more])
