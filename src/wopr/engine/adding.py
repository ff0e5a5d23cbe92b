"""New tasks: one, many, or a flow whose tasks depend on each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from wopr.calls.whole import check_whole
from wopr.domain.adding import check_parents, record_of
from wopr.domain.clock import IdFactory, naive_now
from wopr.domain.errors import StorageError
from wopr.domain.newtask import NewTask
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.engine.dependencies.dependents import Dependents
from wopr.engine.limits.backlog import Backlog
from wopr.engine.pools.pool import Pool
from wopr.engine.repeats import Repeats
from wopr.engine.shared import Shared
from wopr.engine.unique import UniqueKeys
from wopr.ports.storage import Done, Entry
from wopr.running.attempt import Worker

T = TypeVar("T")

BULK_ROWS = 5_000
BULK_BYTES = 8 * 1024 * 1024


class Cancel(Protocol):
    """Cancels a task for a reason."""

    def __call__(self, task_id: str, reason: str | None = None) -> Awaitable[bool]:
        """Return whether it was live."""
        ...


class Adding:
    """Adds tasks to one engine."""

    def __init__(
        self,
        shared: Shared,
        pool: Callable[[str], Pool],
        keys: UniqueKeys,
        dependents: Dependents,
        cancel: Cancel,
        backlogs: Mapping[str, Backlog],
    ) -> None:
        self._shared = shared
        self._backlogs = backlogs
        self._pool = pool
        self._keys = keys
        self._dependents = dependents
        self._cancel = cancel
        self._ids = IdFactory()
        self._repeats = Repeats(shared.storage)
        self._late: set[asyncio.Task[None]] = set()

    def add(self, new: NewTask) -> Coroutine[Any, Any, str]:
        """Add one task; return its id once it is on disk.

        Raises:
            BacklogFullError: as many wait as may, and the call is not to wait.
            InvalidCallError: it brings the id of another call.
        """
        if new.id is not None:
            return self._repeats.one(new, self._add_one)
        return self._add_one(new)

    def _add_one(self, new: NewTask) -> Coroutine[Any, Any, str]:
        if new.depends_on:
            return self._add_after(new)
        if self._backlogs:
            return self._bounded([new], self._add(new))
        return self._add(new)

    async def _add_after(self, new: NewTask) -> str:
        return (await self._add_whole([new]))[0]

    async def _add(self, new: NewTask) -> str:
        shared = self._shared
        if shared.storage.full:
            await shared.storage.room()
        if new.unique_key is not None:
            known = await self._conflict(new)
            if known is not None:
                return known
        record, entries, worker, now = self._begun(new)
        await shared.write(entries, lambda error: self._added(record, worker, error, now))
        return record.id

    def _begun(self, new: NewTask) -> tuple[TaskRecord, list[Entry], Worker | None, datetime]:
        """Return a new task and what is to be written of it, its claim too if a worker is free."""
        shared = self._shared
        now = naive_now(shared.clock)
        record = self._record(new, now)
        entries: list[Entry] = [(record, added(record))]
        worker: Worker | None = None
        due = new.run_at is None or new.run_at <= now
        if due and new.name in shared.registry.definitions:
            claim = self._pool(new.category).claim_new(record, now)
            if claim is not None:
                entries.append((record, claim[0]))
                worker = claim[1]
        shared.live[record.id] = record  # who cancels it as soon as it is on disk finds this one
        return record, entries, worker, now

    def waits_for_disk_only(self, new: NewTask) -> bool:
        """Whether a task can be handed over just now, with :meth:`add_then`."""
        return not (
            new.again
            or new.depends_on
            or new.unique_key in self._keys
            or self._backlogs
            or self._shared.storage.full
        )

    def add_then(self, new: NewTask, told: Done, *, alone: bool) -> None:
        """Hand over a task that :meth:`waits_for_disk_only`, with its id; tell when it is on disk.

        Args:
            new: has its id.
            told: what came of it; it may be called before this returns.
            alone: whether no other task comes in this turn of the loop, as far as is known.
        """
        record, entries, worker, now = self._begun(new)

        def done(error: BaseException | None) -> None:
            try:
                self._added(record, worker, error, now)
            finally:
                told(error)

        self._shared.submit(entries, done, now=alone)

    async def _bounded(self, tasks: Sequence[NewTask], add: Coroutine[Any, Any, T]) -> T:
        """Add tasks once there is room for them in their backlogs."""
        admitted: list[tuple[Backlog, int]] = []
        try:
            # In one order everywhere: two that wait for each other's room would wait for ever.
            for category, number in sorted(Counter(new.category for new in tasks).items()):
                backlog = self._backlogs.get(category)
                if backlog is not None:
                    await backlog.admit(number)
                    admitted.append((backlog, number))
            return await add
        except asyncio.CancelledError:  # what was handed over is written all the same
            if admitted:
                going, admitted = admitted, []
                self._spawn(self._came_later(going))
            raise
        finally:
            add.close()  # if it was never awaited
            for backlog, number in admitted:
                backlog.came(number)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._shared.loop.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _came_later(self, admitted: list[tuple[Backlog, int]]) -> None:
        with contextlib.suppress(StorageError):
            await self._shared.storage.flush()
            await asyncio.sleep(0)
        for backlog, number in admitted:
            backlog.came(number)

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add any number of tasks; return their ids in order.

        To a commit go :data:`BULK_ROWS`, or less where they make :data:`BULK_BYTES`, or
        where a backlog has no room for so many.

        If one fails the error is raised; the commits before it stand.

        Raises:
            BacklogFullError: nothing was written, unless others filled the backlog meanwhile.
            InvalidCallError: one brings the id of another call; nothing was written.
        """
        tasks = tasks if isinstance(tasks, list) else list(tasks)
        if any(new.id is not None for new in tasks):
            return await self._repeats.many(tasks, self._add_many)
        return await self._add_many(tasks)

    async def _add_many(self, tasks: Sequence[NewTask]) -> list[str]:
        most = BULK_ROWS
        if self._backlogs:
            counts = Counter(new.category for new in tasks)
            await self.check_room(counts)
            bounds = [self._backlogs[one].limit.backlog for one in counts if one in self._backlogs]
            most = min([most, *(bound for bound in bounds if bound is not None)])
        ids: list[str] = []
        chunk: list[NewTask] = []
        keys: set[str] = set()
        size = 0
        for new in tasks:
            if len(chunk) >= most or size > BULK_BYTES or new.unique_key in keys:
                ids += await self._add_chunk(chunk)
                chunk, size = [], 0
                keys.clear()
            if new.depends_on:
                ids += await self._add_chunk(chunk)
                chunk, size = [], 0
                ids.append(await self._add_one(new))
                continue
            chunk.append(new)
            size += len(new.args) + len(new.kwargs)
            if new.unique_key is not None:
                keys.add(new.unique_key)
        return ids + await self._add_chunk(chunk)

    async def check_room(self, counts: Mapping[str, int]) -> None:
        """Refuse so many tasks by category, where a backlog is full and does so.

        Raises:
            BacklogFullError: one is.
        """
        for category, number in sorted(counts.items()):
            if (backlog := self._backlogs.get(category)) is not None:
                await backlog.check(number)

    async def _add_chunk(self, chunk: Sequence[NewTask]) -> list[str]:
        if self._backlogs and chunk:
            return await self._bounded(chunk, self._write_chunk(chunk))
        return await self._write_chunk(chunk)

    async def _write_chunk(self, chunk: Sequence[NewTask]) -> list[str]:
        await self._shared.storage.room()
        ids: list[str] = []
        records: list[TaskRecord] = []

        def done(error: BaseException | None) -> None:
            now = naive_now(self._shared.clock)
            for record in records:
                self._added(record, None, error, now)

        now = naive_now(self._shared.clock)
        try:
            for new in chunk:
                if new.unique_key is not None:
                    known = await self._conflict(new)
                    if known is not None:
                        ids.append(known)
                        continue
                record = self._record(new, now)
                self._shared.live[record.id] = record
                records.append(record)
                ids.append(record.id)
        except BaseException as error:
            done(error)
            raise
        if records:
            await self._shared.write([(record, added(record)) for record in records], done)
        return ids

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on others, in one commit; return their ids in order.

        Raises:
            TaskNotFoundError: one depends on a task that nobody knows.
            InvalidCallError: one depends on itself or a later one, or brings the id of another
                call, or they are too many.
            BacklogFullError: there is no room for all of them.
        """
        if any(new.id is not None for new in tasks):
            return await self._repeats.many(tasks, self._add_whole, whole=True)
        return await self._add_whole(tasks)

    async def _add_whole(self, tasks: Sequence[NewTask]) -> list[str]:
        check_whole(tasks)
        if self._backlogs:
            return await self._bounded(tasks, self._add_flow(tasks))
        return await self._add_flow(tasks)

    async def _add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        await self._shared.storage.room()
        statuses = await self._outside(tasks)
        while tasks[0].unique_key in self._keys:
            known = await self._conflict(tasks[0])
            if known is not None:
                return [known] * len(tasks)
            statuses = await self._outside(tasks)  # meanwhile they, or the key, may have changed
        now = naive_now(self._shared.clock)  # nothing is awaited between here and the write
        entries: list[Entry] = []
        records: list[TaskRecord] = []
        for new in tasks:
            record = self._record(new, now)
            records.append(record)
            if new.depends_on:
                self._depend(record, new.depends_on, records, statuses)
            if not record.waiting:
                self._shared.live[record.id] = record
            entries.append((record, added(record)))

        def done(error: BaseException | None) -> None:
            for record in records:
                self._added(record, None, error, now)

        await self._shared.write(entries, done)
        return [record.id for record in records]

    def _depend(
        self,
        record: TaskRecord,
        depends_on: Sequence[str | int],
        records: Sequence[TaskRecord],
        statuses: dict[str, TaskStatus],
    ) -> None:
        """Note what a new task depends on, and let it wait if need be."""
        parents: dict[str, TaskStatus] = {}
        pending = TaskStatus.PENDING
        for one in depends_on:
            if isinstance(one, str):
                parents[one] = statuses[one]
            else:
                parents[records[one].id] = pending
        record.depends_on = '["' + '","'.join(parents) + '"]'  # ids need no escapes
        for status in parents.values():
            if status is not TaskStatus.SUCCESS:
                record.waiting = True
                self._dependents.watch(record, parents)
                return

    async def _outside(self, tasks: Sequence[NewTask]) -> dict[str, TaskStatus]:
        """Return where the parents stand that are not of the flow."""
        outside = {one for new in tasks for one in new.depends_on if isinstance(one, str)}
        statuses = await self._dependents.statuses(outside)
        check_parents(outside, statuses)
        return statuses

    def _record(self, new: NewTask, now: datetime) -> TaskRecord:
        record = record_of(new, new.id or self._ids.new(now), now)
        self._keys.take(record)
        return record

    def _added(
        self,
        record: TaskRecord,
        worker: Worker | None,
        error: BaseException | None,
        now: datetime,
    ) -> None:
        pool = self._pool(record.category)
        if error is not None:
            self._shared.live.pop(record.id, None)
            self._dependents.forget(record.id)
            self._keys.free(record)
            if worker is not None:
                pool.release(record, worker)
        elif record.waiting:
            self._dependents.stored(record)
        elif worker is not None:
            pool.start(record, worker)
        elif record.status is TaskStatus.PENDING:  # else it was cancelled already
            pool.push(record, now if record.run_at is None else None)  # the clock may be set

    async def _conflict(self, new: NewTask) -> str | None:
        return await self._keys.conflict(new, self._shared.storage.flush, self._replace)

    async def _replace(self, task_id: str) -> bool:
        return await self._cancel(task_id, reason="replaced")
