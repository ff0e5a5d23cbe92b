"""One category on one host: its workers, and the claims for those that are free."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from wopr.domain import decide
from wopr.domain.errors import StorageError
from wopr.domain.outcome import NotTaken, Outcome
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.fleet.claiming import Claiming
from wopr.fleet.parts import Parts
from wopr.fleet.settling import Settling
from wopr.fleet.touching import Touching
from wopr.running.attempt import Attempt, Worker
from wopr.running.runs import Runs

log = logging.getLogger(__name__)

MOST_AT_ONCE = 100
FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 5.0
REFUSED_SECONDS = 1.0
"""So long nothing is claimed after what runs the tasks has taken one of them."""


class FleetPool:
    """The workers of one category on this host."""

    def __init__(
        self,
        category: str,
        parts: Parts,
        claiming: Claiming,
        settling: Settling,
        touching: Touching,
        held: Callable[[], bool],
    ) -> None:
        self.category = category
        self.workers: list[Worker] = []
        self.accepting = not parts.stopping
        self._parts = parts
        self._claiming = claiming
        self._settling = settling
        self._held = held
        self._free: list[Worker] = []
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._back_off = FIRST_BACK_OFF
        self.runs = Runs(parts.around, self, touching.touch)
        self.running = self.runs.running

    def add_workers(self, names: list[str]) -> None:
        """Add slots and start claiming for them."""
        for name in names:
            worker = Worker(name)
            self.workers.append(worker)
            self._free.append(worker)
        if self._task is None:
            self._task = self._parts.around.loop.create_task(self._claim_on())
        self.wake()

    def wake(self, at: datetime | None = None) -> None:
        """Claim now, or at a time."""
        delay = 0.0 if at is None else (at - self._parts.now()).total_seconds()
        if delay <= 0:
            self._wanted.set()
            return
        loop = self._parts.around.loop
        due = loop.time() + delay
        if self._timer is not None and self._timer_at <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(due, self._timed), due

    def _timed(self) -> None:
        self._timer = None
        self._wanted.set()

    # -- claims ---------------------------------------------------------------

    async def _claim_on(self) -> None:
        while self.accepting:
            await self._wanted.wait()
            self._wanted.clear()
            if not self._free or self._held() or not self.accepting:
                continue
            try:
                if await self._claim():
                    self._wanted.set()
                self._back_off = FIRST_BACK_OFF
            except StorageError as error:
                log.error("Tasks of %r can't be claimed yet: %s", self.category, error)
                await asyncio.sleep(self._back_off)
                self._back_off = min(2 * self._back_off, LONGEST_BACK_OFF)
                self._wanted.set()

    async def _claim(self) -> bool:
        """Claim for the free workers; whether there may be more to start."""
        workers = [self._free.pop() for _ in range(min(len(self._free), MOST_AT_ONCE))]
        names = {worker.name: worker for worker in workers}
        try:
            claimed = await self._claiming.claim(self.category, list(names))
        except BaseException:
            self._free += names.values()
            raise
        for record, transition in claimed:
            self._start(record, names.pop(str(record.worker)), transition)
        self._free += names.values()
        return not names

    def _start(self, record: TaskRecord, worker: Worker, transition: Transition) -> None:
        worker.last_claim_at = record.started_at
        self._parts.tell([(record, transition)])
        held = self._held()  # perhaps since its claim was sent
        if self.accepting and not held:
            self.runs.start(record, worker, ())
            return
        self._free.append(worker)
        reason = "foreground" if self.accepting else "shutdown"
        back = decide.move(record, Move.INTERRUPT, self._parts.now(), reason=reason)
        if back is not None:
            self._settling.write(record, back)

    # -- what runs say ----------------------------------------------------------

    def free(self, worker: Worker) -> None:
        """Let a worker take the next task."""
        worker.attempt = None
        self._free.append(worker)
        self._wanted.set()

    def over(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Write what an attempt came to."""
        self._settling.settle(attempt, outcome, elapsed)
        if isinstance(outcome, NotTaken):
            log.error("Tasks of %r are not taken: %s", self.category, outcome.reason)
            self._wanted.clear()
            self._parts.around.loop.call_later(REFUSED_SECONDS, self._wanted.set)

    def unwound(self, attempt: Attempt) -> None:
        """Do nothing: what runs is counted in the tables."""

    def ended_lent(self, attempt: Attempt) -> None:
        """Do nothing: no slot is lent here."""

    def let_go(self, task_id: str) -> None:
        """Stop an attempt whose task is not this host's any more."""
        attempt = self.running.get(task_id)
        if attempt is not None:
            self.runs.let_go(attempt)

    # -- ending -----------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Claim nothing more; give running attempts ``grace`` seconds, then interrupt them."""
        self.accepting = False
        self._wanted.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self.runs.drain(grace, self._parts.hurry)
