"""The names, defaults, answers and error texts that callers of the first version rely on."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from support.queues import NOON, PATIENCE, DuckDBHome, Gate, Home, SteppableClock, ended
from wopr import (
    DuplicateTaskError,
    InvalidCallError,
    NoopStorage,
    QueueDisabledError,
    StorageError,
    TaskInfo,
    TaskNotRegisteredError,
    TaskPriority,
    TaskQueue,
    TaskStatus,
)

EMPTY_STATS = {"total": 0, "by_status": {}, "by_category": {}, "running": 0, "queued": 0}


async def double(n: int) -> int:
    return n * 2


def test_the_public_calls_have_the_names_and_defaults_of_the_first_version() -> None:
    def shape(function: object) -> str:
        signature = inspect.signature(function)  # type: ignore[arg-type]
        return ", ".join(
            name if p.default is p.empty else f"{name}={p.default!r}"
            for name, p in signature.parameters.items()
            if p.kind is p.POSITIONAL_OR_KEYWORD and name != "self"
        )

    assert "enabled=None, storage_factory=None" == shape(TaskQueue.__init__)
    assert "name, category='default'" == shape(TaskQueue.register_task)
    assert "name, category=None, priority=None, max_retries=None" == shape(TaskQueue.add_task)
    assert "category='default', worker_count=1" == shape(TaskQueue.start_workers)
    assert "task_id" == shape(TaskQueue.get_task_info)
    assert "task_id" == shape(TaskQueue.cancel_task)
    assert "task_id" == shape(TaskQueue.retry_task)
    assert "days=None, months=None, years=None" == shape(TaskQueue.cleanup_old_tasks)


def test_statuses_and_priorities_have_their_values() -> None:
    assert ["pending", "started", "success", "failed", "cancelled", "retry"] == [
        status.value for status in TaskStatus
    ]
    assert {"LOW": 1, "NORMAL": 2, "HIGH": 3, "CRITICAL": 4} == {
        priority.name: priority.value for priority in TaskPriority
    }


def test_a_task_info_needs_six_fields_and_has_defaults_for_the_others() -> None:
    info = TaskInfo(
        id="x",
        name="n",
        category="c",
        priority=TaskPriority.LOW,
        status=TaskStatus.RETRY,
        created_at=NOON,
    )

    assert (None, None, 0.0, None, None, 0, 0, (), {}, 0.0, "") == (
        info.started_at,
        info.completed_at,
        info.elapsed_seconds,
        info.result,
        info.error,
        info.retry_count,
        info.max_retries,
        info.args,
        info.kwargs,
        info.progress,
        info.progress_message,
    )
    assert (False, False) == (info.is_running, info.is_completed)


# -- switched off ----------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "True", "yes", "Yes", "on", "ON", " on "])
def test_the_environment_switches_the_queue_on_when_it_is_built(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("WOPR_TASKS_ENABLED", value)
    assert TaskQueue().enabled is True
    assert TaskQueue(enabled=False).enabled is False


@pytest.mark.parametrize("value", [None, "", "0", "false", "no", "off", "2", "enabled"])
def test_without_a_clear_yes_the_queue_is_off(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("WOPR_TASKS_ENABLED", value)
    assert TaskQueue().enabled is False
    assert TaskQueue(enabled=True).enabled is True


async def test_a_queue_that_is_off_answers_empty_and_refuses_new_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    factory = Mock()
    queue = TaskQueue(enabled=False, storage_factory=factory)
    task = queue.task(name="double")(double)

    with pytest.raises(RuntimeError) as raised:
        await queue.add_task("double", "default", TaskPriority.NORMAL, 0, 1)
    assert "TaskQueue is disabled. Set WOPR_TASKS_ENABLED=1 to enable." == str(raised.value)
    with pytest.raises(QueueDisabledError):
        await task.enqueue_many([(1,)])
    await queue.start_workers("default", 3)
    some_id = "0190cafe-0000-7000-8000-000000000000"
    assert None is await queue.get_task_info(some_id)
    assert False is await queue.cancel_task(some_id)
    assert False is await queue.retry_task(some_id)
    assert [] == await queue.get_tasks()
    assert [] == await queue.get_history(some_id)
    assert 0 == await queue.cleanup_old_tasks(days=0)
    assert 0 == await queue.recover_tasks()
    assert EMPTY_STATS == await queue.get_task_stats()
    await queue.shutdown()
    assert ({}, {}, {}) == (queue.queues, queue.workers, queue.running_tasks)
    assert isinstance(queue.storage, NoopStorage)
    factory.assert_not_called()
    assert [] == list(tmp_path.iterdir())


def test_a_queue_that_is_off_loads_no_duckdb_and_starts_no_thread(tmp_path: Path) -> None:
    program = """
