"""Run workflows of several projects for StackStorm executions, and see who finishes those."""

from __future__ import annotations

from typing import Any, Final

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id
from support.cluster.keystone_cluster import KeystoneCluster
from support.mistral_bench import environment
from support.tenants import Tenant
from support.trigger_events import payloads_of
from support.waiting import eventually

ACTION: Final = {
    "pack": "tests",
    "name": "notified",
    "runner_type": "tests-workflow",
    "enabled": True,
    "parameters": {"project": {"type": "string"}, "workflow": {"type": "string"}},
}


class Notified:
    """Executions in StackStorm whose workflows are started by users of projects."""

    def __init__(self, cluster: KeystoneCluster, tenants: list[Tenant]) -> None:
        self._cluster = cluster
        self._tenants = {tenant.project: tenant for tenant in tenants}
        # Not in the place of mistral-v2, which other tests use.
        cluster.stackstorm.register_runner("tests-workflow", self._run)
        cluster.stackstorm.register_action(ACTION)

    def run(self, tenant: Tenant, workflow: str) -> str:
        """Run a workflow in the project of a user, and return the id of its parent."""
        given = {"project": tenant.project, "workflow": workflow}
        return str(self._cluster.st2.create_execution("tests.notified", given)["id"])

    def start(self, tenant: Tenant, workflow: str, parent: dict[str, Any], *, parent_of: Tenant) -> str:
        """Start one more workflow with the environment of a parent's workflow, and return its id.

        :param parent_of: whose workflow that is.
        """
        env = self._environment(parent, parent_of)
        return tenant.start(workflow, {}, env, description=f"{DESCRIPTION}{parent['id']}")

    def workflow_of(self, parent: str) -> str:
        """Return the id of a parent's workflow, once the parent names it."""

        def named() -> str | None:
            ref = WorkflowRef.of(self._cluster.stackstorm.executions.get(parent)["context"])
            return ref.execution_id if ref else None

        return str(eventually(named, "the parent names its workflow"))

    def events(self, parent: str, number: int) -> list[dict[str, Any]]:
        """Wait for so many events of a parent's workflow, and return all payloads."""
        return self.events_of(workflow_execution_id(parent), number)

    def events_of(self, workflow: str, number: int) -> list[dict[str, Any]]:
        """Wait for so many events of a workflow, and return all payloads."""

        def arrived() -> list[dict[str, Any]] | None:
            own = payloads_of(self._cluster.stackstorm, workflow)
            return own if len(own) >= number else None

        found: list[dict[str, Any]] = eventually(arrived, f"{number} events arrive", 30)
        assert len(found) == number, found
        return found

    def finished_by(self, parent: str) -> list[str]:
        """Return the processes that have finished a parent, from their logs."""
        line = f"Finished: StackStorm execution {parent} "
        processes = self._cluster.processes
        return [name for name in processes for _ in range(processes[name].log.count(line))]

    def _run(self, request: RunRequest) -> RunResult:
        parent = request.execution
        tenant = self._tenants[request.parameters["project"]]
        id_, name = workflow_execution_id(parent["id"]), request.parameters["workflow"]
        tenant.start(name, {}, self._environment(parent, tenant), id_, f"{DESCRIPTION}{parent['id']}")
        ref = WorkflowRef("mistral", id_, name, tenant.project_id)
        return RunResult("running", {"started": True}, ref.as_context(parent["context"]))

    def _environment(self, parent: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
        """Return the environment that the runner gives to the workflow of a parent."""
        return environment(
            self._cluster.st2_settings.api_url,
            parent,
            self._cluster.context_key,
            workflow_execution_id(parent["id"]),
            tenant.project_id,
        )
