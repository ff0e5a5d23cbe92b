"""Limits in the declaration of a task: stored at the start of workers, changeable from then on."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from support.queues import DuckDBHome, Gate, Home, ended, running
from wopr import InvalidCallError, StorageError, TaskQueue
from wopr.domain.declaredlimits import followed
from wopr.domain.limits import Declared, Limit
from wopr.engine.limits import declaring
from wopr.engine.limits.declaring import Declaring
from wopr.queue.queue import inside


class Census:
    """Counts who is inside at the same time, by name."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def stay(self, name: str) -> None:
        self.inside[name] += 1
        self.most[name] = max(self.most[name], self.inside[name])
        for _ in range(3):
            await asyncio.sleep(0)
        self.inside[name] -= 1


def declared(queue: TaskQueue, census: Census | None = None, **options: Any) -> Any:
    seen = census or Census()

    @queue.task(name="send", category="mail", **options)
    async def send(customer: str) -> None:
        await seen.stay(f"send {customer}")
        await seen.stay("send")

    return send


async def stored(queue: TaskQueue) -> list[str]:
    return [f"{one.name}: {one.describe()}" for one in await queue.limits()]


async def test_a_declared_limit_holds_for_its_task_and_others_pass_by(home: Home) -> None:
    queue, census = home.queue(), Census()
    send = declared(queue, census, limit=2)

    @queue.task(name="other", category="mail")
    async def other(n: int) -> None:
        await census.stay("other")

    async with running(queue, mail=10):
        handles = await send.enqueue_many([("a",)] * 40)
        handles += await other.enqueue_many([(n,) for n in range(40)])
        await ended(queue, *(handle.id for handle in handles))
        assert await stored(queue) == ["mail//send: 2 at the same time"]
    assert census.most["send"] <= 2
    assert census.most["other"] > 2


async def test_a_declared_key_gives_each_of_its_values_a_limit(home: Home) -> None:
    queue, census = home.queue(), Census()
    send = declared(queue, census, limit=1, key="customer")
    async with running(queue, mail=8):
        handles = await send.enqueue_many([(name,) for _ in range(20) for name in "abc"])
        await ended(queue, *(handle.id for handle in handles))
    assert {census.most[f"send {name}"] for name in "abc"} == {1}
    assert census.most["send"] > 1


async def test_what_is_set_at_run_time_counts_after_a_restart_too(
    durable_home: DuckDBHome, caplog: pytest.LogCaptureFixture
) -> None:
    queue = durable_home.queue()
    declared(queue, limit=2, rate="100/minute")
    async with running(queue, mail=1):
        await queue.set_limit("mail", task="send", concurrency=5)
    again = durable_home.queue()
    declared(again, limit=3)
    with caplog.at_level(logging.WARNING):
        async with running(again, mail=1):
            [limit] = await again.limits()
    assert (limit.concurrency, limit.rate) == (5, 100)
    assert limit.declared == Declared(concurrency=3)
    assert limit.differs
    assert "the code declares 3 at the same time" in caplog.text
    caplog.clear()
    third = durable_home.queue()
    declared(third, limit=3)
    async with running(third, mail=1):
        pass
    assert "the code declares 3 at the same time" in caplog.text  # each time


async def test_a_changed_declaration_is_followed_where_nobody_set_any(
    durable_home: DuckDBHome,
) -> None:
    for options, expected in (
        ({"limit": 2}, ["mail//send: 2 at the same time"]),
        ({"limit": 4}, ["mail//send: 4 at the same time"]),
        ({"rate": "5/2s", "key": "customer"}, ["mail//send/customer: 5 per 2 s"]),
        ({}, []),
    ):
        queue = durable_home.queue()
        declared(queue, **options)
        async with running(queue, mail=1):
            assert expected == await stored(queue)


