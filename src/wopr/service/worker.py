"""One life of the worker process: start, work until a signal, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from typing import Any, Protocol

from wopr.config.settings import Settings
from wopr.domain.clock import SystemClock
from wopr.domain.errors import InvalidCallError, StorageOwnedError
from wopr.domain.events import TaskFailed, TaskRetrying
from wopr.domain.masking import mask
from wopr.domain.spoken import age, counted
from wopr.queue.queue import TaskQueue, inside
from wopr.running.attempt import Attempt
from wopr.service.capture import keep_logs
from wopr.service.collecting import collecting_seldom
from wopr.service.holds import holds_told
from wopr.service.http import HealthServer
from wopr.service.leaving import busy_threads, leave_now, leave_within
from wopr.service.signals import Signals
from wopr.service.tracing import instrument

log = logging.getLogger("wopr.worker")

OWNED_SECONDS = 5.0
"""So long a worker tries to reach a process that has the file and can't be asked for it."""
FORCED_SECONDS = 3.0
"""After a second signal the process ends within this time, whatever the tasks do."""
LAST_WORD = 0.5
"""Seconds that what the application left on the event loop gets to end when it is cancelled, and
the interpreter for its exit, at least."""
ERROR_LENGTH = 500
"""So much of an error's first line is logged; the task's history has all of it."""
FORCED = 1
"""Exit code after a second signal."""


class Server(Protocol):
    """Something that listens beside the workers, on their event loop."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidCallError: nothing can listen there.
        """
        ...

    async def stop(self) -> None:
        """Listen no more."""
        ...


