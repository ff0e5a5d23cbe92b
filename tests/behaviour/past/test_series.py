"""``queue.series(…)``: what happened in each step, against a count of the history row by row."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

from support.queues import NOON, SteppableClock
from wopr import InvalidCallError, Point, QueryError, Resolution, Settings, TaskQueue, TimeSeries
from wopr.core import past
from wopr.core import series as module
from wopr.demo.history import write_history

HOUR = 3600
NOW = datetime(2025, 11, 30, 12, 0, tzinfo=UTC)
DAYS = 3
HISTORY = """
select tasks.id::varchar, category, name, from_status, to_status, occurred_at
from transitions join tasks on tasks.id = task_id order by transitions.seq
"""
TASKS = """
select
    category, name, greatest(created_at, run_at), started_at, completed_at, attempt, depends_on,
    elapsed_seconds, status
from tasks
"""

Split = Literal["category", "name"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with some days of a shop in it."""
    path = tmp_path_factory.mktemp("series") / "shop.duckdb"
    asyncio.run(write_history(path, tasks=2_500, days=DAYS, now=NOW))
    return path


@pytest.fixture
async def queue(path: Path) -> AsyncIterator[TaskQueue]:
    """Give a queue on it at the moment that the history ends."""
    async with TaskQueue(enabled=True, database=path, clock=SteppableClock(NOW)) as queue:
        yield queue


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return all rows of an answer, from a file that a queue of this process has open."""
    copy = path.with_name("copy.duckdb")
    if not copy.exists():
        copy.write_bytes(path.read_bytes())
    with duckdb.connect(str(copy), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def counted(path: Path, split: Split | None) -> dict[Any, Counter[str]]:
    """Count what happened, by series and hour, and what waited at the end of each."""
    found: dict[Any, Counter[str]] = defaultdict(Counter)
    for _, category, name, before, after, at in rows(path, HISTORY):
        part = {"category": category, "name": name, None: None}[split]
        key = (part, at.replace(minute=0, second=0, microsecond=0))
        waits = (after in {"pending", "retry"}) - (before in {"pending", "retry"})
        found[key]["waiting"] += waits
        if before is None:
            found[key]["arrivals"] += 1
        elif before == "started" and after == "retry":
            found[key]["retried"] += 1
        elif after in {"started", "success", "failed", "cancelled"}:
            names = {"started": "starts", "success": "succeeded"}
            found[key][names.get(after, after)] += 1
    return found


def check(path: Path, found: TimeSeries, split: Split | None) -> int:
    """Compare counts with those of the rows; return how many steps had something."""
    wanted = counted(path, split)
    seen = 0
    for series in found.series:
        waiting = 0
        for point in series.points:
            counts = wanted[series.part, point.at.replace(tzinfo=None)]
            waiting += counts["waiting"]
            names = ("arrivals", "starts", "succeeded", "failed", "retried", "cancelled")
            told = {name: getattr(point, name) for name in names}
            assert {name: counts[name] for name in names} == told, (series.part, point.at)
            assert waiting == point.backlog, (series.part, point.at)
            ended = counts["succeeded"] + counts["failed"]
            assert (counts["succeeded"] / ended if ended else None) == point.success_rate
            seen += bool(counts)
    return seen


@pytest.mark.parametrize("split", [None, "category", "name"])
async def test_counts_are_those_of_the_history(
    queue: TaskQueue, path: Path, split: Split | None
) -> None:
    found = await queue.series("hour", since=timedelta(days=DAYS, hours=1), until=NOW, split=split)
    assert DAYS * 24 + 1 == len(found.series[0].points)
    assert check(path, found, split) > 60
    assert {None: 1, "category": 8, "name": 13}[split] <= len(found.series)
    part = await queue.series(since=timedelta(hours=30), until=NOW, split=split)
    begin = part.series[0].points[0].at
    for one in part.series:  # what waited before the first step is known
        whole = next(other for other in found.series if other.part == one.part)
        same = [point for point in whole.points if point.at >= begin]
        assert [point.backlog for point in same] == [point.backlog for point in one.points]


async def test_of_some_categories_and_names_only_those_are_counted(queue: TaskQueue) -> None:
    whole = await queue.series("day", since=timedelta(days=DAYS), split="category")
    mail = next(one for one in whole.series if one.part == "mail")
    [only] = (await queue.series("day", since=timedelta(days=DAYS), category="mail")).series
    assert mail.points == only.points
    names = ["mail.receipt", "mail.password", "mail.newsletter"]
    [same] = (await queue.series("day", since=timedelta(days=DAYS), name=names)).series
    assert only.points == same.points


async def test_waits_runs_and_ages_are_those_of_the_rows(queue: TaskQueue, path: Path) -> None:
    night = {"since": timedelta(hours=10), "until": timedelta(hours=9)}  # when photos come
    [found] = (await queue.series("minute", **night, category="images")).series
    tasks = [row[2:] for row in rows(path, TASKS) if row[0] == "images"]
    measured = 0
    for point in found.points:
        begin = point.at.replace(tzinfo=None)
        end = begin + timedelta(minutes=1)
        waits = [
            (started - due).total_seconds()
            for due, started, _, attempt, parents, *_ in tasks
            if started and begin <= started < end and attempt == 1 and not parents
        ]
        runs = [
            elapsed
            for _, _, ended, _, _, elapsed, status in tasks
            if ended and begin <= ended < end and status in {"success", "failed"}
        ]
        ages = [
            (end - due).total_seconds()
            for due, started, ended, attempt, parents, *_ in tasks
            if attempt <= 1 and not parents and due < end <= (started or ended or end)
        ]
        if waits:
            assert statistics.median(waits) == pytest.approx(point.wait_p50)
        if runs:
            assert statistics.median(runs) == pytest.approx(point.run_p50)
        if ages and point.backlog:
            assert max(ages) == pytest.approx(point.backlog_age)
            measured += 1
    assert measured > 0


async def test_percentiles_of_very_many_are_about_right_and_said_so(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await queue.series("day", since=timedelta(days=DAYS), split="category")
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)
    about = await queue.series("day", since=timedelta(days=DAYS), split="category")
    assert "run_p95" not in exact.approximate
    assert {"run_p95", "wait_p50"} <= set(about.approximate)
    assert any("about right" in note for note in about.notes)
    pairs = 0
    for one, other in zip(exact.series, about.series, strict=True):
        for point, rough in zip(one.points, other.points, strict=True):
            if point.run_p50 is not None and point.succeeded > 30:
                assert rough.run_p50 == pytest.approx(point.run_p50, rel=0.15)
                pairs += 1
    assert pairs > 5


async def test_of_very_many_all_together_some_tasks_are_measured(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await queue.series("day", since=timedelta(days=DAYS))
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)
    monkeypatch.setattr(module, "SAMPLED", 800)
    about = await queue.series("day", since=timedelta(days=DAYS))
    assert any("those of one task in 2" in note for note in about.notes)
    for point, rough in zip(exact.series[0].points, about.series[0].points, strict=True):
        assert (point.arrivals, point.backlog) == (rough.arrivals, rough.backlog)
        if point.succeeded > 300:
            assert rough.run_p50 == pytest.approx(point.run_p50, rel=0.5)
            assert rough.run_p95 != point.run_p95


async def test_the_same_steps_of_a_week_before_stand_beside(tmp_path: Path) -> None:
    clock = SteppableClock(NOON - timedelta(days=7))
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=clock) as queue:

        @queue.task(name="work")
        async def work() -> None: ...

        await work.enqueue_many([()] * 3)
        clock.advance(7 * 86_400)
        await work.enqueue()
        found = await queue.series(Resolution.HOUR, since=7200, compare=True, split="name")
        [one] = found.series
        assert [0, 0, 1] == [point.arrivals for point in one.points]
        assert [0, 0, 3] == [point.arrivals for point in one.week_before]
        assert [3, 3, 4] == [point.backlog for point in one.points]
        assert 7 * 86_400 == pytest.approx(one.points[-1].backlog_age)
        gap = {now.at - then.at for now, then in zip(one.points, one.week_before, strict=True)}
        assert {timedelta(days=7)} == gap
        assert "By hour" in found._repr_html_()
        alone = await queue.series("minute", since=60)
        assert () == alone.series[0].week_before


async def test_the_archive_is_a_part_of_it(tmp_path: Path) -> None:
    path, settings = tmp_path / "t.duckdb", Settings(archive=tmp_path / "old")
    await write_history(path, tasks=600, days=1, now=NOW)
    clock = SteppableClock(NOW)
    async with TaskQueue(enabled=True, database=path, clock=clock, settings=settings) as queue:
        before = await queue.series(since=86_400, split="category")
        assert await queue.archive_old_tasks(days=0) > 400
        assert before == await queue.series(since=86_400, split="category")


async def test_only_the_busiest_are_told_of_many(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PARTS", 3)
    found = await queue.series(since=86_400, split="name")
    assert 3 == len(found.series)
    assert found.left_out > 5


async def test_of_many_names_the_log_is_asked_about_the_busiest_only(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await queue.series(since=86_400, split="name", compare=True)
    monkeypatch.setattr(module, "MOST_PARTS", 3)
    asked: list[tuple[str, Any]] = []
    ask = module._ask

    async def noted(core: Any, question: str, *params: Any) -> list[module.Row]:
        asked.append((question, params))
        return await ask(core, question, *params)

    monkeypatch.setattr(module, "_ask", noted)
    found = await queue.series(since=86_400, split="name", compare=True)
    told = {one.part for one in found.series}
    of = [set(params[4]) for question, params in asked if question == module.seriesqueries.MOVES_OF]
    assert [told, told] == of
    assert len(whole.series) == found.left_out + 3
    assert {one for one in whole.series if one.part in told} == set(found.series)


async def test_the_backlog_is_right_where_only_the_log_of_tasks_was_kept(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "t.duckdb", SteppableClock(NOW)
    await write_history(path, tasks=600, days=1, now=NOW)
    async with TaskQueue(enabled=True, database=path, clock=clock) as queue:
        before = await queue.series(since=86_400)
        later = await queue.series(since=6 * HOUR)
        assert await queue.cleanup_old_tasks(days=0, keep_history=True) > 400
        counts = [
            [(one.at, one.arrivals, one.succeeded, one.backlog) for one in found.series[0].points]
            for found in (
                before,
                await queue.series(since=86_400),
                later,
                await queue.series(since=6 * HOUR),
            )
        ]
        assert counts[0] == counts[1]
        assert counts[2] == counts[3]
        assert any("keep_history" in note for note in (await queue.series()).notes)


async def test_counts_of_a_part_are_not_told(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    with pytest.raises(QueryError, match="Counts of a part would be too low"):
        await queue.series(since=86_400, split="name")
    monkeypatch.setattr(past, "MOST_ROWS", 3)
    with pytest.raises(QueryError, match="Are there as many names"):
        await queue.as_of(0).get_task_stats()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "week"}, "minute, hour or day"),
        ({"by": "minute", "since": 10 * 86_400}, "steps of a minute"),
        ({"since": 10, "until": 20}, "nothing between"),
        ({"split": "tag"}, "split must be"),
        ({"category": ""}, "category"),
        ({"since": "yesterday"}, "number of seconds"),
        ({"since": datetime(1, 1, 1, tzinfo=UTC)}, "before 1970"),
    ],
)
async def test_what_can_not_be_asked_is_refused(options: dict[str, Any], said: str) -> None:
    queue = TaskQueue(enabled=False)
    with pytest.raises(InvalidCallError, match=said):
        await queue.series(**options)


async def test_without_a_file_nothing_has_happened(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "t.duckdb", clock=SteppableClock())
    [found] = (await queue.series()).series
    assert 25 == len(found.points)
    assert Point(at=found.points[0].at) == found.points[0]
    await queue.shutdown()
