"""A notebook's cells can be run again: what they declare takes the place of what it was."""

from __future__ import annotations

import ast
import hashlib
import inspect
import logging
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE
from wopr import DuplicateScheduleError, TaskQueue

TASK = """
@queue.task
async def double(number: int) -> int:
    return number * {}
"""
SCHEDULE = """
@queue.schedule(every={}, name="tick")
@queue.task
async def ticker() -> None: ...
"""
HOOKS = """
@queue.on("task.succeeded")
def note(event):
    seen.append({0!r})

@queue.middleware
async def around(task, call_next):
    seen.append("around " + {0!r})
    return await call_next()
"""
HANDLER = """
from wopr.handlers import TaskHandler, task

@TaskHandler()
class Sums:
    @task
    async def more(self, number: int) -> int:
        return number + {}

sums = queue.register_handler(Sums)
"""
RUN = """
await queue.start_workers()
answer = await (await double.enqueue(4)).result(timeout=patience)
"""
BLOCK = """
async with queue:
    await queue.start_workers()
    answer = await (await double.enqueue(4)).result(timeout=patience)
"""


class Notebook:
    """Runs cells as IPython does: each from a file of its own, by what is written in it."""

    def __init__(self, **names: Any) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "patience": PATIENCE, **names}

    async def run(self, cell: str) -> Any:
        name = f"/tmp/ipykernel_1/{hashlib.sha256(cell.encode()).hexdigest()[:9]}.py"
        code = compile(cell, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        running = eval(code, self.names)
        if inspect.isawaitable(running):
            await running
        return self.names.get("answer")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


async def test_a_task_that_is_declared_again_takes_the_place_of_the_first_at_once(
    database: Path,
) -> None:
    queue = TaskQueue(enabled=True, database=database)
    notebook = Notebook(queue=queue)
    await notebook.run(TASK.format(2))
    assert 8 == await notebook.run(BLOCK)
    assert 8 == await notebook.run(BLOCK)
    await notebook.run(TASK.format(2))
    assert 8 == await notebook.run(RUN)
    await notebook.run(TASK.format(3))
    assert 12 == await notebook.run(RUN)
    await queue.shutdown()


async def test_a_schedule_that_is_declared_again_is_changed(database: Path) -> None:
    async with TaskQueue(enabled=True, database=database) as queue:
        notebook = Notebook(queue=queue)
        await notebook.run(SCHEDULE.format(60))
        await queue.schedules.sync()
        await notebook.run(SCHEDULE.format(60))
        await notebook.run(SCHEDULE.format(30))
        await queue.schedules.sync()
        [info] = await queue.schedules.list()
        assert ("tick", "every 30 s") == (info.name, info.trigger.describe())
        with pytest.raises(DuplicateScheduleError, match="two schedules named 'tick'"):
            await notebook.run("queue.schedule(every=5, name='tick')(ticker)")


async def test_handlers_and_middlewares_that_are_given_again_are_called_once(
    database: Path,
) -> None:
    seen: list[str] = []
    async with TaskQueue(enabled=True, database=database) as queue:
        notebook = Notebook(queue=queue, seen=seen)
        await notebook.run(TASK.format(2))
        for version in ("first", "first", "second"):
            await notebook.run(HOOKS.format(version))
        queue.on("task.succeeded", lambda _: seen.append("one"))
        queue.on("task.succeeded", lambda _: seen.append("two"))
        assert 8 == await notebook.run(RUN)
    assert ["around second", "second", "one", "two"] == seen


async def test_a_class_of_tasks_that_is_registered_again_takes_the_place_of_the_first(
    database: Path,
) -> None:
    async with TaskQueue(enabled=True, database=database) as queue:
        notebook = Notebook(queue=queue)
        for more in (1, 2):
            await notebook.run(HANDLER.format(more))
        await queue.start_workers()
        run = "answer = await (await sums.task('more').enqueue(4)).result(timeout=patience)"
        assert 6 == await notebook.run(run)


async def test_workers_of_a_second_queue_on_the_file_are_told_that_the_first_has_it(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = "from wopr import TaskQueue\nqueue = TaskQueue(enabled=True, database=database)"
    notebook = Notebook(database=database)
    await notebook.run(make + TASK.format(2))
    first = notebook.names["queue"]
    assert 8 == await notebook.run(RUN)
    await notebook.run(make + TASK.format(3))
    with caplog.at_level(logging.WARNING, "wopr"):
        assert 8 == await notebook.run(RUN)
    [told] = [one.getMessage() for one in caplog.records]
    assert "Another TaskQueue of this process" in told
    assert "the workers of this one stand by" in told
    await first.shutdown()
    assert 12 == await notebook.run(RUN)
    await notebook.names["queue"].shutdown()
