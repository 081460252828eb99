"""Assemble the parts of a stand-in, without its socket."""

from __future__ import annotations

from dataclasses import dataclass, field

from st2_mistral_sandbox.stackstorm.auth import Authenticator
from st2_mistral_sandbox.stackstorm.catalog import Catalog
from st2_mistral_sandbox.stackstorm.control import Control
from st2_mistral_sandbox.stackstorm.datastore import Datastore
from st2_mistral_sandbox.stackstorm.mongodb import ReplicaSet
from st2_mistral_sandbox.stackstorm.rendering import Renderer
from st2_mistral_sandbox.stackstorm.runners import (
    SANDBOX_ACTIONS,
    PythonRunner,
    Runner,
    inquirer,
    noop,
)
from st2_mistral_sandbox.stackstorm.shell import local_shell
from st2_mistral_sandbox.stackstorm.store import ExecutionStore
from st2_mistral_sandbox.stackstorm.stream import Broadcaster
from st2_mistral_sandbox.stackstorm.traces import Traces
from st2_mistral_sandbox.stackstorm.triggers import Triggers
from st2_mistral_sandbox.stackstorm.worker import Worker


@dataclass
class State:
    """The parts of a stand-in."""

    authenticator: Authenticator
    broadcaster: Broadcaster = field(default_factory=Broadcaster)
    catalog: Catalog = field(default_factory=Catalog)
    datastore: Datastore = field(default_factory=Datastore)
    traces: Traces = field(default_factory=Traces)
    triggers: Triggers = field(default_factory=Triggers)
    replica_set: ReplicaSet = field(default_factory=ReplicaSet)
    base_url: str = ""

    def __post_init__(self) -> None:
        self.renderer = Renderer(self.datastore)
        self.executions = ExecutionStore(self.broadcaster.publish)
        self.worker = Worker(self.executions, self.catalog, self.renderer, self.authenticator)
        self.control = Control(self.executions, self.worker.pause, self.worker.resume)
        python = PythonRunner({**SANDBOX_ACTIONS, **self.replica_set.actions()})
        for name, run in (
            ("local-shell-cmd", local_shell),
            ("noop", noop),
            ("python-script", python),
        ):
            self.worker.add_runner(name, Runner(run))
        asking = Runner(inquirer, after_run=self.control.pause_root_of)
        self.worker.add_runner("inquirer", asking)
