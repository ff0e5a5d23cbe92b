"""A write fails that would have let waiting tasks go: they still go, once, in the right order."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faults.failing.conftest import PATIENCE, Fault, until
from support.audit import clean
from wopr import (
    OnConflict,
    OnParentFailure,
    ResultOf,
    Settings,
    StorageError,
    TaskHandle,
    TaskQueue,
    TaskStatus,
)
from wopr.calls.tasks import new_task
from wopr.domain.clock import SystemClock
from wopr.engine.engine import Engine
from wopr.queue.queue import inside
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.journal.journal import Journal
from wopr.storage.duckdb.journal.records import END, SEPARATOR
from wopr.storage.duckdb.storage import DuckDBStorage
from wopr.storage.duckdb.write import Write

ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
]
WHEN = pytest.mark.parametrize("when", ["before", "after"])
FAIL = OnParentFailure.FAIL
WHAT = pytest.mark.parametrize("error", ERRORS, ids=["full", "broken"])


class Steps:
    """A task that can be held, one that adds, one that notes when the others ran."""

    def __init__(self, queue: TaskQueue) -> None:
        """Register them."""
        self.ran: list[Any] = []
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

        @queue.register_task("held", "c")
        async def held(*, fails: bool = False) -> int:
            self.began.set()
            await self.go_on.wait()
            self.ran.append("held")
            if fails:
                raise ValueError("broken")
            return 1

        @queue.register_task("add", "c")
        async def add(left: int | None, right: int = 1) -> int:
            self.ran.append((left, right))
            return (left or 0) + right


@WHAT
@WHEN
async def test_a_child_runs_once_although_the_write_that_releases_it_failed(
    queue: TaskQueue, fault: Fault, error: Exception, when: str
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 2)
    parent = await queue.enqueue("held")
    await asyncio.wait_for(steps.began.wait(), PATIENCE)
    child = await queue.enqueue("add", (ResultOf(parent),))
    last = await queue.enqueue("add", (ResultOf(child),))

    fault.arm(3, **{when: error})
    steps.go_on.set()

    assert 3 == await last.result(timeout=PATIENCE)
    assert ["held", (1, 1), (2, 1)] == steps.ran


@WHAT
@WHEN
@pytest.mark.parametrize("choice", [OnParentFailure.CANCEL, OnParentFailure.FAIL])
async def test_children_end_although_the_write_that_ends_them_failed(
    queue: TaskQueue, fault: Fault, error: Exception, when: str, choice: OnParentFailure
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held", (), {"fails": True})
    await asyncio.wait_for(steps.began.wait(), PATIENCE)
    child = await queue.enqueue("add", (ResultOf(parent),), on_parent_failure=choice)
    behind = await queue.enqueue("add", (ResultOf(child),))

    fault.arm(4, **{when: error})
    steps.go_on.set()

    wanted = TaskStatus.FAILED if choice is OnParentFailure.FAIL else TaskStatus.CANCELLED
    assert wanted is (await queue.wait(child.id, timeout=PATIENCE)).status
    assert TaskStatus.CANCELLED is (await queue.wait(behind.id, timeout=PATIENCE)).status
    assert ["held"] == steps.ran


@WHAT
async def test_a_waiting_task_whose_cancellation_failed_goes_on_waiting(
    queue: TaskQueue, fault: Fault, error: Exception
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held")
    await asyncio.wait_for(steps.began.wait(), PATIENCE)
    child = await queue.enqueue("add", (ResultOf(parent),))

    fault.arm(1, before=error)
    with pytest.raises(Exception, match="refused the write"):
        await child.cancel()
    assert (await child.info()).waiting
    steps.go_on.set()

    assert 2 == await child.result(timeout=PATIENCE)


async def test_a_flow_that_cannot_be_stored_leaves_nothing_behind(
    queue: TaskQueue, fault: Fault
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held")
    await asyncio.wait_for(steps.began.wait(), PATIENCE)

    fault.arm(1, before=ERRORS[0])
    with pytest.raises(Exception, match="refused the write"):
        await queue.enqueue("add", (ResultOf(parent),))
    child = await queue.enqueue("add", (ResultOf(parent),))
    steps.go_on.set()

    assert 2 == await child.result(timeout=PATIENCE)
    assert {parent.id, child.id} == {info.id for info in await queue.get_tasks()}
    assert ["held", (1, 1)] == steps.ran


# -- between a write and what follows from it --------------------------------------------


class Line(NamedTuple):
    """What a record of the journal says."""

    task_id: str
    status: str
    reason: str


def lines_of(write: Write | Group) -> list[Line]:
    """Return what the records of a write, or of a group, say."""
    if write.operations or not write.count:
        return []
    found = (line.split(SEPARATOR) for line in write.content.decode().split(END))
    return [Line(fields[2], fields[6], fields[8]) for fields in found]


class Picky:
    """Lets chosen transitions fail, and holds back what follows from writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: Callable[[Line], bool] = lambda line: False
        """Which records can't be written; asked once for each."""
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.holds: Callable[[Line], bool] = lambda line: False
        """After which records nobody is told of any write until :meth:`tell`."""
        self._held: list[tuple[DuckDBStorage, Any]] = []
        append, deliver = Journal._append, DuckDBStorage._deliver

        def failing_append(journal: Journal, group: Group) -> None:
            if any(map(self.fails, lines_of(group))):
                self.entered.set()
                assert self.go.wait(PATIENCE)
                raise OSError(errno.EIO, "this record can't be written")
            append(journal, group)

        def holding_deliver(storage: DuckDBStorage, results: Any) -> None:
            if self._held or any(self.holds(line) for one, _ in results for line in lines_of(one)):
                self._held.append((storage, results))
            else:
                deliver(storage, results)

        self._deliver = deliver
        # Held up is the journal's thread: here nothing is written in the one that runs the test.
        monkeypatch.setattr(Inline, "allowed", lambda inline, now: False)
        monkeypatch.setattr(Journal, "_append", failing_append)
        monkeypatch.setattr(DuckDBStorage, "_deliver", holding_deliver)

    async def held(self, groups: int) -> None:
        """Wait until what follows from so many groups is held back."""
        await until(lambda: len(self._held) >= groups)

    def tell(self) -> None:
        """Tell all that was held back."""
        self.holds = lambda line: False
        held, self._held = self._held, []
        for storage, results in held:
            self._deliver(storage, results)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> Picky:
    return Picky(monkeypatch)


