"""Run requested executions in a bounded pool of threads."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable
from functools import partial

from st2_mistral_sandbox.stackstorm.auth import Authenticator
from st2_mistral_sandbox.stackstorm.catalog import Catalog
from st2_mistral_sandbox.stackstorm.fault import Fault
from st2_mistral_sandbox.stackstorm.rendering import Renderer
from st2_mistral_sandbox.stackstorm.runners import Run, Runner, RunRequest, RunResult
from st2_mistral_sandbox.stackstorm.store import PROCESS, ExecutionStore

LOG = logging.getLogger(__name__)
_PAUSED = {"pausing", "paused", "resuming"}
Job = Callable[[], None]


class ThreadPool:
    """Daemon threads that run jobs; up to ``size`` are started on demand."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run a job in a thread; after ``close``, drop it."""
        with self._lock:
            if self._closed:
                return
            self._jobs.put(job)
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._size):
                thread = threading.Thread(
                    target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                LOG.exception("A job of the StackStorm stand-in failed")
            with self._lock:
                self._unfinished -= 1

    def close(self, timeout: float) -> None:
        """Drop the queued jobs, and wait up to ``timeout`` seconds for each thread."""
        with self._lock:
            self._closed = True
            while not self._jobs.empty():
                self._jobs.get()
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout)