import asyncio, sys, threading
from wopr import TaskQueue
queue = TaskQueue()
asyncio.run(queue.get_task_stats())
asyncio.run(queue.start_workers())
print("duckdb" in sys.modules, threading.active_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "False 1" == done.stdout.strip()


def test_the_null_storage_forgets_everything_and_never_raises() -> None:
    storage = NoopStorage()
    assert None is storage.save_task(object())  # type: ignore[func-returns-value, arg-type]
    assert None is storage.get_task("x")
    assert [] == storage.get_tasks(status="x", limit=-1)
    assert 0 == storage.cleanup_old_tasks(days=-1)


# -- storages --------------------------------------------------------------------


async def test_the_storage_is_made_on_first_access_and_only_once() -> None:
    factory = Mock(return_value=Mock())
    queue = TaskQueue(enabled=True, storage_factory=factory)
    factory.assert_not_called()
    assert queue.storage is queue.storage
    factory.assert_called_once_with()


@pytest.mark.parametrize("kind", [Mock, AsyncMock])
async def test_a_mock_is_a_storage_for_tests(kind: type[Mock]) -> None:
    storage = kind()
    queue = TaskQueue(enabled=True, storage_factory=lambda: storage)
    queue.register_task("double")(double)
    async with queue:
        task_id = await queue.add_task("double", "default", TaskPriority.HIGH, 0, 4)
        [first] = storage.save_task.call_args_list
        assert (task_id, TaskStatus.PENDING) == (first.args[0].id, first.args[0].status)
        await queue.start_workers()
        assert 8 == await queue.handle(task_id).result(timeout=PATIENCE)
    saved = [call.args[0].status for call in storage.save_task.call_args_list]
    assert [TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.SUCCESS] == saved


# -- register and add ------------------------------------------------------------


async def test_registering_returns_the_function_unchanged(home: Home) -> None:
    queue = home.queue()
    assert double is queue.register_task("double", "math")(double)
    assert {"double": double} == queue.task_functions


def test_a_name_belongs_to_one_function(home: Home) -> None:
    queue = home.queue()
    queue.register_task("double")(double)
    queue.register_task("double")(double)  # the same one again is no harm
    with pytest.raises(DuplicateTaskError, match=r"'double' is taken by .*double"):
        queue.register_task("double", "elsewhere")(lambda n: n)
    assert {"double": double} == queue.task_functions


async def test_a_new_task_waits_with_everything_that_was_asked_for(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    queue.register_task("call", "mail")(lambda *args, **kwargs: None)
    async with queue:
        task_id = await queue.add_task(
            "call", "post", TaskPriority.HIGH, 3, "one", 2, to="ada", subject="hi"
        )
        info = await queue.get_task_info(task_id)

    assert task_id == str(UUID(task_id))
    assert info == TaskInfo(
        id=task_id,
        name="call",
        category="post",
        priority=TaskPriority.HIGH,
        status=TaskStatus.PENDING,
        created_at=NOON,
        max_retries=3,
        args=("one", 2),
        kwargs={"to": "ada", "subject": "hi"},
    )


async def test_a_task_without_options_is_normal_and_is_not_retried(home: Home) -> None:
    queue = home.queue()
    queue.register_task("double", "math")(double)
    async with queue:
        info = await queue.get_task_info(await queue.add_task("double", n=1))
    assert info is not None
    assert ("math", TaskPriority.NORMAL, 0) == (info.category, info.priority, info.max_retries)


async def test_a_task_runs_and_keeps_its_result(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)

    @queue.register_task("report")
    async def report(n: int) -> dict[str, int]:
        clock.advance(2.5)
        return {"metrics": n}

    async with queue:
        await queue.start_workers()
        info = await queue.wait(await queue.add_task("report", n=7), timeout=PATIENCE)

    assert (TaskStatus.SUCCESS, True, {"metrics": 7}) == (
        info.status,
        info.is_completed,
        info.result,
    )
    assert (NOON, 2.5, 100.0, None) == (
        info.started_at,
        info.elapsed_seconds,
        info.progress,
        info.error,
    )
    assert info.completed_at == clock.now()


async def test_unknown_names_are_refused_and_nothing_is_written(home: Home) -> None:
    queue = home.queue()
    queue.register_task("double")(double)
    async with queue:
        with pytest.raises(ValueError, match=r"^Task 'send' not registered$"):
            await queue.add_task("send")
        with pytest.raises(TaskNotRegisteredError, match=r"Did you mean 'double'"):
            await queue.enqueue("duoble")
        assert EMPTY_STATS == await queue.get_task_stats()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((1, 2), "category must be a str, not int 1"),
        (("mail", 5), "priority must be a TaskPriority .* not int 5"),
        (("mail", TaskPriority.LOW, "x"), "max_retries must be a whole number .* not 'x'"),
    ],
)
@pytest.mark.parametrize("function", [lambda *args: None, lambda a, b: None], ids=["any", "two"])
async def test_a_positional_argument_in_an_options_place_shows_the_right_call(
    home: Home, args: tuple[object, ...], says: str, function: Callable[..., None]
) -> None:
    queue = home.queue()
    queue.register_task("call")(function)
    async with queue:
        with pytest.raises(InvalidCallError, match=says) as raised:
            await queue.add_task("call", *args)  # type: ignore[arg-type]
        assert 'add_task("name", "category", TaskPriority.HIGH, 3, …)' in str(raised.value)
        assert EMPTY_STATS == await queue.get_task_stats()