class WorkerRun:
    """Runs the tasks of a queue until a signal comes."""

    def __init__(
        self,
        queue: TaskQueue,
        target: str,
        counts: dict[str, int],
        settings: Settings,
        dashboard: Server | None = None,
    ) -> None:
        self._queue = queue
        self._target = target
        self._counts = counts
        self._settings = settings
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._server: HealthServer | None = None
        self._dashboard = dashboard
        self._signals = 0
        self._until = 0.0
        """When the grace time is over, by the clock's monotonic seconds."""
        self._hurrying: asyncio.Task[None] | None = None
        self._draining: list[Attempt] | None = None
        self._stuck: list[str] = []

    @property
    def forced(self) -> bool:
        """Whether a second signal came."""
        return self._signals > 1

    def run(self) -> dict[str, Any]:
        """Work until a signal comes, then drain; return a summary.

        Raises:
            StorageOwnedError: another process keeps the file.
        """
        runner = asyncio.Runner()
        try:
            with collecting_seldom():
                return runner.run(self._until_stopped())
        finally:
            if not self._stuck and not busy_threads():  # else it would wait for them, for ever
                runner.close()

    def leave(self, code: int) -> None:
        """End the process at once if something can't be stopped; else see to it that it ends.

        The row of what can't be stopped is back in the queue. The interpreter would wait for
        it, or tear down what it uses, with noise. What else it waits for gets the rest of the
        grace time.
        """
        if self._stuck:
            log.warning(
                "Leaving without %s that did not end when cancelled, such as %s.",
                counted(len(self._stuck), "task"),
                self._stuck[0],
            )
        threads = busy_threads()
        for name in threads:
            log.warning("A function still runs in thread %s; leaving without it.", name)
        left = 0.0 if self.forced else self._until - self._clock.monotonic()
        leave_within(max(LAST_WORD, left), code)
        if self._stuck or threads:
            leave_now(code)

    async def _until_stopped(self) -> dict[str, Any]:
        signals = Signals(self._signalled)
        began = self._clock.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(signals.give_back)
            stack.push_async_callback(self._end_others)
            try:
                if await self._start(stack):
                    self._say_started()
                    async with holds_told(self._queue, self._clock):
                        await self._stop.wait()
            finally:
                self._draining = [
                    slot.attempt
                    for slots in self._queue.workers.values()
                    for slot in slots
                    if slot.attempt is not None
                ]
                await self._queue.shutdown(0 if self.forced else self._settings.shutdown_seconds)
        return self._summary(self._clock.monotonic() - began)

    async def _end_others(self) -> None:
        """Cancel what the tasks and the application left running; note what ignores that."""
        names = {attempt.task: attempt.record.name for attempt in self._draining or ()}
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            _, late = await asyncio.wait(left, timeout=LAST_WORD)
            self._stuck = [
                names.get(task, getattr(task.get_coro(), "__qualname__", "a task")) for task in late
            ]

    def _summary(self, seconds: float) -> dict[str, Any]:
        draining = self._draining or []
        interrupted = sum(attempt.interrupted is not None for attempt in draining)
        summary = {
            "seconds": seconds,
            "forced": self.forced,
            "running_at_signal": len(draining),
            "finished": len(draining) - interrupted,
            "put_back": interrupted,
        }
        log.info(
            "Stopped after %s. Of %s under way %d finished and %d went back to their queue.",
            age(seconds),
            counted(len(draining), "task"),
            len(draining) - interrupted,
            interrupted,
        )
        return summary

    async def _start(self, stack: contextlib.AsyncExitStack) -> bool:
        """Start everything; return whether it runs: a signal may have come first.

        Raises:
            StorageOwnedError: another process keeps the file.
            InvalidCallError: HTTP can't be served there.
        """
        stack.callback(keep_logs(self._queue))
        for kind in ("task.failed", "task.retrying"):
            stack.callback(self._queue.on(kind, _say_failed))
        with contextlib.suppress(InvalidCallError):  # OpenTelemetry is not installed
            instrument(self._queue)
        if self._settings.http is not None:
            self._server = HealthServer(self._queue, self._settings.http, self._dashboard_url)
        return await self._start_workers() and all(
            [await self._serve(stack, one) for one in (self._server, self._dashboard)]
        )

    async def _start_workers(self) -> bool:
        """Return once the workers run: another process may own the file, and work on it.

        That is the worker before this one at its drain, for example, or a web server with
        workers of its own.
        """
        deadline = self._clock.monotonic() + OWNED_SECONDS
        waiting_for: int | None = None
        while not self._stop.is_set():
            try:
                for name, count in self._counts.items():
                    await self._queue.start_workers(name, count)
            except StorageOwnedError as error:
                await self._queue.shutdown()
                if self._clock.monotonic() > deadline:
                    raise
                if waiting_for != error.pid:
                    log.info("Process %s has the file; waiting for it to end.", error.pid)
                waiting_for = error.pid
                await self._pause()
            else:
                return await self._stand_by()
        return False

    async def _stand_by(self) -> bool:
        """Return when the workers run here, or a signal has come; whether they run."""
        access = inside(self._queue).access
        if not access.standby.works.is_set():
            log.info(
                "Standing by: process %s has %s. The workers start here when it gives the file up.",
                access.owner_pid,
                self._queue.database,
            )
        here = asyncio.ensure_future(access.standby.works.wait())
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({here, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            here.cancel()
            stopped.cancel()
        return access.standby.works.is_set()

    def _dashboard_url(self) -> str | None:
        return None if self._dashboard is None else self._dashboard.url

    async def _serve(self, stack: contextlib.AsyncExitStack, server: Server | None) -> bool:
        """Answer HTTP, if that is wanted; the worker before this one may still have the port.

        Raises:
            InvalidCallError: nothing can listen there.
        """
        if server is None:
            return True
        stack.push_async_callback(server.stop)
        deadline = self._clock.monotonic() + OWNED_SECONDS
        while not self._stop.is_set():
            try:
                await server.start()
            except InvalidCallError as error:
                in_use = getattr(error.__cause__, "errno", None) == errno.EADDRINUSE
                if not in_use or self._clock.monotonic() > deadline:
                    raise
                await self._pause()
            else:
                return True
        return False

    async def _pause(self) -> None:
        """Wait a little before another try, but not when a signal comes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), OWNED_SECONDS / 10)

    def _say_started(self) -> None:
        settings = self._settings
        log.info(
            "Started %s on %s (pid %d), workers: %s. Grace time %g s, log %s as %s, %s. "
            "Stop with SIGTERM or Ctrl-C.",
            self._target,
            self._queue.database,
            os.getpid(),
            ", ".join(f"{name}:{count}" for name, count in self._counts.items()),
            settings.shutdown_seconds,
            settings.log_level,
            settings.log_format,
            "no HTTP" if self._server is None else self._server.url,
        )
        if self._dashboard is not None:
            log.info("The dashboard is at %s", self._dashboard.url)
        for name in sorted(set(self._counts) - set(self._queue.categories)):
            log.warning(
                "No task is registered in category %r: its workers have nothing to do.", name
            )

    # -- signals -------------------------------------------------------------

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._until = self._clock.monotonic() + self._settings.shutdown_seconds
            log.info(
                "Draining: %s under way; the grace time is %s. Signal again to interrupt.",
                counted(len(self._queue.running_tasks), "task"),
                age(self._settings.shutdown_seconds),
            )
            if self._server is not None:
                self._server.drain()
            self._stop.set()
        else:
            self._force()

    def _force(self) -> None:
        """Interrupt what runs, so that the shutdown ends; the rows go back to PENDING."""
        log.warning("Second signal: interrupting what runs.")
        if self._signals == 2:
            loop = asyncio.get_running_loop()
            if self._draining is not None:  # else the shutdown comes, and gives no grace time
                self._hurrying = loop.create_task(self._queue.shutdown(0))
            loop.call_later(FORCED_SECONDS, os._exit, FORCED)


def _say_failed(event: TaskFailed | TaskRetrying) -> None:
    last = isinstance(event, TaskFailed)
    log.log(
        logging.ERROR if last else logging.WARNING,
        "Attempt %d of task %s failed%s: %s",
        event.attempt,
        event.name,
        ", the last one" if last else "",
        mask(event.error or event.reason or "").partition("\n")[0][:ERROR_LENGTH],
        extra={
            "task_id": event.task_id,
            "task_name": event.name,
            "category": event.category,
            "attempt": event.attempt,
        },
    )
