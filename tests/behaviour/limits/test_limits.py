"""Limits: how many run, how many start, who takes turns, how many may wait."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, Home, SteppableClock, ended, running, until
from wopr import BacklogFullError, InvalidCallError, OnFull, TaskPriority, TaskStatus
from wopr.domain.limits import Limit, parse_rate


async def many(task: Any, calls: Iterable[Any], **options: Any) -> list[str]:
    chosen = task.options(**options) if options else task
    return [handle.id for handle in await chosen.enqueue_many(calls)]


class Census:
    """Counts who is inside at the same time, by key."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def stay(self, key: str, turns: int = 3) -> None:
        self.inside[key] += 1
        self.inside["all"] += 1
        for name in (key, "all"):
            self.most[name] = max(self.most[name], self.inside[name])
        for _ in range(turns):
            await asyncio.sleep(0)
        self.inside[key] -= 1
        self.inside["all"] -= 1


async def test_no_more_run_at_the_same_time_than_the_category_may(home: Home) -> None:
    queue, census = home.queue(), Census()

    @queue.task(name="visit")
    async def visit(key: str) -> None:
        await census.stay(key)

    async with running(queue, default=20):
        await queue.set_limit("default", concurrency=3)
        ids = [await queue.add_task("visit", key="a") for _ in range(30)]
        ids += await many(visit, [("b",)] * 100)
        await ended(queue, *ids)
    assert census.most["all"] == 3


async def test_each_key_has_a_limit_of_its_own_and_others_pass_by(home: Home) -> None:
    queue, census = home.queue(), Census()

    @queue.task(name="visit")
    async def visit(customer: str, n: int = 0) -> None:
        await census.stay(customer)

    async with running(queue, default=10):
        await queue.set_limit("default", key="customer", concurrency=2)
        ids = await many(visit, [(f"c{n % 5}", n) for n in range(200)])
        ids += await many(visit, [{"customer": "c0"}] * 50)
        await ended(queue, *ids)
    assert {key: most for key, most in census.most.items() if key != "all"} == dict.fromkeys(
        ["c0", "c1", "c2", "c3", "c4"], 2
    )
    assert census.most["all"] > 2


async def test_a_blocked_key_does_not_hold_up_the_others(home: Home) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="visit")
    async def visit(customer: str) -> None:
        if customer == "slow":
            await gate.wait(customer)

    async with running(queue, default=4):
        await queue.set_limit("default", key="customer", concurrency=1)
        slow = await many(visit, [("slow",)] * 20)
        await gate.arrivals()
        await ended(queue, *await many(visit, [("quick",)] * 5))
        explained = await queue.explain(slow[5])
        assert explained.reason == "limited"
        assert 'customer = "slow"' in explained.text
        assert "1 of at most 1" in explained.text
        gate.open()
        await ended(queue, *slow)
    assert len(gate.arrived) == 20


async def test_a_key_may_be_a_part_of_an_argument_and_one_without_it_is_free(home: Home) -> None:
    queue, census = home.queue(), Census()

    @queue.task(name="ship")
    async def ship(order: dict[str, dict[str, str]]) -> None:
        await census.stay(order.get("customer", {}).get("id", "nobody"))

    async with running(queue, default=8):
        await queue.set_limit("default", key="order.customer.id", concurrency=1)
        ids = await many(ship, [({"customer": {"id": "x"}},)] * 8 + [({},)] * 8)
        await ended(queue, *ids)
    assert census.most["x"] == 1
    assert census.most["nobody"] > 1


async def test_a_default_argument_counts_like_a_given_one(home: Home) -> None:
    queue, census = home.queue(), Census()

    @queue.task(name="visit")
    async def visit(n: int, region: str = "eu") -> None:
        await census.stay(region)

    async with running(queue, default=8):
        await queue.set_limit("default", key="region", concurrency=1)
        await ended(queue, *await many(visit, [(1,), (2, "eu"), (3,), (4, "eu")] * 4))
    assert census.most["eu"] == 1