async def test_other_calls_do_not_show_the_right_call_of_add_task(home: Home) -> None:
    queue = home.queue()
    queue.register_task("call")(lambda: None)
    with pytest.raises(InvalidCallError, match="category must be a str, not int 1") as raised:
        await queue.start_workers(1)  # type: ignore[arg-type]
    assert "add_task" not in str(raised.value)
    with pytest.raises(InvalidCallError, match="max_retries must be a whole number") as raised:
        queue.task(max_retries=-1)(lambda: None)
    assert "add_task" not in str(raised.value)
    async with queue:
        with pytest.raises(InvalidCallError, match="priority must be a TaskPriority") as raised:
            await queue.enqueue("call", priority=5)  # type: ignore[arg-type]
        assert "add_task" not in str(raised.value)


async def test_a_function_may_have_arguments_called_like_the_options(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="tricky")
    async def tricky(name: str, category: str, priority: int, max_retries: int) -> list[object]:
        return [name, category, priority, max_retries]

    wanted = {"name": "a", "category": "b", "priority": 1, "max_retries": 2}
    async with queue:
        await queue.start_workers()
        handles = [
            await queue.enqueue("tricky", kwargs=wanted, priority=TaskPriority.LOW),
            await queue.enqueue(tricky, ("a", "b"), {"priority": 1, "max_retries": 2}),
            await tricky.enqueue(**wanted),
            *await tricky.enqueue_many([wanted, ("a", "b", 1, 2)]),
        ]
        results = [await handle.result(timeout=PATIENCE) for handle in handles]
    assert [["a", "b", 1, 2]] * 5 == results


async def test_stats_are_plain_json(home: Home) -> None:
    queue = home.queue()
    queue.register_task("double", "math")(double)
    async with queue:
        for _ in range(3):
            await queue.add_task("double", n=1)
        cancelled = await queue.add_task("double", "rest", n=1)
        await queue.cancel_task(cancelled)
        stats = await queue.get_task_stats()
    assert {
        "total": 4,
        "by_status": {"pending": 3, "cancelled": 1},
        "by_category": {"math": 3, "rest": 1},
        "running": 0,
        "queued": 3,
    } == stats
    assert {dict} == {type(stats["by_status"]), type(stats["by_category"])}
    assert stats == json.loads(json.dumps(stats))


async def test_stats_say_of_one_moment_what_runs_and_what_waits(durable_home: DuckDBHome) -> None:
    """What ran when the storage was asked is told, whatever has ended when it answers."""
    queue, gate = durable_home.queue(), Gate()

    @queue.task(name="wait")
    async def wait(n: int) -> Any:
        return await gate.wait(n)

    async with queue, durable_home.queue() as client:  # which asks through the socket
        await queue.start_workers(worker_count=2)
        handles = await wait.enqueue_many([(n,) for n in range(3)])
        await gate.arrivals(2)
        await client.get_task_stats()
        counts = queue.storage.counts

        async def slow_to_tell() -> Any:
            counted = await counts()
            gate.open()
            await ended(queue, *(handle.id for handle in handles))
            return counted

        queue.storage.counts = slow_to_tell
        told = [await client.get_task_stats(), await queue.get_task_stats()]
    assert [2, 0] == [stats["running"] for stats in told]
    assert [1, 0] == [stats["queued"] for stats in told]
    for stats in told:
        assert stats["running"] == stats["by_status"].get("started", 0)
        assert stats["queued"] == stats["by_status"].get("pending", 0)
        assert stats["total"] == sum(stats["by_category"].values())


async def test_a_read_makes_no_file(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    assert EMPTY_STATS == await queue.get_task_stats()
    assert [] == await queue.get_tasks()
    await queue.shutdown()
    assert [] == list(tmp_path.iterdir())


async def test_a_storage_offers_the_four_calls_of_the_first_version(home: Home) -> None:
    async def answer(value: Any) -> Any:
        return await value if inspect.isawaitable(value) else value

    queue = home.queue()
    queue.register_task("double", "math")(double)
    async with queue:
        task_id = await queue.add_task("double", n=4)
        storage = queue.storage
        found = await answer(storage.get_task(task_id))
        listed = await answer(storage.get_tasks(category="math", limit=10))
        assert (task_id, [task_id]) == (found.id, [info.id for info in listed])
        assert [] == list(await answer(storage.get_tasks(category="other")))
        assert None is await answer(storage.get_task(str(UUID(int=7))))
        assert 0 == await answer(storage.cleanup_old_tasks(days=0))


async def test_a_failing_storage_is_a_storage_error_and_the_row_is_not_there() -> None:
    storage = Mock()
    storage.save_task.side_effect = OSError("no space left on device")
    queue = TaskQueue(enabled=True, storage_factory=lambda: storage)
    queue.register_task("double")(double)
    async with queue:
        with pytest.raises(StorageError, match="OSError: no space left on device"):
            await queue.add_task("double", n=1)
        storage.save_task.side_effect = None
        assert await queue.add_task("double", n=1)
        assert 1 == (await queue.get_task_stats())["total"]
