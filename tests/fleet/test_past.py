"""The past of a queue on PostgreSQL: the same questions have the same answers as in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from support.carried import LIMITS, Both, compare
from support.postgres import empty_database, need_server
from wopr.demo.history import write_history
from wopr.insights import pastqueries, seriesqueries, whatifqueries
from wopr.insights.pastqueries import having

pytestmark = pytest.mark.asyncio(loop_scope="module")

END = datetime(2030, 5, 17, 12, tzinfo=UTC)
NAIVE = END.replace(tzinfo=None)
MOMENTS = [NAIVE - timedelta(hours=hours) for hours in (200, 73.3, 14, 0.5, 0)]
HOUR = 3_600_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """Return a week of a shop, in a file and on a server."""
    need_server()
    path = tmp_path_factory.mktemp("past") / "tasks.duckdb"
    await write_history(path, tasks=800, days=5, now=END)
    found = await Both.of(path, empty_database())
    yield found
    await found.close()


async def test_each_moment_is_told_as_a_file_tells_it(both: Both) -> None:
    seen = 0
    for moment in MOMENTS:
        for question in (
            *(pastqueries.COUNTS, pastqueries.WAITING, pastqueries.BACKLOG),
            *(pastqueries.RUNNING, pastqueries.PAUSING),
        ):
            seen += len(await compare(both, question, moment))
        await compare(both, pastqueries.CLAIMS, moment, moment - timedelta(hours=1))
    assert 50 < seen


async def test_tasks_are_found_by_the_same_conditions(both: Both) -> None:
    rows = await compare(both, pastqueries.SELECTED, MOMENTS[3], *[None] * 9, 300)
    ids = [str(task_id) for _, task_id in rows[:40]]
    assert 40 == len(ids)
    conditions: list[tuple[object, ...]] = [
        (["payments.charge"], *[None] * 8),
        (None, ["mail"], ["pending", "failed"], *[None] * 6),
        (None, None, None, MOMENTS[2], MOMENTS[3], None, None, None, 10**9),
        (None, None, None, None, None, "0190c0de-0000-7000-8000-000000000000", *[None] * 3),
        (*[None] * 6, "daily report", None, None),
    ]
    found = left = 0
    for one in conditions:
        found += len(await compare(both, pastqueries.SELECTED, MOMENTS[3], *one, 50))
        left += len(await compare(both, pastqueries.LEFT, MOMENTS[4], *one, 50))
    assert 50 < found
    assert 0 < left
    some = [None] * 9
    assert await compare(both, pastqueries.SELECTED_NARROWLY, MOMENTS[4], *some, 50, ids, None)
    errors = await both.storage.query("select distinct fingerprint from failures", [], LIMITS)
    for (error,) in errors.rows[:5]:
        await compare(both, pastqueries.SELECTED_NARROWLY, MOMENTS[4], *some, 50, None, error)
        await compare(both, pastqueries.LEFT_NARROWLY, MOMENTS[4], *some, 50, ids, error)
    mine = having(pastqueries.SELECTED, "category = 'mail' and attempt > 0")
    assert await compare(both, mine, MOMENTS[3], *some, 50)
    ends = min(ids), max(ids)
    assert 40 < len(await compare(both, pastqueries.HISTORIES, MOMENTS[4], ids, *ends))


async def test_spans_are_told_as_a_file_tells_them(both: Both) -> None:
    span = (NAIVE - timedelta(hours=70), NAIVE, HOUR)
    assert await compare(both, seriesqueries.MOVES, *span)
    assert await compare(both, seriesqueries.ENDED, *span)
    assert await compare(both, seriesqueries.RUNS, *span[:2])
    assert await compare(both, seriesqueries.ENDED_IN_STEPS, *span, None)
    assert await compare(both, seriesqueries.PARTS, *span, None, None, "name")
    assert [(0,)] == await compare(both, seriesqueries.LOG_KEPT)
    assert await compare(both, seriesqueries.LEFT_IN_LOG, span[0])
    of_some: list[tuple[object, ...]] = [
        (None, None, None),
        (None, None, "category"),
        (["mail"], None, "name"),
        (None, ["payments.charge"], None),
    ]
    for question, *each in (
        (seriesqueries.MOVES_OF,),
        (seriesqueries.TIMES, 1),
        (seriesqueries.TIMES_ABOUT, 1),
        (seriesqueries.AGES,),
    ):
        found = [len(await compare(both, question, *span, *one, *each)) for one in of_some]
        assert 3 < sum(found)
    assert await compare(both, seriesqueries.ENDED_IN_STEPS, *span, "mail")


async def test_what_would_have_been_is_told_by_the_same_runs(both: Both) -> None:
    runs = await compare(
        both, whatifqueries.RUNS_SINCE, NAIVE - timedelta(hours=72), NAIVE, 100_000
    )
    assert 100 < len(runs)
