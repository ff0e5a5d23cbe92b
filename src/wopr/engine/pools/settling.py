"""What came of an attempt: decide it, write it, and go on once it is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.errors import StorageError
from wopr.domain.outcome import Interrupted, NotTaken, Outcome
from wopr.domain.status import CLAIMABLE, TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.shared import Follows, Shared
from wopr.ports.storage import Entry
from wopr.running.attempt import Attempt, Worker

log = logging.getLogger(__name__)


class ItsPool(Protocol):
    """What settling asks of the pool that it is for."""

    @property
    def starved(self) -> bool:
        """Whether a worker is free and nothing is due that memory knows of."""
        ...

    def push(self, record: TaskRecord) -> None:
        """Take a waiting task that is on disk."""
        ...

    def release(self, record: TaskRecord, worker: Worker) -> None:
        """Give a slot back whose claim came to nothing."""
        ...

    def back_off(self) -> float:
        """Leave a storage that fails alone for a while; return the seconds."""
        ...


class Settling:
    """Decides and writes what came of the attempts of one pool."""

    def __init__(self, pool: ItsPool, shared: Shared) -> None:
        self._pool = pool
        self._shared = shared
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: dict[str, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}
        self._closing = False

    def settle(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Decide what an outcome comes to and write it."""
        record = attempt.record
        if isinstance(outcome, NotTaken):
            self._shared.refusals.note(outcome.runner, outcome.reason)
        transition = decide.settle(record, attempt.number, outcome, elapsed)
        if transition is None and self._shared.storage.in_flight(record):
            self.once_known(lambda: self.settle(attempt, outcome, elapsed))
            return
        if transition is None:
            said = attempt.number, record.id, record.name, record.status.value
            log.info(
                "Attempt %d of task %s (%s) ended after it had been %s; its outcome is ignored.",
                *said,
            )
            return

        entries: list[Entry] = [(record, transition)]
        following: Follows | None = None
        succeeded = transition.to_status is TaskStatus.SUCCESS
        if succeeded and record.id in self._shared.parents and self._pool.starved:
            following = self._shared.follow(record)
            if following is not None:
                entries += following.entries

        hurry = following is not None or isinstance(outcome, Interrupted)
        urgent = hurry or record.id in self._shared.waiters
        done = Settlement(self, attempt, outcome, elapsed, transition, following)
        self._shared.submit(entries, done, urgent=urgent, now=True)

    def settled(self, settlement: Settlement, error: BaseException | None) -> None:
        """Go on once it is known whether an outcome is on disk."""
        record = settlement.attempt.record
        if settlement.following is not None:
            settlement.following.done(error)
        if error is None:
            if record.version == settlement.transition.seq:  # else it was changed again already
                self._settled(record)
            return
        log.error("Storing the outcome of task %s failed: %s", record.id, error)
        delay = self._pool.back_off()

        def again() -> None:
            self._unsettled.pop(record.id, None)
            self.settle(settlement.attempt, settlement.outcome, settlement.elapsed)

        if not self._closing:  # else the next opening finds it STARTED and recovers it
            timer = self._shared.loop.call_later(delay, again)
            self._unsettled[record.id] = timer, again

    def _settled(self, record: TaskRecord) -> None:
        if record.status in TERMINAL:
            self._shared.ended(record)
        elif decide.is_unfit(record):
            self._shared.set_aside(record)
        elif record.status in CLAIMABLE:
            self._pool.push(record)

    def once_known(self, go_on: Callable[[], None]) -> None:
        """Go on once it is known whether the change that is in flight now came to anything."""

        async def wait() -> None:
            with contextlib.suppress(StorageError):  # closed; the next opening decides
                await self._shared.storage.flush()
                await asyncio.sleep(0)
                go_on()

        task = self._shared.loop.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_back(self, record: TaskRecord, worker: Worker) -> None:
        """Put a task back whose claim is on disk, because a shutdown came before its start."""
        now = naive_now(self._shared.clock)
        transition = decide.move(record, Move.INTERRUPT, now, reason="shutdown")
        self._pool.release(record, worker)
        if transition is not None:
            self._shared.submit([(record, transition)], lambda error: None)

    def close(self) -> None:
        """Try once more to store what could not be stored, and then no more."""
        self._closing = True
        for timer, again in list(self._unsettled.values()):
            timer.cancel()
            again()


class Settlement:
    """An outcome on its way to the disk: what has to be known when the write comes back.

    One object instead of closures: ten of those per task kept the garbage collector busy.
    """

    __slots__ = ("attempt", "elapsed", "following", "outcome", "settling", "transition")

    def __init__(
        self,
        settling: Settling,
        attempt: Attempt,
        outcome: Outcome,
        elapsed: float,
        transition: Transition,
        following: Follows | None,
    ) -> None:
        self.settling = settling
        self.attempt = attempt
        self.outcome = outcome
        self.elapsed = elapsed
        self.transition = transition
        self.following = following

    def __call__(self, error: BaseException | None) -> None:
        """Be the ``done`` of the write."""
        self.settling.settled(self, error)
