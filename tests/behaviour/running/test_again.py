"""What a function raises to say by itself when it goes on; and calls that expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Home,
    SteppableClock,
    running,
    until,
    until_status,
)
from wopr import (
    InvalidCallError,
    RetryAfter,
    Snooze,
    TaskCancelledError,
    TaskFailedError,
    TaskInfo,
    TaskQueue,
    TaskStatus,
    current_task,
)

RETRY, PENDING, FAILED = TaskStatus.RETRY, TaskStatus.PENDING, TaskStatus.FAILED


def at_first(queue: TaskQueue, error: BaseException, **options: object) -> None:
    """Register a task whose first attempt raises."""

    @queue.register_task("busy", "c", **options)
    async def busy() -> str:
        if current_task().attempt == 1:
            raise error
        return "done"


async def seen(queue: TaskQueue, task_id: str, attempt: int, status: TaskStatus) -> TaskInfo:
    """Return the task once that attempt has left it in a status."""
    info = await until(
        lambda: queue.get_task_info(task_id),
        lambda one: one is not None and one.attempt == attempt and one.status is status,
    )
    assert info is not None
    return info


@pytest.mark.parametrize(
    "when",
    [
        30,
        30.0,
        timedelta(seconds=30),
        datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC),
        "30",
        "Thu, 01 Jan 2026 12:00:30 GMT",
    ],
    ids=repr,
)
async def test_the_task_chooses_when_it_is_tried_again(
    durable_home: DuckDBHome, when: object
) -> None:
    clock = SteppableClock(datetime(2026, 1, 1, 12, 0, tzinfo=UTC))
    queue = durable_home.queue(clock=clock)
    at_first(queue, RetryAfter(when, "429 of the API"))  # type: ignore[arg-type]
    async with running(queue, c=1):
        task_id = await queue.add_task("busy", max_retries=1)
        info = await until_status(queue, task_id, RETRY)
        assert (1, clock.now() + timedelta(seconds=30)) == (info.retry_count, info.run_at)
        assert "429 of the API" in str(info.error)
        clock.advance(30, queue)
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)
        history = await queue.get_history(task_id)
    assert "asked for by the task: 429 of the API" in [entry.reason for entry in history]


async def test_without_a_retry_left_it_fails(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    at_first(queue, RetryAfter(30))
    async with running(queue, c=1):
        handle = queue.handle(await queue.add_task("busy"))
        with pytest.raises(TaskFailedError, match="RetryAfter"):
            await handle.result(timeout=PATIENCE)


async def test_one_that_is_not_counted_needs_no_retry(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    at_first(queue, RetryAfter(30, counted=False))
    async with running(queue, c=1):
        task_id = await queue.add_task("busy")
        info = await until_status(queue, task_id, RETRY)
        assert 0 == info.retry_count
        clock.advance(30, queue)
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)


async def test_what_the_policy_does_not_retry_is_retried_when_the_task_asks(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    from tenacity import retry_if_exception_type, wait_fixed

    queue = durable_home.queue(clock=clock)
    at_first(queue, RetryAfter(5), retry=[wait_fixed(60), retry_if_exception_type(KeyError)])
    async with running(queue, c=1):
        task_id = await queue.add_task("busy", max_retries=1)
        info = await until_status(queue, task_id, RETRY)
    assert clock.now() + timedelta(seconds=5) == info.run_at


async def test_a_snooze_is_no_failure_and_costs_no_retry(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = durable_home.queue(clock=clock)
    at_first(queue, Snooze(60, "not yet"))
    async with running(queue, c=1):
        task_id = await queue.add_task("busy")
        info = await seen(queue, task_id, 1, PENDING)
        assert (0, None, clock.now() + timedelta(seconds=60)) == (
            info.retry_count,
            info.error,
            info.run_at,
        )
        explained = await queue.explain(task_id)
        assert "snoozed" == explained.reason
        assert [] == (await queue.sql("select * from failures")).rows
        clock.advance(60, queue)
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)
        history = await queue.get_history(task_id)
    assert "snoozed: not yet" in [entry.reason for entry in history]


async def test_a_snooze_outlives_a_restart(durable_home: DuckDBHome, clock: SteppableClock) -> None:
    queue = durable_home.queue(clock=clock)
    at_first(queue, Snooze(60))
    async with running(queue, c=1):
        task_id = await queue.add_task("busy")
        due = (await seen(queue, task_id, 1, PENDING)).run_at
    queue = durable_home.queue(clock=clock)
    at_first(queue, Snooze(60))
    async with running(queue, c=1):
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert due == info.run_at
        clock.advance(60, queue)
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)


async def test_a_snooze_lasts_its_span_when_the_clock_is_set_back(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    at_first(queue, Snooze(60))
    async with running(queue, c=1):
        task_id = await queue.add_task("busy")
        await seen(queue, task_id, 1, PENDING)
        clock.time -= timedelta(hours=1)
        clock.advance(61, queue)
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)


def asks(kind: str) -> str:
    """Ask from another process."""
    if current_task().attempt == 1:
        raise Snooze(0.01, "child") if kind == "snooze" else RetryAfter(0.01, counted=False)
    return "done"


@pytest.mark.parametrize("kind", ["snooze", "retry"])
async def test_a_worker_process_asks_too(durable_home: DuckDBHome, kind: str) -> None:
    queue = durable_home.queue()
    task = queue.task(name="asks", executor="process")(asks)
    async with running(queue, default=1):
        handle = await task.enqueue(kind)
        assert "done" == await handle.result(timeout=PATIENCE)
        info = await handle.info()
    assert (0, 2) == (info.retry_count, info.attempt)


@pytest.mark.parametrize("when", [-1, float("nan"), "soon", None, datetime(2026, 1, 1)])
def test_what_is_no_moment_is_refused(when: object) -> None:
    with pytest.raises(InvalidCallError, match="when"):
        RetryAfter(when)  # type: ignore[arg-type]


# -- expires -------------------------------------------------------------------------


@pytest.mark.parametrize("given", [60, timedelta(minutes=1), "moment"])
async def test_a_task_that_expired_is_cancelled_instead_of_started(
    home: Home, clock: SteppableClock, given: object
) -> None:
    queue = home.queue(clock=clock)
    ran: list[str] = []

    @queue.task(category="c")
    async def late() -> None:
        ran.append("late")

    expires = clock.now() + timedelta(minutes=1) if given == "moment" else given
    async with queue:
        handle = await late.options(expires=expires).enqueue()  # type: ignore[arg-type]
        in_time = await late.options(expires=3_600).enqueue()
        clock.advance(61, queue)
        await queue.start_workers("c", 1)
        with pytest.raises(TaskCancelledError, match="was cancelled"):
            await handle.result(timeout=PATIENCE)
        if isinstance(home, DuckDBHome):  # the others keep no reasons
            assert "expired" == (await queue.get_history(handle.id))[-1].reason
        await in_time.result(timeout=PATIENCE)
    assert ["late"] == ran


async def test_a_retry_is_not_started_after_it_either(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    at_first(queue, OSError("first"))
    async with running(queue, c=1):
        handle = await queue.enqueue("busy", max_retries=1, expires=1)
        await until_status(queue, handle.id, RETRY)
        clock.advance(2, queue)
        with pytest.raises(TaskCancelledError, match="was cancelled"):
            await handle.result(timeout=PATIENCE)


@pytest.mark.parametrize(
    "options",
    [
        {"expires": 0},
        {"expires": -1},
        {"expires": "tomorrow"},
        {"expires": datetime(2020, 1, 1, tzinfo=UTC)},
        {"expires": 5, "delay": 10},
    ],
    ids=repr,
)
async def test_what_could_never_run_is_refused(home: Home, options: dict[str, object]) -> None:
    queue = home.queue()
    at_first(queue, OSError())
    async with queue:
        with pytest.raises(InvalidCallError, match="expires"):
            await queue.enqueue("busy", **options)  # type: ignore[arg-type]
        assert 0 == (await queue.get_task_stats())["total"]
