"""Two projects of a cloud that use the same names for their own private definitions."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model import states
from support.cluster.keystone_cluster import KeystoneCluster
from support.mistral_bench import environment
from support.waiting import eventually
from support.workflow_children import children_of, running_child_of

PROJECTS: Final = ("a", "b")

ITEMS: Final = 3

ROWS: Final = {"workflow": 2, "task": 10, "action": 9 + ITEMS}
"""The rows of one execution of the workflow below. The retried task has two actions."""

# The first attempt of "again" fails.
WORKFLOW: Final = """\
version: '2.0'
tests_main:
  input: [marker]
  output:
    project: {project}
    private: <% task(private).result.result.value %>
    below: <% task(below).result.said %>
  tasks:
    first: {{action: st2.action, input: {{ref: core.noop}}, on-success: [echo, again]}}
    echo: {{action: std.echo, input: {{output: hello}}, on-success: each}}
    each:
      with-items: i in <% range(ITEMS) %>
      action: st2.action
      input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
      on-success: both
    again:
      action: st2.action
      input:
        ref: core.local
        parameters: {{cmd: "test -e <% $.marker %> || {{ touch <% $.marker %>; exit 1; }}"}}
      retry: {{count: 2, delay: 1}}
      on-success: private
    private: {{action: tests_private, on-success: below}}
    below: {{workflow: tests_sub, on-success: both}}
    both: {{join: all, action: st2.action, input: {{ref: core.noop}}, on-success: tell}}
    tell:
      action: st2.callback
      input: {{state: SUCCESS, result: {{private: <% task(private).result.result.value %>}}}}

tests_sub:
  output: {{said: <% task(say).result.result.value %>}}
  tasks:
    say:
      action: st2.action
      input: {{ref: sandbox.echo, parameters: {{value: sub-workflow of {project}}}}}
      on-success: after
    after: {{action: std.noop}}
""".replace("ITEMS", str(ITEMS))

AD_HOC: Final = """\
version: '2.0'
tests_private:
  base: st2.action
  base-input: {{ref: sandbox.echo, parameters: {{value: action of {project}}}}}
"""

# It waits for an execution that a request finishes, and then for another one.
WAITING: Final = """\
version: '2.0'
tests_waiting:
  tasks:
    wait: {action: st2.action, input: {ref: tests.job}, on-success: private}
    private: {action: tests_private, on-success: below}
    below: {workflow: tests_sub}
"""

# Its last task is Mistral's own: no event of StackStorm's tells the relay of its end.
ENDING: Final = """\
version: '2.0'
tests_ending:
  output: {private: <% task(private).result.result.value %>}
  tasks:
    private: {action: tests_private, on-success: last}
    last: {action: std.noop}

tests_quick:
  tasks:
    only: {action: std.noop}
"""

WAITING_ROWS: Final = {"workflow": 2, "task": 5, "action": 4}


class Tenant:
    """An ordinary user of one project, and the workflows that they started."""

    def __init__(self, cluster: KeystoneCluster, project: str) -> None:
        self.cluster = cluster
        self.project = project
        self.project_id = cluster.keystone.project(project)
        self.user = f"user-of-{project}"
        self.mistral: MistralClient = cluster.client(self.user, project)
        self.started: list[str] = []
        for text, kind in ((AD_HOC, "action"), (WORKFLOW, "workflow")):
            self.mistral.save_definition(text.format(project=project), kind, validate=False)
        for text in (WAITING, ENDING):
            self.mistral.save_definition(text, "workflow", validate=False)

    def start(
        self,
        workflow: str,
        given: dict[str, Any],
        env: dict[str, Any],
        id_: str | None = None,
        description: str = "",
    ) -> str:
        """Start a workflow, and return its id."""
        started = self.mistral.start_workflow(
            workflow, given, env=env, execution_id=id_, description=description
        )
        self.started.append(str(started["id"]))
        return self.started[-1]

    def start_main(self, marker: Path) -> tuple[str, str]:
        """Start the workflow for a new parent; the ids of the workflow and of the parent."""
        cluster = self.cluster
        parent = cluster.st2.create_execution("tests.job", {})["id"]
        found = eventually(lambda: cluster.st2.get_execution(parent), "the parent exists")
        # As the runner writes it.
        id_ = str(uuid.uuid4())
        api_url, key = cluster.st2_settings.api_url, cluster.context_key
        env = environment(api_url, found, key, id_, self.project_id)
        return self.start("tests_main", {"marker": str(marker)}, env, id_), parent

    def start_waiting(self) -> tuple[str, dict[str, Any]]:
        """Start the workflow that waits; its id, and the execution that it waits for."""
        id_ = self.start("tests_waiting", {}, {})
        return id_, self.child_of(id_)

    def child_of(self, workflow_execution_id: str) -> dict[str, Any]:
        """Wait for a running execution of a workflow, and return it."""
        return running_child_of(self.cluster.stackstorm, workflow_execution_id)

    def ids_of_children(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        """Return the ids that the executions of a workflow carry."""
        children = children_of(self.cluster.stackstorm, workflow_execution_id)
        return [child["context"]["mistral"] for child in children]

    def output(self, workflow_execution: dict[str, Any]) -> Any:
        """Return the output of a workflow execution."""
        return json.loads(workflow_execution["output"])

    def ended(self, workflow_execution_id: str, timeout: float) -> dict[str, Any]:
        """Wait until a workflow is final, and return it."""

        def look() -> dict[str, Any] | None:
            if self.mistral.execution_state(workflow_execution_id) not in states.MISTRAL_FINAL:
                return None
            return self.mistral.get_execution(workflow_execution_id)

        return eventually(look, f"workflow {workflow_execution_id} ends", timeout)


def start_all(tenants: list[Tenant], number: int, folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Start the main workflow in all projects at the same time.

    :param number: workflows in each project.
    :param folder: for the markers of the retried tasks.
    :return: ids of workflows and their parents, by project.
    """

    def start(tenant: Tenant) -> list[tuple[str, str]]:
        return [tenant.start_main(folder / f"{tenant.project}-{n}") for n in range(number)]

    with ThreadPoolExecutor(len(tenants)) as pool:
        return dict(zip((tenant.project for tenant in tenants), pool.map(start, tenants)))