def reason_is(reason: str, times: int = 1000) -> Callable[[Line], bool]:
    """Return what picks records with this reason, so many times."""
    left = iter(range(times))
    return lambda line: line.reason == reason and next(left, None) is not None


def status_is(status: TaskStatus, task_id: str, times: int = 1000) -> Callable[[Line], bool]:
    """Return what picks records that lead this task to this status, so many times."""
    left = iter(range(times))
    return lambda line: (
        (line.status, line.task_id) == (status, task_id) and next(left, None) is not None
    )


def other_category(queue: TaskQueue, ran: list[str]) -> None:
    """Register a task in a category that has no workers yet."""

    @queue.register_task("other", "d")
    async def other() -> int:
        ran.append("other")
        return len(ran)


def engine_of(queue: TaskQueue) -> Engine:
    engine = inside(queue).access._engine
    assert engine is not None
    return engine


async def freed(queue: TaskQueue, steps: Steps) -> TaskHandle[Any]:
    """Return a task whose parent has ended, which nobody runs and no transition says."""
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held")
    child = await queue.enqueue("other", depends_on=[parent])
    steps.go_on.set()
    await queue.wait(parent.id, timeout=PATIENCE)
    assert "no workers" == (await queue.explain(child.id)).reason
    return child


async def test_a_task_is_not_claimed_before_its_release_is_known(
    picky: Picky, queue: TaskQueue
) -> None:
    steps, ran = Steps(queue), list[str]()
    other_category(queue, ran)
    child = await freed(queue, steps)

    picky.fails = reason_is("parents ended", times=2)
    picky.go.clear()
    engine_of(queue).dependents._releasing._write_down()
    engine_of(queue).pool("d").add_workers(["d-1"])
    await until(picky.entered.is_set)
    await asyncio.sleep(0)
    picky.go.set()

    await queue.wait(child.id, timeout=PATIENCE)
    assert ["other"] == ran


async def test_a_freed_task_whose_cancellation_failed_still_runs(
    picky: Picky, queue: TaskQueue
) -> None:
    steps, ran = Steps(queue), list[str]()
    other_category(queue, ran)
    child = await freed(queue, steps)

    picky.fails = status_is(TaskStatus.CANCELLED, child.id, times=1)
    picky.go.clear()
    cancelling = asyncio.ensure_future(child.cancel())
    await until(picky.entered.is_set)
    engine_of(queue).pool("d").add_workers(["d-1"])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    picky.go.set()
    with pytest.raises(StorageError):
        await cancelling

    await queue.wait(child.id, timeout=PATIENCE)
    assert ["other"] == ran


