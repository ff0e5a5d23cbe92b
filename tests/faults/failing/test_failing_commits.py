"""A write of the journal fails: before or after it reached the disk, once or for a while."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path
from typing import Any

import pytest

from faults.failing.conftest import PATIENCE, TRIES, Fault, held_up, until
from support.audit import clean
from support.queues import DuckDBHome
from wopr import TaskQueue, TaskStatus, current_task
from wopr.domain.errors import StorageError
from wopr.queue.queue import inside
from wopr.storage.duckdb import writecalls

FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")
FOREVER = 1_000_000
SPAN = 1.5
"""Seconds in which a busy loop would show."""

ERRORS = pytest.mark.parametrize("error", [FULL, BROKEN], ids=["full", "broken"])
WHEN = pytest.mark.parametrize(
    ("when", "tries"), [("before", 2), ("after", 2), ("before", 1), ("after", 1)]
)
"""Refused, or on disk and reported as failed; for good, or until it is tried once more."""


def _counted(queue: TaskQueue) -> tuple[Any, list[tuple[str, int]]]:
    runs: list[tuple[str, int]] = []

    @queue.task(name="double", category="c")
    async def double(n: int) -> int:
        runs.append((current_task().id, current_task().attempt))
        return n * 2

    return double, runs


def _held(queue: TaskQueue) -> tuple[Any, asyncio.Event, asyncio.Event]:
    began, go_on = asyncio.Event(), asyncio.Event()

    @queue.task(name="held", category="c")
    async def held() -> str:
        began.set()
        await go_on.wait()
        return "done"

    return held, began, go_on


# -- adding --------------------------------------------------------------------


@ERRORS
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_write_that_fails_is_an_error_and_leaves_no_task(
    queue: TaskQueue, fault: Fault, error: Exception, when: str
) -> None:
    double, _ = _counted(queue)
    first = await double.enqueue(1)

    fault.arm(1, **{when: error})
    with pytest.raises(StorageError, match="acknowledged"):
        await double.enqueue(2)
    third = await double.enqueue(3)

    assert {first.id, third.id} == {info.id for info in await queue.get_tasks()}
    await queue.start_workers("c", 2)
    assert 6 == await third.result(timeout=PATIENCE)


@ERRORS
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_write_that_succeeds_when_it_is_tried_once_more_is_a_success(
    queue: TaskQueue, fault: Fault, error: Exception, when: str
) -> None:
    double, runs = _counted(queue)

    fault.arm(1, tries=1, **{when: error})
    handle = await double.enqueue(2)

    await queue.start_workers("c", 2)
    assert 4 == await handle.result(timeout=PATIENCE)
    assert [(handle.id, 1)] == runs


@pytest.mark.parametrize("dead", [False, True])
async def test_what_was_refused_is_not_there_later_although_it_reached_the_disk(
    queue: TaskQueue, fault: Fault, path: Path, dead: bool
) -> None:
    double, _ = _counted(queue)
    kept = await double.enqueue(1)

    fault.arm(FOREVER, after=BROKEN)
    fault.dead = dead  # nor can what is there be made unreadable
    for number in (2, 3):
        with pytest.raises(StorageError):
            await double.enqueue(number)
    fault.mend()

    last = await double.enqueue(4)
    image = await DuckDBHome(path).crash_image(queue)
    assert {kept.id, last.id} == {info.id for info in await queue.get_tasks()}
    assert {kept.id, last.id} == clean(image.path).folded.keys()


async def test_a_text_that_cannot_be_stored_does_not_take_its_neighbours_along(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, _ = _counted(queue)
    handles = [await double.enqueue(0)]
    encode = writecalls.transition_record

    def spoiled(record: Any, transition: Any) -> str:
        text = encode(record, transition)
        if record.args == "[13]":
            return text + "\ud800"  # half a surrogate pair: no column can hold it
        return text

    monkeypatch.setattr(writecalls, "transition_record", spoiled)
    async with held_up(queue, rows=9):  # so that they share a group
        calls = asyncio.gather(*(double.enqueue(n) for n in range(10, 20)), return_exceptions=True)
    results = await calls

    refused = [n for n, result in enumerate(results, 10) if isinstance(result, StorageError)]
    assert [13] == refused
    handles += [result for result in results if not isinstance(result, BaseException)]
    assert {h.id for h in handles} == {info.id for info in await queue.get_tasks()}


async def test_a_worker_that_was_to_run_what_cannot_be_stored_takes_the_next_task(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, runs = _counted(queue)
    await queue.start_workers("c", 1)
    encode = writecalls.transition_record

    def spoiled(record: Any, transition: Any) -> str:
        if record.args == "[13]":
            raise StorageError("a number is out of its bounds")
        return encode(record, transition)

    monkeypatch.setattr(writecalls, "transition_record", spoiled)
    keyed = double.options(unique_key="key")
    with pytest.raises(StorageError, match="out of its bounds"):
        await keyed.enqueue(13)
    handle = await keyed.enqueue(1)

    assert 2 == await handle.result(timeout=PATIENCE)
    assert [(handle.id, 1)] == runs


# -- claiming and settling ------------------------------------------------------


@ERRORS
@WHEN
async def test_a_claim_that_fails_is_tried_again_and_the_task_runs_once(
    queue: TaskQueue, fault: Fault, error: Exception, when: str, tries: int
) -> None:
    double, runs = _counted(queue)
    handles = await double.enqueue_many([(n,) for n in range(5)])

    fault.arm(1, tries=tries, **{when: error})
    await queue.start_workers("c", 2)

    assert [0, 2, 4, 6, 8] == [await handle.result(timeout=PATIENCE) for handle in handles]
    assert sorted((handle.id, 1) for handle in handles) == sorted(runs)


@ERRORS
@WHEN
async def test_an_outcome_that_cannot_be_stored_is_stored_later_and_the_task_not_run_again(
    queue: TaskQueue, fault: Fault, error: Exception, when: str, tries: int
) -> None:
    held, began, go_on = _held(queue)
    await queue.start_workers("c", 1)
    handle = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)

    fault.arm(3 if tries > 1 else 1, tries=tries, **{when: error})
    go_on.set()

    assert "done" == await handle.result(timeout=PATIENCE)
    info = await handle.info()
    assert (TaskStatus.SUCCESS, 1, "done") == (info.status, info.attempt, info.result)


async def test_a_waiting_task_whose_cancellation_failed_still_runs(
    queue: TaskQueue, fault: Fault
) -> None:
    double, _ = _counted(queue)
    held, began, go_on = _held(queue)
    await queue.start_workers("c", 1)
    first = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)
    waiting = await double.enqueue(4)

    async with held_up(queue, rows=2):
        fault.arm(1, before=FULL)
        cancelling = asyncio.create_task(waiting.cancel())  # in flight while the worker looks
        await asyncio.sleep(0)
        go_on.set()
    with pytest.raises(StorageError):
        await cancelling

    assert 8 == await waiting.result(timeout=PATIENCE)
    assert "done" == await first.result(timeout=PATIENCE)


async def test_a_task_that_ended_while_its_cancellation_failed_is_settled(
    queue: TaskQueue, fault: Fault
) -> None:
    held, began, go_on = _held(queue)
    await queue.start_workers("c", 1)
    handle = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)

    async with held_up(queue, rows=1):
        fault.arm(1, before=FULL)
        cancelling = asyncio.create_task(handle.cancel())
        await asyncio.sleep(0)
        go_on.set()  # it ends while nobody knows yet whether it was cancelled
        await until(lambda: handle.id not in inside(queue).access.pools["c"].running)
    with pytest.raises(StorageError):
        await cancelling

    assert "done" == await handle.result(timeout=PATIENCE)


async def test_a_retry_that_fails_leaves_the_task_failed_and_can_be_repeated(
    queue: TaskQueue, fault: Fault
) -> None:
    fails = True

    @queue.task(name="moody", category="c")
    async def moody() -> str:
        if fails:
            raise ValueError("not yet")
        return "now"

    await queue.start_workers("c", 1)
    handle = await moody.enqueue()
    assert TaskStatus.FAILED is (await queue.wait(handle.id, timeout=PATIENCE)).status

    fault.arm(1, before=FULL)
    with pytest.raises(StorageError):
        await queue.retry_task(handle.id)
    assert TaskStatus.FAILED is await handle.status()
    fails = False
    assert await queue.retry_task(handle.id)

    assert "now" == await handle.result(timeout=PATIENCE)


# -- going on ------------------------------------------------------------------------


async def _tries_in_a_span(fault: Fault) -> float:
    """Return how often a group is tried in the span; nothing may use a processor meanwhile."""
    tried, used, began = fault.tried, time.process_time(), time.monotonic()
    await asyncio.sleep(SPAN)
    longer = (time.monotonic() - began) / SPAN  # on a busy machine
    assert time.process_time() - used < SPAN / 2 * longer
    return (fault.tried - tried) / TRIES / longer


async def test_a_storage_that_keeps_failing_is_left_alone_more_and_more(
    queue: TaskQueue, fault: Fault
) -> None:
    double, runs = _counted(queue)
    held, began, go_on = _held(queue)
    await queue.start_workers("c", 2)
    running = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)
    handles = [await double.enqueue(n) for n in range(3)]
    for handle in handles:
        await queue.wait(handle.id, timeout=PATIENCE)

    fault.arm(FOREVER, before=FULL)
    go_on.set()
    with pytest.raises(StorageError):
        await double.enqueue_many([(n,) for n in range(100)])
    assert await _tries_in_a_span(fault) <= 12
    fault.mend()

    assert "done" == await running.result(timeout=PATIENCE)
    assert 3 == len(runs)


async def test_waiting_tasks_do_not_make_a_failing_storage_busy(
    queue: TaskQueue, fault: Fault
) -> None:
    double, runs = _counted(queue)
    handles = await double.enqueue_many([(n,) for n in range(200)])
    fault.arm(FOREVER, before=BROKEN)
    await queue.start_workers("c", 10)
    tried = fault.tried
    assert await _tries_in_a_span(fault) <= 12
    await until(lambda: fault.tried > tried)  # it has not given up
    assert [] == runs
    fault.mend()

    for handle in handles:
        await handle.result(timeout=PATIENCE)
    assert 200 == len(runs)


async def test_a_shutdown_ends_although_the_storage_fails_and_the_next_opening_mends_it(
    path: Path, fault: Fault
) -> None:
    accidents: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: accidents.append(str(context))
    )
    queue = TaskQueue(enabled=True, database=path)
    held, began, _ = _held(queue)
    await queue.start_workers("c", 1)
    handle = await held.enqueue()
    await asyncio.wait_for(began.wait(), PATIENCE)

    fault.arm(FOREVER, before=FULL)
    async with asyncio.timeout(PATIENCE):
        await queue.shutdown(timeout=0.01)
    fault.mend()
    clean(path)

    again = TaskQueue(enabled=True, database=path)

    @again.task(name="held", category="c")
    async def held_again() -> str:
        return "done by the next one"

    async with again:
        await again.start_workers("c", 1)
        info = await again.wait(handle.id, timeout=PATIENCE)
    assert ("done by the next one", 2) == (info.result, info.attempt)
    assert [] == accidents


async def test_a_revoked_task_whose_cancel_fails_is_cancelled_later_and_not_too_eagerly(
    queue: TaskQueue, fault: Fault
) -> None:
    double, runs = _counted(queue)
    await queue.revoke(task="double", standing=True)
    handle = await double.enqueue(1)
    backed_off = []
    engine = inside(queue).access._engine
    assert engine is not None
    pool = engine.pool("c")
    back_off = pool.back_off

    def noted() -> float:
        backed_off.append(fault.tried)
        return back_off()

    pool.back_off = noted  # type: ignore[method-assign]
    fault.arm(3, before=FULL)
    await queue.start_workers("c", 1)
    info = await queue.wait(handle.id, timeout=PATIENCE)
    assert info.status is TaskStatus.CANCELLED
    assert len(backed_off) == 3
    assert [] == runs
