"""A task that was archived, came back with a backup, and ended once more."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.queues import ended
from wopr import Settings, TaskQueue, TaskStatus


def queue_of(tmp_path: Path, *, fails: bool) -> TaskQueue:
    queue = TaskQueue(
        enabled=True, database=tmp_path / "t.duckdb", settings=Settings(archive=tmp_path / "old")
    )

    @queue.task(name="say", max_retries=0)
    async def say() -> None:
        if fails:
            raise ValueError("not today")

    return queue


async def test_it_answers_by_its_id_as_it_ended_last(tmp_path: Path) -> None:
    async with queue_of(tmp_path, fails=True) as queue:
        await queue.start_workers()
        task_id = (await queue.enqueue("say")).id
        await ended(queue, task_id)
        await queue.backup(tmp_path / "copy.duckdb")
        assert 1 == await queue.archive_old_tasks(days=0)
    for one in tmp_path.glob("t.duckdb*"):
        one.unlink()
    shutil.move(tmp_path / "copy.duckdb", tmp_path / "t.duckdb")
    async with queue_of(tmp_path, fails=False) as queue:
        await queue.start_workers()
        assert await queue.retry_task(task_id)
        await ended(queue, task_id)
        want = await queue.get_history(task_id)
        assert 1 == await queue.archive_old_tasks(days=0)
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (TaskStatus.SUCCESS, None) == (info.status, info.error)
        assert want == await queue.get_history(task_id)
        rows = await queue.sql("select id::varchar as id, status from tasks")
        assert [{"id": task_id, "status": "success"}] == list(rows)
        moves = await queue.sql("select seq, to_status from transitions order by seq")
        assert [one.to_status.value for one in want] == [row["to_status"] for row in moves]
        assert {"success": 1} == (await queue.as_of(0).get_task_stats())["by_status"]
        await ended(queue, (await queue.enqueue("say")).id)
        assert 1 == await queue.archive_old_tasks(days=0)
        counts = "select count(*), count(distinct id) from tasks"
        assert [(2, 2)] == (await queue.sql(counts)).rows
    [noted] = (tmp_path / "old" / "again").iterdir()
    assert 0o600 == noted.stat().st_mode & 0o777
