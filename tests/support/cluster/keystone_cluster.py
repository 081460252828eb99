"""Mistral as in a cloud: it asks keystone for every token, and its users have projects."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model.project import SERVICE
from support.cluster.mistral_cluster import EXECUTORS, Cluster
from support.cluster.venvs import Venv
from support.keystone.api import Keystone
from support.keystone.clients import mistral_as

READ_ROWS: Final = Path(__file__).with_name("read_rows.py")

AUTHENTICATION: Final = """\
[pecan]
auth_enable = true

[keystone_authtoken]
www_authenticate_uri = {url}
{user}"""


@dataclass(frozen=True)
class Row:
    """A workflow, task or action execution, as it is in Mistral's database."""

    kind: str
    """"workflow", "task" or "action"."""
    id: str
    name: str
    state: str
    project_id: str
    root: str | None
    """The workflow execution at the root; None for an action without a workflow."""


class KeystoneCluster(Cluster):
    """A Mistral with authentication.

    The relay is the user ``relay`` of :mod:`support.keystone.cloud` in the project ``service``.
    :attr:`mistral`, with which the runner starts workflows, is ``user-of-a``.

    :param context_key: for Mistral, the relay and the runner; None: contexts are not signed.
    """

    def __init__(
        self,
        version: str,
        venv: Venv,
        folder: Path,
        keystone: Keystone,
        *,
        context_key: str | None = None,
    ) -> None:
        super().__init__(version, venv, folder)
        self.keystone = keystone
        self.context_key = context_key
        self.project_auth = SERVICE

    def use(self, project_auth: str) -> None:
        """Let the executors, the notifier and the relay use another value of ``project_auth``.

        That takes a restart.
        """
        if project_auth == self.project_auth:
            return
        old, new = (f"project_auth = {value}\n" for value in (self.project_auth, project_auth))
        for name in ("mistral", *EXECUTORS):
            file = self.folder / f"{name}.conf"
            text = file.read_text(encoding="utf-8")
            assert old in text
            file.write_text(text.replace(old, new), encoding="utf-8")
        self.project_auth = project_auth
        restarted = [self.processes[name] for name in (*EXECUTORS, "notifier", "relay")]
        for process in restarted:
            process.ask_to_end()
        for process in restarted:
            process.stop()
            process.start()
        self.wait_until_ready()

    def client(self, user: str, project: str) -> MistralClient:
        """Return Mistral as a user sees it with a token for a project."""
        client = mistral_as(user, project, self.keystone, self.mistral_settings)
        self._stack.callback(client.close)
        return client

    def ids_seen_by(self, user: str, project: str) -> set[str]:
        """Return the ids of all workflow, task and action executions that a user sees."""
        session = self.keystone.session(user, project)
        seen: set[str] = set()
        for kind in ("executions", "tasks", "action_executions"):
            page: str | None = f"{self.mistral_settings.url}/{kind}?fields=id"
            # Mistral 23 shows 1,000 rows at most.
            while page:
                answer = session.get(page).json()
                seen.update(row["id"] for row in answer[kind])
                page = answer.get("next")
        return seen

    def rows(self) -> list[Row]:
        """Read all workflow, task and action executions from Mistral's database."""
        printed = self.venv.run(self.venv.python, READ_ROWS, self.folder / "mistral.conf")
        return [Row(*row) for row in json.loads(printed)]

    def rows_by_project(self) -> Counter[tuple[str, str]]:
        """Return the number of rows by kind and by name of the project."""
        names = {self.keystone.project(name): name for name in ("a", "b", "service")}
        return Counter((row.kind, names.get(row.project_id, row.project_id)) for row in self.rows())

    def _client(self) -> MistralClient:
        return self.client("user-of-a", "a")

    def _options(self) -> dict[str, str]:
        user = self.keystone.options("mistral", "service")
        return {
            "authentication": AUTHENTICATION.format(url=self.keystone.url, user=user),
            "st2": f"context_key = {self.context_key}" if self.context_key else "",
            "relay": f"project_auth = {SERVICE}\n{self.keystone.options('relay', 'service')}",
        }
