"""Right uses of the public API, with the types that a user's editor must show.

Never run: mypy --strict and pyright read it (test_typing.py), and neither may object.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from wopr import Task, TaskHandle, TaskInfo, TaskPriority, TaskQueue, TaskStatus

queue = TaskQueue()
other = TaskQueue(enabled=True, database="tasks.duckdb")


@queue.task(name="send", category="mail", priority=TaskPriority.HIGH, max_retries=3)
async def send(to: str, n: int = 1) -> int:
    return len(to) * n


@queue.task
def add(a: int, b: int) -> int:
    return a + b


@queue.task()
async def nothing() -> None: ...


any_int: Task[..., int] = send
any_int = add
any_none: Task[..., None] = nothing


async def a_task_is_still_the_function() -> None:
    coroutine: Coroutine[Any, Any, int] = send("a")
    assert_type(await coroutine, int)
    assert_type(await send("a", n=2), int)
    assert_type(add(1, b=2), int)


async def modern() -> None:
    handle = await send.enqueue("a", n=2)
    assert_type(handle, TaskHandle[int])
    assert_type(handle.id, str)
    assert_type(await handle.result(), int)
    assert_type(await handle.result(timeout=5), int)
    assert_type(await add.enqueue(1, 2), TaskHandle[int])
    assert_type(await nothing.enqueue(), TaskHandle[None])
    assert_type(await handle.status(), TaskStatus)
    assert_type(await handle.info(), TaskInfo)
    assert_type(await handle.cancel(), bool)
    assert_type(await send.enqueue_many([("a",), {"to": "b", "n": 2}]), list[TaskHandle[int]])
    later = await send.options(delay=5, priority=TaskPriority.LOW).enqueue("a")
    assert_type(later, TaskHandle[int])
    await send.options(delay=timedelta(minutes=1), unique_key="a").enqueue("a", 2)
    await add.options(run_at=datetime(2030, 1, 1, tzinfo=UTC)).enqueue(a=1, b=2)


async def seed_compatible() -> None:
    queue.register_task("plain", category="mail")(len)
    task_id = await queue.add_task("send", "mail", TaskPriority.HIGH, 3, "a", n=2)
    assert_type(task_id, str)
    assert_type(await queue.get_task_info(task_id), TaskInfo | None)
    assert_type(await queue.cancel_task(task_id), bool)
    assert_type(await queue.retry_task(task_id), bool)


async def reading(info: TaskInfo) -> None:
    assert_type(info.status, TaskStatus)
    assert_type(info.priority, TaskPriority)
    assert_type(info.created_at, datetime)
    result = await queue.sql("select status, count(*) from tasks where name = ?", "send")
    assert_type(len(result), int)
    for row in result:
        assert_type(row, dict[str, Any])


async def open_and_close() -> None:
    async with TaskQueue(enabled=True) as opened:
        assert_type(opened, TaskQueue)


def without_a_loop() -> None:
    with queue.sync() as sync:
        handle = sync(send.enqueue, "a", n=2)
        assert_type(handle, TaskHandle[int])
        assert_type(sync(handle.result, timeout=5), int)
