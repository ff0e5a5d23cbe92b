"""A task that is read from the storage may run and end before the answer arrives."""

from __future__ import annotations

from pathlib import Path

from support.queues import PATIENCE
from wopr import Settings, TaskQueue, TaskStatus
from wopr.domain.task import TaskRecord


async def test_a_stale_read_can_not_cancel_a_task_that_has_ended(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "q.duckdb", settings=Settings(window=10))

    @queue.task
    async def noop(number: int) -> int:
        return number

    async with queue:
        handles = await noop.enqueue_many([(number,) for number in range(40)])
        last = handles[-1]
        storage = queue.storage
        get = storage.get
        stale: list[TaskRecord] = []

        async def slow_get(task_id: str) -> TaskRecord | None:
            found = await get(task_id)
            if found is not None and not stale:
                stale.append(found)
                await queue.start_workers("default", 4)
                await queue.wait(task_id, timeout=PATIENCE)
            return found

        storage.get = slow_get
        assert not await queue.cancel_task(last.id)
        storage.get = get
        assert [TaskStatus.PENDING] == [record.status for record in stale]
        assert TaskStatus.SUCCESS is await last.status()
        history = await queue.get_history(last.id)
        assert ["pending", "started", "success"] == [entry.to_status.value for entry in history]
