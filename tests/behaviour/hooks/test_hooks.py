"""Handlers of events, and middlewares around the run of a task."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, Home, ended, running, until
from wopr import CurrentTask, InvalidCallError, TaskEvent, TaskStatus, current_task
from wopr.domain.events import EVENTS, KINDS, TaskFailed, TaskRetrying, TaskSucceeded
from wopr.domain.status import Move
from wopr.queue.queue import inside


async def test_handlers_are_told_in_order_after_it_is_on_disk(home: Home) -> None:
    queue, told = home.queue(), []

    @queue.task(name="work", max_retries=1, retry=None)
    async def work() -> None:
        raise ValueError("no")

    @queue.on("task.*")
    def note(event: TaskEvent) -> None:
        told.append((event.kind, event.attempt))

    failed: list[TaskFailed] = []
    queue.on("task.failed", failed.append)
    async with running(queue, default=1):
        task_id = await queue.add_task("work", max_retries=0)
        await ended(queue, task_id)
        await until(_length(failed), bool)
    assert told == [("task.enqueued", 0), ("task.started", 1), ("task.failed", 1)]
    [event] = failed
    assert event.error == "ValueError: no"
    assert (event.task_id, event.name, event.category) == (task_id, "work", "default")
    assert event.status is TaskStatus.FAILED
    assert event.occurred_at.tzinfo is not None


def _length(items: list[Any]) -> Any:
    async def look() -> int:
        return len(items)

    return look


async def test_each_kind_of_transition_has_its_event(home: Home) -> None:
    assert set(EVENTS) == set(Move) - {Move.SAVE}
    assert len(set(KINDS)) == len(KINDS)
    queue, told = home.queue(), []
    gate = Gate()

    @queue.task(name="work", max_retries=1)
    async def work() -> None:
        await gate.wait()

    queue.on("task.*", lambda event: told.append(type(event).__name__))
    async with running(queue, default=1):
        first = await queue.add_task("work")
        await gate.arrivals()
        await queue.cancel_task(first)
        second = await queue.add_task("work")
        await gate.arrivals(2)
    assert second
    assert told == [
        *("TaskEnqueued", "TaskStarted", "TaskCancelled"),
        *("TaskEnqueued", "TaskStarted", "TaskInterrupted"),
    ]


async def test_a_handler_that_fails_changes_nothing(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    queue, told = home.queue(), []

    @queue.task(name="work")
    async def work() -> str:
        return "fine"

    @queue.on("task.succeeded")
    def bad(event: TaskSucceeded) -> None:
        raise RuntimeError("handler")

    @queue.on("task.succeeded")
    async def also_bad(event: TaskSucceeded) -> None:
        raise RuntimeError("coroutine")

    queue.on("task.succeeded", lambda event: told.append(event.task_id))
    with caplog.at_level(logging.ERROR, "wopr.events"):
        async with running(queue, default=1):
            handle = await work.enqueue()
            assert await handle.result() == "fine"
    assert told == [handle.id]
    assert len([line for line in caplog.records if line.name == "wopr.events"]) == 2


async def test_a_coroutine_handler_may_use_the_queue_and_is_awaited_at_the_shutdown(
    home: Home,
) -> None:
    queue, seen = home.queue(), []

    @queue.task(name="work")
    async def work() -> None: ...

    @queue.on("task.succeeded")
    async def look(event: TaskSucceeded) -> None:
        seen.append((await queue.require_task_info(event.task_id)).status)

    async with queue:
        await queue.start_workers("default", 1)
        await ended(queue, (await work.enqueue()).id)
    assert seen == [TaskStatus.SUCCESS]


async def test_a_handler_can_be_taken_away(home: Home) -> None:
    queue, told = home.queue(), []

    @queue.task(name="work")
    async def work() -> None: ...

    off = queue.on("task.enqueued", told.append)
    async with queue:
        await work.enqueue()
        off()
        await work.enqueue()
    assert len(told) == 1


async def test_an_event_that_there_is_not_is_refused(home: Home) -> None:
    queue = home.queue()
    with pytest.raises(InvalidCallError, match=r"task\.failed"):
        queue.on("failed", print)
    with pytest.raises(InvalidCallError, match="coroutine function"):
        queue.on("task.failed", 3)  # type: ignore[call-overload]


async def test_retries_are_told_with_their_due_time(durable_home: DuckDBHome) -> None:
    queue, told = durable_home.queue(), []

    @queue.task(name="work", max_retries=1)
    async def work() -> None:
        raise ValueError

    queue.on("task.retrying", told.append)
    async with running(queue, default=1):
        await work.enqueue()
        await until(_length(told), bool)
    [event] = told
    assert isinstance(event, TaskRetrying)
    assert event.run_at is not None
    assert event.run_at > event.occurred_at
    assert (event.retry_count, event.max_retries) == (1, 1)


async def test_middlewares_go_around_the_function_the_first_outermost(home: Home) -> None:
    queue, said = home.queue(), []

    @queue.middleware
    async def outer(task: CurrentTask, call_next: Any) -> Any:
        said.append(f"outer {task.name} {task.attempt}")
        try:
            return await call_next() + 1
        finally:
            said.append("outer ends")

    @queue.middleware
    async def inner(task: CurrentTask, call_next: Any) -> Any:
        said.append(f"inner {current_task().id == task.id}")
        return await call_next() * 10

    @queue.task(name="two")
    def two() -> int:
        said.append("two")
        return 2

    async with running(queue, default=1):
        assert await (await two.enqueue()).result() == 21
    assert said == ["outer two 1", "inner True", "two", "outer ends"]


async def test_a_middleware_may_answer_itself_or_refuse(home: Home) -> None:
    queue, ran = home.queue(), []

    @queue.middleware
    async def guard(task: CurrentTask, call_next: Any) -> Any:
        if task.name == "cached":
            return "from the cache"
        raise PermissionError("not now")

    @queue.task(name="cached")
    async def cached() -> str:
        ran.append(1)
        return "fresh"

    @queue.task(name="refused")
    async def refused() -> None:
        ran.append(2)

    async with running(queue, default=1):
        assert await (await cached.enqueue()).result() == "from the cache"
        [info] = await ended(queue, (await refused.enqueue()).id)
    assert info.error == "PermissionError: not now"
    assert ran == []


async def test_a_middleware_runs_within_the_timeout(home: Home) -> None:
    queue = home.queue()

    @queue.middleware
    async def slow(task: CurrentTask, call_next: Any) -> Any:
        await asyncio.Event().wait()

    @queue.task(name="work", timeout=0.01)
    async def work() -> None: ...

    async with running(queue, default=1):
        [info] = await ended(queue, (await work.enqueue()).id)
    assert info.error is not None
    assert "timeout of 0.01 s" in info.error


async def test_a_middleware_is_a_coroutine_function(home: Home) -> None:
    with pytest.raises(InvalidCallError, match="async def"):
        home.queue().middleware(lambda task, call_next: None)  # type: ignore[arg-type]


class Service:
    """Notes what happens to it."""

    def __init__(self, queue: Any, told: list[str], *, fails: bool = False) -> None:
        self.queue, self.told, self.fails = queue, told, fails

    async def start(self) -> None:
        if self.fails:
            raise RuntimeError("no")
        self.told.append("start")

    async def stop(self) -> None:
        self.told.append(f"stop, {await self.queue.add_task('work') is not None}")


async def test_services_run_beside_the_workers_in_each_life_of_the_queue(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    queue, told = home.queue(), []

    @queue.task(name="work")
    async def work() -> None: ...

    queue.add_service(Service(queue, told, fails=True))
    queue.add_service(Service(queue, told))
    for _ in range(2):
        async with queue:
            assert "start" not in told[-1:]
            await queue.start_workers("default", 1)
            await queue.start_workers("default", 1)
    assert told == ["start", "stop, True"] * 2
    assert "could not be started" in caplog.text


class Hanging:
    """Does not end what it is told to do first."""

    def __init__(self, *, starts: bool) -> None:
        self.starts = starts
        self.begun = asyncio.Event()
        self.told: list[str] = []

    async def start(self) -> None:
        self.told.append("start")
        self.begun.set()
        if not self.starts:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.told.append("stop")
        await asyncio.Event().wait()


async def test_a_service_that_does_not_stop_is_cut_off(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wopr.access.services.END_SECONDS", 0.01)
    queue = home.queue()
    service = queue.add_service(Hanging(starts=True))
    await queue.start_workers("default", 1)
    async with asyncio.timeout(PATIENCE):
        await queue.shutdown()
    assert service.told == ["start", "stop"]
    assert "did not stop in 0.01 s" in caplog.text


async def test_a_service_whose_start_was_cancelled_starts_with_the_next_workers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = home.queue()
    service = queue.add_service(Hanging(starts=False))
    starting = asyncio.create_task(queue.start_workers("default", 1))
    await service.begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    service.starts = True
    await queue.start_workers("default", 1)
    assert service.told == ["start", "start"]
    monkeypatch.setattr("wopr.access.services.END_SECONDS", 0.01)
    await queue.shutdown()


async def test_what_recovery_does_at_opening_is_told(durable_home: DuckDBHome) -> None:
    queue, gate = durable_home.queue(), Gate()

    @queue.task(name="work")
    async def work() -> None:
        await gate.wait()

    async with running(queue, default=1):
        await work.enqueue()
        await gate.arrivals()
        image = await durable_home.crash_image(queue)
    again, told = image.queue(), []
    again.on("task.*", lambda event: told.append(event.kind))
    async with again:
        pass
    assert told == ["task.recovered"]


async def test_a_handler_that_was_given_twice_is_taken_away_once(durable_home: DuckDBHome) -> None:
    queue, told = durable_home.queue(), []

    @queue.task(name="work")
    async def work() -> None: ...

    def handler(event: TaskEvent) -> None:
        told.append(event.kind)

    offs = [queue.on("task.enqueued", handler) for _ in range(2)]
    async with queue:
        engine = inside(queue).access._engine
        assert engine is not None
        observers = len(engine.shared.observers)
        offs[0]()
        offs[0]()
        await work.enqueue()
        assert told == ["task.enqueued"]
        offs[1]()
        await work.enqueue()
        assert told == ["task.enqueued"]
        assert len(engine.shared.observers) == observers - 1


async def test_a_handler_that_raises_a_cancellation_does_not_stop_the_queue(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work() -> str:
        return "done"

    @queue.on("task.enqueued")
    def cancelled(event: TaskEvent) -> None:
        raise asyncio.CancelledError

    async with running(queue, default=2):
        handles = await asyncio.gather(*(work.enqueue() for _ in range(10)))
        infos = await ended(queue, *(handle.id for handle in handles))
    assert {info.status for info in infos} == {TaskStatus.SUCCESS}
