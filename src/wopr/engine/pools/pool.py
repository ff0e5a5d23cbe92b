"""One category's workers: claim what is due for those that are free.

All of it happens on the event loop. ``pump`` is the only place that claims, and
it runs at most once per turn of the loop, so that everything that became free or
due together shares one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime

from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.due import is_expired
from wopr.domain.limits import Meter
from wopr.domain.spoken import counted
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.pools.gate import Gate
from wopr.engine.pools.lanes import WINDOW, Lanes
from wopr.engine.pools.lending import Lending
from wopr.engine.pools.pager import Pager
from wopr.engine.pools.settling import Settling
from wopr.engine.shared import Shared
from wopr.ports.storage import Entry
from wopr.running.attempt import Attempt, Worker
from wopr.running.runs import Runs

log = logging.getLogger(__name__)

FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 5.0
LONGEST_SLEEP = 30.0
OVERFULL_SECONDS = 0.02
"""How soon to claim again when the storage is too far behind."""
LONG_RUN_SECONDS = 0.003
SMALL_BATCH = 12


class Pool:
    """The waiting tasks and the workers of one category."""

    def __init__(self, category: str, shared: Shared, window: int = WINDOW) -> None:
        self.category = category
        self.lanes = Lanes(window, shared.memory)
        self.workers: list[Worker] = []
        self.accepting = True
        self.background = False
        """Whether it starts nothing while the foreground is held."""
        self.gate: Gate | None = None
        self.holds: set[str] = set()
        """Why nothing is started, if so."""
        self._free: list[Worker] = []
        self._shared = shared
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._back_off = 0.0
        self._next_back_off = FIRST_BACK_OFF
        self.pager = Pager(category, self.lanes, shared, window, self.wake, self.back_off)
        self._claiming = 0  # commits of claims under way
        self.settling = Settling(self, shared)
        self.over = self.settling.settle
        self.lends = False
        """Whether tasks lend their slots while they wait for others."""
        self.lending = Lending(self, shared.loop.create_future)
        self.ended_lent = self.lending.ended
        self.runs = Runs(shared.surroundings, self, shared.storage.touch)
        self.running = self.runs.running

    # -- workers ------------------------------------------------------------

    def add_workers(self, names: list[str]) -> None:
        """Add slots and start claiming for them."""
        for name in names:
            worker = Worker(name)
            self.workers.append(worker)
            self._free.append(worker)
        self.lending.serve()
        self.wake()

    def remove_idle(self, names: Collection[str]) -> None:
        """Take those of these slots away that run nothing."""
        idle = [worker for worker in self._free if worker.name in names]
        self._free = [worker for worker in self._free if worker not in idle]
        self.workers = [worker for worker in self.workers if worker not in idle]

    # -- waiting tasks ------------------------------------------------------

    def push(self, record: TaskRecord, now: datetime | None = None) -> None:
        """Take a waiting task that is on disk."""
        if now is None:  # that of one which is due does not matter
            due = record.run_at is None
            now = self.lanes.latest if due else self._shared.wall()
        if self.lanes.push(record, now):
            self._shared.live[record.id] = record
            if self.lanes.has_front:  # they are always taken, and others left for them
                self.pager.trim()
        else:
            self._leave(record)
        self.wake()

    def _leave(self, record: TaskRecord) -> None:
        """Leave a waiting task to the storage."""
        if record.waiting:  # it would not give it back
            self._shared.live[record.id] = record
            self._shared.release([record])
        elif self._shared.live.pop(record.id, None) is not None:
            self._shared.left_memory(record.id)

    def restore(self, record: TaskRecord) -> None:
        """Take a task back that may have been passed over while a change was tried."""
        waits = self.gate is not None and any(one is record for one in self.gate.records())
        if not waits and not self.lanes.holds(record):
            self.push(record)
        self.wake()

    def wake(self) -> None:
        """Claim in the next turn of the loop."""
        if not self._scheduled and self.workers:
            self._scheduled = True
            self._shared.loop.call_soon(self._pump)

    def regroup(self) -> None:
        """Look again at the arguments of what waits: a function is known now that names them."""
        if self.gate is not None:
            for record in self.gate.empty():
                self.lanes.add_paged(record, self.lanes.latest)

    def reread(self) -> None:
        """Read the category's waiting tasks from the storage again."""
        self.lanes.unregistered.clear()
        self.lanes.reset(naive_now(self._shared.clock))
        self.wake()

    # -- holding back -------------------------------------------------------

    def hold(self, why: str) -> None:
        """Start nothing until :meth:`let_go_on` was called for all reasons."""
        self.holds.add(why)

    def let_go_on(self, why: str) -> None:
        """Start again, unless there is another reason not to."""
        self.holds.discard(why)
        self.wake()

    @property
    def held(self) -> bool:
        """Whether nothing may start now."""
        return bool(self.holds) or (self.background and self._shared.foreground.active)

    async def claims_known(self) -> None:
        """Return when everything that was claimed runs, or does not; to be held meanwhile."""
        while True:
            await self._shared.storage.flush()
            await asyncio.sleep(0)  # what was written is told in the loop
            if not self._claiming:
                return

    def set_gate(self, gate: Gate | None, aging: float | None) -> None:
        """Let other limits count from now on."""
        now = naive_now(self._shared.clock)
        waiting = [] if self.gate is None else self.gate.empty()
        self.gate, self.lanes.aging = gate, aging
        for record in waiting:
            self.lanes.add_paged(record, now)
        for attempt in {*self.running.values(), *self.runs.unwinding}:  # it may be in both
            attempt.meters = ()
            if gate is not None and not attempt.lent:
                attempt.meters = gate.enter(attempt.record)
        self.lending.serve()

    # -- claiming -----------------------------------------------------------

    def _pump(self) -> None:
        self._scheduled = False
        if not self.accepting or self._back_off or self.held:
            return
        if self._shared.storage.overfull:
            self._shared.loop.call_later(OVERFULL_SECONDS, self.wake)
            return
        now = naive_now(self._shared.clock)
        self.lanes.promote(now)
        self.pager.trim()
        entries: list[Entry] = []
        claimed: list[tuple[TaskRecord, Worker]] = []
        later: list[TaskRecord] = []
        gate = self.gate
        steady = now
        if gate is not None:
            gate.next_at = None  # known again once it was asked
            steady = self._shared.steady.now()
        most = self._batch_size()
        while self._free and len(claimed) < most:
            record = self.lanes.pop() if gate is None else gate.pop(steady)
            if record is None:
                break
            if not self._may_start(record, later, now):
                if gate is not None:
                    gate.give_back(record.id)
                continue
            worker = self._free.pop()
            transition = decide.claim(record, worker.name, now)
            assert transition is not None, "lanes give claimable tasks only"
            worker.last_claim_at = now
            entries.append((record, transition))
            claimed.append((record, worker))
        for record in later:
            self.lanes.add_paged(record, now)
        if entries:
            self._claiming += 1
            self._shared.submit(entries, lambda error: self._claimed(claimed, error))
        self.pager.page_in(now)
        self._set_timer(now)

    def _may_start(self, record: TaskRecord, later: list[TaskRecord], now: datetime) -> bool:
        """Whether a task that is due may start; if not, it was put where it belongs."""
        shared = self._shared
        if record.depends_on is not None and shared.storage.in_flight(record):
            later.append(record)  # its release is being written, which wakes us up
            return False
        name = record.name
        unknown = name not in shared.registry.definitions
        if unknown or name in shared.paused or (shared.refusals and shared.refusals.of(record)):
            self.lanes.unregistered.add(name)
            self._leave(record)
            if unknown:  # what is found is told to the engine as any other new name
                shared.registry.want(name)
            return False
        if name in shared.revoked or record.options is not None:
            return not shared.refuse(record, now)
        return True

    def _batch_size(self) -> int:
        """Return how many tasks to claim now.

        Tasks that take no time are claimed as many as there are slots: fewer commits.
        Those that run longer than a commit takes are claimed a few at a time, one
        commit after the other: then slots that fell free together do not wait for
        one large commit, and from then on commits and runs overlap.
        """
        if self.runs.usual_run < LONG_RUN_SECONDS:
            return len(self._free)
        return 0 if self._claiming else SMALL_BATCH

    @property
    def starved(self) -> bool:
        """Whether a worker is free and nothing is due that memory knows of."""
        if self.gate is not None:  # which says what comes next
            return False
        return self.accepting and bool(self._free) and not self.lanes.has_due()

    def claim_new(self, record: TaskRecord, now: datetime) -> tuple[Transition, Worker] | None:
        """Claim a task in the very commit that adds it, when nothing stands before it."""
        if not (self._free and self.accepting and not self._back_off and self.lanes.idle(now)):
            return None
        shared = self._shared
        if self.held or record.name in shared.paused or record.name in shared.revoked:
            return None
        if (shared.refusals and shared.refusals.of(record)) or is_expired(record, now):
            return None
        if self.gate is not None and not self.gate.admit(record, self._shared.steady.now()):
            return None
        worker = self._free.pop()
        worker.last_claim_at = now
        pending, started, number = TaskStatus.PENDING, TaskStatus.STARTED, record.attempt + 1
        transition = Transition(record.id, Move.CLAIM, pending, started, number, now, worker.name)
        return transition, worker

    def release(self, record: TaskRecord, worker: Worker) -> None:
        """Give a slot back whose claim came to nothing."""
        if self.gate is not None:
            self.gate.give_back(record.id)
        self.free(worker)

    def free(self, worker: Worker) -> None:
        """Let a worker take the next task."""
        worker.attempt = None
        self._free.append(worker)
        if self.lending.back:
            self.lending.serve()
        if self.gate is not None or not self.lanes.bare():
            self.wake()

    def seat(self, attempt: Attempt) -> bool:
        """Give an attempt that lent its slot a free one, if limits have room; whether it did."""
        if not self._free:
            return False
        meters = () if self.gate is None else self.gate.enter_again(attempt.record)
        if meters is None:
            return False
        worker = self._free.pop()
        worker.attempt, attempt.slot, attempt.meters = attempt, worker, meters
        return True

    def slots_taken(self) -> list[Attempt] | None:
        """Return who holds the slots, if all are held."""
        holders = [one for one in self.running.values() if one.slot is not None]
        return holders if len(holders) == len(self.workers) else None

    def room_taken(self, meter: Meter) -> list[Attempt] | None:
        """Return whom a limit counts, if all of them run."""
        counted = [one for one in self.running.values() if meter in one.meters]
        return counted if len(counted) == meter.running else None

    def start(self, record: TaskRecord, worker: Worker) -> None:
        """Run a task whose claim is on disk, unless it came to something else meanwhile."""
        if record.status is TaskStatus.STARTED and self.accepting:
            self._shared.live[record.id] = record
            meters = () if self.gate is None else self.gate.take(record)
            self.runs.start(record, worker, meters)
        elif record.status is TaskStatus.STARTED:  # the shutdown came between claim and start
            self.settling.give_back(record, worker)
        elif self._shared.storage.in_flight(record):  # being cancelled, which may fail
            self.settling.once_known(lambda: self.start(record, worker))
        else:  # cancelled meanwhile
            self.release(record, worker)

    def unwound(self, attempt: Attempt) -> None:
        """Let limits count an attempt no more: its function has ended."""
        meters, attempt.meters = attempt.meters, ()
        if meters and self.gate is not None:
            self.gate.leave(meters)
            if self.lending.back:
                self.lending.serve()
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
        said = counted(len(claimed), "task")
        log.error("Claiming %s of %r failed: %s", said, self.category, error)
        for record, worker in claimed:
            self.release(record, worker)
            self.push(record)
        self.back_off()

    def back_off(self) -> float:
        """Leave a storage that fails alone for a while, then try again; return the seconds."""
        if not self._back_off:
            self._back_off = self._next_back_off
            self._next_back_off = min(self._back_off * 2, LONGEST_BACK_OFF)
            self._shared.loop.call_later(self._back_off, self._after_back_off)
        return self._back_off

    def _after_back_off(self) -> None:
        self._back_off = 0.0
        self.wake()

    def _set_timer(self, now: datetime) -> None:
        """Wake up when the next task becomes due; look at the clock again now and then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due, delay = self.lanes.next_due(), LONGEST_SLEEP
        if due is not None:
            delay = min((due - now).total_seconds(), delay)
        if self.gate is not None and self.gate.next_at is not None:
            due = self.gate.next_at
            delay = min((due - self._shared.steady.now()).total_seconds(), delay)
        if due is not None:
            self._timer = self._shared.loop.call_later(max(delay, 0.0), self.wake)

    # -- ending -------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Stop claiming; give running attempts ``grace`` seconds, then interrupt them."""
        self.accepting = False
        if self._timer is not None:
            self._timer.cancel()
        self.pager.close()
        await self.runs.drain(grace, self._shared.hurry)
        self.settling.close()
