"""Tasks that depend on others: when they start, with what, and what a failed parent does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.queues import (
    DuckDBHome,
    Gate,
    Home,
    SteppableClock,
    ended,
    running,
    until_status,
)
from wopr import (
    InvalidCallError,
    OnParentFailure,
    ResultOf,
    Settings,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
)


class Work:
    """Tasks that note when they run: ``step`` returns, ``fail`` raises, ``held`` waits."""

    def __init__(self, queue: TaskQueue) -> None:
        """Register them."""
        self.ran: list[Any] = []
        self.gate = Gate()

        @queue.register_task("step", "c")
        async def step(value: Any = None) -> Any:
            self.ran.append(value)
            return value

        @queue.register_task("fail", "c")
        async def fail(value: Any = None) -> None:
            self.ran.append(value)
            raise ValueError("broken")

        @queue.register_task("held", "c")
        async def held(value: Any = None) -> Any:
            await self.gate.wait(value)
            self.ran.append(value)
            return value

        @queue.register_task("add", "c")
        async def add(left: int, right: int) -> int:
            self.ran.append((left, right))
            return left + right

        @queue.register_task("total", "c")
        async def total(numbers: list[int | None]) -> int:
            self.ran.append(numbers)
            return sum(number or 0 for number in numbers)


async def test_a_dependent_starts_when_every_parent_succeeded(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=4):
        first = await queue.enqueue("held", ("first",))
        second = await queue.enqueue("step", ("second",))
        child = await queue.enqueue("step", ("child",), depends_on=[first, second.id])
        await ended(queue, second.id)
        info = await child.info()
        assert (TaskStatus.PENDING, True) == (info.status, info.waiting)
        assert (first.id, second.id) == info.depends_on
        work.gate.open()
        await ended(queue, child.id)
        info = await child.info()
        assert (TaskStatus.SUCCESS, False) == (info.status, info.waiting)
    assert ["second", "first", "child"] == work.ran


async def test_explain_names_what_a_task_waits_for(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        parents = [await queue.enqueue("step", (n,)) for n in range(7)]
        child = await queue.enqueue("step", depends_on=parents)
        explanation = await queue.explain(child.id)
    assert "waiting for parents" == explanation.reason
    assert f"waits for 7 of its 7 parents: {parents[0].id} (step, pending)" in explanation.text
    assert "and 2 more" in explanation.text


async def test_parents_that_succeeded_already_hold_nothing_up(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", (1,))
        await ended(queue, parent.id)
        child = await queue.enqueue("add", (ResultOf(parent), 10))
        assert 11 == await child.result(10)
    assert [1, (1, 10)] == work.ran


async def test_results_reach_the_child_where_it_asks_for_them(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        one = await queue.enqueue("step", (1,))
        two = await queue.enqueue("add", (ResultOf(one), 1))
        four = await queue.enqueue("add", (), {"left": ResultOf(two), "right": ResultOf(two)})
        total = await queue.enqueue("total", ([ResultOf(one), ResultOf(two), ResultOf(four)],))
        assert 7 == await total.result(10)
    assert [1, (1, 1), (2, 2), [1, 2, 4]] == work.ran


async def test_results_keep_their_type(home: Home) -> None:
    queue = home.queue()
    seen: list[Any] = []

    @queue.task(category="c")
    async def moment() -> datetime:
        return datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    @queue.task(category="c")
    async def pair() -> tuple[int, timedelta]:
        return 1, timedelta(seconds=2)

    @queue.task(category="c")
    async def look(at: datetime, other: tuple[int, timedelta], untyped: Any) -> None:
        seen.extend([at, other, untyped])

    async with running(queue, c=1):
        first, second = await moment.enqueue(), await pair.enqueue()
        child = await queue.enqueue(look, (ResultOf(first), ResultOf(second), ResultOf(first)))
        await child.result(10)
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [when, (1, timedelta(seconds=2)), when] == seen


async def test_named_parents_reach_keywords_that_the_function_has(home: Home) -> None:
    queue = home.queue()
    seen: list[Any] = []
    Work(queue)

    @queue.register_task("named", "c")
    async def named(value: int, dep_a: int, dep_b_at: datetime | None = None) -> None:
        seen.append((value, dep_a, dep_b_at))

    @queue.register_task("plain", "c")
    async def plain(value: int) -> None:
        seen.append(value)

    @queue.register_task("open", "c")
    async def anything(**kwargs: Any) -> None:
        seen.append(kwargs)

    async with running(queue, c=1):
        a, b = await queue.enqueue("step", (1,)), await queue.enqueue("step", (2,))
        parents = {"a": a, "b": b}
        await (await queue.enqueue("named", (5,), depends_on=parents)).result(10)
        await (await queue.enqueue("plain", (6,), depends_on=parents)).result(10)
        await (await queue.enqueue("open", depends_on=parents)).result(10)
        await (await queue.enqueue("open", depends_on=[a])).result(10)
        given = await queue.enqueue("named", (7,), {"dep_a": 9}, depends_on=parents)
        await given.result(10)
        at = (await b.info()).completed_at
    assert (5, 1, at) == seen[0]
    assert 6 == seen[1]
    assert {"dep_a": 1, "dep_b": 2} == seen[2]
    assert {f"dep_{a.id}": 1} == seen[3]
    assert (7, 9, at) == seen[4]


async def test_the_child_of_a_failed_parent_is_cancelled_with_all_behind_it(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("fail", ("parent",))
        other = await queue.enqueue("held", ("other",))
        child = await queue.enqueue("step", ("child",), depends_on=[parent, other])
        behind = await queue.enqueue("step", ("behind",), depends_on=[child])
        await ended(queue, child.id, behind.id)
        assert TaskStatus.CANCELLED is await child.status()
        assert TaskStatus.CANCELLED is await behind.status()
        [_, last] = await queue.get_history(child.id)
        assert f"parent {parent.id} did not succeed" == last.reason
        work.gate.open()
        await ended(queue, other.id)
    assert ["parent", "other"] == work.ran


async def test_the_child_of_a_cancelled_parent_fails_if_that_is_the_rule(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue(
            "step", ("child",), depends_on=[parent], on_parent_failure=OnParentFailure.FAIL
        )
        assert await parent.cancel()
        await ended(queue, child.id)
        info = await child.info()
    assert (TaskStatus.FAILED, "ParentFailed") == (info.status, info.error_type)
    assert parent.id in (info.error or "")
    assert not work.ran


async def test_the_child_of_a_failed_parent_runs_if_that_is_the_rule(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        failing = await queue.enqueue("fail", ("parent",))
        good = await queue.enqueue("step", (5,))
        child = await queue.enqueue(
            "total", ([ResultOf(failing), ResultOf(good)],), on_parent_failure=OnParentFailure.RUN
        )
        assert 5 == await child.result(10)
    assert [None, 5] == work.ran[-1]


async def test_a_child_of_a_parent_that_failed_before_is_cancelled_at_once(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("fail")
        await ended(queue, parent.id)
        child = await queue.enqueue("step", ("child",), depends_on=[parent])
        await ended(queue, child.id)
        assert TaskStatus.CANCELLED is await child.status()
    assert [None] == work.ran


async def test_an_unknown_parent_is_refused_and_nothing_is_written(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        for unknown in ("00000000-0000-7000-8000-000000000000", "no id at all"):
            with pytest.raises(TaskNotFoundError, match=f"unknown to this queue.*{unknown}"):
                await queue.enqueue("step", depends_on=[unknown])
        assert 0 == (await queue.get_task_stats())["total"]


@pytest.mark.parametrize(
    ("parents", "said"),
    [
        ("an-id", "depends_on must be a list"),
        (7, "depends_on must be a list"),
        ([3.5], "can depend on a task id or a TaskHandle, not on 3.5"),
        ([None], "can depend on a task id or a TaskHandle"),
        ({"no name": "x"}, "must be letters, digits and underscores"),
    ],
)
async def test_what_can_be_no_parent_is_refused(home: Home, parents: Any, said: str) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        with pytest.raises(InvalidCallError, match=said):
            await queue.enqueue("step", depends_on=parents)


async def test_a_result_among_other_items_of_a_list_is_refused(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        parent = await queue.enqueue("step", (1,))
        with pytest.raises(InvalidCallError, match="can have nothing else in it"):
            await queue.enqueue("total", ([ResultOf(parent), 1],))


async def test_a_result_that_does_not_fit_fails_the_child_and_says_why(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("text",))
        child = await queue.enqueue("add", (ResultOf(parent), 1))
        await ended(queue, child.id)
        info = await child.info()
    assert TaskStatus.FAILED is info.status
    assert "'left'" in (info.error or "")


async def test_a_waiting_task_can_be_cancelled(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("held", ("parent",))
        child = await queue.enqueue("step", ("child",), depends_on=[parent])
        assert await child.cancel()
        assert not await child.cancel()
        work.gate.open()
        await ended(queue, parent.id)
    assert ["parent"] == work.ran


async def test_a_child_is_not_started_before_its_own_time(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue("step", ("child",), depends_on=[parent], delay=60)
        await ended(queue, parent.id)
        assert "delayed" == (await queue.explain(child.id)).reason
        clock.advance(61, queue)
        await ended(queue, child.id)
    assert ["parent", "child"] == work.ran


async def test_waiting_goes_on_after_a_restart(home: Home) -> None:
    queue = home.queue()
    Work(queue)
    async with running(queue):
        first = await queue.enqueue("step", (1,))
        second = await queue.enqueue("add", (ResultOf(first), 1))
        third = await queue.enqueue("add", (ResultOf(second), 1))
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        assert 3 == await queue.handle(third.id).result(10)
    assert [1, (1, 1), (2, 1)] == work.ran


async def test_more_may_wait_than_memory_holds(home: Home) -> None:
    queue = home.queue(settings=Settings(window=10))
    work = Work(queue)
    async with running(queue, c=4):
        parent = await queue.enqueue("held", ("parent",))
        children = [await queue.enqueue("step", (n,), depends_on=[parent.id]) for n in range(100)]
        last = await queue.enqueue("step", ("last",), depends_on=[one.id for one in children])
        work.gate.open()
        await ended(queue, last.id)
    assert "parent" == work.ran[0]
    assert list(range(100)) == sorted(work.ran[1:-1])
    assert "last" == work.ran[-1]


async def test_a_retry_by_hand_waits_for_the_parents_again(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",), delay=3600)
        child = await queue.enqueue(
            "step", ("child",), depends_on=[parent], on_parent_failure=OnParentFailure.FAIL
        )
        assert await parent.cancel()
        await ended(queue, child.id)
        assert await queue.retry_task(child.id)  # its parent is still cancelled
        await until_status(queue, child.id, TaskStatus.FAILED)
        reasons = [entry.reason for entry in await queue.get_history(child.id)]
    assert ["add", "parent did not succeed", "renew", "parent did not succeed"] == reasons
    assert not work.ran


async def test_a_failed_child_runs_again_after_a_retry_by_hand(home: Home) -> None:
    queue = home.queue()
    work = Work(queue)
    async with running(queue, c=1):
        parent = await queue.enqueue("step", ("parent",))
        child = await queue.enqueue("fail", ("child",), depends_on=[parent])
        await ended(queue, child.id)
        assert await queue.retry_task(child.id)
        await until_status(queue, child.id, TaskStatus.FAILED)
        await ended(queue, child.id)
    assert ["parent", "child", "child"] == work.ran


async def test_a_retried_parent_holds_its_children_until_it_succeeds(home: Home) -> None:
    queue = home.queue()
    ran: list[str] = []

    @queue.register_task("flaky", "c", max_retries=3, retry=_at_once())
    async def flaky() -> str:
        ran.append("flaky")
        if len(ran) < 3:
            raise ValueError("not yet")
        return "done"

    @queue.register_task("after", "c")
    async def after(text: str) -> None:
        ran.append(text)

    async with running(queue, c=2):
        parent = await queue.enqueue("flaky")
        child = await queue.enqueue("after", (ResultOf(parent),))
        await child.result(10)
    assert ["flaky", "flaky", "flaky", "done"] == ran


def _at_once() -> Any:
    from tenacity import wait_none

    return wait_none()


async def test_cleanup_keeps_what_a_live_task_depends_on(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    work = Work(queue)
    async with running(queue, c=2):
        one = await queue.enqueue("step", (1,))
        other = await queue.enqueue("step", (2,))
        held = await queue.enqueue("held")
        await ended(queue, one.id, other.id)
        child = await queue.enqueue("add", (ResultOf(one), 1), depends_on=[held])
        assert 1 == await queue.cleanup_old_tasks(days=0)
        assert await queue.get_task_info(other.id) is None
        work.gate.open()
        assert 2 == await child.result(10)


async def test_dependencies_can_be_asked_in_sql(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    Work(queue)
    async with running(queue):
        parent = await queue.enqueue("step", (1,))
        await queue.enqueue("add", (ResultOf(parent), 1))
        rows = list(
            await queue.sql(
                "select name, waiting, on_parent_failure, parent_name, parent_status, parent_id "
                "from dependencies"
            )
        )
    assert ("add", True, "cancel", "step", "pending") == tuple(rows[0].values())[:5]
    assert parent.id == str(rows[0]["parent_id"])


async def test_many_children_and_many_parents_race_and_every_edge_holds(home: Home) -> None:
    queue = home.queue()
    order: list[str] = []

    @queue.register_task("note", "c")
    async def note(name: str) -> None:
        await asyncio.sleep(0)
        order.append(name)

    parents_of: dict[str, list[str]] = {}
    ids: list[str] = []
    async with running(queue, c=8):
        for n in range(120):
            name = str(n)
            chosen = [ids[(n * 7 + k * 13) % len(ids)] for k in range(3)] if n > 5 else []
            handle = await queue.enqueue(
                "note", (name,), depends_on=dict.fromkeys(chosen) and chosen
            )
            parents_of[name] = [str(ids.index(one)) for one in chosen]
            ids.append(handle.id)
        await ended(queue, *ids)
    assert 120 == len(order)
    for name, parents in parents_of.items():
        assert all(order.index(one) < order.index(name) for one in parents)
