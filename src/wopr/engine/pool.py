"""One category's workers: claim what is due for free slots, run it, settle it.

All of it happens on the event loop. ``pump`` is the only place that claims, and
it runs at most once per turn of the loop, so that everything that became free or
due together shares one commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable
from datetime import datetime

from wopr.domain import decide
from wopr.domain.errors import StorageError, WoprError
from wopr.domain.outcome import Interrupted, Outcome
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.attempt import Attempt
from wopr.engine.context import CurrentTask
from wopr.engine.lanes import WINDOW, Lanes
from wopr.engine.options import options_of
from wopr.engine.pager import Pager
from wopr.engine.services import Services, naive_now
from wopr.engine.settling import Settling
from wopr.engine.worker import Worker
from wopr.ports.storage import Entry

log = logging.getLogger(__name__)

FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 5.0
LONGEST_SLEEP = 30.0
PROGRESS_EVERY = 0.25
LONG_RUN_SECONDS = 0.003
SMALL_BATCH = 12


class Pool:
    """The waiting tasks and the workers of one category."""

    def __init__(self, category: str, services: Services, window: int = WINDOW) -> None:
        self.category = category
        self.lanes = Lanes(window)
        self.workers: list[Worker] = []
        self.running: dict[str, Attempt] = {}
        self.accepting = True
        self._free: list[Worker] = []
        self._services = services
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._back_off = 0.0
        self._next_back_off = FIRST_BACK_OFF
        self.pager = Pager(self, services, window)
        self._report = self._progress  # bound once
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: dict[str, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}
        self._closing = False
        self._claiming = 0  # commits of claims under way
        self._usual_run = 2 * LONG_RUN_SECONDS  # a moving average; long, until it is known

    # -- workers ------------------------------------------------------------

    def add_workers(self, names: list[str]) -> None:
        """Add slots and start claiming for them."""
        for name in names:
            worker = Worker(name)
            self.workers.append(worker)
            self._free.append(worker)
        self.wake()

    # -- waiting tasks ------------------------------------------------------

    def push(self, record: TaskRecord, now: datetime | None = None) -> None:
        """Take a waiting task that is on disk."""
        if now is None:  # that of one which is due does not matter
            due = record.run_at is None
            now = self.lanes.latest if due else naive_now(self._services.clock)
        if self.lanes.push(record, now):
            self._services.live[record.id] = record
        else:
            self._leave(record)
        self.wake()

    def _leave(self, record: TaskRecord) -> None:
        """Leave a waiting task to the storage."""
        if record.waiting:  # it would not give it back
            self._services.live[record.id] = record
            self._services.release([record])
        elif self._services.live.pop(record.id, None) is not None:
            self._services.left_memory(record.id)

    def restore(self, record: TaskRecord) -> None:
        """Take a task back that may have been passed over while a change was tried."""
        if not self.lanes.holds(record):
            self.push(record)
        self.wake()

    def wake(self) -> None:
        """Claim in the next turn of the loop."""
        if not self._scheduled and self.workers:
            self._scheduled = True
            self._services.loop.call_soon(self._pump)

    def reread(self) -> None:
        """Read the category's waiting tasks from the storage again."""
        self.lanes.unregistered.clear()
        self.lanes.reset(naive_now(self._services.clock))
        self.wake()

    # -- claiming -----------------------------------------------------------

    def _pump(self) -> None:
        self._scheduled = False
        if not self.accepting or self._back_off:
            return
        now = naive_now(self._services.clock)
        self.lanes.promote(now)
        self.pager.trim()
        entries: list[Entry] = []
        claimed: list[tuple[TaskRecord, Worker]] = []
        held: list[TaskRecord] = []
        most = self._batch_size()
        while self._free and len(claimed) < most:
            record = self.lanes.pop()
            if record is None:
                break
            if record.depends_on is not None and self._services.storage.in_flight(record):
                held.append(record)  # its release is being written, which wakes us up
                continue
            if record.name not in self._services.registry.definitions:
                self.lanes.unregistered.add(record.name)
                self._leave(record)
                continue
            worker = self._free.pop()
            transition = decide.claim(record, worker.name, now)
            assert transition is not None, "lanes give claimable tasks only"
            entries.append((record, transition))
            claimed.append((record, worker))
        for record in held:
            self.lanes.add_paged(record, now)
        if entries:
            self._claiming += 1
            self._services.storage.submit(entries, lambda error: self._claimed(claimed, error))
        self.pager.page_in(now)
        self._set_timer(now)

    def _batch_size(self) -> int:
        """Return how many tasks to claim now.

        Tasks that take no time are claimed as many as there are slots: fewer commits.
        Those that run longer than a commit takes are claimed a few at a time, one
        commit after the other: then slots that fell free together do not wait for
        one large commit, and from then on commits and runs overlap.
        """
        if self._usual_run < LONG_RUN_SECONDS:
            return len(self._free)
        return 0 if self._claiming else SMALL_BATCH

    @property
    def starved(self) -> bool:
        """Whether a worker is free and nothing is due that memory knows of."""
        return self.accepting and bool(self._free) and not self.lanes.has_due()

    def claim_new(self, record: TaskRecord, now: datetime) -> tuple[Transition, Worker] | None:
        """Claim a task in the very commit that adds it, when nothing stands before it."""
        if not (self._free and self.accepting and not self._back_off and self.lanes.idle(now)):
            return None
        worker = self._free.pop()
        pending, started, number = TaskStatus.PENDING, TaskStatus.STARTED, record.attempt + 1
        transition = Transition(record.id, Move.CLAIM, pending, started, number, now, worker.name)
        return transition, worker

    def release(self, worker: Worker) -> None:
        """Give a slot back whose claim came to nothing."""
        worker.attempt = None
        self._free.append(worker)
        self.wake()

    def _claimed(
        self, claimed: list[tuple[TaskRecord, Worker]], error: BaseException | None
    ) -> None:
        self._claiming -= 1
        if error is None:
            self._next_back_off = FIRST_BACK_OFF
            self.wake()
            for record, worker in claimed:
                self.start(record, worker)
            return
        log.error("Claiming %d tasks of %r failed: %s", len(claimed), self.category, error)
        for record, worker in claimed:
            self._free.append(worker)
            self.push(record)
        self.back_off()

    def back_off(self) -> None:
        """Leave a storage that fails alone for a while, then try again."""
        if self._back_off:
            return
        self._back_off = self._next_back_off
        self._next_back_off = min(self._back_off * 2, LONGEST_BACK_OFF)
        self._services.loop.call_later(self._back_off, self._after_back_off)

    def _after_back_off(self) -> None:
        self._back_off = 0.0
        self.wake()

    # -- running ------------------------------------------------------------

    def start(self, record: TaskRecord, worker: Worker) -> None:
        """Run a task whose claim is on disk."""
        services = self._services
        if record.status is not TaskStatus.STARTED or not self.accepting:
            if record.status is TaskStatus.STARTED:  # the shutdown came between claim and start
                self._give_back(record, worker)
            elif services.storage.in_flight(record):  # being cancelled, which may fail
                self._once_known(lambda: self.start(record, worker))
            else:  # cancelled meanwhile
                self.release(worker)
            return
        definition = services.registry.definitions[record.name]
        try:
            policy, timeout = options_of(record, definition)
        except (WoprError, ValueError, TypeError) as error:  # e.g. of a newer wopr
            log.error(
                "The options of task %s can't be read, so they don't count: %s", record.id, error
            )
            policy, timeout = definition.retry, definition.timeout
        attempt = Attempt(
            record,
            definition,
            worker.name,
            policy=policy,
            timeout=timeout,
            report=self._report,
            services=services,
        )
        worker.attempt = attempt
        self.running[record.id] = attempt
        services.live[record.id] = record
        run = self._run(attempt, worker)  # in a context of its own, not in that of a caller
        attempt.task = services.loop.create_task(run, context=contextvars.Context())

    async def _run(self, attempt: Attempt, worker: Worker) -> None:
        began = self._services.clock.monotonic()
        outcome = await attempt.run()
        elapsed = self._services.clock.monotonic() - began
        self._usual_run += (elapsed - self._usual_run) / 16
        if self.running.get(attempt.record.id) is attempt:
            del self.running[attempt.record.id]
        worker.attempt = None
        self._free.append(worker)
        self.wake()
        self._settle(attempt, outcome, elapsed)

    def _settle(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        record = attempt.record
        transition = decide.settle(record, attempt.number, outcome, elapsed)
        if transition is None and self._services.storage.in_flight(record):
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
        following = self._services.follow(record) if succeeded and self.starved else None
        if following is not None:
            entries += following.entries

        hurry = following is not None or isinstance(outcome, Interrupted)
        urgent = hurry or record.id in self._services.waiters
        done = Settling(self, attempt, outcome, elapsed, transition, following)
        self._services.storage.submit(entries, done, urgent=urgent)

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
        self.back_off()

        def again() -> None:
            self._unsettled.pop(record.id, None)
            self._settle(settling.attempt, settling.outcome, settling.elapsed)

        if not self._closing:  # else the next opening finds it STARTED and recovers it
            timer = self._services.loop.call_later(self._back_off or FIRST_BACK_OFF, again)
            self._unsettled[record.id] = timer, again

    def _once_known(self, go_on: Callable[[], None]) -> None:
        """Go on once it is known whether the change that is in flight now came to anything."""

        async def wait() -> None:
            with contextlib.suppress(StorageError):  # closed; the next opening decides
                await self._services.storage.flush()
                await asyncio.sleep(0)
                go_on()

        task = self._services.loop.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settled(self, record: TaskRecord) -> None:
        if record.status in TERMINAL:
            self._services.ended(record)
        elif record.status in CLAIMABLE:
            self.push(record)

    def _give_back(self, record: TaskRecord, worker: Worker) -> None:
        transition = decide.move(
            record, Move.INTERRUPT, naive_now(self._services.clock), reason="shutdown"
        )
        self._free.append(worker)
        if transition is not None:
            self._services.storage.submit([(record, transition)], lambda error: None)

    def _progress(self, context: CurrentTask, percent: float, message: str) -> None:
        """Show progress now; store it at most every :data:`PROGRESS_EVERY` seconds.

        A thread that outlived its attempt has nothing to say any more.
        """
        attempt = self.running.get(context.id)
        if attempt is None or attempt.context is not context or not self._is_current(attempt):
            return
        attempt.record.progress = percent
        attempt.record.progress_message = message
        loop = self._services.loop
        if attempt.may_store_progress(PROGRESS_EVERY):
            loop.call_soon_threadsafe(self._store_progress, attempt)
        elif not attempt.progress_waits:  # the last report of a burst must not get lost
            attempt.progress_waits = True
            loop.call_soon_threadsafe(
                loop.call_later, PROGRESS_EVERY, self._store_progress, attempt
            )

    def _store_progress(self, attempt: Attempt) -> None:
        attempt.progress_waits = False
        if self._is_current(attempt):
            self._services.storage.touch(attempt.record)

    def _is_current(self, attempt: Attempt) -> bool:
        record = attempt.record
        return (
            self.running.get(record.id) is attempt
            and record.status is TaskStatus.STARTED
            and record.attempt == attempt.number
        )

    def _set_timer(self, now: datetime) -> None:
        """Wake up when the next task becomes due; look at the clock again now and then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.lanes.next_due()
        if due is not None:
            delay = max(0.0, min((due - now).total_seconds(), LONGEST_SLEEP))
            self._timer = self._services.loop.call_later(delay, self.wake)

    # -- ending -------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Stop claiming; give running attempts ``grace`` seconds, then interrupt them."""
        self.accepting = False
        if self._timer is not None:
            self._timer.cancel()
        tasks = {attempt.task for attempt in self.running.values() if attempt.task is not None}
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=grace)
            for attempt in list(self.running.values()):
                if attempt.task in left:
                    attempt.stop(interrupted="shutdown")
            if left:
                await asyncio.wait(left, timeout=max(1.0, min(grace, 5.0)))
        for attempt in list(self.running.values()):  # it caught the cancellation and goes on
            self.running.pop(attempt.record.id)
            attempt.interrupted = "shutdown"
            self._settle(attempt, Interrupted("shutdown"), 0.0)
        self._closing = True
        for timer, again in list(self._unsettled.values()):  # the last chance to store these
            timer.cancel()
            again()