async def test_a_declared_limit_that_was_removed_stays_removed(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    declared(queue, limit=2)
    async with running(queue, mail=1):
        assert await queue.remove_limit("mail", task="send")
        assert not await queue.remove_limit("mail", task="send")
    again = durable_home.queue()
    declared(again, limit=2)
    async with running(again, mail=1):
        assert await stored(again) == ["mail//send: nothing"]
        await again.set_limit("mail", task="send", concurrency=2)
        [limit] = await again.limits()
    assert not limit.differs


async def test_what_was_set_by_hand_outlives_its_declaration(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    declared(queue, limit=2)
    async with running(queue, mail=1):
        await queue.set_limit("mail", task="send", concurrency=7)
    again = durable_home.queue()
    declared(again)
    async with running(again, mail=1):
        [limit] = await again.limits()
    assert (limit.concurrency, limit.declared) == (7, None)


async def test_a_process_without_workers_changes_no_rule(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    declared(queue, limit=2)
    async with running(queue, mail=1):
        pass
    looks = durable_home.queue()
    async with looks:
        assert await stored(looks) == ["mail//send: 2 at the same time"]
        await looks.start_workers("other", 1)
        assert await stored(looks) == ["mail//send: 2 at the same time"]


async def test_a_task_that_is_declared_while_workers_run_is_limited_too(home: Home) -> None:
    queue, census = home.queue(), Census()
    async with running(queue, mail=6):
        send = declared(queue, census, limit=1)
        await asyncio.sleep(0)  # the engine is told
        handles = await send.enqueue_many([("a",)] * 12)
        await ended(queue, *(handle.id for handle in handles))
        assert await stored(queue) == ["mail//send: 1 at the same time"]
        assert not inside(queue).access.pools["mail"].holds
    assert census.most["send"] == 1


async def test_a_task_declared_late_starts_once_its_limit_is_stored_whatever_was_in_the_way(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(declaring, "BACK_OFF", 0.0)
    follow, broken = Declaring.follow, [OSError("in the way"), StorageError("busy")]

    async def breaks(self: Declaring, category: str) -> None:
        if broken:
            raise broken.pop()
        await follow(self, category)

    queue = home.queue()
    async with running(queue, mail=1):
        monkeypatch.setattr(Declaring, "follow", breaks)
        send = declared(queue, limit=1)
        await asyncio.sleep(0)  # the engine is told
        await ended(queue, (await send.enqueue("a")).id)
        assert not inside(queue).access.pools["mail"].holds
    told = [one for one in caplog.messages if "starts nothing yet" in one]
    assert ["StorageError: busy", "OSError: in the way"] == [one.split(": ", 2)[2] for one in told]


async def test_explain_names_the_task_and_what_the_code_declares(home: Home) -> None:
    queue = home.queue()
    gate = Gate()

    @queue.task(name="send", category="mail", limit=3)
    async def send() -> None:
        await gate.wait(1)

    async with running(queue, mail=2):
        await queue.set_limit("mail", task="send", concurrency=1)
        first, second = await send.enqueue(), await send.enqueue()
        await gate.arrivals(1)
        why = await queue.explain(second.id)
        gate.open()
        await ended(queue, first.id, second.id)
    assert "1 of at most 1 task of 'mail' named send" in str(why)
    assert "the code declares 3 at the same time" in str(why)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 0}, "limit"),
        ({"rate": "many"}, "rate must be"),
        ({"key": "customer"}, "nothing that counts"),
        ({"limit": 1, "key": "custommer"}, "has no parameter 'custommer'"),
        ({"limit": 1, "key": "a["}, "no JMESPath"),
    ],
)
def test_a_declaration_that_can_t_hold_is_refused(options: dict[str, Any], said: str) -> None:
    queue = TaskQueue(enabled=True)
    with pytest.raises(InvalidCallError, match=said):
        declared(queue, **options)
    assert not queue.task_functions


async def test_limits_of_a_whole_category_can_t_be_set_for_a_task(home: Home) -> None:
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError, match="can't be set for one task"):
            await queue.set_limit("mail", task="send", backlog=3)


def test_a_stored_limit_without_a_declaration_is_marked_and_kept() -> None:
    stored = Limit(category="mail", task="send", concurrency=9)
    code = Limit(category="mail", task="send", rate=1, per=1)
    new, gone = followed({stored.name: stored}, [code])
    assert not gone
    assert [(9, Declared(rate=1, per=1))] == [(one.concurrency, one.declared) for one in new]
    assert Limit.from_json(new[0].to_json()) == new[0]
