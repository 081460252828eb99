"""A user of one project tries to reach a workflow of another one by way of StackStorm and the relay.

Whoever may start workflows in project a may also create executions in StackStorm, and has seen those of
project b. Each attempt runs without ``context_key`` and with it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.cloud import Cloud, Relay
from support.keystone.api import Keystone
from support.mistral_bench import environment
from support.waiting import eventually

from st2actions_mistral.errors import Answered, RemoteError
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef

KEY = "hush-tenants"
SECRET = "only-b-may-see-this"

WORKFLOWS = f"""\
version: '2.0'
b_private:
  output: {{said: {SECRET}}}
  tasks:
    say: {{action: std.echo output='{SECRET}'}}
waiting:
  output: {{said: <% task(wait).result %>}}
  tasks:
    wait: {{action: st2.action, input: {{ref: tests.job}}}}
"""

AD_HOC = f"version: '2.0'\nb_action:\n  base: std.echo\n  base-input: {{output: {SECRET}}}\n"


class Waiting:
    """A workflow that waits for an execution, and its parent in StackStorm."""

    def __init__(self, cloud: Cloud, project: str) -> None:
        self.cloud = cloud
        self.project_id = cloud.keystone.project(project)
        self.mistral = cloud.client(f"user-of-{project}", project)
        self.mistral.save_definition(WORKFLOWS, "workflow", validate=False)
        self.parent = cloud.parent()
        # With the project, as the runner writes it.
        key, id_ = cloud.context_key, str(uuid.uuid4())
        self.env = environment(cloud.stackstorm.api_url, self.parent, key, id_, self.project_id)
        self.workflow = str(
            self.mistral.start_workflow("waiting", {}, env=self.env, execution_id=id_)["id"]
        )
        self.child = cloud.child_of(self.workflow)
        self.ids: dict[str, Any] = self.child["context"]["mistral"]
        self.action = str(self.ids["action_execution_id"])
        self._before = self._in_mistral(), self._in_stackstorm()

    def context_for(self, action: str) -> dict[str, Any]:
        """Return the context of one of the two actions, as somebody copied it."""
        found: dict[str, Any] = self.env["__actions"][action]["st2_context"]
        return found

    def check_unchanged(self) -> None:
        """Check that nothing changed in both systems, and that the workflow ends as its owner wants."""
        assert self._in_stackstorm() == self._before[1]
        self.check_unchanged_in_mistral()

    def check_unchanged_in_mistral(self) -> None:
        assert self._in_mistral() == self._before[0]
        self.check_end()

    def check_end(self) -> None:
        """Finish the running execution, and check that the workflow gets its result."""
        child = self.cloud.child_of(self.workflow)
        self.cloud.st2.finish(child["id"], "succeeded", {"output": "as the owner wants"})
        assert self.output()["output"] == "as the owner wants"

    def output(self) -> Any:
        """Wait for the end of the workflow, and return the result of its action."""
        execution = ended(self.mistral, self.workflow)
        assert execution["state"] == "SUCCESS", execution
        rows = [execution, *self.mistral.tasks(self.workflow), self.mistral.get_action(self.action)]
        assert {row["project_id"] for row in rows} == {self.project_id}
        return json.loads(execution["output"])["said"]

    def _in_mistral(self) -> Any:
        mistral = self.mistral
        return (
            mistral.get_execution(self.workflow),
            mistral.tasks(self.workflow),
            mistral.get_action(self.action),
        )

    def _in_stackstorm(self) -> Any:
        return [
            execution
            for execution in self.cloud.stackstorm.executions.all()
            if self.parent["id"] in json.dumps([execution["id"], execution["context"]])
        ]


class Attacker:
    """A user of project a, who may also create executions in StackStorm."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.mistral = cloud.client("user-of-a", "a")

    def run(self, tasks: dict[str, Any]) -> dict[str, Any]:
        """Run a workflow, and return it once it is final."""
        name = f"a_{uuid.uuid4().hex}"
        text = json.dumps({"version": "2.0", name: {"tasks": tasks}})
        self.mistral.save_definition(text, "workflow", validate=False)
        execution = ended(self.mistral, str(self.mistral.start_workflow(name, {})["id"]))
        assert SECRET not in json.dumps(self._sees(execution))
        return execution

    def forge(self, ids: dict[str, Any], *, signature: bool = False) -> str:
        """Create an execution in StackStorm that says it belongs to an action, and return its id.

        :param signature: as it is in ``ids``; False: without it.
        """
        claimed = {name: ids[name] for name in ids if signature or name != "signature"}
        body = {"action": "sandbox.echo", "parameters": {"value": "forged"}}
        created = self.cloud.st2.post_execution_once(body, json.dumps({"mistral": claimed}))
        self.cloud.stackstorm.executions.wait(created["id"], timeout=60)
        return str(created["id"])

    def claim(self, workflow: str) -> str:
        """Create an execution in StackStorm that says a workflow runs for it, and return its id."""
        header = json.dumps(WorkflowRef("mistral", workflow, "waiting").as_context({}))
        created = self.cloud.st2.post_execution_once({"action": "tests.workflow"}, header)
        self.cloud.stackstorm.executions.wait(created["id"], {"running"}, timeout=60)
        return str(created["id"])

    def _sees(self, execution: dict[str, Any]) -> Any:
        """Return all that the user sees of a workflow."""
        tasks = self.mistral.tasks(execution["id"])
        actions = [self.mistral.attempts(task["id"]) for task in tasks]
        whole = [self.mistral.get_action(row["id"]) for rows in actions for row in rows]
        below = [self.mistral.sub_executions(task["id"], "id,state,output") for task in tasks]
        return execution, tasks, whole, below