async def test_no_more_start_in_any_span_of_the_period_than_may(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue, started = durable_home.queue(clock=clock), []

    @queue.task(name="call")
    async def call(n: int) -> None:
        started.append(clock.now())

    async with running(queue, default=10):
        await queue.set_limit("default", rate="3/10s")
        ids = await many(call, [(n,) for n in range(8)])
        await until(lambda: _count(started), lambda n: n == 3)
        clock.advance(9.9, queue)
        explained = await queue.explain(ids[7])
        assert explained.reason == "limited"
        assert "may start in 0.1 s" in explained.text
        assert len(started) == 3
        clock.advance(0.1, queue)
        await until(lambda: _count(started), lambda n: n == 6)
        clock.advance(10, queue)
        await ended(queue, *ids)
    assert len(started) == 8


async def _count(items: list[datetime]) -> int:
    return len(items)


async def test_what_started_before_a_restart_counts_for_the_rate(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    started: list[str] = []
    for life in ("first", "second"):
        queue = durable_home.queue(clock=clock)

        @queue.task(name="call")
        async def call(host: str, life: str = life) -> None:
            started.append(life)

        async with running(queue, default=5):
            if life == "first":
                await queue.set_limit("default", key="host", rate=(2, timedelta(minutes=1)))
                ids = await many(call, [("a",)] * 5)
                await ended(queue, *ids[:2])
            else:
                clock.advance(59, queue)
                reason = (await queue.explain(ids[2])).reason
                assert reason == "limited"
                assert started == ["first", "first"]
                clock.advance(1, queue)
                await ended(queue, *ids[2:4])
    assert started == ["first", "first", "second", "second"]


async def test_limits_are_durable_changed_in_part_and_taken_away(durable_home: DuckDBHome) -> None:
    async with durable_home.queue() as queue:
        await queue.set_limit("mail", concurrency=5, rate="100/minute")
        await queue.set_limit("mail", concurrency=7)
        await queue.set_limit("mail", key="to", concurrency=1)
    async with durable_home.queue() as queue:
        assert await queue.limits() == [
            Limit(category="mail", concurrency=7, rate=100, per=60.0),
            Limit(category="mail", key="to", concurrency=1),
        ]
        await queue.set_limit("mail", concurrency=None, rate=None)
        assert await queue.remove_limit("mail", key="to")
        assert not await queue.remove_limit("mail", key="to")
        assert await queue.limits() == []


async def test_a_limit_can_be_raised_and_lowered_while_tasks_run(home: Home) -> None:
    queue, gate, census = home.queue(), Gate(), Census()

    @queue.task(name="visit")
    async def visit(key: str) -> None:
        await gate.wait(key)

    @queue.task(name="later")
    async def later() -> None:
        await census.stay("later")

    async with running(queue, default=10):
        await queue.set_limit("default", concurrency=1)
        ids = await many(visit, [("a",)] * 6)
        await gate.arrivals(1)
        await queue.set_limit("default", concurrency=4)
        await gate.arrivals(4)
        assert len(gate.arrived) == 4
        await queue.set_limit("default", concurrency=2)
        gate.open()
        await ended(queue, *ids, *await many(later, [()] * 20))
    assert census.most["later"] <= 2


async def test_a_cancelled_function_counts_until_it_has_ended_but_its_worker_is_free(
    home: Home,
) -> None:
    queue, gate, cleaning = home.queue(), Gate(), Gate()

    @queue.task(name="work")
    async def work(n: int) -> None:
        try:
            await gate.wait(n)
        finally:
            await cleaning.wait(n)

    @queue.task(name="other", category="default")
    async def other() -> str:
        return "done"

    async with running(queue, default=1):
        await queue.set_limit("default", key="n", concurrency=1)
        first = await queue.add_task("work", n=1)
        await gate.arrivals()
        second = await queue.add_task("work", n=1)
        assert await queue.cancel_task(first)
        [info] = await ended(queue, await queue.add_task("other"))
        assert info.status is TaskStatus.SUCCESS
        assert (await queue.explain(second)).reason == "limited"
        gate.open()
        cleaning.open()
        await ended(queue, second)


async def test_keys_take_turns_when_that_is_asked_for(home: Home) -> None:
    queue, order = home.queue(), []

    @queue.task(name="work")
    async def work(tenant: str) -> None:
        order.append(tenant)

    async with queue:
        await queue.set_limit("default", fair_by="tenant")
        ids = await many(work, [("big",)] * 6)
        ids += await many(work, [("a",), ("b",)] * 2, priority=TaskPriority.LOW)
        await queue.start_workers("default", 1)
        await ended(queue, *ids)
    assert sorted(order[:3]) == ["a", "b", "big"]
    assert sorted(order[3:6]) == ["a", "b", "big"]
    assert order[6:] == ["big"] * 4


async def test_low_is_not_starved_when_waiting_tasks_age(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue, order = durable_home.queue(clock=clock), []

    @queue.task(name="work")
    async def work(name: str) -> None:
        order.append(name)

    async with queue:
        await queue.set_limit("default", aging=60)
        ids = [(await work.options(priority=TaskPriority.LOW).enqueue("low")).id]
        clock.advance(119)
        ids.append((await work.options(priority=TaskPriority.HIGH).enqueue("high")).id)
        clock.advance(2)
        ids.append((await work.options(priority=TaskPriority.HIGH).enqueue("late")).id)
        await queue.start_workers("default", 1)
        await ended(queue, *ids)
    assert order == ["high", "low", "late"]


async def test_a_full_backlog_refuses_and_nothing_is_written(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work() -> None: ...

    async with queue:
        await queue.set_limit("default", backlog=3, on_full=OnFull.REFUSE)
        await many(work, [()] * 2)
        await queue.add_task("work")
        with pytest.raises(BacklogFullError, match="has 3 of at most 3 tasks"):
            await queue.add_task("work")
        with pytest.raises(BacklogFullError):
            await many(work, [()] * 2)
        assert (await queue.get_task_stats())["total"] == 3


async def test_a_full_backlog_lets_callers_wait_in_order(home: Home) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="work")
    async def work(n: int) -> int:
        await gate.wait(n)
        return n

    async with running(queue, default=1):
        await queue.set_limit("default", backlog=2)
        first = [await queue.add_task("work", n=n) for n in range(3)]  # one runs, two wait
        await gate.arrivals()
        waiting = [asyncio.create_task(queue.add_task("work", n=n)) for n in range(3, 6)]
        await asyncio.sleep(0)
        assert (await queue.get_task_stats())["queued"] == 2
        assert not any(task.done() for task in waiting)
        gate.open()
        async with asyncio.timeout(PATIENCE):
            rest = await asyncio.gather(*waiting)
        await ended(queue, *first, *rest)
    assert gate.arrived == [0, 1, 2, 3, 4, 5]


async def test_a_caller_that_gives_up_leaves_its_room_to_the_next(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work(n: int) -> None: ...

    async with queue:
        await queue.set_limit("default", backlog=1)
        first = await queue.add_task("work", n=0)
        given_up = asyncio.create_task(queue.add_task("work", n=1))
        waits = asyncio.create_task(queue.add_task("work", n=2))
        for _ in range(20):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert not waits.done()
        await queue.cancel_task(first)
        async with asyncio.timeout(PATIENCE):
            info = await queue.get_task_info(await waits)
        assert info is not None
        assert info.kwargs == {"n": 2}


async def test_a_full_backlog_drops_the_oldest(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="work")
    async def work(n: int) -> None: ...

    async with queue:
        await queue.set_limit("default", backlog=3, on_full=OnFull.DROP_OLDEST)
        ids = [await queue.add_task("work", n=n) for n in range(5)]
        infos = [await queue.get_task_info(one) for one in ids]
        statuses = [info.status for info in infos if info is not None]
        assert statuses == [TaskStatus.CANCELLED] * 2 + [TaskStatus.PENDING] * 3
        if home.keeps_history:
            assert (await queue.get_history(ids[0]))[-1].reason == "backlog full"


async def test_the_backlog_is_counted_anew_after_a_restart(durable_home: DuckDBHome) -> None:
    async def fill(count: int) -> None:
        queue = durable_home.queue()

        @queue.task(name="work")
        async def work() -> None: ...

        async with queue:
            await queue.set_limit("default", backlog=3, on_full=OnFull.REFUSE)
            await many(work, [()] * count)

    await fill(2)
    with pytest.raises(BacklogFullError):
        await fill(2)
    await fill(1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", (100, 60.0)),
        ("5/2s", (5, 2.0)),
        ("1 / 0.5 h", (1, 1800.0)),
        ((7, timedelta(days=1)), (7, 86400.0)),
    ],
)
def test_a_rate_is_a_number_per_period(text: object, rate: tuple[int, float]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"rate": "often"},
        {"rate": "0/s"},
        {"rate": (3, 0)},
        {"key": "order..id", "concurrency": 1},
        {"key": "customer", "aging": 3},
        {"fair_by": ""},
        {"backlog": 0},
        {"on_full": "explode"},
        {"aging": 0},
    ],
)
async def test_a_wrong_limit_is_refused_and_changes_nothing(home: Home, wrong: dict) -> None:  # type: ignore[type-arg]
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError):
            await queue.set_limit("default", **wrong)
        assert await queue.limits() == []


