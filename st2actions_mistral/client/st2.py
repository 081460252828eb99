"""Call StackStorm's API."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from st2actions_mistral.client import st2_messages
from st2actions_mistral.client.address import segment
from st2actions_mistral.client.st2_actions import St2Actions
from st2actions_mistral.client.st2_records import DEFAULT_PAGE_SIZE
from st2actions_mistral.client.st2_triggers import St2Triggers
from st2actions_mistral.errors import Answered, OutcomeUnknown, TooLarge
from st2actions_mistral.model import states
from st2actions_mistral.model.ids import is_execution_id
from st2actions_mistral.model.links import CONTEXT_KEY, RUNNER, WorkflowRef

LOG: Final = logging.getLogger(__name__)

CLOCK_MARGIN: Final = timedelta(hours=24)
"""The largest difference between the clocks of StackStorm and Mistral.

StackStorm has no index on the ids of Mistral that an execution carries, but one on its start time.
With a bound, a look-up reads the executions of a day instead of all that ever were.
"""

# Ids in one request. One more would fill a page, after which there may be another one.
_MAX_IDS: Final = DEFAULT_PAGE_SIZE - 1

# Comparisons before executions count as hidden: one that is created between StackStorm's list and its
# count looks like a hidden one, once.
_COMPARISONS: Final = 3

_OF_ACTION: Final = "context.mistral.action_execution_id"


class St2Client(St2Actions, St2Triggers):
    """The executions, actions and triggers of one StackStorm.

    Threads may share it; connections are kept. Executions are dicts as StackStorm's API shows them.
    """

    def retrying(self, *, repeat_unknown: bool = True) -> Any:
        """Return the retry policy for several requests that are retried together.

        Call it with a function that uses the methods named ``…_once``.

        :param repeat_unknown: whether to retry after an unknown outcome.
        """
        return self._api.retrying(repeat_unknown=repeat_unknown)

    def post_execution_once(
        self, body: Mapping[str, Any], context: str | None = None
    ) -> dict[str, Any]:
        """Create an execution, without a retry.

        :param context: the header ``st2-context``.
        :return: the execution.
        """
        execution: dict[str, Any] = self._api.once(
            "POST",
            "/executions",
            json=dict(body),
            headers={"st2-context": context} if context else None,
            texts=["id"],
        )
        return execution

    def create_execution(self, ref: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Run an action that no Mistral action waits for; StackStorm renders its parameters.

        :raises OutcomeUnknown: the execution may exist. The request is not repeated.
        """
        execution: dict[str, Any] = self.retrying(repeat_unknown=False)(
            self.post_execution_once, {"action": ref, "parameters": dict(parameters)}
        )
        return execution

    def children(self, execution_id: str) -> list[dict[str, Any]]:
        """Return the whole executions below one, at any depth.

        :raises Answered: 404 for an unknown execution.
        """
        path = f"/executions/{segment(execution_id)}/children"
        children: list[dict[str, Any]] = self._api.call(
            "GET", path, expect=list, texts=["id", "status"]
        )
        return children

    def find_children(
        self, action_execution_id: str, site: str, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return the child executions of a Mistral action, the oldest first; all others are duplicates.

        :param site: executions of other sites are ignored. Another site may be a copy of this one, with
            the same ids.
        :param since: the creation time of the action, see ``bridge.schedule``.
        :return: ``id``, ``status`` and ``context`` of each.
        """
        found: list[dict[str, Any]] = self._api.retrying()(
            self.find_children_once, action_execution_id, site, since
        )
        return found

    def find_children_once(
        self, action_execution_id: str, site: str, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Do the same as :meth:`find_children`, without a retry."""
        query = {
            "filter": f"{_OF_ACTION}:{action_execution_id}",
            "timestamp_gt": _timestamp((since or datetime.now(timezone.utc)) - CLOCK_MARGIN),
            "sort_asc": "true",
        }
        rows = self._page(self._api.once, query)
        if any(_ids_of(row).get("action_execution_id") != action_execution_id for row in rows):
            # Another execution must not be taken for the child.
            raise OutcomeUnknown(
                "GET", f"{self._api.url}/executions", "StackStorm did not apply the filter."
            )
        rows = [row for row in rows if _ids_of(row).get("site") == site]
        if len(rows) > 1:
            LOG.warning(
                "Action execution %r has two executions in StackStorm, %r and %r; the first counts.",
                action_execution_id,
                rows[0]["id"],
                rows[1]["id"],
            )
        return rows

    def children_since(self, site: str, since: datetime) -> Iterator[dict[str, Any]]:
        """Yield ``id``, ``status`` and ``context`` of all child executions of a site, the newest first.

        :param since: in Mistral's time; :data:`CLOCK_MARGIN` is subtracted.
        """
        query = {
            "filter": f"context.mistral.site:{site}",
            "timestamp_gt": _timestamp(since - CLOCK_MARGIN),
        }
        # timestamp_gt alone would list the oldest first. An execution that is created meanwhile shifts
        # the pages by one: a row may come twice, but none is missed.
        return self._list({**query, "sort_desc": "true"})

    def children_of(
        self,
        workflow_execution_id: str,
        *,
        below: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the executions that claim to belong to a workflow execution, the oldest first.

        Each has ``id``, ``status`` and ``context``. Whoever creates an execution chooses its context.

        :param below: only the direct children of this execution, for which StackStorm has an index.
        :param since: the creation time of the workflow execution, in Mistral's time. Pass it where
            ``below`` is not given, see :data:`CLOCK_MARGIN`.
        """
        query = {"filter": f"context.mistral.workflow_execution_id:{workflow_execution_id}"}
        if below:
            query["parent"] = below
        if since:
            query["timestamp_gt"] = _timestamp(since - CLOCK_MARGIN)
        return self._list({**query, "sort_asc": "true"})

    def children_below(self, execution_id: str) -> Iterator[dict[str, Any]]:
        """Yield ``id``, ``status`` and ``context`` of the direct children of an execution."""
        return self._list({"parent": execution_id, "sort_asc": "true"})

    def parents(self, site: str) -> Iterator[dict[str, Any]]:
        """Yield the executions that wait for a workflow of a site.

        Each has ``id``, ``status`` and ``context``.
        """
        # StackStorm accepts one status at a time.
        for status in states.ST2_WAITING:
            query = {"filter": f"context.{CONTEXT_KEY}.site:{site}", "status": status}
            yield from self._list({**query, "sort_asc": "true"})

    def nameless_parents(self) -> Iterator[dict[str, Any]]:
        """Yield the executions of the runner that wait and name no workflow, of any site.

        Their runner is about to start a workflow, or died before it could name one. Each has ``id``,
        ``status`` and ``context``.
        """
        for status in states.ST2_STARTING:
            for row in self._list({"runner": RUNNER, "status": status, "sort_asc": "true"}):
                if WorkflowRef.of(row.get("context")) is None:
                    yield row

    def statuses(self, ids: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield id and status of those of these executions that exist; invalid ids are ignored."""
        # StackStorm rejects the whole request for one invalid id.
        wanted = [id_ for id_ in ids if is_execution_id(id_)]
        for start in range(0, len(wanted), _MAX_IDS):
            query = {"id": ",".join(wanted[start : start + _MAX_IDS]), "include_attributes": "status"}
            for row in self._list(query):
                yield row["id"], row["status"]

    def get_execution(
        self, execution_id: str, *, max_result_size: int | None = None
    ) -> dict[str, Any] | None:
        """Return the whole execution with its result; None for an unknown one.

        The result is missing if it is larger than ``max_result_size`` bytes, or if the response exceeds
        the limits with it. ``result_size`` is its size then.
        """
        path = f"/executions/{segment(execution_id)}"
        limit = {"max_result_size": max_result_size} if max_result_size else {}

        def get(**params: Any) -> dict[str, Any]:
            found: dict[str, Any] = self._api.once("GET", path, params=params, texts=["id", "status"])
            return found

        def attempt() -> dict[str, Any]:
            try:
                return get(**limit)
            except TooLarge:
                return get(exclude_attributes="result")

        try:
            execution: dict[str, Any] = self._api.retrying()(attempt)
        except Answered as error:
            if error.status == 404:
                return None
            raise
        return execution

    def finish(self, execution_id: str, status: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Give an execution its final status and result. Safe to repeat.

        With "canceled", a running execution becomes "canceling" until its runner has cancelled it.
        StackStorm ignores the result then.

        :return: the execution as it is now. It has another status if it was final already.
        :raises Answered: 404 for an unknown execution.
        """
        path = f"/executions/{segment(execution_id)}"
        request = {
            "json": {"status": status, "result": dict(result)},
            "texts": ["id", "status"],
        }
        try:
            execution: dict[str, Any] = self._api.call("PUT", path, **request)
        except Answered as error:
            if error.status != 400:
                raise
            current = self.get_execution(execution_id)
            if current is None or current["status"] not in states.ST2_FINAL:
                raise
            return current
        return execution

    def change_status(self, execution_id: str, status: str) -> dict[str, Any] | None:
        """Pause or resume an execution, or confirm that it is paused or runs. Safe to repeat.

        :param status: "pausing", "paused", "resuming" or "running". StackStorm takes "paused" for a
            pausing execution without active children; otherwise the execution stays pausing.
        :return: the execution as it is now. If it has another status, StackStorm refused the change.
            None for an unknown execution.
        """
        path = f"/executions/{segment(execution_id)}"
        try:
            execution: dict[str, Any] = self._api.call(
                "PUT", path, json={"status": status}, texts=["id", "status"]
            )
        except Answered as error:
            if error.status not in (400, 404):
                raise
            return self.get_execution(execution_id)
        return execution

    def cancel(self, execution_id: str) -> str | None:
        """Cancel an execution. Safe to repeat.

        StackStorm refuses it where the execution is final or canceling already, or pending.

        :return: the status of the execution now; None for an unknown execution.
        """
        path = f"/executions/{segment(execution_id)}"
        try:
            answer = self._api.call("DELETE", path)
        except Answered as error:
            if error.status == 404:
                return None
            raise
        # A refusal is a 200 too.
        status = answer.get("status") or st2_messages.state_of_refusal(answer.get("faultstring"))
        if not isinstance(status, str):
            raise OutcomeUnknown("DELETE", f"{self._api.url}{path}", "the response has no status.")
        return status

    def pending(self, site: str) -> Iterator[dict[str, Any]]:
        """Yield the pending executions of a site: inquiries that wait for their answer.

        Each has ``id``, ``status`` and ``context``.
        """
        query = {"filter": f"context.mistral.site:{site}", "status": states.ST2_PENDING}
        return self._list({**query, "sort_asc": "true"})

    def whoami(self) -> str:
        """Return the name of the user of the credential."""
        return str(self._api.call("GET", "/user", texts=["username"])["username"])

    def may_run(self, ref: str) -> bool:
        """Return True if the user may run an action. Nothing is run.

        StackStorm checks the permission first, and then rejects the context, which is not JSON. An
        unknown parameter would not do: an action without parameters is run with it.

        :raises Answered: 400 or 404 for an unknown action.
        """
        try:
            self.post_execution_once({"action": ref, "parameters": {}}, context="st2-mistral check")
        except Answered as error:
            if error.status == 403:
                return False
            if error.status != 400 or not st2_messages.rejects_context(error):
                raise
        return True

    def key_once(self, name: str, *, user: str | None, scope: str, decrypt: bool) -> str:
        """Return the value of a key in the datastore, without a retry.

        :param user: whose key; None: the credential's own user, where the scope is "user".
        :param decrypt: return the value of a secret. Otherwise it is returned as it is stored.
        :raises Answered: 404 for an unknown key; 403 for one that the credential may not read.
        """
        query = {"scope": scope}
        if user:
            query["user"] = user
        if decrypt:
            query["decrypt"] = "true"
        key = self._api.once("GET", f"/keys/{segment(name)}", params=query, texts=["value"])
        return str(key["value"])

    def hides_executions(self) -> bool:
        """Return True if StackStorm shows fewer of the newest executions than it counts.

        With ``[rbac] permission_isolation`` it shows the executions of other users to admins only.
        False also if no other user has one among the newest.
        """
        return all(self._shows_fewer() for _ in range(_COMPARISONS))

    def _shows_fewer(self) -> bool:
        query = {"include_attributes": "status", "limit": DEFAULT_PAGE_SIZE}
        shown, total = self._api.counts("/executions", query)
        return total is not None and shown < min(DEFAULT_PAGE_SIZE, total)

    def clock(self) -> datetime | None:
        """Return StackStorm's time, in whole seconds; None where it does not tell."""
        return self._api.clock("/user")

    def last_contact(self) -> float:
        """Return the time of the last response; seconds as ``time.time``, 0 for none."""
        return self._api.last_contact

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()


def _ids_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    context = row.get("context")
    ids = context.get("mistral") if isinstance(context, dict) else None
    return ids if isinstance(ids, dict) else {}


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
