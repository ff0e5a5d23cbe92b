"""The attempts under way in one category: start them, time them, stop them, let them end.

What becomes of an outcome is decided and written by whoever is told: see :class:`Ends`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from wopr.calls.options import options_of
from wopr.calls.registry import RunOptions
from wopr.domain.errors import WoprError
from wopr.domain.limits import Meter
from wopr.domain.outcome import Interrupted, Outcome
from wopr.domain.task import TaskRecord
from wopr.running.attempt import Attempt, Worker
from wopr.running.progress import Progress
from wopr.running.starts import Starts
from wopr.running.surroundings import Surroundings

log = logging.getLogger(__name__)

UNWIND_SECONDS = 1.0
"""So long a function that ran out of time may clean up."""
CLEAN_UP_SECONDS = 0.5
"""So long one that a shutdown interrupts may."""
UNKNOWN_SECONDS = 0.006


class Ends(Protocol):
    """Who is told how attempts end."""

    def free(self, worker: Worker) -> None:
        """Let a worker take the next task."""
        ...

    def over(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Take what an attempt came to, after so many seconds. Its worker is free already."""
        ...

    def unwound(self, attempt: Attempt) -> None:
        """Count an attempt no more, where it is counted: its function has ended."""
        ...

    def ended_lent(self, attempt: Attempt) -> None:
        """Take note that an attempt is over whose slot is lent."""
        ...


class Runs:
    """Attempts under way in one pool."""

    def __init__(
        self, around: Surroundings, ends: Ends, touch: Callable[[TaskRecord], None]
    ) -> None:
        self._around = around
        self._free, self._told, self._left = ends.free, ends.over, ends.unwound
        self._ended_lent = ends.ended_lent
        self.running: dict[str, Attempt] = {}
        self.unwinding: set[Attempt] = set()
        """Stopped attempts that have lost their worker, and whose functions still run."""
        self.usual_run = UNKNOWN_SECONDS
        """How long attempts take, as a moving average in seconds."""
        self._report = Progress(around.loop, self.running, touch, around.mask).report
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts = Starts(around.loop, self._run)
        self.look = self._starts.look

    # -- running ------------------------------------------------------------

    def start(self, record: TaskRecord, worker: Worker, meters: Sequence[Meter]) -> None:
        """Run a task whose claim is on disk."""
        around = self._around
        attempt = Attempt(record, worker, self._options(record), self._report, around)
        attempt.meters = meters
        worker.attempt = attempt
        self.running[record.id] = attempt
        self._starts.start(attempt)
        if attempt.options.timeout is not None:
            attempt.timer = around.loop.call_later(attempt.options.timeout, self._expire, attempt)

    def _options(self, record: TaskRecord) -> RunOptions:
        definition = self._around.registry.definitions[record.name]
        try:
            return options_of(record, definition)
        except (WoprError, ValueError, TypeError) as error:  # e.g. of a newer wopr
            log.error(
                "The options of task %s can't be read, so they don't count: %s", record.id, error
            )
            return definition.run_options

    async def _run(self, attempt: Attempt) -> float:
        began = self._around.clock.monotonic()
        outcome = await attempt.run()
        elapsed = self._around.clock.monotonic() - began
        self.usual_run += (elapsed - self.usual_run) / 16
        self._over(attempt, outcome, elapsed)
        return elapsed

    def _over(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Free the worker of an attempt and tell what came of it."""
        if attempt.over:  # it was given up before
            return
        attempt.over = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        if self.running.get(attempt.record.id) is attempt:
            del self.running[attempt.record.id]
        worker, attempt.slot = attempt.slot, None
        if worker is not None:
            self._free(worker)
        elif attempt.lent:
            self._ended_lent(attempt)
        if attempt.meters and attempt not in self.unwinding:
            self._left(attempt)
        self._told(attempt, outcome, elapsed)

    def let_go(self, attempt: Attempt) -> None:
        """Stop an attempt whose task was cancelled; its worker is free at once.

        What limits count goes on until its function has ended.
        """
        self.running.pop(attempt.record.id, None)
        if attempt.timer is not None:
            attempt.timer.cancel()
        self._unwind(attempt)
        attempt.stop()
        if attempt.task is None:  # so it never begins
            self._left(attempt)

    def _unwind(self, attempt: Attempt) -> None:
        """Take the worker away from an attempt that is about to be stopped."""
        worker, attempt.slot = attempt.slot, None
        if worker is not None:
            self._free(worker)
        task = attempt.task
        if task is not None and not task.done():
            self.unwinding.add(attempt)
            task.add_done_callback(lambda _: self._unwound(attempt))

    def _unwound(self, attempt: Attempt) -> None:
        self.unwinding.discard(attempt)
        self._left(attempt)

    def _expire(self, attempt: Attempt) -> None:
        """Stop an attempt that ran longer than its timeout; its worker is free at once.

        It has a moment to clean up, before the next attempt may start.
        """
        if not attempt.over and not attempt.expired:
            self._unwind(attempt)
            attempt.expire()
            attempt.timer = self._around.loop.call_later(UNWIND_SECONDS, self._give_up, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        if not attempt.over:
            log.warning(
                "Task %s (%s) goes on although its timeout of %g s is over and it was cancelled: "
                "it catches CancelledError. Its outcome is ignored; it counts as timed out.",
                attempt.record.id,
                attempt.record.name,
                attempt.options.timeout,
            )
            self._spawn(self._given_up(attempt))

    async def _given_up(self, attempt: Attempt) -> None:
        outcome = await attempt.timed_out()
        self._over(attempt, outcome, (attempt.options.timeout or 0.0) + UNWIND_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._around.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- ending -------------------------------------------------------------

    async def drain(self, grace: float, hurry: asyncio.Event) -> None:
        """Give running attempts ``grace`` seconds, less if it is hurried; interrupt the rest."""
        while not self._starts.begun:  # noqa: ASYNC110 - the next turns of the loop begin them
            await asyncio.sleep(0)
        tasks = {attempt.task for attempt in self.running.values() if attempt.task is not None}
        if tasks:
            await self._ended(tasks, grace, hurry)
            left = {task for task in tasks if not task.done()}
            for attempt in list(self.running.values()):
                if attempt.task in left:
                    attempt.stop(interrupted="shutdown")
            if left:
                await asyncio.wait(left, timeout=CLEAN_UP_SECONDS)
        for attempt in list(self.running.values()):  # it caught the cancellation and goes on
            self.running.pop(attempt.record.id)
            attempt.interrupted, attempt.over = "shutdown", True
            if attempt.timer is not None:
                attempt.timer.cancel()
            self._told(attempt, Interrupted("shutdown"), 0.0)

    async def _ended(
        self, tasks: set[asyncio.Task[None]], seconds: float, hurry: asyncio.Event
    ) -> None:
        """Return when all of them have ended, the time is over, or the shutdown is hurried."""
        hurried = self._around.loop.create_task(hurry.wait())
        everything = self._around.loop.create_task(_all(tasks))
        try:
            await asyncio.wait(
                {everything, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            everything.cancel()
            hurried.cancel()


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
