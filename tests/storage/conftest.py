"""Storages by themselves, and tasks that are moved in them without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.queues import PATIENCE, MemoryStorage, SteppableClock
from support.records import NOW
from wopr.domain import decide
from wopr.domain.clock import IdFactory
from wopr.domain.logline import LogLine
from wopr.domain.outcome import Failed, Succeeded
from wopr.domain.snapshot import plain_snapshot
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added
from wopr.ports.storage import Storage
from wopr.simulation.disk import Disk
from wopr.simulation.faults import Dice, Faults
from wopr.simulation.storage import SimulatedStorage
from wopr.storage.duckdb.storage import DuckDBStorage
from wopr.storage.seed.adapter import SeedStorageAdapter

IDS = IdFactory()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[DuckDBStorage]:
    """Return an open storage on a new file."""
    storage = DuckDBStorage(path)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture(params=["duckdb", "four calls", "simulated"])
async def any_storage(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Storage]:
    """Return an open storage: on a file, over the four calls of somebody's own, or simulated."""
    storage: Storage = DuckDBStorage(path)
    if request.param == "simulated":
        storage = SimulatedStorage(Disk(), Dice(Faults.none(), 0), lambda: None)
    elif request.param == "four calls":
        storage = SeedStorageAdapter(MemoryStorage(), plain_snapshot, SteppableClock())
    await storage.open()
    yield storage
    await storage.close()


def later(seconds: float) -> datetime:
    """Return a moment after :data:`NOW`."""
    return NOW + timedelta(seconds=seconds)


async def write(storage: Storage, record: TaskRecord, transition: Transition | None) -> None:
    """Commit a transition that has to be possible."""
    assert transition is not None
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(error: BaseException | None) -> None:
        done.set_result(None) if error is None else done.set_exception(error)

    storage.submit([(record, transition)], tell)
    async with asyncio.timeout(PATIENCE):
        await done


def new_task(category: str = "c", *, run_at: datetime | None = None) -> TaskRecord:
    """Return a task that no storage knows yet."""
    return TaskRecord(IDS.new(NOW), "step", category, 2, 3, "[1]", "{}", NOW, run_at)


async def add(
    storage: Storage, category: str = "c", *, run_at: datetime | None = None
) -> TaskRecord:
    """Commit a new task."""
    record = new_task(category, run_at=run_at)
    await write(storage, record, added(record))
    return record


async def claim(storage: Storage, record: TaskRecord, moment: datetime = NOW) -> None:
    """Commit that a worker claimed the task."""
    await write(storage, record, decide.claim(record, "w", moment))


async def end(storage: Storage, record: TaskRecord) -> None:
    """Commit that the attempt of a task succeeded."""
    await write(storage, record, decide.settle(record, record.attempt, Succeeded("1"), 1.0))


async def fail(storage: Storage, record: TaskRecord) -> None:
    """Commit that the attempt of a task failed and that there is another one at once."""
    outcome = Failed("OSError: no", "OSError", "Traceback …", 0.0)
    await write(storage, record, decide.settle(record, record.attempt, outcome, 1.0))


def lines(task_id: str, count: int = 1, *, attempt: int = 1, first: int = 1) -> list[LogLine]:
    """Return lines that an attempt of a task logged."""
    return [
        LogLine(task_id, attempt, number, later(number), "INFO", "app", f"line {number}")
        for number in range(first, first + count)
    ]


def numbers(found: Sequence[LogLine]) -> list[tuple[int, int]]:
    """Return attempt and number of each line."""
    return [(line.attempt, line.number) for line in found]
