"""Defects of the first version (Gobstopper's TaskQueue) in how tasks are run, by number."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    MemoryStorage,
    SteppableClock,
    ended,
    run_out_of_time,
    running,
    until,
    until_status,
)
from wopr import Settings, StorageError, TaskInfo, TaskPriority, TaskQueue, TaskStatus

PENDING, STARTED, RETRY = TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY
SUCCESS, FAILED, CANCELLED = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED


def note(queue: TaskQueue, name: str = "note") -> list[int]:
    """Register a task that notes its number."""
    started: list[int] = []

    @queue.register_task(name, "c")
    async def note(n: int) -> int:
        started.append(n)
        return n

    return started


async def test_s4_03_same_priority_runs_in_enqueue_order(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """Ties were resolved by random uuid: 2,0,4,3,7,9,10,1,6,8,11,5."""
    queue = home.queue(clock=clock)
    started = note(queue)
    async with running(queue):
        ids = [await queue.add_task("note", n=n) for n in range(12)]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert list(range(12)) == started


async def test_s4_04_a_cancelled_task_does_not_run(home: DuckDBHome) -> None:
    """The queued object was not the one that cancel marked: it ran and ended SUCCESS."""
    queue = home.queue()
    started = note(queue)
    async with running(queue):
        first, second = [await queue.add_task("note", n=n) for n in range(2)]
        assert await queue.cancel_task(first)
        await queue.start_workers("c")
        await ended(queue, second)
        info = await queue.get_task_info(first)
    assert [1] == started
    assert info is not None
    assert (CANCELLED, True) == (info.status, info.completed_at is not None)


async def test_s4_05_a_retry_s_wait_holds_no_worker(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """The back-off slept inside the worker and counted as running."""
    queue = home.queue(clock=clock)
    started = note(queue)
    queue.register_task("fail", "c")(lambda: 1 / 0)
    async with running(queue, c=1):
        failing = await queue.add_task("fail", max_retries=5)
        await until_status(queue, failing, RETRY)
        await ended(queue, await queue.add_task("note", n=1))  # no time passes meanwhile
        stats = await queue.get_task_stats()
    assert [1] == started
    assert (0, {}) == (stats["running"], queue.running_tasks)


async def test_s4_06_a_task_in_retry_can_be_cancelled(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """cancel_task answered False for RETRY."""
    queue = home.queue(clock=clock)
    queue.register_task("fail", "c")(lambda: 1 / 0)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=5)
        await until_status(queue, task_id, RETRY)
        assert True is await queue.cancel_task(task_id)
        [info] = await ended(queue, task_id)
    assert (CANCELLED, 1) == (info.status, info.attempt)


async def _crash(home: DuckDBHome, clock: SteppableClock) -> tuple[DuckDBHome, list[str]]:
    """Leave a crash with a task each in PENDING, RETRY and STARTED; return their ids."""
    queue = home.queue(clock=clock)
    gate = Gate()

    @queue.register_task("note", "c")
    async def work(n: int) -> None:
        if n == 1:
            raise OSError("again")
        await gate.wait()

    async with running(queue, c=1):
        retrying = await queue.add_task("note", max_retries=3, n=1)
        await until_status(queue, retrying, RETRY)
        started = await queue.add_task("note", n=2)
        await gate.arrivals()
        pending = await queue.add_task("note", n=3)
        image = await home.crash_image(queue)
        gate.open()
    return image, [pending, retrying, started]


async def test_s4_07_a_restart_goes_on_with_every_row(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """PENDING, RETRY and STARTED rows stayed as they were for ever."""
    image, ids = await _crash(home, clock)
    queue = image.queue(clock=clock)
    started = note(queue)
    async with running(queue, c=1):
        clock.advance(10, queue)
        infos = await ended(queue, *ids)
    assert {SUCCESS} == {info.status for info in infos}
    assert [1, 2, 3] == sorted(started)


async def test_s4_08_recovery_runs_nothing_twice(home: DuckDBHome) -> None:
    """Tasks added before start_workers ran 2 or 3 times; more than 1000 were not recovered."""
    queue = home.queue(settings=Settings(window=100))

    @queue.task(name="note", category="c")
    async def before(n: int) -> None: ...

    async with running(queue):
        handles = await before.enqueue_many([(n,) for n in range(1_100)])
    queue = home.queue(settings=Settings(window=100))
    started = note(queue)
    async with running(queue):
        last = await queue.add_task("note", n=1_100)
        await queue.start_workers("c", 2)
        await queue.recover_tasks()
        await queue.start_workers("c", 2)
        await queue.recover_tasks("c")
        await ended(queue, *(handle.id for handle in handles), last)
    assert list(range(1_101)) == sorted(started)


async def test_s4_09_shutdown_lets_running_tasks_end(home: DuckDBHome) -> None:
    """It killed the running task; the row stayed STARTED; a thread's result was lost."""
    queue = home.queue()
    gate = Gate()
    release, entered = threading.Event(), threading.Event()

    @queue.register_task("block", "c")
    def block() -> str:
        entered.set()
        release.wait(PATIENCE)
        return "end"

    queue.register_task("wait", "c")(gate.wait)
    await queue.start_workers("c", 2)
    ids = [await queue.add_task("wait", who="end"), await queue.add_task("block")]
    await gate.arrivals()
    assert await asyncio.to_thread(entered.wait, PATIENCE)
    stopping = asyncio.create_task(queue.shutdown(timeout=PATIENCE))
    await asyncio.sleep(0)
    gate.open()
    release.set()
    await stopping
    async with running(home.queue()) as later:
        infos = [await later.get_task_info(task_id) for task_id in ids]
    assert [(SUCCESS, "end")] * 2 == [(info.status, info.result) for info in infos if info]


