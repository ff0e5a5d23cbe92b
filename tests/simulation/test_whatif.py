"""What would have been, from what was."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.queues import PATIENCE, MemoryStorage
from wopr import QueryError, TaskPriority, TaskQueue
from wopr.config.settings import Settings
from wopr.domain.errors import QueryTimeoutError
from wopr.domain.limits import Limit
from wopr.ports.whatif import MOST_RUNS, Run, Setting, WhatIf
from wopr.simulation.whatif import whatif

SINCE = datetime(2030, 1, 7, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
TEN = [Run("mail", "send", 2, 0.0, 60.0 * number, 60.0) for number in range(10)]
"""Ten that were ready at once and ran one after the other, for a minute each."""


def ask(
    runs: list[Run],
    setting: Setting | None = None,
    limits: tuple[Limit, ...] = (),
    now: dict[str, int] | None = None,
    settings: Settings | None = None,
) -> WhatIf:
    return whatif(
        runs, setting or Setting(), limits, now or {}, SINCE, UNTIL, settings or Settings()
    )


def test_with_as_many_workers_it_would_have_been_as_it_was() -> None:
    [mail] = ask(TEN).categories

    assert mail.workers == 1, "as many as ran at the same time"
    assert mail.tasks == 10
    assert mail.was == mail.would
    assert (mail.was.p50, mail.was.p95, mail.was.most) == (240.0, 540.0, 540.0)
    assert mail.was.backlog == 9
    assert mail.was.seconds == 600.0
    assert mail.was.per_hour == pytest.approx(60.0)


def test_more_workers_start_more_at_the_same_time() -> None:
    [mail] = ask(TEN, Setting(workers={"mail": 5})).categories

    assert mail.would.most == pytest.approx(60.0)
    assert mail.would.seconds == pytest.approx(120.0)
    assert mail.would.backlog == 5


def test_a_limit_and_a_rate_hold_them_back() -> None:
    workers = {"mail": 10}
    [limited] = ask(TEN, Setting(workers=workers, concurrency={"mail": 2})).categories
    [rated] = ask(TEN, Setting(workers=workers, rates={"mail": (1, 100.0)})).categories

    assert limited.would.most == pytest.approx(240.0)
    assert limited.limit == "2 at the same time"
    assert rated.would.most == pytest.approx(900.0, abs=1)
    assert rated.limit.startswith("1 per ")


def test_limits_of_now_count_unless_they_are_taken_away() -> None:
    of_now = (Limit(category="mail", concurrency=1),)
    workers = {"mail": 10}

    [held] = ask(TEN, Setting(workers=workers), of_now).categories
    [free] = ask(TEN, Setting(workers=workers, concurrency={"mail": None}), of_now).categories

    assert held.would.most == pytest.approx(540.0)
    assert free.would.most == pytest.approx(0.0)
    assert free.limit == "nothing"


def test_the_engine_says_who_goes_first() -> None:
    low, high = int(TaskPriority.LOW), int(TaskPriority.CRITICAL)
    runs = [
        Run("mail", "send", low, 0.0, 0.0, 10.0),
        Run("mail", "send", low, 1.0, 20.0, 10.0),
        Run("mail", "send", high, 2.0, 10.0, 10.0),
    ]
    [mail] = ask(runs, now={"mail": 1}).categories

    assert mail.would.most == pytest.approx(19.0)
    assert mail.would == mail.was


def test_categories_stand_by_themselves_and_nothing_is_nothing() -> None:
    other = [Run("slow", "scan", 2, 5.0, 5.0, 1.0)]
    found = ask([*TEN, *other], Setting(workers={"mail": 10}))

    assert [one.category for one in found.categories] == ["mail", "slow"]
    assert found.categories[1].was == found.categories[1].would
    assert ask([]).categories == ()


def test_what_it_does_not_know_is_said() -> None:
    keyed = Limit(category="mail", key="user", concurrency=1)

    plain, more = ask(TEN, now={"mail": 1}), ask(TEN, limits=(keyed,))

    assert len(plain.approximates) == 3
    assert any("Limits with a key" in text for text in more.approximates)
    assert any("No workers run now for mail" in text for text in more.approximates)


def test_only_the_first_starts_are_looked_at() -> None:
    runs = [Run("mail", "send", 2, 0.001 * number, 1.0, 0.0) for number in range(MOST_RUNS + 1)]
    with pytest.raises(QueryTimeoutError, match="Ask about less time"):
        ask(runs, settings=Settings(query_seconds=0.001))

    few = runs[:MOST_RUNS:1000] + runs[-1:]
    assert ask(few).complete


async def test_a_queue_is_asked_about_its_own_past(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(category="mail", max_retries=1)
    async def send(number: int) -> None:
        await asyncio.sleep(0.02)

    @queue.task(category="mail")
    async def after() -> None: ...

    async with queue:
        handles = await send.enqueue_many([(number,) for number in range(10)])
        last = await after.options(depends_on=handles).enqueue()
        await queue.start_workers("mail", 1)
        await last.result(timeout=PATIENCE)
        was = await queue.whatif()
        more = await queue.whatif(workers={"mail": 10}, since=3_600)
        none = await queue.whatif(since=timedelta(hours=2), until=timedelta(hours=1))

    assert none.categories == ()
    [mail], [wider] = was.categories, more.categories
    assert mail.tasks == 11
    assert mail.workers == 1
    assert mail.was.backlog == 10, "the last one waited for the others, which is no backlog"
    assert wider.would.most < mail.would.most
    assert was.complete


async def test_without_sql_it_can_not_be_asked() -> None:
    async with TaskQueue(enabled=True, storage_factory=MemoryStorage) as queue:
        with pytest.raises(QueryError, match="has no SQL"):
            await queue.whatif()
