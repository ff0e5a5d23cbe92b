"""What happens after a failure."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from tenacity import (
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_fixed,
    wait_none,
)
from tenacity.wait import wait_base

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Home,
    SteppableClock,
    ended,
    running,
    until,
    until_status,
)
from wopr import RetryPolicy, TaskFailedError, TaskInfo, TaskQueue, TaskStatus

RETRY, FAILED = TaskStatus.RETRY, TaskStatus.FAILED


async def waits_of(queue: TaskQueue, clock: SteppableClock, task_id: str) -> list[float]:
    """Let the task fail until it is FAILED; return the seconds each retry waited."""
    waits: list[float] = []
    info = await until_failed(queue, task_id, 1)
    while info.status is RETRY:
        assert info.run_at is not None
        waits.append((info.run_at - clock.now()).total_seconds())
        assert len(waits) == info.retry_count
        clock.advance(waits[-1], queue)
        info = await until_failed(queue, task_id, info.attempt + 1)
    return waits


async def until_failed(queue: TaskQueue, task_id: str, attempt: int) -> TaskInfo:
    """Return the task once that attempt has failed."""
    info = await until(
        lambda: queue.get_task_info(task_id),
        lambda seen: (
            seen is not None and seen.status in {RETRY, FAILED} and seen.attempt >= attempt
        ),
    )
    assert info is not None
    return info


def fail(queue: TaskQueue, **options: object) -> None:
    """Register a task that always fails."""

    @queue.register_task("fail", "c", **options)
    async def fail() -> None:
        raise OSError("disk on fire")


async def test_the_default_waits_double_up_to_a_minute(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=8)
        waits = await waits_of(queue, clock, task_id)
        info = await queue.get_task_info(task_id)
    assert [2, 4, 8, 16, 32, 60, 60, 60] == waits
    assert info is not None
    assert (FAILED, 8, 9, "OSError: disk on fire") == (
        info.status,
        info.retry_count,
        info.attempt,
        info.error,
    )


async def test_a_failure_without_retries_is_final(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        handle = queue.handle(await queue.add_task("fail"))
        with pytest.raises(TaskFailedError, match="failed after 1 attempt: OSError: disk on fire"):
            await handle.result(timeout=PATIENCE)
        info = await handle.info()
    assert (FAILED, 0, clock.now()) == (info.status, info.retry_count, info.completed_at)


@pytest.mark.parametrize(
    ("policy", "retries", "expected"),
    [
        (wait_fixed(7), 2, [7, 7]),
        (wait_exponential(multiplier=3, max=10), 4, [3, 6, 10, 10]),
        (stop_after_attempt(3), None, [2, 4]),
        ([wait_fixed(1), stop_after_attempt(2)], None, [1]),
        ([wait_fixed(1), stop_after_attempt(10)], 1, [1]),
        ([wait_fixed(3), retry_if_exception_type(OSError)], 2, [3, 3]),
        ([wait_fixed(1), retry_if_exception_type(KeyError)], 2, []),
        (RetryPolicy(wait=wait_fixed(1), dont_retry=(OSError,)), 2, []),
        (RetryPolicy(wait=wait_fixed(1), dont_retry=(KeyError,)), 2, [1, 1]),
    ],
)
@pytest.mark.parametrize("given_to", ["task", "call"])
async def test_any_tenacity_policy_decides(
    durable_home: DuckDBHome,
    clock: SteppableClock,
    policy: object,
    retries: int | None,
    expected: list[float],
    given_to: str,
) -> None:
    queue = durable_home.queue(clock=clock)
    fail(queue, **({"retry": policy} if given_to == "task" else {}))
    of_call = {"retry": policy} if given_to == "call" else {}
    async with running(queue, c=1):
        handle = await queue.enqueue("fail", max_retries=retries, **of_call)
        assert expected == await waits_of(queue, clock, handle.id)


async def test_jitter_spreads_the_waits(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock, rng=random.Random(3))
    fail(queue, retry=RetryPolicy(wait=wait_fixed(10), jitter=5))
    async with running(queue, c=1):
        waits = await waits_of(queue, clock, await queue.add_task("fail", max_retries=4))
    assert all(10 <= wait <= 15 for wait in waits)
    assert 4 == len(set(waits))


async def test_a_waiting_retry_holds_no_worker(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)

    @queue.register_task("other", "c")
    async def other() -> str:
        return "done"

    async with running(queue, c=1):
        failing = await queue.add_task("fail", max_retries=1)
        await until_status(queue, failing, RETRY)
        assert "done" == await queue.handle(await queue.add_task("other")).result(timeout=PATIENCE)
        info = await queue.get_task_info(failing)
        stats = await queue.get_task_stats()
    assert info is not None
    assert (RETRY, clock.now() + timedelta(seconds=2)) == (info.status, info.run_at)
    assert 0 == stats["running"]
    assert 1 == stats["queued"]


async def test_a_restart_keeps_the_due_time_of_a_retry(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=1)
        first = await until_status(queue, task_id, RETRY)

    clock.advance(1.5)
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        waiting = await queue.get_task_info(task_id)
        assert waiting is not None
        assert (RETRY, first.run_at, 1) == (waiting.status, waiting.run_at, waiting.retry_count)
        assert "retrying" == (await queue.explain(task_id)).reason
        clock.advance(0.5, queue)
        [info] = await ended(queue, task_id)
    assert (FAILED, 2) == (info.status, info.attempt)


async def test_a_waiting_retry_can_be_cancelled(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=1)
        await until_status(queue, task_id, RETRY)
        assert True is await queue.cancel_task(task_id)
        assert False is await queue.cancel_task(task_id)
        clock.advance(60, queue)
        info = await queue.get_task_info(task_id)
        history = await queue.get_history(task_id)
    assert info is not None
    assert (TaskStatus.CANCELLED, 1) == (info.status, info.attempt)
    assert info.completed_at is not None
    assert ["add", "claim", "retry", "cancel"] == [step.reason for step in history]


async def test_a_success_after_a_failure_clears_the_error(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    outcomes = iter([OSError("once"), None])

    @queue.register_task("flaky", "c", retry=wait_none())
    async def flaky() -> str:
        error = next(outcomes)
        if error:
            raise error
        return "well"

    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("flaky", max_retries=3))
        history = await queue.get_history(info.id)
    assert ("well", None, None, 1, 2) == (
        info.result,
        info.error,
        info.error_type,
        info.retry_count,
        info.attempt,
    )
    failed = [step for step in history if step.error is not None]
    assert ["OSError: once"] == [step.error for step in failed]


async def test_every_attempt_keeps_its_error_type_and_traceback(home: Home) -> None:
    queue = home.queue()
    errors = iter([KeyError("a"), ValueError(), LookupError("ü\ud800\0")])

    @queue.register_task("worse", "c", retry=wait_none())
    async def worse() -> None:
        raise next(errors)

    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("worse", max_retries=2))
        history = await queue.get_history(info.id)
    steps = [step for step in history if step.error is not None]
    assert ["KeyError: 'a'", "ValueError"] == [step.error for step in steps][:2]
    assert ["KeyError", "ValueError", "LookupError"] == [step.error_type for step in steps]
    assert [1, 2, 3] == [step.attempt for step in steps]
    for step in steps:
        assert step.traceback is not None
        assert "raise next(errors)" in step.traceback
        assert "wopr" not in step.traceback.replace(__file__, "")
    assert ("LookupError: ü\\ud800\\x00", "LookupError") == (info.error, info.error_type)


async def test_a_retry_by_hand_starts_afresh(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=2)
        assert [2, 4] == await waits_of(queue, clock, task_id)
    queue = home.queue(clock=clock)
    fail(queue)
    async with running(queue):
        assert True is await queue.retry_task(task_id)
        assert False is await queue.retry_task(task_id)
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (TaskStatus.PENDING, 0, None, None, None, None, None, 0.0, 0.0, "") == (
            info.status,
            info.retry_count,
            info.error,
            info.error_type,
            info.result,
            info.started_at,
            info.completed_at,
            info.elapsed_seconds,
            info.progress,
            info.progress_message,
        )
        await queue.start_workers("c")
        assert [2, 4] == await waits_of(queue, clock, task_id)  # the whole budget again
        info = await queue.get_task_info(task_id)
    assert info is not None
    assert (FAILED, 2, 6) == (info.status, info.retry_count, info.attempt)


async def test_only_failed_tasks_can_be_retried_by_hand(home: Home) -> None:
    queue = home.queue()
    queue.register_task("fine", "c")(lambda: 1)
    async with running(queue):
        waiting = await queue.add_task("fine")
        assert False is await queue.retry_task(waiting)
        await queue.cancel_task(waiting)
        assert False is await queue.retry_task(waiting)
        await queue.start_workers("c")
        [info] = await ended(queue, await queue.add_task("fine"))
        assert False is await queue.retry_task(info.id)
        assert False is await queue.retry_task("0190cafe-0000-7000-8000-000000000000")
        assert False is await queue.retry_task("no id at all")
    assert TaskStatus.SUCCESS is info.status


async def test_a_policy_that_breaks_ends_the_task_and_says_so(home: Home) -> None:
    queue = home.queue()

    def broken(state: object) -> float:
        raise ZeroDivisionError("no clue")

    class Broken(wait_base):
        def __call__(self, retry_state: object) -> float:
            return broken(retry_state)

    fail(queue, retry=Broken())
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("fail", max_retries=5))
        history = await queue.get_history(info.id)
    assert (FAILED, "OSError: disk on fire", 1) == (info.status, info.error, info.attempt)
    assert "ZeroDivisionError" in history[-1].reason
