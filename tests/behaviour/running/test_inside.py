"""What a task knows of itself and shows of its work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    Home,
    SteppableClock,
    ended,
    running,
    until_status,
)
from wopr import TaskQueue, TaskStatus, WoprError, current_task

SUCCESS, FAILED = TaskStatus.SUCCESS, TaskStatus.FAILED


async def test_a_task_knows_itself(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="who", category="c")
    def who() -> list[object]:
        task = current_task()
        return [task.id, task.name, task.category, task.attempt, task.cancelled]

    async with running(queue, c=1):
        handle = await who.enqueue()
        assert [handle.id, "who", "c", 1, False] == await handle.result(timeout=PATIENCE)


def test_outside_of_a_task_there_is_no_current_one() -> None:
    with pytest.raises(WoprError, match="only inside a function that a wopr worker runs"):
        current_task()


async def test_progress_is_seen_at_once_and_kept(home: Home) -> None:
    queue = home.queue()
    gate = Gate()

    @queue.task(name="work", category="c")
    async def work() -> None:
        current_task().progress(25)
        current_task().progress(50, "half \ud800 way\0")
        await gate.wait()
        raise OSError("stuck")

    async with running(queue, c=1):
        handle = await work.enqueue()
        await gate.arrivals()
        info = await handle.info()
        assert (50.0, True) == (info.progress, info.is_running)
        assert info.progress_message.startswith("half ")
        assert [handle.id] == list(queue.running_tasks)
        assert 50.0 == queue.running_tasks[handle.id].progress
        gate.open()
        failed = (await ended(queue, handle.id))[0]
    assert 50.0 == failed.progress
    async with running(home.queue()) as later:
        stored = await later.get_task_info(handle.id)
    assert stored is not None
    assert (FAILED, 50.0, info.progress_message) == (
        stored.status,
        stored.progress,
        stored.progress_message,
    )


async def test_progress_survives_a_crash(home: Home) -> None:
    queue = home.queue()
    gate = Gate()

    @queue.task(name="work", category="c")
    async def work() -> None:
        current_task().progress(40, "part one")
        await gate.wait()

    async with running(queue, c=1):
        handle = await work.enqueue()
        await gate.arrivals()
        await queue.get_tasks()  # a read, before which the progress is folded
        image = await home.crash_image(queue)
        gate.open()
    async with running(image.queue()) as later:
        stored = await later.get_task_info(handle.id)
    assert stored is not None
    assert (TaskStatus.PENDING, 1) == (stored.status, stored.attempt)


@pytest.mark.parametrize("percent", [-1, 101, float("nan"), "half", None])
async def test_progress_is_a_percentage(durable_home: DuckDBHome, percent: object) -> None:
    queue = durable_home.queue()

    @queue.task(name="work", category="c")
    async def work() -> str:
        try:
            current_task().progress(percent)  # type: ignore[arg-type]
        except WoprError as error:
            return str(error)
        return "accepted"

    async with running(queue, c=1):
        text = await (await work.enqueue()).result(timeout=PATIENCE)
    assert text.startswith("progress() takes a percentage from 0 to 100")


async def test_a_snapshot_never_changes(home: Home) -> None:
    queue = home.queue()
    gate = Gate()
    queue.register_task("wait", "c")(gate.wait)
    async with running(queue, c=1):
        task_id = await queue.add_task("wait", who=[1])
        await gate.arrivals()
        before = await queue.get_task_info(task_id)
        gate.open()
        [after] = await ended(queue, task_id)
    assert before is not None
    assert (TaskStatus.STARTED, SUCCESS) == (before.status, after.status)
    assert before != after


def test_tasks_can_still_be_called(tmp_path: Any) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "x.duckdb")

    @queue.task
    def one(n: int) -> int:
        return n + 1

    @queue.task(name="two")
    async def two(n: int) -> int:
        return n + 2

    assert (2, 3) == (one(1), asyncio.run(two(1)))
    assert "one" == one.name


async def test_starting_is_seen_before_the_end(home: Home) -> None:
    queue = home.queue()
    gate = Gate()
    queue.register_task("wait", "c")(gate.wait)
    async with running(queue, c=1):
        task_id = await queue.add_task("wait")
        info = await until_status(queue, task_id, TaskStatus.STARTED)
        assert info.started_at is not None
        assert info.worker == queue.workers["c"][0].name
        assert 1 == (await queue.get_task_stats())["running"]
        assert "running" == (await queue.explain(task_id)).reason
        gate.open()
        await ended(queue, task_id)


async def test_progress_is_stored_a_few_times_a_second_however_often_it_is_told(
    durable_home: DuckDBHome, clock: SteppableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = durable_home.queue(clock=clock)
    stored: list[float] = []
    turns: list[int] = []

    @queue.task(name="work", category="c")
    async def work() -> None:
        for second in range(2):
            for percent in range(50):
                current_task().progress(50 * second + percent)
                await asyncio.sleep(0)
            turns.append(second)
            clock.advance(1)

    async with running(queue) as open_queue:
        touch = open_queue.storage.touch

        def counted(record: Any) -> None:
            stored.append(record.progress)
            touch(record)

        monkeypatch.setattr(open_queue.storage, "touch", counted)
        handle = await work.enqueue()
        await queue.start_workers("c", 1)
        await ended(queue, handle.id)
    assert [0, 1] == turns
    assert 2 == len(stored)