async def test_nothing_runs_anyway_before_the_end_of_its_parent_is_on_disk(
    picky: Picky, queue: TaskQueue
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 2)
    parent = await queue.enqueue("held", (), {"fails": True})
    child = await queue.enqueue("add", (ResultOf(parent),))
    last = await queue.enqueue("add", (ResultOf(child),), on_parent_failure=OnParentFailure.RUN)
    picky.fails = status_is(TaskStatus.CANCELLED, child.id, times=1)
    steps.go_on.set()

    assert 1 == await last.result(timeout=PATIENCE)
    ends = [entry.seq for entry in await queue.get_history(child.id)]
    starts = [entry.seq for entry in await queue.get_history(last.id)]
    assert ends[-1] < starts[1]


async def test_a_task_that_is_put_back_at_once_is_not_told_as_ended(
    picky: Picky, queue: TaskQueue
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held", (), {"fails": True})
    child = await queue.enqueue("add", (ResultOf(parent),), on_parent_failure=OnParentFailure.FAIL)
    picky.holds = status_is(TaskStatus.FAILED, child.id, times=1)
    waiting = asyncio.ensure_future(queue.wait(child.id, timeout=PATIENCE))
    steps.go_on.set()
    await picky.held(1)
    retrying = asyncio.ensure_future(queue.retry_task(child.id))
    await picky.held(2)
    picky.tell()

    assert await retrying
    assert TaskStatus.FAILED is (await waiting).status
    reasons = [entry.reason for entry in await queue.get_history(child.id)]
    assert ["add", "parent did not succeed", "renew", "parent did not succeed"] == reasons


async def test_a_new_task_that_is_replaced_at_once_does_not_run(
    picky: Picky, queue: TaskQueue
) -> None:
    ran: list[str] = []
    other_category(queue, ran)
    picky.holds = reason_is("add", times=1)
    adding = asyncio.ensure_future(queue.enqueue("other", unique_key="key"))
    await picky.held(1)
    replacing = asyncio.ensure_future(
        queue.enqueue("other", unique_key="key", on_conflict=OnConflict.REPLACE)
    )
    await picky.held(2)
    picky.tell()

    old, new = await adding, await replacing
    await queue.start_workers("d", 1)
    await queue.wait(new.id, timeout=PATIENCE)
    assert TaskStatus.CANCELLED is await old.status()
    assert ["other"] == ran


@pytest.mark.parametrize("many", [False, True])
async def test_a_flow_or_a_bulk_whose_task_is_cancelled_at_once_does_not_run_it(
    picky: Picky, queue: TaskQueue, many: bool
) -> None:
    ran: list[str] = []
    other_category(queue, ran)
    picky.holds = reason_is("add", times=1)
    new = new_task(engine_of(queue).shared.registry.get("other"), (), {}, SystemClock(), {})
    engine = engine_of(queue)
    adding = asyncio.ensure_future(
        engine.add_many([new]) if many else engine.add_flow([new, replace(new, depends_on=(0,))])
    )
    await picky.held(1)
    [(task_id,)] = await asyncio.wrap_future(
        queue.storage.in_writer(
            lambda one: one.execute("select min(task_id) from transitions").fetchall()
        )
    )
    cancelling = asyncio.ensure_future(queue.cancel_task(str(task_id)))
    await picky.held(2)
    picky.tell()

    await adding
    assert await cancelling
    await queue.start_workers("d", 1)
    for one in await queue.get_tasks():
        await queue.wait(one.id, timeout=PATIENCE)
    assert not ran


async def test_a_child_that_is_cancelled_while_its_claim_fails_does_not_run(
    picky: Picky, queue: TaskQueue
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held")
    await asyncio.wait_for(steps.began.wait(), PATIENCE)
    child = await queue.enqueue("add", (ResultOf(parent),))
    last = await queue.enqueue("add", (ResultOf(parent), 5))
    picky.fails = status_is(TaskStatus.STARTED, child.id, times=1)
    picky.go.clear()
    steps.go_on.set()
    await until(picky.entered.is_set)
    cancelling = asyncio.ensure_future(child.cancel())
    await asyncio.sleep(0)
    picky.go.set()

    assert await cancelling
    assert 6 == await last.result(timeout=PATIENCE)
    assert TaskStatus.CANCELLED is await child.status()
    assert ["held", (1, 5)] == steps.ran


async def test_a_released_task_that_memory_has_no_room_for_is_not_lost_when_that_fails(
    path: Path, picky: Picky
) -> None:
    queue = TaskQueue(enabled=True, database=path, settings=Settings(window=10))
    ran: list[int] = []

    @queue.register_task("held", "c")
    async def held() -> bool:
        return await go_on.wait()

    @queue.register_task("other", "d")
    async def other(n: int) -> int:
        ran.append(n)
        return n

    go_on = asyncio.Event()
    async with queue:
        await queue.start_workers("c", 1)
        parent = await queue.enqueue("held")
        children = [await queue.enqueue("other", (n,), depends_on=[parent]) for n in range(60)]
        pool = engine_of(queue).pool("d")
        picky.fails = reason_is("parents ended", times=100)
        go_on.set()
        await queue.wait(parent.id, timeout=PATIENCE)
        engine_of(queue).dependents._releasing._write_down()
        pool.pager.trim()
        await queue.start_workers("d", 2)
        for child in children:
            await queue.wait(child.id, timeout=PATIENCE)
    assert list(range(60)) == sorted(ran)
    clean(path, whole=True)


async def test_a_shutdown_while_releases_fail_leaves_everything_to_the_next_opening(
    path: Path, picky: Picky
) -> None:
    for opening in range(2):
        queue = TaskQueue(enabled=True, database=path)
        ran: list[str] = []
        other_category(queue, ran)
        steps = Steps(queue)
        async with queue:
            if not opening:
                child = await freed(queue, steps)
                picky.fails = reason_is("parents ended")
                picky.go.clear()
                engine_of(queue).dependents._releasing._write_down()
                await until(picky.entered.is_set)
                picky.go.set()
            else:
                picky.fails = lambda line: False
                await queue.start_workers("d", 1)
                await queue.wait(child.id, timeout=PATIENCE)
        assert ["other"] * opening == ran
    clean(path, whole=True)


async def test_a_claimed_task_whose_cancellation_failed_runs_all_the_same(
    picky: Picky, queue: TaskQueue
) -> None:
    ran: list[str] = []
    other_category(queue, ran)
    task = await queue.enqueue("other")
    picky.holds = status_is(TaskStatus.STARTED, task.id, times=1)
    picky.fails = status_is(TaskStatus.CANCELLED, task.id, times=1)
    await queue.start_workers("d", 1)
    await picky.held(1)
    cancelling = asyncio.ensure_future(task.cancel())
    await picky.held(2)
    picky.tell()
    with pytest.raises(StorageError):
        await cancelling

    await queue.wait(task.id, timeout=PATIENCE)
    assert ["other"] == ran


async def test_a_task_that_is_put_back_and_whose_cancellation_fails_waits_for_its_parents(
    picky: Picky, queue: TaskQueue
) -> None:
    steps = Steps(queue)
    await queue.start_workers("c", 1)
    parent = await queue.enqueue("held", (), {"fails": True})
    child = await queue.enqueue("add", (7,), depends_on=[parent], on_parent_failure=FAIL)
    steps.go_on.set()
    await queue.wait(child.id, timeout=PATIENCE)

    picky.holds = reason_is("renew", times=1)
    picky.fails = status_is(TaskStatus.CANCELLED, child.id, times=1)
    retrying = asyncio.ensure_future(queue.retry_task(child.id))
    await picky.held(1)
    cancelling = asyncio.ensure_future(child.cancel())
    await picky.held(2)
    picky.tell()
    with pytest.raises(StorageError):
        await cancelling

    assert await retrying
    assert TaskStatus.FAILED is (await queue.wait(child.id, timeout=PATIENCE)).status
    assert ["held"] == steps.ran


@pytest.mark.parametrize("fails", [True, False])
async def test_a_task_that_memory_has_no_room_for_while_its_release_is_written_is_not_lost(
    picky: Picky, queue: TaskQueue, fails: bool
) -> None:
    steps, ran = Steps(queue), list[str]()
    other_category(queue, ran)
    child = await freed(queue, steps)
    engine = engine_of(queue)
    record = engine.pool("d").lanes.pop()
    assert record is not None

    if fails:
        picky.fails = reason_is("parents ended", times=2)
    picky.holds = reason_is("parents ended", times=1)
    engine.dependents._releasing._write_down()
    assert engine.shared.storage.in_flight(record)
    engine.dependents.release([record])
    picky.tell()

    await queue.start_workers("d", 1)
    await queue.wait(child.id, timeout=PATIENCE)
    assert ["other"] == ran
