"""Counters and gauges of the relay, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters and gauges of one relay. Safe to share between threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, help_text: str) -> Counter:
            return Counter(f"st2_relay_{name}", help_text, registry=self.registry)

        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(f"st2_relay_{name}", help_text, registry=self.registry)

        self.completed = counter("completed", "Actions completed with the result of their execution.")
        self.retries = counter("retries", "Actions and parents that failed and are retried.")
        self.duplicates = counter("duplicates", "Duplicate executions cancelled.")
        self.rescheduled = counter("rescheduled", "Lost actions whose execution was created.")
        self.lost = counter("lost", "Actions completed without an execution.")
        self.cancelled = counter("cancelled", "Orphaned executions cancelled.")
        self.finished = counter("finished", "Parent executions finished.")
        self.stopped_workflows = counter("stopped_workflows", "Workflows cancelled for their parent.")
        self.pending_actions = gauge("pending_actions", "Pending actions at the last resync.")
        self.pending_parents = gauge(
            "pending_parents", "Executions that wait for their workflow at the last resync."
        )
        self._lag = gauge("lag_seconds", "Age of the oldest result that is not in Mistral yet.")
        self._closed_projects = gauge(
            "closed_projects", "Projects of waiting actions in which the relay may not act."
        )
        self._contact = Gauge(
            "st2_relay_last_contact_timestamp_seconds",
            "Time of the last response of a system; 0: never.",
            ["system"],
            registry=self.registry,
        )

    def observe(
        self,
        lag: Callable[[], float],
        contacts: Mapping[str, Callable[[], float]],
        closed_projects: Callable[[], float] = lambda: 0,
    ) -> None:
        """Register what is asked at each scrape.

        :param lag: returns seconds.
        :param contacts: by name of the system, the time of its last response, 0 for never.
        :param closed_projects: returns the number of projects in which the relay may not act.
        """
        self._closed_projects.set_function(closed_projects)
        self._lag.set_function(lag)
        for system, contact in contacts.items():
            self._contact.labels(system).set_function(contact)