@pytest.fixture(scope="module", params=[None, KEY], ids=["without-key", "with-key"])
def cloud(
    request: pytest.FixtureRequest, keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Start a cloud with trusts, where the relay's user has a role on each project too."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("apart")
        started = Cloud(folder, keystone, stack, context_key=request.param, trusts=True)
        yield started


@pytest.fixture(scope="module", autouse=True)
def relay(cloud: Cloud) -> Relay:
    running = cloud.relay()
    running.start()
    return running


@pytest.fixture
def victim(cloud: Cloud) -> Waiting:
    made = Waiting(cloud, "b")
    made.mistral.save_definition(AD_HOC, "action", validate=False)
    assert made.ids["trust_id"]
    return made


@pytest.fixture
def attacker(cloud: Cloud) -> Attacker:
    return Attacker(cloud)


def ended(mistral: Any, workflow: str) -> dict[str, Any]:
    def look() -> Any:
        found = mistral.get_execution(workflow)
        return found if found["state"] in states.MISTRAL_FINAL else None

    execution: dict[str, Any] = eventually(look, f"workflow {workflow} ends")
    return execution


def unbound(context: dict[str, Any]) -> dict[str, Any]:
    """Return a context without signature and without what it is bound to."""
    return {name: context[name] for name in ("api_url", "parent")}


def test_records_of_another_project_by_id(victim: Waiting, attacker: Attacker) -> None:
    """Mistral itself refuses them."""
    assert attacker.mistral.get_execution(victim.workflow) is None
    assert attacker.mistral.get_action(victim.action) is None
    with pytest.raises(RemoteError):
        attacker.mistral.change_state(victim.workflow, "CANCELLED")
    assert not attacker.mistral.complete_action(victim.action, "SUCCESS", {"result": "mine"})
    victim.check_unchanged()


def test_private_definitions_by_name(victim: Waiting, attacker: Attacker) -> None:
    for called in ({"workflow": "b_private"}, {"action": "b_action"}):
        alone = attacker.run({"call": called})
        # Here the relay's request makes Mistral look the name up.
        first = {"action": "st2.action", "input": {"ref": "core.noop"}, "on-success": "call"}
        after = attacker.run({"first": first, "call": called})
        for execution in (alone, after):
            assert execution["state"] == "ERROR"
            assert "Failed to find" in execution["state_info"]
    with pytest.raises(Answered):
        attacker.mistral.start_workflow("b_private", {})
    victim.check_unchanged()


@pytest.mark.parametrize("change", [dict, unbound])
def test_context_of_another_execution_in_st2_action(
    cloud: Cloud, victim: Waiting, attacker: Attacker, change: Any
) -> None:
    context = change(victim.context_for("st2.action"))
    task = {"action": "st2.action", "input": {"ref": "core.noop", "st2_context": context}}
    execution = attacker.run({"call": task})
    if cloud.context_key or change is dict:
        assert execution["state"] == "ERROR"
        victim.check_unchanged()
        return
    # Without a key, the execution is one more below the parent, as the user of Mistral's key.
    assert execution["state"] == "SUCCESS"
    assert len(cloud.st2.children(victim.parent["id"])) == 2
    victim.check_unchanged_in_mistral()


@pytest.mark.parametrize("change", [dict, unbound])
def test_context_of_another_execution_in_st2_callback(
    cloud: Cloud, victim: Waiting, attacker: Attacker, change: Any
) -> None:
    for action in ("st2.action", "st2.callback"):
        context = change(victim.context_for(action))
        given = {"state": "ERROR", "result": "mine", "st2_context": context}
        execution = attacker.run({"tell": {"action": "st2.callback", "input": given}})
        if not cloud.context_key and change is unbound:
            # Without a key, whoever knows the id of a running execution can finish it.
            assert execution["state"] == "SUCCESS"
            assert cloud.stackstorm.executions.status(victim.parent["id"]) == "failed"
        else:
            assert execution["state"] == "ERROR"
    if cloud.context_key or change is dict:
        victim.check_unchanged()
    else:
        victim.check_unchanged_in_mistral()


def test_execution_that_names_a_workflow_of_another_project(
    cloud: Cloud, victim: Waiting, attacker: Attacker
) -> None:
    """It is neither finished with the result of the workflow nor does its end cancel the workflow."""
    kept, cancelled = attacker.claim(victim.workflow), attacker.claim(victim.workflow)
    cloud.st2.cancel(cancelled)
    cloud.wait_for_resync()
    victim.check_unchanged()
    cloud.wait_for_resync()
    assert "as the owner wants" not in json.dumps(cloud.st2.get_execution(kept))


def test_ids_of_another_action_in_st2_context(
    cloud: Cloud, victim: Waiting, attacker: Attacker
) -> None:
    """The ids and the trust of an execution come from Mistral and from the executor only."""
    context = {**victim.ids, "mistral": victim.ids}
    task = {"action": "st2.action", "input": {"ref": "core.noop", "st2_context": context}}
    execution = attacker.run({"call": task})
    assert execution["state"] == "SUCCESS"
    (child,) = cloud.children_of(execution["id"])
    ids = child["context"]["mistral"]
    for name in ("action_execution_id", "task_execution_id", "project_id", "trust_id"):
        assert ids[name] != victim.ids[name]
    victim.check_unchanged()


@pytest.mark.parametrize("signature", [False, True])
def test_second_execution_for_an_action(
    cloud: Cloud, victim: Waiting, attacker: Attacker, signature: bool
) -> None:
    forged = attacker.forge(victim.ids, signature=signature)
    cloud.wait_for_resync()
    # It is not the first one, or it has no signature.
    assert cloud.stackstorm.executions.status(forged) == "succeeded"
    victim.check_unchanged()


def test_execution_for_a_lost_action(cloud: Cloud, relay: Relay, attacker: Attacker) -> None:
    """The attacker is faster than the relay, which would create the execution."""
    relay.stop()
    victim = Waiting(cloud, "b")
    cloud.stackstorm.executions.remove(victim.child["id"])
    attacker.forge(victim.ids)
    relay.start()
    if cloud.context_key:
        victim.check_end()
    else:
        # Without a key, the first execution that names the action counts.
        assert victim.output()["result"] == {"value": "forged"}


def test_trust_of_another_user_for_an_own_action(
    cloud: Cloud, relay: Relay, victim: Waiting, attacker: Attacker
) -> None:
    """The attacker gives an own action an execution with the trust of the user of b."""
    relay.stop()
    own = Waiting(cloud, "a")
    cloud.stackstorm.executions.remove(own.child["id"])
    attacker.forge({**own.ids, "trust_id": victim.ids["trust_id"]}, signature=True)
    relay.start()
    if cloud.context_key:
        # The signature does not cover the other trust: the relay creates the execution again.
        own.check_end()
    else:
        # The trust is not for the project of the action: the relay uses its own role there.
        assert own.output()["result"] == {"value": "forged"}
    victim.check_unchanged()
