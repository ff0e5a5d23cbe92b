"""What may come between a parent's end and its child's start: retries, cancels, keys, late code."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from support.queues import DuckDBHome, Gate, Home, ended, running, until, until_status
from wopr import (
    OnConflict,
    OnParentFailure,
    ResultOf,
    Settings,
    TaskHandle,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    current_task,
)
from wopr.engine.dependencies import releasing
from wopr.engine.dependencies.dependents import Dependents
from wopr.queue.queue import inside
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.storage import DuckDBStorage


class Work:
    """Tasks that note when they run; ``flaky`` fails once, then waits for its gate."""

    def __init__(self, queue: TaskQueue, category: str = "c") -> None:
        """Register them."""
        self.ran: list[Any] = []
        self.gate, self.again = Gate(), Gate()
        failed: set[Any] = set()

        @queue.register_task("step", category)
        async def step(value: Any = None) -> Any:
            self.ran.append(value)
            return value

        @queue.register_task("held", category)
        async def held(value: Any = None) -> Any:
            await self.gate.wait(value)
            self.ran.append(value)
            return value

        @queue.register_task("flaky", category)
        async def flaky(value: Any = None) -> Any:
            if value not in failed:
                failed.add(value)
                raise ValueError("not yet")
            await self.again.wait(value)
            self.ran.append(value)
            return value


async def test_a_retried_task_whose_parents_were_cleaned_up_runs_again(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    work.again.open()
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue("flaky", ("child",), depends_on=[parent])
        await ended(queue, child.id)
        child_info = await child.info()
        parent_info = await parent.info()
        assert child_info.completed_at is not None
        assert parent_info.completed_at is not None
        storage = inside(queue).access._engine.shared.storage  # type: ignore[union-attr]
        before = parent_info.completed_at.replace(tzinfo=None)
        assert 1 == await storage.cleanup(before, keep_history=False)
        assert await queue.retry_task(child.id)
        await ended(queue, child.id)
    assert ["parent", "child"] == work.ran


def dependents(queue: TaskQueue) -> Dependents:
    """Return what keeps the waiting tasks of an open queue."""
    engine = inside(queue).access._engine
    assert engine is not None
    return engine.dependents


async def everything_claimed(queue: TaskQueue) -> None:
    """Wait until what could start by now has started: tasks start in the order of enqueueing."""
    await (await queue.enqueue("step", ("barrier",))).result(20)


async def test_a_retried_child_counts_each_of_its_parents_once(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=4):
        first = await queue.enqueue("flaky", ("first",))
        second = await queue.enqueue("held", ("second",))
        child = await queue.enqueue(
            "step", ("child",), depends_on=[first, second], on_parent_failure=OnParentFailure.FAIL
        )
        await ended(queue, first.id, child.id)
        assert await queue.retry_task(first.id)
        await work.again.arrivals()
        assert await queue.retry_task(child.id)
        work.gate.open()
        await ended(queue, second.id)
        await everything_claimed(queue)
        assert (await child.info()).waiting
        work.again.open()
        await ended(queue, child.id)
    assert ["second", "barrier", "first", "child"] == work.ran


async def test_a_retried_child_that_follows_its_parent_has_an_attempt_of_its_own(
    home: Home,
) -> None:
    queue = home.queue()
    work = Work(queue)
    attempts: list[int] = []

    @queue.register_task("child", "c")
    async def run(value: Any) -> None:
        task = current_task()
        assert task is not None
        attempts.append(task.attempt)
        if len(attempts) == 1:
            raise ValueError("broken")

    async with running(queue, c=1):
        parent = await queue.enqueue("flaky", ("parent",))
        child = await queue.enqueue(
            "child", (ResultOf(parent),), on_parent_failure=OnParentFailure.RUN
        )
        await ended(queue, parent.id, child.id)
        assert await queue.retry_task(parent.id)
        await work.again.arrivals()
        assert await queue.retry_task(child.id)
        work.again.open()
        await ended(queue, child.id)
    assert [1, 2] == attempts


async def test_a_release_that_was_to_be_written_down_is_not_of_a_child_that_waits_again(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "UNWRITTEN_SECONDS", 3_600.0)
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        parent = await queue.enqueue("flaky", ("parent",))
        child = await queue.enqueue(
            "flaky", ("child",), depends_on=[parent], on_parent_failure=OnParentFailure.RUN
        )
        await ended(queue, parent.id, child.id)
        assert await queue.retry_task(parent.id)
        await work.again.arrivals()
        assert await queue.retry_task(child.id)
        engine = inside(queue).access._engine
        assert engine is not None
        engine.dependents._releasing._write_down()  # as its timer does, a second after it was free
        await engine.shared.storage.flush()
        assert (await child.info()).waiting
        work.again.open()
        await ended(queue, child.id)
    assert ["parent", "child"] == work.ran


async def test_a_retried_task_is_looked_after_though_nobody_waits_for_the_answer(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue("flaky", ("child",), depends_on=[parent])
        await ended(queue, child.id)
        plain = DuckDBStorage.statuses
        asked = asyncio.Event()

        async def statuses(self: DuckDBStorage, ids: Any) -> Any:
            asked.set()
            return await plain(self, ids)

        monkeypatch.setattr(DuckDBStorage, "statuses", statuses)
        work.again.open()
        retry = asyncio.ensure_future(queue.retry_task(child.id))
        await asked.wait()
        retry.cancel()  # as that of a client whose connection is lost
        await asyncio.gather(retry, return_exceptions=True)
        await ended(queue, child.id)
    assert ["parent", "child"] == work.ran


async def test_a_retried_task_is_looked_after_though_its_parents_cannot_be_read_at_first(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue("flaky", ("child",), depends_on=[parent])
        await ended(queue, child.id)
        plain = DuckDBStorage.statuses
        failures = [RuntimeError("the disk is slow")]

        async def statuses(self: DuckDBStorage, ids: Any) -> Any:
            if failures:
                raise failures.pop()
            return await plain(self, ids)

        monkeypatch.setattr(DuckDBStorage, "statuses", statuses)
        work.again.open()
        assert await queue.retry_task(child.id)
        await ended(queue, child.id)
    assert ["parent", "child"] == work.ran


async def test_a_child_without_a_function_can_be_cancelled_and_stays_so(home: Home) -> None:
    queue = home.queue()
    Work(queue)

    @queue.register_task("late", "c")
    async def late() -> None:
        raise AssertionError("it was cancelled")

    async with running(queue, c=1):
        gate = await queue.enqueue("held")
        child = await queue.enqueue("late", depends_on=[gate])
    queue = home.queue()
    work = Work(queue)
    work.gate.open()
    async with running(queue, c=1):
        await ended(queue, gate.id)
        await everything_claimed(queue)
        assert await queue.cancel_task(child.id)
        dependents(queue)._releasing._write_down()
        await everything_claimed(queue)
        assert TaskStatus.CANCELLED is await queue.handle(child.id).status()
        if isinstance(home, DuckDBHome):
            history = [entry.to_status for entry in await queue.get_history(child.id)]
            assert TaskStatus.CANCELLED is history[-1]


async def test_a_freed_child_runs_when_its_function_comes_late(home: Home) -> None:
    queue = home.queue()
    Work(queue)

    @queue.register_task("late", "c")
    async def late() -> None:
        raise AssertionError("not in this process")

    async with running(queue, c=1):
        gate = await queue.enqueue("held")
        child = await queue.enqueue("late", depends_on=[gate])
    queue = home.queue()
    work = Work(queue)
    work.gate.open()
    ran: list[str] = []
    async with running(queue, c=1):
        await ended(queue, gate.id)
        await everything_claimed(queue)

        @queue.register_task("late", "c")
        async def come() -> None:
            ran.append("late")

        await ended(queue, child.id)
    assert ["late"] == ran


async def test_one_key_has_one_live_task_also_when_it_depends_on_others(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        parent = await queue.enqueue("step")
        same = {"depends_on": [parent], "unique_key": "one"}
        handles = await asyncio.gather(*(queue.enqueue("step", **same) for _ in range(5)))
        assert 1 == len({handle.id for handle in handles})
        with pytest.raises(UniqueKeyConflictError):
            await queue.enqueue("step", **same, on_conflict=OnConflict.RAISE)
        newest = await asyncio.gather(
            *(queue.enqueue("step", **same, on_conflict=OnConflict.REPLACE) for _ in range(5))
        )
        live = [info.id for info in await queue.get_tasks(status=TaskStatus.PENDING)]
        assert 2 == len(live)
        assert len({handle.id for handle in newest} & set(live)) == 1


async def test_a_call_that_is_refused_replaces_nothing(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        old = await queue.enqueue("step", unique_key="one")
        with pytest.raises(TaskNotFoundError):
            await queue.enqueue(
                "step",
                unique_key="one",
                on_conflict=OnConflict.REPLACE,
                depends_on=["00000000-0000-7000-8000-000000000000"],
            )
        assert TaskStatus.PENDING is await old.status()


async def test_a_list_of_results_may_hold_times_of_success(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    seen: list[Any] = []

    @queue.register_task("look", "c")
    async def look(moments: list[datetime], pair: Any) -> None:
        seen.append(moments)
        seen.append(pair)

    async with running(queue, c=1):
        one, two = await queue.enqueue("step", (1,)), await queue.enqueue("step", (2,))
        times = [ResultOf(one, completed_at=True), ResultOf(two, completed_at=True)]
        child = await queue.enqueue("look", (times, [ResultOf(one), ResultOf(two)]))
        await child.result(20)
        expected = [(await one.info()).completed_at, (await two.info()).completed_at]
    assert [expected, [1, 2]] == seen


async def test_results_reach_every_kind_of_parameter(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    seen: list[Any] = []

    @queue.register_task("kinds", "c")
    async def kinds(first: int, /, second: float, *more: int, only: str, **other: Any) -> None:
        seen.append((first, second, more, only, other))

    async with running(queue, c=1):
        values = [2**70, math.inf, 3, "é\u2028\x00", {"a": [1, None]}]
        big, far, small, text, odd = [await queue.enqueue("step", (value,)) for value in values]
        child = await queue.enqueue(
            "kinds",
            (ResultOf(big), ResultOf(far), 7, ResultOf(small)),
            {"only": ResultOf(text), "odd": ResultOf(odd), "mine": None},
            depends_on={"odd": odd},
        )
        await ended(queue, child.id)
        info = await child.info()
    assert info.status is TaskStatus.SUCCESS, info.error
    odd_one = {"a": [1, None]}
    other = {"odd": odd_one, "mine": None, "dep_odd": odd_one}
    assert [(2**70, math.inf, (7, 3), "é\u2028\x00", other)] == seen


@pytest.mark.parametrize("given", [0, "", False, b""], ids=repr)
async def test_what_is_empty_but_no_list_is_refused_too(home: Home, given: Any) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        with pytest.raises(Exception, match="depends_on must be a list"):
            await queue.enqueue("step", depends_on=given)


async def test_a_waiting_task_beyond_memory_is_cancelled_while_its_parent_ends(
    home: Home,
) -> None:
    queue = home.queue(settings=Settings(window=10))
    work = Work(queue)
    async with running(queue, c=4):
        parent = await queue.enqueue("held", ("parent",))
        children = [await queue.enqueue("step", (n,), depends_on=[parent]) for n in range(40)]
        work.gate.open()
        doomed = children[1::3]
        answers = await asyncio.gather(*(child.cancel() for child in doomed))
        await ended(queue, *(child.id for child in children))
        statuses = [(await child.info()).status for child in children]
    cancelled = [child.id for child, said in zip(doomed, answers, strict=True) if said]
    for n, (child, status) in enumerate(zip(children, statuses, strict=True)):
        expected = TaskStatus.CANCELLED if child.id in cancelled else TaskStatus.SUCCESS
        assert (n, expected) == (n, status)
        if status is TaskStatus.CANCELLED:
            assert work.ran.count(n) <= 1
        else:
            assert 1 == work.ran.count(n)
    if isinstance(home, DuckDBHome):
        assert [] == check(home.path).problems


async def test_released_children_that_memory_has_no_room_for_all_run_once(home: Home) -> None:
    """The lane overflows with tasks that are free but not yet written as such."""
    queue = home.queue(settings=Settings(window=10))
    work = Work(queue)
    async with running(queue, c=1):
        parents = [await queue.enqueue("held", (f"p{n}",)) for n in range(8)]
        children = [
            await queue.enqueue("step", (n,), depends_on=[parents[n % 8]]) for n in range(100)
        ]
        await queue.start_workers("c", 8)
        work.gate.open()
        await ended(queue, *(child.id for child in children))
    assert list(range(100)) == sorted(one for one in work.ran if isinstance(one, int))


async def test_a_shutdown_between_a_parents_end_and_its_childs_start_loses_nothing(
    home: Home,
) -> None:
    queue = home.queue()
    work = Work(queue)
    children: list[TaskHandle[Any]] = []
    async with running(queue, c=2):
        parents = [await queue.enqueue("held", (f"p{n}",)) for n in range(2)]
        children = [
            await queue.enqueue("step", (n,), depends_on=[parents[n % 2]]) for n in range(10)
        ]
        await work.gate.arrivals(2)
        work.gate.open()
        await queue.shutdown(timeout=5)
    ran = list(work.ran)
    queue = home.queue()
    work = Work(queue)
    work.gate.open()
    async with running(queue, c=2):
        await ended(queue, *(child.id for child in children))
    assert list(range(10)) == sorted(n for n in ran + work.ran if isinstance(n, int))
    if isinstance(home, DuckDBHome):
        assert [] == check(home.path).problems


async def test_a_rule_that_this_wopr_does_not_know_holds_nobody_else_up(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    Work(queue)
    async with running(queue):
        parent = await queue.enqueue("step", ("parent",))
        odd = await queue.enqueue(
            "step", depends_on=[parent], on_parent_failure=OnParentFailure.RUN
        )

        def edit(connection: Any) -> None:
            connection.execute(
                'update tasks set options = \'{"on_parent_failure": "ask"}\' where id = ?',
                [odd.id],
            )

        await queue.sql("select 1")  # what is pending is folded
        await asyncio.wrap_future(queue.storage.in_writer(edit))
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        await ended(queue, odd.id)
    assert ["parent", None] == work.ran


async def test_what_a_live_task_depends_on_is_kept_by_every_storage(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        one = await queue.enqueue("step", (1,))
        held = await queue.enqueue("held", (2,))
        await ended(queue, one.id)
        child = await queue.enqueue("step", (ResultOf(one),), depends_on=[held])
        await queue.cleanup_old_tasks(days=0)
        work.gate.open()
        assert 1 == await child.result(20)


async def test_the_wait_of_a_failed_child_is_not_counted_from_a_later_end_of_another_parent(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        bad = await queue.enqueue("flaky")
        slow = await queue.enqueue("held")
        child = await queue.enqueue(
            "step", depends_on=[bad, slow], on_parent_failure=OnParentFailure.FAIL
        )
        await ended(queue, child.id)
        work.gate.open()
        await ended(queue, slow.id)
        [row] = await queue.sql("select total_seconds from task_times where task_id = ?", child.id)
    assert 0 <= row["total_seconds"]


async def test_a_released_task_is_shown_as_such_when_no_worker_takes_it(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()
    work = Work(queue)

    @queue.register_task("other", "d")
    async def other() -> None:
        """Run in a category that has no workers."""

    async with running(queue, c=1):
        parent = await queue.enqueue("held")
        child = await queue.enqueue("other", depends_on=[parent])
        work.gate.open()
        await ended(queue, parent.id)
        dependents(queue)._releasing._write_down()
        await until(child.info, lambda info: not info.waiting)
        assert "no workers" == (await queue.explain(child.id)).reason
        await queue.start_workers("d", 1)
        await until_status(queue, child.id, TaskStatus.SUCCESS)
        reasons = [entry.reason for entry in await queue.get_history(child.id)]
    assert ["add", "parents ended", "claim", "succeed"] == reasons


async def test_parents_that_end_one_after_the_other_while_they_are_looked_up_hold_nothing_up(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = durable_home.queue()
    gates = {"a": Gate(), "b": Gate()}
    ran: list[str] = []

    @queue.register_task("named", "c")
    async def named(name: str) -> str:
        return str(await gates[name].wait(name))

    @queue.register_task("child", "c")
    async def child(names: list[str]) -> None:
        ran.extend(names)

    async with running(queue, c=3):
        parents = {name: await queue.enqueue("named", (name,)) for name in gates}
        for gate in gates.values():
            await gate.arrivals()
        plain = DuckDBStorage.statuses
        to_end = ["b", "a"]

        async def statuses(self: DuckDBStorage, ids: Any) -> Any:
            found = await plain(self, ids)
            if to_end:
                name = to_end.pop(0)
                gates[name].open()
                await ended(queue, parents[name].id)
            return found

        monkeypatch.setattr(DuckDBStorage, "statuses", statuses)
        handle = await queue.enqueue("child", ([ResultOf(one) for one in parents.values()],))
        await ended(queue, handle.id)
    assert ["a", "b"] == ran


@pytest.mark.parametrize("listed", [False, True])
async def test_a_result_keeps_its_type_when_the_function_of_the_parent_is_gone(
    home: Home, listed: bool
) -> None:
    queue = home.queue()
    Work(queue)

    @queue.register_task("pair", "c")
    async def pair() -> tuple[datetime, timedelta]:
        return datetime(2030, 1, 2), timedelta(seconds=2)

    async with running(queue, c=1):
        parent = await queue.enqueue("pair")
        other = await queue.enqueue("step", ({"a": {1, 2}},))
        await ended(queue, parent.id, other.id)
    queue = home.queue()
    seen: list[Any] = []

    @queue.register_task("look", "c")
    async def look(values: tuple[datetime, timedelta], anything: Any) -> None:
        seen.extend([values, anything])

    @queue.register_task("look at a list", "c")
    async def look_at(values: list[tuple[datetime, timedelta]], anything: list[Any]) -> None:
        seen.extend([values[0], anything[0]])

    results = ResultOf(parent.id), ResultOf(other.id)
    async with running(queue, c=1):
        if listed:
            child = await queue.enqueue("look at a list", tuple([one] for one in results))
        else:
            child = await queue.enqueue("look", results)
        await ended(queue, child.id)
        assert (await child.info()).error is None
    assert [(datetime(2030, 1, 2), timedelta(seconds=2)), {"a": {1, 2}}] == seen