async def test_s4_10_a_queue_can_be_used_after_shutdown(home: DuckDBHome) -> None:
    """The event was never cleared: new workers exited at once, without error."""
    queue = home.queue()
    started = note(queue)
    for n in range(2):
        await queue.start_workers("c")
        await ended(queue, await queue.add_task("note", n=n))
        await queue.shutdown()
    assert [0, 1] == started


async def test_s4_11_a_cancelled_error_of_a_task_kills_no_worker(home: DuckDBHome) -> None:
    """It killed the worker for good and left the row STARTED."""
    queue = home.queue()
    started = note(queue)

    @queue.register_task("bad", "c")
    async def bad() -> None:
        raise asyncio.CancelledError

    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("bad"))
        await ended(queue, await queue.add_task("note", n=1))
    assert FAILED is info.status
    assert [1] == started


async def test_s4_18_an_unregistered_name_waits(home: DuckDBHome) -> None:
    """FAILED at once: tasks recovered before registration were burnt."""
    queue = home.queue()
    note(queue)
    async with running(queue):
        task_id = await queue.add_task("note", n=1)
    queue = home.queue()
    other = note(queue, "other")
    async with running(queue, c=1):
        await ended(queue, await queue.add_task("other", n=2))
        info = await queue.get_task_info(task_id)
        assert info is not None
        assert (PENDING, 0) == (info.status, info.attempt)
        assert "unregistered" == (await queue.explain(task_id)).reason
        started = note(queue)
        await ended(queue, task_id)
    assert ([2], [1]) == (other, started)


class AsyncCall:
    """An object whose call is a coroutine."""

    async def __call__(self) -> str:
        await asyncio.sleep(0)
        return "awaited"


async def test_s4_23_an_object_with_an_async_call_is_awaited(home: DuckDBHome) -> None:
    """Treated as sync: the coroutine became the result and the row stayed STARTED."""
    queue = home.queue()
    queue.register_task("object", "c")(AsyncCall())
    async with running(queue, c=1):
        assert "awaited" == await (await queue.enqueue("object")).result(timeout=PATIENCE)


