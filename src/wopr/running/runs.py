"""The running attempts of one category: start them, stop them, settle what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from wopr.calls.options import options_of
from wopr.calls.registry import RunOptions
from wopr.domain import decide
from wopr.domain.errors import StorageError, WoprError
from wopr.domain.outcome import Interrupted, Outcome
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.engine.pools.settling import Settling
from wopr.engine.shared import Shared, naive_now
from wopr.ports.storage import Entry
from wopr.running.attempt import Attempt, Worker
from wopr.running.progress import Progress

if TYPE_CHECKING:
    from wopr.engine.pools.pool import Pool

log = logging.getLogger(__name__)

UNWIND_SECONDS = 1.0
"""So long a function that ran out of time may clean up."""
CLEAN_UP_SECONDS = 0.5
"""So long one that a shutdown interrupts may."""
UNKNOWN_SECONDS = 0.006


class Runs:
    """Attempts under way in one pool."""

    def __init__(self, pool: Pool, shared: Shared) -> None:
        self._pool = pool
        self._shared = shared
        self.running: dict[str, Attempt] = {}
        self.unwinding: set[Attempt] = set()
        """Stopped attempts that have lost their worker, and whose functions still run."""
        self.usual_run = UNKNOWN_SECONDS
        """How long attempts take, as a moving average in seconds."""
        self._report = Progress(shared, self.running).report
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: dict[str, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}
        self._closing = False

    # -- running ------------------------------------------------------------

    def start(self, record: TaskRecord, worker: Worker) -> None:
        """Run a task whose claim is on disk."""
        pool, shared = self._pool, self._shared
        if record.status is not TaskStatus.STARTED or not pool.accepting:
            if record.status is TaskStatus.STARTED:  # the shutdown came between claim and start
                self._give_back(record, worker)
            elif shared.storage.in_flight(record):  # being cancelled, which may fail
                self._once_known(lambda: self.start(record, worker))
            else:  # cancelled meanwhile
                self._pool.release(record, worker)
            return
        attempt = Attempt(record, worker, self._options(record), self._report, shared)
        if pool.gate is not None:
            attempt.meters = pool.gate.take(record)
        worker.attempt = attempt
        self.running[record.id] = attempt
        shared.live[record.id] = record
        run = self._run(attempt)  # in a context of its own, not in that of a caller
        attempt.task = shared.loop.create_task(run, context=contextvars.Context())
        if attempt.options.timeout is not None:
            attempt.timer = shared.loop.call_later(attempt.options.timeout, self._expire, attempt)

    def _options(self, record: TaskRecord) -> RunOptions:
        definition = self._shared.registry.definitions[record.name]
        try:
            return options_of(record, definition)
        except (WoprError, ValueError, TypeError) as error:  # e.g. of a newer wopr
            log.error(
                "The options of task %s can't be read, so they don't count: %s", record.id, error
            )
            return definition.run_options

    async def _run(self, attempt: Attempt) -> None:
        began = self._shared.clock.monotonic()
        outcome = await attempt.run()
        elapsed = self._shared.clock.monotonic() - began
        self.usual_run += (elapsed - self.usual_run) / 16
        self._over(attempt, outcome, elapsed)

    def _over(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Free the worker of an attempt and settle what came of it."""
        if attempt.over:  # it was given up before
            return
        attempt.over = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        if self.running.get(attempt.record.id) is attempt:
            del self.running[attempt.record.id]
        self._free_worker(attempt)
        if attempt.meters and attempt not in self.unwinding:
            self._leave_gate(attempt)
        self._settle(attempt, outcome, elapsed)

    def _free_worker(self, attempt: Attempt) -> None:
        worker, attempt.slot = attempt.slot, None
        if worker is not None:
            self._pool.free(worker)

    def _leave_gate(self, attempt: Attempt) -> None:
        meters, attempt.meters = attempt.meters, ()
        if meters and self._pool.gate is not None:
            self._pool.gate.leave(meters)
            self._pool.wake()

    def let_go(self, attempt: Attempt) -> None:
        """Stop an attempt whose task was cancelled; its worker is free at once.

        What limits count goes on until its function has ended.
        """
        self.running.pop(attempt.record.id, None)
        if attempt.timer is not None:
            attempt.timer.cancel()
        self._free_worker(attempt)
        self._unwind(attempt)
        attempt.stop()

    def _unwind(self, attempt: Attempt) -> None:
        task = attempt.task
        if task is not None and not task.done():
            self.unwinding.add(attempt)
            task.add_done_callback(lambda _: self._unwound(attempt))

    def _unwound(self, attempt: Attempt) -> None:
        self.unwinding.discard(attempt)
        self._leave_gate(attempt)

    def _expire(self, attempt: Attempt) -> None:
        """Stop an attempt that ran longer than its timeout; its worker is free at once.

        It has a moment to clean up, before the next attempt may start.
        """
        if not attempt.over and not attempt.expired:
            self._free_worker(attempt)
            self._unwind(attempt)
            attempt.expire()
            attempt.timer = self._shared.loop.call_later(UNWIND_SECONDS, self._give_up, attempt)

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

    def _settle(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        record = attempt.record
        transition = decide.settle(record, attempt.number, outcome, elapsed)
        if transition is None and self._shared.storage.in_flight(record):
            self._once_known(lambda: self._settle(attempt, outcome, elapsed))
            return
        if transition is None:
            said = attempt.number, record.id, record.name, record.status.value
            log.info(
                "Attempt %d of task %s (%s) ended after it had been %s; its outcome is ignored.",
                *said,
            )
            return

        entries: list[Entry] = [(record, transition)]
        succeeded = transition.to_status is TaskStatus.SUCCESS
        following = self._shared.follow(record) if succeeded and self._pool.starved else None
        if following is not None:
            entries += following.entries

        hurry = following is not None or isinstance(outcome, Interrupted)
        urgent = hurry or record.id in self._shared.waiters
        done = Settling(self, attempt, outcome, elapsed, transition, following)
        self._shared.submit(entries, done, urgent=urgent)

    def settled(self, settling: Settling, error: BaseException | None) -> None:
        """Go on once it is known whether an outcome is on disk."""
        record = settling.attempt.record
        if settling.following is not None:
            settling.following.done(error)
        if error is None:
            if record.version == settling.transition.seq:  # else it was changed again already
                self._settled(record)
            return
        log.error("Storing the outcome of task %s failed: %s", record.id, error)
        delay = self._pool.back_off()

        def again() -> None:
            self._unsettled.pop(record.id, None)
            self._settle(settling.attempt, settling.outcome, settling.elapsed)

        if not self._closing:  # else the next opening finds it STARTED and recovers it
            timer = self._shared.loop.call_later(delay, again)
            self._unsettled[record.id] = timer, again

    def _once_known(self, go_on: Callable[[], None]) -> None:
        """Go on once it is known whether the change that is in flight now came to anything."""

        async def wait() -> None:
            with contextlib.suppress(StorageError):  # closed; the next opening decides
                await self._shared.storage.flush()
                await asyncio.sleep(0)
                go_on()

        self._spawn(wait())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._shared.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settled(self, record: TaskRecord) -> None:
        if record.status in TERMINAL:
            self._shared.ended(record)
        elif record.status in CLAIMABLE:
            self._pool.push(record)

    def _give_back(self, record: TaskRecord, worker: Worker) -> None:
        transition = decide.move(
            record, Move.INTERRUPT, naive_now(self._shared.clock), reason="shutdown"
        )
        self._pool.release(record, worker)
        if transition is not None:
            self._shared.submit([(record, transition)], lambda error: None)

    # -- ending -------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Give running attempts ``grace`` seconds, less if it is hurried; interrupt the rest."""
        tasks = {attempt.task for attempt in self.running.values() if attempt.task is not None}
        if tasks:
            await self._ended(tasks, grace)
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
            self._settle(attempt, Interrupted("shutdown"), 0.0)
        self._closing = True
        for timer, again in list(self._unsettled.values()):  # the last chance to store these
            timer.cancel()
            again()

    async def _ended(self, tasks: set[asyncio.Task[None]], seconds: float) -> None:
        """Return when all of them have ended, the time is over, or the shutdown is hurried."""
        hurry = self._shared.loop.create_task(self._shared.hurry.wait())
        everything = self._shared.loop.create_task(_all(tasks))
        try:
            await asyncio.wait(
                {everything, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            everything.cancel()
            hurry.cancel()


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
