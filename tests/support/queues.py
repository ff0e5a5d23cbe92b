"""Queues under test: a clock that the test sets, small storages, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from support.postgres import copied
from wopr import TaskInfo, TaskQueue, TaskStatus
from wopr.queue.queue import inside
from wopr.storage.duckdb.journal.scan import segments

PATIENCE = 60.0
"""Seconds after which a wait for something that must happen gives up; never reached in time."""

NOON = datetime(2030, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)

T = TypeVar("T")


class SteppableClock:
    """A clock that stands still until the test moves it; queues that use it notice at once."""

    def __init__(self, start: datetime = NOON) -> None:
        """Stand at ``start``."""
        self.time = start
        self.seconds = 1_000.0

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds that only :meth:`advance` moves, forwards."""
        return self.seconds

    def advance(self, seconds: float, *queues: TaskQueue) -> None:
        """Move on, and let ``queues`` look at the clock now instead of in half a minute."""
        self.time += timedelta(seconds=seconds)
        self.seconds += max(seconds, 0.0)
        for queue in queues:
            for pool in inside(queue).access.slots.values():
                pool.wake()  # type: ignore[attr-defined]


class MemoryStorage:
    """Someone's own storage: a dict behind the four calls that the first version asked for."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: dict[str, TaskInfo] = {}
        self.saves = 0

    def save_task(self, task_info: TaskInfo) -> None:
        """Keep the newest state of a task."""
        self.saves += 1
        self.rows[task_info.id] = task_info

    def get_task(self, task_id: str) -> TaskInfo | None:
        """Return a task."""
        return self.rows.get(task_id)

    def get_tasks(
        self,
        category: str | None = None,
        status: TaskStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TaskInfo]:
        """Return matching tasks, newest first."""
        found = [
            row
            for row in reversed(self.rows.values())
            if category in (None, row.category) and status in (None, row.status)
        ]
        return found[offset : offset + limit]

    def cleanup_old_tasks(
        self, days: int | None = None, months: int | None = None, years: int | None = None
    ) -> int:
        """Delete all tasks that have ended: this storage has no clock."""
        doomed = [row.id for row in self.rows.values() if row.is_completed]
        for task_id in doomed:
            del self.rows[task_id]
        return len(doomed)

    def copy(self) -> MemoryStorage:
        """Return what a crash at this moment would leave."""
        twin = type(self)()
        twin.rows = dict(self.rows)
        return twin


class AsyncMemoryStorage(MemoryStorage):
    """The same with coroutines, which give the loop away before they answer."""

    async def save_task(self, task_info: TaskInfo) -> None:  # type: ignore[override]
        """Keep the newest state of a task."""
        await asyncio.sleep(0)
        super().save_task(task_info)

    async def get_task(self, task_id: str) -> TaskInfo | None:  # type: ignore[override]
        """Return a task."""
        await asyncio.sleep(0)
        return super().get_task(task_id)

    async def get_tasks(self, **kwargs: Any) -> list[TaskInfo]:  # type: ignore[override]
        """Return matching tasks, newest first."""
        await asyncio.sleep(0)
        return super().get_tasks(**kwargs)

    async def cleanup_old_tasks(self, **kwargs: Any) -> int:  # type: ignore[override]
        """Delete all tasks that have ended."""
        await asyncio.sleep(0)
        return super().cleanup_old_tasks(**kwargs)


def files_beside(path: Path) -> list[Path]:
    """Return what belongs to an open database: DuckDB's log, and then the journal."""
    log = path.with_name(f"{path.name}.wal")
    return [one for one in [log, *segments(path)] if one.exists()]


class DuckDBHome:
    """Queues over one DuckDB file, one after the other."""

    has_sql = True
    keeps_history = True

    def __init__(self, path: Path) -> None:
        """Use the file ``path``, which need not exist."""
        self.path = path

    def queue(self, **options: Any) -> TaskQueue:
        """Return a new queue over the file; the last one has to be shut down by then."""
        return TaskQueue(enabled=True, database=self.path, **options)

    async def crash_image(self, queue: TaskQueue) -> DuckDBHome:
        """Return what a SIGKILL at this moment would leave; ``queue`` itself goes on."""
        image = self.path.with_name(f"crashed-{self.path.name}")

        def copy(_: object) -> None:  # in the thread that folds: only the journal grows meanwhile
            for source in [self.path, *files_beside(self.path)]:
                suffix = source.name[len(self.path.name) :]
                shutil.copyfile(source, image.with_name(image.name + suffix))

        await asyncio.wrap_future(queue.storage.in_writer(copy))
        return DuckDBHome(image)