class Worker:
    """StackStorm's scheduler and action runner.

    :param threads: the number of executions that run at once.
    """

    def __init__(
        self,
        store: ExecutionStore,
        catalog: Catalog,
        renderer: Renderer,
        authenticator: Authenticator,
        *,
        threads: int = 32,
    ) -> None:
        self._store, self._catalog = store, catalog
        self._renderer, self._authenticator = renderer, authenticator
        self._runners: dict[str, Runner] = {}
        self._lock = threading.Lock()
        self._cancellations: dict[str, threading.Event] = {}
        self._delays: set[threading.Timer] = set()
        self._stopping = False
        self.api_url = ""
        self._pool = ThreadPool("st2-worker", threads)
        # A pool of its own, so that cancelling and pausing work while every worker is busy.
        self._controllers = ThreadPool("st2-controller", 4)

    def add_runner(self, name: str, runner: Runner) -> None:
        """Add or replace a runner."""
        self._runners[name] = runner

    def is_workflow(self, runner: str) -> bool:
        """Return True if a runner type is a workflow runner."""
        return runner in self._runners and self._runners[runner].is_workflow

    def schedule(self, execution_id: str) -> None:
        """Queue a requested execution, after its delay if it has one."""
        delay = self._store.find(execution_id).delay
        if not delay:
            self._pool.submit(partial(self._execute, execution_id))
            return
        self._store.set_status(execution_id, "delayed", only_from={"requested"})
        timer = threading.Timer(delay / 1000, lambda: self._due(timer, execution_id))
        timer.daemon = True
        with self._lock:
            if not self._stopping:
                self._delays.add(timer)
                timer.start()

    def _due(self, timer: threading.Timer, execution_id: str) -> None:
        with self._lock:
            self._delays.discard(timer)
        self._pool.submit(partial(self._execute, execution_id))

    def cancel(self, execution_id: str) -> None:
        """Cancel the run of a ``canceling`` execution, which then becomes ``canceled``."""
        with self._lock:
            running = self._cancellations.get(execution_id)
        if running is not None:
            running.set()
        else:
            self._controllers.submit(partial(self._finish_cancelling, execution_id))

    def pause(self, execution_id: str) -> None:
        """Call ``pause`` of the runner of a ``pausing`` execution."""
        self._controllers.submit(partial(self._change, execution_id, "pause"))

    def resume(self, execution_id: str) -> None:
        """Call ``resume`` of the runner of a ``resuming`` execution."""
        self._controllers.submit(partial(self._change, execution_id, "resume"))

    def _change(self, execution_id: str, method: str) -> None:
        run = getattr(self._runner(execution_id), method)
        token = self._token(execution_id)
        done = self._call(run, execution_id, token, threading.Event())
        self._authenticator.revoke_token(token)
        # StackStorm overwrites also a status that was set meanwhile. No test should depend on that.
        requested = {"pause": "pausing", "resume": "resuming"}[method]
        self._store.set_status(
            execution_id, done.status, only_from={requested}, result=done.result, context=done.context
        )

    def stop(self) -> None:
        """Cancel all runs and join all threads."""
        with self._lock:
            self._stopping = True
            delays, self._delays = self._delays, set()
            cancellations = list(self._cancellations.values())
        for timer in delays:
            timer.cancel()
        for cancelled in cancellations:
            cancelled.set()
        for timer in delays:
            timer.join(1)
        self._pool.close(10)
        self._controllers.close(10)

    def _execute(self, execution_id: str) -> None:
        cancelled = threading.Event()
        with self._lock:
            if self._stopping:
                return
            self._cancellations[execution_id] = cancelled
        try:
            set_status = self._store.set_status
            if set_status(execution_id, "scheduled", only_from={"requested", "delayed"}) and set_status(
                execution_id, "running", only_from={"scheduled"}, runner_info=PROCESS
            ):
                self._run(execution_id, cancelled)
        finally:
            with self._lock:
                del self._cancellations[execution_id]
            if self._store.status(execution_id) == "canceling":
                self._finish_cancelling(execution_id)

    def _run(self, execution_id: str, cancelled: threading.Event) -> None:
        token = self._token(execution_id)
        done = self._call(self._runner(execution_id).run, execution_id, token, cancelled)
        if done.status != "running":
            self._authenticator.revoke_token(token)
        runner = self._runner(execution_id)
        if done.result or runner.is_workflow:
            status, result = done.status, done.result
        else:
            status, result = "failed", {"error": "Failed to execute action.", "traceback": ""}
        only_from = {"running"}
        if runner.is_workflow:
            # It may have been paused or resumed meanwhile.
            only_from |= _PAUSED
            now = self._store.status(execution_id)
            status = now if status == "running" and now in _PAUSED else status
        self._store.set_status(
            execution_id,
            status,
            only_from=only_from,
            result=result,
            context=done.context,
            # StackStorm sets no end timestamp after this failure.
            set_end=bool(done.result) or runner.is_workflow,
        )
        if runner.after_run is not None:
            try:
                runner.after_run(execution_id)
            except Fault as fault:
                failure = {"error": fault.text, "traceback": ""}
                self._store.set_status(execution_id, "failed", only_from={status}, result=failure)

    def _finish_cancelling(self, execution_id: str) -> None:
        result = self._store.find(execution_id).result
        cancel = self._runner(execution_id).cancel
        if cancel is not None:
            token = self._token(execution_id)
            done = self._call(cancel, execution_id, token, threading.Event())
            self._authenticator.revoke_token(token)
            if done.status in ("canceling", "failed"):
                self._store.set_status(
                    execution_id, "canceling", only_from={"canceling"}, result=result
                )
                return
        self._store.set_status(execution_id, "canceled", only_from={"canceling"}, result=result)

    def _runner(self, execution_id: str) -> Runner:
        name = self._store.find(execution_id).runner["name"]
        return self._runners.get(name) or Runner(partial(_no_runner, name))

    def _token(self, execution_id: str) -> str:
        user = str(self._store.find(execution_id).context.get("user") or "")
        return self._authenticator.create_token(user, service=True).value

    def _call(self, run: Run, execution_id: str, token: str, cancelled: threading.Event) -> RunResult:
        try:
            return run(self._request(execution_id, token, cancelled))
        except Exception as error:  # noqa: BLE001 - a runner may raise any error
            LOG.warning("The runner of execution %s failed: %s", execution_id, type(error).__name__)
            lines = traceback.format_tb(error.__traceback__, 20)
            return RunResult("failed", {"error": str(error), "traceback": "".join(lines)})

    def _request(self, execution_id: str, token: str, cancelled: threading.Event) -> RunRequest:
        execution = self._store.find(execution_id)
        view = self._store.get(execution_id, show_secrets=True)
        return RunRequest(
            execution=view,
            parameters=self._renderer.final_parameters(
                execution.parameters,
                execution.context,
                execution.action["parameters"],
                execution.runner["runner_parameters"],
            ),
            action=view["action"],
            action_dir=self._catalog.folder(view["action"]["ref"]),
            api_url=self.api_url,
            auth_token=token,
            cancelled=cancelled,
            write=partial(self._store.write, execution_id),
            action_of=self._catalog.overview,
            context_of=self._store.context,
        )


def _no_runner(name: str, request: RunRequest) -> RunResult:
    return RunResult(
        "failed", {"error": f'The StackStorm stand-in has no runner "{name}".', "traceback": ""}
    )
