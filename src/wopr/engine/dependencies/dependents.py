"""Tasks that wait for others: which for which, and what an ending sets free.

All of it happens on the event loop. Memory holds two ids per dependency, and the
records of as many waiting tasks as a window has, and their share of the bytes; the
others are read when they are due.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from itertools import islice

from wopr.calls.waits import Wait, on_failure_of, parents_at
from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.newtask import OnParentFailure
from wopr.domain.snapshot import parents_of
from wopr.domain.spoken import counted
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.dependencies.releasing import Releasing
from wopr.engine.memory import FIRST_READ, fitting
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import Shared
from wopr.ports.storage import Entry, weight
from wopr.running.attempt import Worker

log = logging.getLogger(__name__)

BATCH = 5_000
MOST_AT_ONCE = 100
BACK_OFF = 0.25
_WAITS_FOR_THE_END = (OnParentFailure.RUN, OnParentFailure.ONLY)


class Dependents:
    """The waiting tasks of one engine."""

    def __init__(self, shared: Shared, pool: Callable[[str], Pool], window: int) -> None:
        self._shared = shared
        self._pool = pool
        self._window = window
        self._kept = self._kept_bytes = 0
        self._at_once = FIRST_READ
        self._waits: dict[str, Wait] = {}
        self._children: dict[str, list[Wait]] = {}  # those waited for anew have old ones too
        self.parents: Container[str] = self._children
        self._due: deque[str] = deque()
        self._adopting: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None
        self._open = False
        self._releasing = Releasing(shared, pool)
        self.release = self._releasing.release

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waits

    # -- life ---------------------------------------------------------------

    async def load(self) -> None:
        """Take over what waits in the storage; nothing else is going on yet."""
        after = 0
        while records := await self._shared.storage.waiting(after, BATCH):
            after = records[-1].seq
            for record in filter(decide.is_unfit, records):
                self._shared.set_aside(record)
            await self._take_over([one for one in records if not decide.is_unfit(one)])
        self._open = True
        self._work()

    async def _take_over(self, records: Sequence[TaskRecord]) -> None:
        ids = {parent for record in records for parent in parents_of(record)}
        statuses = await self._shared.storage.statuses(sorted(ids))
        for record in records:
            self.watch(record, parents_at(record, statuses))
            self.stored(record)

    async def close(self) -> None:
        """Stop looking at what is due; the next opening does."""
        self._open, self._releasing.closed = False, True
        tasks = [*self._adopting, *([self._working] if self._working is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- in -----------------------------------------------------------------

    async def statuses(self, parents: Iterable[str]) -> dict[str, TaskStatus]:
        """Return where parents stand on disk; those that nobody knows are left out.

        True as long as the caller does not await anything.
        """
        found: dict[str, TaskStatus] = {}
        missing = wanted = sorted(set(parents))
        while missing:
            with self._shared.reading() as changed:
                found |= await self._shared.storage.statuses(missing)
            missing = [parent for parent in wanted if parent in changed]
            found = {one: at for one, at in found.items() if one not in changed}  # or it is gone
        for parent in found:
            if parent in self._shared.live:  # not ended, or it is not known on disk
                found[parent] = TaskStatus.PENDING
        return found

    def watch(self, record: TaskRecord, parents: dict[str, TaskStatus]) -> None:
        """Let a task wait for its parents, of which it is known where they stand."""
        wait = Wait(record.id, on_failure_of(record))
        if self._kept < self._window and self._kept_bytes < self._shared.memory.free:
            wait.size = weight(record)
            self._keep(1, wait.size)
            wait.record = self._shared.live[record.id] = record
        ended: list[str] = []
        children = self._children
        for parent, status in parents.items():
            if status is not TaskStatus.PENDING and status in TERMINAL:
                ended.append(parent)
            elif parent in children:
                children[parent].append(wait)
            else:
                children[parent] = [wait]
        wait.open = len(parents) - len(ended)  # known before any of them is told
        for parent in ended:
            wait.end(parent, parents[parent])
        self._waits[record.id] = wait

    def stored(self, record: TaskRecord) -> None:
        """Note that a watched task is on disk."""
        wait = self._waits.get(record.id)
        if wait is not None:
            wait.stored = True
            self._look(record.id, wait)

    def forget(self, task_id: str) -> None:
        """Note that a task waits no longer, or was never stored."""
        wait = self._waits.pop(task_id, None)
        if wait is not None and wait.record is not None:
            self._keep(-1, -wait.size)
            wait.record = None

    def _keep(self, count: int, size: int) -> None:
        """Note that memory holds so many waiting tasks and bytes more, or fewer."""
        self._kept += count
        self._kept_bytes += size
        self._shared.memory.free -= size

    def unchanged(self, record: TaskRecord) -> None:
        """Go on waiting: a change of a waiting task could not be written."""
        wait = self._waits[record.id]
        if wait.stored and wait.record is None:
            self._shared.live.pop(record.id, None)
        self._look(record.id, wait)

    def adopt(self, record: TaskRecord) -> None:
        """Watch a task that was put back in its queue by hand and may have to wait again."""
        self.forget(record.id)
        wait = self._waits[record.id] = Wait(record.id, on_failure_of(record))
        task = self._shared.loop.create_task(self._adopt(record, wait))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, record: TaskRecord, wait: Wait) -> None:
        """Find out where its parents stand; it may be cancelled meanwhile."""
        while self._waits.get(record.id) is wait:
            try:
                statuses = await self.statuses(parents_of(record))
            except Exception as error:  # noqa: BLE001 - a storage that fails is asked again later
                log.error("The parents of task %s can't be looked at yet: %s", record.id, error)
                await asyncio.sleep(BACK_OFF)
                continue
            if self._waits.get(record.id) is wait:
                self.watch(record, parents_at(record, statuses))
                beyond = self._waits[record.id].record is None
                if beyond and not self._shared.storage.in_flight(record):
                    self._shared.live.pop(record.id, None)
                self.stored(record)

    # -- out ----------------------------------------------------------------

    def ended(self, record: TaskRecord) -> None:
        """Note that a task has ended, and this is on disk."""
        if self._waits or self._children:  # else nothing waits for anything
            self.forget(record.id)
            self._parent_ended(record.id, record.status)

    def _parent_ended(self, parent: str, status: TaskStatus) -> None:
        for wait in self._children.pop(parent, ()):
            if self._waits.get(wait.id) is not wait:
                continue
            wait.open -= 1
            wait.end(parent, status)
            if not wait.open or wait.failed is not None:
                self._look(wait.id, wait)

    def _parent_failing(self, parent: str) -> None:
        """End those too that can't run any more; the others wait until this is on disk."""
        for wait in self._children.get(parent, ()):
            if self._waits.get(wait.id) is wait and wait.on_failure not in _WAITS_FOR_THE_END:
                wait.failed = wait.failed or parent
                self._look(wait.id, wait)

    def _look(self, child: str, wait: Wait) -> None:
        if not wait.over:
            return
        record = wait.record
        if record is None or wait.failed is not None or self._shared.storage.in_flight(record):
            self._due.append(child)
            self._work()
        elif record.waiting:
            self._free(record)

    def _free(self, record: TaskRecord) -> None:
        """Let a task run whose parents have ended; that it may is written later, if need be."""
        self.forget(record.id)
        self._releasing.note(record)
        self._pool(record.category).push(record)

    def _work(self) -> None:
        if self._due and self._open and self._working is None:
            self._working = self._shared.loop.create_task(self._let_go())
            self._working.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Tasks that waited for others can't be released yet: %s", error)
            self._shared.loop.call_later(BACK_OFF, self._work)
        else:
            self._work()

    async def _let_go(self) -> None:
        """Release, cancel or fail what is due, a batch at a time."""
        while self._due:
            batch = self._next()
            records = await self._records(batch)
            for _ in batch:  # only now: if the reading fails they stay
                self._due.popleft()
            busy = {
                task_id
                for task_id, record in records.items()
                if self._shared.storage.in_flight(record)
            }
            self._submit(record for task_id, record in records.items() if task_id not in busy)
            if busy:  # somebody changes them: look again when this is known
                await self._shared.storage.flush()
                await asyncio.sleep(0)
                self._due.extend(busy)

    def _next(self) -> list[str]:
        """Return what to look at next: as many as may be read at once, and those in memory."""
        batch: list[str] = []
        missing = 0
        for task_id in islice(self._due, BATCH):
            if self._is_missing(task_id):
                if missing == self._at_once:
                    break
                missing += 1
            batch.append(task_id)
        return batch

    def _is_missing(self, task_id: str) -> bool:
        wait = self._waits.get(task_id)
        return wait is not None and wait.record is None and task_id not in self._shared.live

    async def _records(self, ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return the records of waiting tasks; memory has some, and is right about those."""
        missing = [task_id for task_id in ids if self._is_missing(task_id)]
        found: dict[str, TaskRecord] = {}
        wanted = missing
        while missing:
            with self._shared.reading() as changed:
                found |= await self._shared.storage.get_many(missing)
            missing = [task_id for task_id in wanted if task_id in changed]
            found = {one: record for one, record in found.items() if one not in changed}
        self._at_once = fitting(found.values(), self._at_once, BATCH)
        live = self._shared.live
        records = {task_id: live.get(task_id) or found.get(task_id) for task_id in ids}
        return {
            task_id: record
            for task_id, record in records.items()
            if record is not None and task_id in self._waits
        }

    def _submit(self, records: Iterable[TaskRecord]) -> None:
        now = naive_now(self._shared.clock)
        entries: list[Entry] = []
        for record in records:
            wait = self._waits[record.id]
            if not wait.over:
                continue
            if record.waiting and wait.failed is None:
                self._shared.live[record.id] = record
                self._shared.left_memory(record.id)  # a page read before may show it as it was
                self._free(record)
                continue
            transition = decide.release(record, now, wait.failed, wait.on_failure)
            if transition is None:  # it was cancelled meanwhile
                self.forget(record.id)
                continue
            wait.leaving = True
            self._shared.live[record.id] = record
            self._shared.left_memory(record.id)
            entries.append((record, transition))
        if entries:
            self._shared.submit(entries, lambda error: self._left(entries, error))
        for record, _ in entries:  # those behind it go in the same commit
            self._parent_failing(record.id)

    def _left(self, entries: Sequence[Entry], error: BaseException | None) -> None:
        if error is None:
            for record, transition in entries:
                if record.version == transition.seq:  # else it was put back already
                    self._shared.ended(record)
            return
        log.error("Ending %s whose parents failed: %s", counted(len(entries), "task"), error)
        for record, _ in entries:
            if (wait := self._waits.get(record.id)) is not None:
                wait.leaving = False
                self._due.append(record.id)
        self._shared.loop.call_later(BACK_OFF, self._work)

    # -- in the very commit that ends the last parent -------------------------

    def follow(self, parent: TaskRecord) -> Following | None:
        """Claim what waits for nothing but this parent, in the commit of its success.

        As far as workers are free: the others go the usual way, once it is on disk.
        """
        children = self._children.get(parent.id)
        if not children:
            return None
        following: Following | None = None
        now: datetime | None = None
        for wait in islice(children, MOST_AT_ONCE):
            record = wait.record  # None for those that wait no longer, too
            if record is None or wait.open != 1 or wait.failed is not None:
                continue
            if wait.on_failure is OnParentFailure.ONLY and not wait.called:
                continue
            if not wait.stored or wait.leaving or self._shared.storage.in_flight(record):
                continue
            pool = self._pool(record.category)
            if record.name not in self._shared.registry.definitions:
                break
            now = now or naive_now(self._shared.clock)
            if record.run_at is not None and record.run_at > now:
                break
            claim = pool.claim_new(record, now)
            if claim is None:
                break
            wait.leaving = True
            following = following or Following(self, self._pool)
            following.take(record, *claim)
        return following

    def stay(self, records: Iterable[TaskRecord]) -> None:
        """Go back to waiting: the commit failed."""
        for record in records:
            if (wait := self._waits.get(record.id)) is not None:
                wait.leaving = False


class Following:
    """Tasks that are claimed with the end of their last parent."""

    def __init__(self, dependents: Dependents, pool: Callable[[str], Pool]) -> None:
        self.entries: list[Entry] = []
        self._dependents = dependents
        self._pool = pool
        self._claims: list[tuple[TaskRecord, Worker]] = []

    def take(self, record: TaskRecord, claim: Transition, worker: Worker) -> None:
        """Add one task."""
        self.entries.append((record, claim))
        self._claims.append((record, worker))

    def done(self, error: BaseException | None) -> None:
        """Go on once the commit is known."""
        if error is not None:
            self._dependents.stay(record for record, _ in self._claims)
        for record, worker in self._claims:
            pool = self._pool(record.category)
            if error is None:
                self._dependents.forget(record.id)
                pool.start(record, worker)
            else:
                pool.release(record, worker)