class PostgresHome:
    """Queues over one database of a PostgreSQL server, which any number of them share."""

    has_sql = True
    keeps_history = True

    def __init__(self, address: str) -> None:
        """Use the database at ``address``."""
        self.address = address

    def queue(self, **options: Any) -> TaskQueue:
        """Return a new queue over the database."""
        return TaskQueue(enabled=True, database=self.address, **options)

    async def crash_image(self, queue: TaskQueue) -> PostgresHome:
        """Return what a host that dies at this moment leaves, once its lease has ended."""
        return PostgresHome(await asyncio.to_thread(copied, self.address))


class SeedHome:
    """Queues over one storage with the four calls."""

    has_sql = False
    keeps_history = False

    def __init__(self, storage: MemoryStorage) -> None:
        """Use ``storage``."""
        self.storage = storage

    def queue(self, **options: Any) -> TaskQueue:
        """Return a new queue over the storage."""
        return TaskQueue(enabled=True, storage_factory=lambda: self.storage, **options)

    async def crash_image(self, queue: TaskQueue) -> SeedHome:
        """Return what a crash at this moment would leave; ``queue`` itself goes on."""
        return SeedHome(self.storage.copy())


Home = DuckDBHome | SeedHome | PostgresHome


class Gate:
    """A task's function waits in front of it until the test opens it; counts who arrived."""

    def __init__(self) -> None:
        """Be closed."""
        self.arrived: list[Any] = []
        self._someone = asyncio.Condition()
        self._open = asyncio.Event()

    async def wait(self, who: Any = None) -> Any:
        """Wait until the gate is open."""
        async with self._someone:
            self.arrived.append(who)
            self._someone.notify_all()
        await self._open.wait()
        return who

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()

    async def arrivals(self, count: int = 1) -> list[Any]:
        """Wait until ``count`` have arrived; return them all."""
        async with asyncio.timeout(PATIENCE), self._someone:
            await self._someone.wait_for(lambda: len(self.arrived) >= count)
        return self.arrived


async def until(
    look: Callable[[], Awaitable[T]], good: Callable[[T], bool], patience: float = PATIENCE
) -> T:
    """Look again and again, giving the loop away in between, until what is seen is good."""
    async with asyncio.timeout(patience):
        while not good(seen := await look()):
            await asyncio.sleep(0)
    return seen


async def until_status(queue: TaskQueue, task_id: str, *statuses: TaskStatus) -> TaskInfo:
    """Return the task's snapshot once it is in one of ``statuses``."""
    info = await until(
        lambda: queue.get_task_info(task_id),
        lambda seen: seen is not None and seen.status in statuses,
    )
    assert info is not None
    return info


def run_out_of_time(queue: TaskQueue, task_id: str) -> None:
    """Let the timeout of a running attempt come now, when its function has surely begun."""
    for pool in inside(queue).access.slots.values():
        if (attempt := pool.running.get(task_id)) is not None and attempt.timer is not None:
            expire, args = attempt.timer._callback, attempt.timer._args  # type: ignore[attr-defined]
            attempt.timer.cancel()
            expire(*args)
            return
    raise AssertionError(f"no attempt of task {task_id} that has a timeout runs")


async def ended(queue: TaskQueue, *task_ids: str) -> list[TaskInfo]:
    """Wait until the tasks have ended; return their snapshots."""
    return [await queue.wait(task_id, timeout=PATIENCE) for task_id in task_ids]


@contextlib.asynccontextmanager
async def running(queue: TaskQueue, **workers: int) -> AsyncIterator[TaskQueue]:
    """Open the queue with so many workers per category; shut it down without grace."""
    async with queue:
        for category, count in workers.items():
            await queue.start_workers(category, count)
        try:
            yield queue
        finally:
            await queue.shutdown(timeout=0)