async def test_limits_say_when_they_were_set_in_utc(durable_home: DuckDBHome) -> None:
    async with durable_home.queue() as queue:
        await queue.set_limit("default", concurrency=1)
        [row] = await queue.sql("select kind, name, updated_at from rules")
        assert (row["kind"], row["name"]) == ("limit", "default")
        assert abs(datetime.now(UTC).replace(tzinfo=None) - row["updated_at"]) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("first", "second", "spoken"),
    [
        ({"category": "a", "key": "b"}, {"category": "a/b"}, "category 'a', key 'b'"),
        (
            {"category": "a", "task": "b/c"},
            {"category": "a", "task": "b", "key": "c"},
            "category 'a', task 'b/c'",
        ),
    ],
)
async def test_a_limit_does_not_take_the_place_of_another_one_that_has_its_name(
    home: Home, first: dict[str, str], second: dict[str, str], spoken: str
) -> None:
    async with home.queue() as queue:
        await queue.set_limit(**first, concurrency=1)
        with pytest.raises(InvalidCallError, match=re.escape(f"{spoken} have one name")):
            await queue.set_limit(**second, concurrency=2)
        assert not await queue.remove_limit(**second)
        [limit] = await queue.limits()
        assert (1, first["category"]) == (limit.concurrency, limit.category)
        assert await queue.remove_limit(**first)
        await queue.set_limit(**second, concurrency=2)