async def test_s4_25_the_database_is_never_used_on_the_event_loop(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synchronous calls on the loop; no close, no timeout, no log of tries."""
    from wopr.storage.duckdb import applied, reads

    folds, asked = set[int](), set[int]()
    apply, history = applied._apply, reads.history

    def watched_apply(*arguments: Any) -> None:
        folds.add(threading.get_ident())
        apply(*arguments)

    def watched_history(*arguments: Any) -> Any:
        asked.add(threading.get_ident())
        return history(*arguments)

    monkeypatch.setattr(applied, "_apply", watched_apply)
    monkeypatch.setattr(reads, "history", watched_history)
    queue = home.queue()
    note(queue)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("note", n=1))
        assert 3 == len(await queue.get_history(info.id))
    assert (1, 1) == (len(folds), len(asked))
    assert threading.get_ident() not in folds | asked
    ours = ("wopr-writer", "wopr-journal", "wopr-reader", "wopr-sql", "wopr-space")
    assert not [one.name for one in threading.enumerate() if one.name.startswith(ours)]


async def test_s4_26_workers_have_names_of_their_own(home: DuckDBHome) -> None:
    """Ids restarted at 0 on a second start_workers: equal lease owners."""
    queue = home.queue()
    async with running(queue, c=2):
        await queue.start_workers("c", 2)
        await queue.start_workers("d", 1)
        names = [worker.name for pool in queue.workers.values() for worker in pool]
    assert 5 == len(names) == len(set(names))


async def test_s4_27_priority_comes_before_age(home: DuckDBHome) -> None:
    """The claim sorted by time first: a LOW task added first ran before CRITICAL."""
    queue = home.queue()
    started = note(queue)
    async with running(queue):
        ids = [
            await queue.add_task("note", "c", TaskPriority.LOW, n=1),
            await queue.add_task("note", "c", TaskPriority.CRITICAL, n=2),
        ]
        await queue.start_workers("c")
        await ended(queue, *ids)
    assert [2, 1] == started


async def test_s4_28_a_file_of_the_first_version_is_taken_over(home: DuckDBHome) -> None:
    """Index on a missing column before ALTER: BinderException; then columns by wrong position."""
    import duckdb

    task_id = "0b8f4f0e-5c1e-4e6b-9d55-0d6b6b0f5a11"
    with duckdb.connect(str(home.path)) as connection:
        connection.execute(
            "CREATE TABLE tasks (id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, category VARCHAR "
            "NOT NULL, priority INTEGER NOT NULL, status VARCHAR NOT NULL, created_at TIMESTAMP "
            "NOT NULL, started_at TIMESTAMP, completed_at TIMESTAMP, elapsed_seconds DOUBLE, "
            "result JSON, error TEXT, retry_count INTEGER DEFAULT 0, max_retries INTEGER DEFAULT "
            "0, args JSON, kwargs JSON, progress DOUBLE, progress_message VARCHAR)"
        )
        connection.execute(
            "INSERT INTO tasks VALUES (?, 'note', 'c', 3, 'pending', '2025-01-02', NULL, NULL, 0, "
            "NULL, NULL, 0, 2, '[]', '{\"n\": 5}', 0, '')",
            [task_id],
        )
    queue = home.queue()
    started = note(queue)
    async with running(queue, c=1):
        [info] = await ended(queue, task_id)
    assert [5] == started
    assert (TaskPriority.HIGH, 2, SUCCESS, 5) == (
        info.priority,
        info.max_retries,
        info.status,
        info.result,
    )


async def test_s4_29_a_restart_at_once_recovers_what_was_running(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """Restart inside the 30 s lease: the row stayed STARTED for ever."""
    image, [_, _, running_id] = await _crash(home, clock)
    queue = image.queue(clock=clock)  # not a second later
    note(queue)
    async with running(queue, c=1):
        [info] = await ended(queue, running_id)
    assert (SUCCESS, 2, 1) == (info.status, info.attempt, info.crashes)


class Failing(MemoryStorage):
    """A storage that refuses everything but new rows until it is told to behave."""

    def __init__(self) -> None:
        """Refuse at first."""
        super().__init__()
        self.refused = 0
        self.broken = True

    def save_task(self, task_info: TaskInfo) -> None:
        """Keep new rows only, as long as it is broken."""
        if self.broken and task_info.status is not PENDING:
            self.refused += 1
            raise OSError("no space left on device")
        super().save_task(task_info)


async def test_s4_30_a_storage_that_fails_freezes_nothing() -> None:
    """A storage error in the claim looped without await: 20,000 spins, a frozen loop."""
    storage = Failing()
    queue = TaskQueue(enabled=True, storage_factory=lambda: storage)
    started = note(queue)
    turns = 0

    async def spin() -> int:
        nonlocal turns
        turns += 1
        return storage.refused

    async with running(queue):
        task_id = await queue.add_task("note", n=1)
        await queue.start_workers("c")
        await until(spin, lambda refused: refused >= 3)
        assert turns > 10 * storage.refused  # the loop goes round between the tries
        assert [] == started
        storage.broken = False
        [info] = await ended(queue, task_id)
    assert (SUCCESS, [1]) == (info.status, started)


async def test_s4_30_a_caller_is_told_that_the_storage_failed() -> None:
    """The other half: what is not stored is not acknowledged."""
    storage = MemoryStorage()
    queue = TaskQueue(enabled=True, storage_factory=lambda: storage)
    note(queue)
    async with running(queue):
        storage.save_task = lambda task_info: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            await queue.add_task("note", n=1)
        assert [] == await queue.get_tasks()


async def test_s4_34_a_crash_loop_is_limited_and_stale_outcomes_change_nothing(
    home: DuckDBHome,
) -> None:
    """A reclaimed crash-looping task was never limited; a final save overwrote a newer lease."""
    image, task_id = home, ""
    for _ in range(2):
        queue = image.queue(settings=Settings(max_crashes=2))
        gate = Gate()
        queue.register_task("killer", "c")(gate.wait)
        async with running(queue, c=1):
            task_id = task_id or await queue.add_task("killer", max_retries=9)
            await gate.arrivals()
            image = await image.crash_image(queue)
            gate.open()
    async with running(image.queue(settings=Settings(max_crashes=2))) as queue:
        info = await queue.get_task_info(task_id)
    assert info is not None
    assert (FAILED, "CrashLoop", 2) == (info.status, info.error_type, info.attempt)

    queue = home.queue(rng=random.Random(1))
    release, entered, left = threading.Event(), threading.Event(), threading.Event()

    @queue.register_task("slow", "c")
    def slow() -> str:
        entered.set()
        release.wait(PATIENCE)
        left.set()
        return "stale"

    async with running(queue, c=1):
        handle = await queue.enqueue("slow", timeout=3_600, max_retries=0)
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        run_out_of_time(queue, handle.id)
        [before] = await ended(queue, handle.id)
        release.set()
        assert await asyncio.to_thread(left.wait, PATIENCE)
        await queue.get_task_stats()
        assert before == await handle.info()
    assert (FAILED, None) == (before.status, before.result)
