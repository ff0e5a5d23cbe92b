"""The storage fails while limits, pauses or what they hold back change."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from faults.failing.conftest import PATIENCE, Fault, until
from support.audit import clean
from wopr import OnFull, StorageError, TaskQueue, TaskStatus
from wopr.engine.limits.limits import Limits
from wopr.queue.queue import inside
from wopr.storage.duckdb.storage import DuckDBStorage

FULL = OSError(errno.ENOSPC, "No space left on device")


def limits_of(queue: TaskQueue) -> Limits:
    engine = inside(queue).access._engine
    assert engine is not None
    return engine.limits


@pytest.fixture
async def limited(path: Path) -> AsyncIterator[Callable[[], TaskQueue]]:
    """Return what makes queues over a file with a rate and a bounded backlog."""

    def make() -> TaskQueue:
        queue = TaskQueue(enabled=True, database=path)

        @queue.register_task("work", "c")
        async def work() -> int:
            return 1

        return queue

    async with make() as queue:
        await queue.set_limit("c", rate="100/s", backlog=2, on_full=OnFull.REFUSE)
        await queue.add_task("work")
    yield make
    clean(path, whole=True)


@pytest.mark.parametrize("question", ["starts", "backlog"])
async def test_an_opening_fails_if_the_storage_can_not_say_what_limits_need_to_know(
    limited: Callable[[], TaskQueue], monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    answer, asked = getattr(DuckDBStorage, question), 0

    async def broken_once(storage: DuckDBStorage, *args: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StorageError("the disk can't be read")
        return await answer(storage, *args, **more)

    monkeypatch.setattr(DuckDBStorage, question, broken_once)
    with pytest.raises(StorageError, match="the disk can't be read"):
        async with limited():
            pass
    assert asked == 1
    async with limited() as queue:
        [task] = await queue.get_tasks()
        await queue.start_workers("c", 1)
        assert (await queue.wait(task.id, timeout=PATIENCE)).status is TaskStatus.SUCCESS


async def test_a_category_whose_limits_can_not_be_looked_at_starts_nothing_until_they_can(
    limited: Callable[[], TaskQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def broken(storage: DuckDBStorage, *args: Any, **more: Any) -> Any:
        asked.set()
        raise StorageError("the disk can't be read")

    async with limited() as queue:
        monkeypatch.setattr(DuckDBStorage, "starts", broken)
        await queue.set_limit("c", rate="50/s")
        await queue.start_workers("c", 1)
        await asyncio.wait_for(asked.wait(), PATIENCE)
        [task] = await queue.get_tasks()
        assert task.status is TaskStatus.PENDING
        monkeypatch.undo()
        assert (await queue.wait(task.id, timeout=PATIENCE)).status is TaskStatus.SUCCESS


async def test_room_is_given_back_when_a_new_task_can_not_be_written(
    limited: Callable[[], TaskQueue], fault: Fault
) -> None:
    async with limited() as queue:
        await limits_of(queue).built()
        fault.arm(1, before=FULL)
        with pytest.raises(StorageError):
            await queue.add_task("work")
        fault.mend()
        await queue.add_task("work")
        assert (await queue.get_task_stats())["queued"] == 2


async def test_a_task_whose_claim_failed_leaves_its_place_under_the_limit(
    queue: TaskQueue, fault: Fault
) -> None:
    @queue.register_task("work", "c")
    async def work() -> int:
        return 1

    await queue.set_limit("c", concurrency=1)
    ids = [await queue.add_task("work") for _ in range(3)]
    fault.arm(4, before=FULL)
    await queue.start_workers("c", 3)
    for task_id in ids:
        assert (await queue.wait(task_id, timeout=PATIENCE)).status is TaskStatus.SUCCESS
    await until(lambda: all(meter.running == 0 for meter in _meters(queue)))


def _meters(queue: TaskQueue) -> list[Any]:
    engine = inside(queue).access._engine
    assert engine is not None
    gate = engine.pools["c"].gate
    assert gate is not None
    return gate._whole
