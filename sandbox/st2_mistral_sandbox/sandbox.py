"""Mistral, StackStorm and the relay together, started and stopped as one."""

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

from st2_mistral_sandbox import examples, lock, mistral_runner, ports
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.options import ST2_GROUP, ST2_OPTS
from st2actions_mistral.config.values import read_group

_COMMAND: Final = "st2actions_mistral.cli.main"
_ORPHAN_WATCH: Final = "st2_mistral_sandbox.parent_watch"
_HOST: Final = "127.0.0.1"


class Sandbox:
    """Everything that the bridge needs, on this machine, for as long as the context lasts.

    Mistral and the relay are child processes of their own, the stand-in lives in this one.

    :param folder: where Mistral's database, configuration and the logs go; None: a temporary folder
        that is removed at the end.
    :param mistral_port: 0 takes a free one.
    :param st2_port: of the stand-in; 0 takes a free one.
    :param st2: a StackStorm to use instead of the stand-in.
    :param relay: whether to start the relay.
    :param load_examples: whether to give Mistral all examples at once. The runner gives it each one
        when it is run.
    :param register_examples: whether StackStorm has the examples' actions at once. Their files are in
        its pack ``examples`` in any case, so that ``st2 action create`` makes them.
    :param conf: whose group ``[st2]`` counts beside ``st2``: all that does not say which StackStorm, or
        who we are there.
    :param context_key: signs the parents of workflows, before each ``[st2] context_key`` of ``conf``.
    :param options: further lines for the group ``[st2]``, of Mistral and of the relay.
    :param relay_options: further lines for the relay's group ``[st2_relay]``.
    :param say: told what is being done, in words.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        mistral_port: int = 0,
        st2_port: int = 0,
        st2: St2Settings | None = None,
        relay: bool = True,
        load_examples: bool = False,
        register_examples: bool = True,
        conf: cfg.ConfigOpts | None = None,
        context_key: str | None = None,
        options: str = "",
        relay_options: str = "",
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        """:raises ConfigError: an option of ``conf`` is malformed."""
        self._given_folder = folder
        self._mistral_port = mistral_port
        self._st2_port = st2_port
        self._real_st2 = st2
        self._with_relay = relay
        self._load_examples = load_examples
        self._register_examples = register_examples
        conf = conf or _defaults()
        settings = config.load_bridge_settings(conf)
        self._site = settings.site
        self._timeouts = settings.st2.timeouts
        self._options_given = read_group(conf, ST2_GROUP.name, ST2_OPTS)
        self._context_keys = [*([context_key] if context_key else []), *settings.context_keys]
        self._options = options
        self._relay_options = relay_options
        self._say = say
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self.stackstorm: StackStorm | None = None
        """The stand-in; None where a real StackStorm is used."""
        self.packs: Path | None = None
        """Where the files of the stand-in's actions are, in ``PACK/actions``; None without it."""

    def start(self) -> None:
        """Start all of it, or nothing.

        :raises SandboxError: a part did not start; the text holds the end of its log.
        """
        try:
            self._start()
        except OSError as e:
            self.stop()
            raise SandboxError(f"The sandbox cannot be started: {e}") from e
        except BaseException as e:
            self._say_why_it_stops(type(e))
            self.stop()
            raise

    def must_run(self) -> None:
        """Raise SandboxError, with the end of its log, if a part has ended."""
        self.mistral_server.must_run()
        if self._with_relay:
            self.relay.must_run()

    def stop(self) -> None:
        """Stop whatever runs. Idempotent."""
        # What starts a workflow just now would try for a while to reach a Mistral that has gone.
        self._stopping.set()
        self._stack.close()

    def start_relay(self) -> None:
        """Start the relay, also after it has ended."""
        self._say("Starting the relay")
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
        self._say_why_it_stops(kind)
        self.stop()

    def _say_why_it_stops(self, kind: type[BaseException] | None) -> None:
        # Whoever has pressed Ctrl-C waits for it.
        if kind is KeyboardInterrupt:
            self._say("Stopping")

    def _start(self) -> None:
        self._stopping.clear()
        self.folder = self._own_folder() if self._given_folder else self._temporary_folder()
        if self._real_st2 is None:
            self._say("Starting the StackStorm stand-in")
            self.st2_settings = self._start_stand_in()
        else:
            self.st2_settings = self._real_st2

        self._say("Starting Mistral")
        self.mistral_server = MistralServer(
            self.folder, port=self._mistral_port, extra_config=self._st2_options()
        )
        self._stack.callback(self.mistral_server.close)
        self.mistral_server.start()
        self.mistral_settings = MistralSettings(url=self.mistral_server.url)
        self.mistral = MistralClient(self.mistral_settings, stop=self._stopping)
        self._stack.callback(self.mistral.close)
        self.st2 = St2Client(self.st2_settings)
        self._stack.callback(self.st2.close)

        if self._load_examples:
            self._say("Loading the examples")
            for example in examples.load().values():
                # Tests say that they are valid.
                text = example.workbook.read_text(encoding="utf-8")
                self.mistral.save_definition(text, validate=False)

        self.relay = self._relay_process()
        self._stack.callback(self.relay.stop)
        if self._with_relay:
            self.start_relay()

    def _start_stand_in(self) -> St2Settings:
        self.packs = self.folder.absolute() / "packs"
        actions = examples.add_to(self.packs)
        mistral_v2 = mistral_runner.runner(
            lambda: self.mistral,
            lambda: self.st2_settings.api_url,
            self._context_keys[0] if self._context_keys else None,
            self._site,
        )
        with ports.reserve(
            _HOST, self._st2_port, "The StackStorm stand-in", "Choose another one with --st2-port."
        ) as reserved:
            stackstorm = StackStorm(
                _HOST,
                reserved.getsockname()[1],
                runners={"mistral-v2": mistral_v2},
                action_dirs=[actions] if self._register_examples else [],
                packs=self.packs,
            )
        stackstorm.start()
        self._stack.callback(stackstorm.stop)
        self.stackstorm = stackstorm
        return St2Settings(
            api_url=stackstorm.api_url,
            credential=Credential(api_key=stackstorm.create_api_key()),
            timeouts=self._timeouts,
        )

    def _relay_process(self) -> ChildProcess:
        config_path = self.folder / "relay.conf"
        config_path.touch(mode=0o600)
        config_path.write_text(
            f"{self._st2_options()}\n"
            f"[st2_relay]\nmistral_url = {self.mistral_server.url}\n{self._relay_options}\n",
            encoding="utf-8",
        )
        # Like Mistral it must not outlive us, which a relay of its own does not care for.
        return ChildProcess(
            "The relay",
            [_ORPHAN_WATCH, _COMMAND, "relay", "--config-file", str(config_path)],
            self.folder / "relay.log",
        )

    def _st2_options(self) -> str:
        st2 = self.st2_settings
        values = {
            **self._options_given,
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

    def _own_folder(self) -> Path:
        folder = self._given_folder
        assert folder is not None
        try:
            # Mistral's configuration in it may hold credentials.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as e:
            raise SandboxError(f"--folder: {folder} is a file. Name a folder.") from e
        self._stack.callback(lock.hold(folder).close)
        return folder

    def _temporary_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="st2-mistral-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder


def _defaults() -> cfg.ConfigOpts:
    """A configuration that no file was read into."""
    conf = cfg.ConfigOpts()
    config.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    return conf


def _lines(values: Mapping[str, Any]) -> list[str]:
    """The options of ``[st2]`` as a file has them."""
    lines = []
    for opt in ST2_OPTS:
        value = values[opt.name]
        if isinstance(opt, cfg.ListOpt):
            value = ",".join(value)
        several = value if isinstance(opt, cfg.MultiStrOpt) else [value]
        lines += [f"{opt.name} = {_escaped(one)}" for one in several if one not in (None, "")]
    return lines


def _escaped(value: object) -> str:
    # oslo.config takes $ for a reference to another option, blanks around a value for none of it, and
    # a pair of quotes away; a line that goes on is indented.
    text = str(value).replace("$", "$$").replace("\n", "\n ")
    first, *more = text.split("\n")
    if first != first.strip() or (first[:1] == first[-1:] and first[:1] in "'\""):
        first = f'"{first}"'
    return "\n".join([first, *more])
