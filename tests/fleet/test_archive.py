"""The archive of a queue on PostgreSQL: hot in its tables, cold in Parquet, one answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.carried import Both, compare
from support.commands import call
from support.postgres import empty_database, need_server
from support.queues import PATIENCE, PostgresHome, ended
from wopr import Settings, StorageFileError, TaskQueue
from wopr.access.fleet import FleetAccess
from wopr.access.sharedasking import SharedAsking
from wopr.demo.history import write_history
from wopr.domain.address import PostgresAddress
from wopr.domain.keeping import Old
from wopr.fleet.archived import Archived
from wopr.insights import pastqueries, seriesqueries
from wopr.insights.pastqueries import having
from wopr.insights.spanning import spanned
from wopr.ports.storage import QueryLimits
from wopr.queue.queue import inside
from wopr.service.capture import keep_logs
from wopr.storage.duckdb.cold import Cold
from wopr.storage.duckdb.parquet.layout import FOLDERS, days
from wopr.storage.postgres import archiving
from wopr.storage.postgres.doctor import check
from wopr.storage.postgres.retirement import Retirement

END = datetime(2030, 5, 17, 12, tzinfo=UTC)
NAIVE = END.replace(tzinfo=None)
HOUR = 3_600_000_000
logger = logging.getLogger("shop.orders")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def split(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """Return days of a shop: whole in a file; on a server and, what is older, in its archive."""
    need_server()
    folder = tmp_path_factory.mktemp("archive")
    await write_history(folder / "tasks.duckdb", tasks=500, days=5, now=END)
    both = await Both.of(folder / "tasks.duckdb", empty_database())
    cold = Cold(folder / "old", "200MB")
    retirement = Retirement(both.connections, archiving.Archiving(both.connections, cold))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archiving, "MOST_TASKS", 400)
        count = 0
        while gone := await retirement.retire(
            Old(before=NAIVE - timedelta(hours=60)), archive=True
        ):
            count += gone
    assert 400 < count
    both.asking = SharedAsking(both.connections, Archived(cold))
    yield both
    cold.close()
    await both.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_one_question_is_asked_of_both(split: Both) -> None:
    nothing, mails = [None] * 9, 0
    for hours in (90, 0):
        moment = NAIVE - timedelta(hours=hours)
        assert await compare(split, pastqueries.COUNTS, moment)
        for question in (pastqueries.WAITING, pastqueries.BACKLOG, pastqueries.RUNNING):
            await compare(split, question, moment)
        await compare(split, pastqueries.CLAIMS, moment, moment - timedelta(hours=1))
        rows = await compare(split, pastqueries.SELECTED, moment, *nothing, 400)
        ids = [str(task_id) for _, task_id in rows[-40:]]
        await compare(split, pastqueries.SELECTED_NARROWLY, moment, *nothing, 10, ids, None)
        mine = having(pastqueries.SELECTED, "category = 'mail'")
        mails += len(await compare(split, mine, moment, *nothing, 400))
        assert await compare(split, pastqueries.HISTORIES, moment, ids, min(ids), max(ids))
    assert 20 < mails
    for first, last in ((90, 10), (20, 0)):
        span = (NAIVE - timedelta(hours=first), NAIVE - timedelta(hours=last), HOUR)
        assert await compare(split, seriesqueries.ENDED, *span)
        assert await compare(split, seriesqueries.RUNS, *span[:2])
        assert await compare(split, seriesqueries.ENDED_IN_STEPS, *span, "mail")
        for which in ((None, None, "category"), (["mail"], None, "name")):
            for question, *each in (
                (seriesqueries.PARTS,),
                (seriesqueries.MOVES_OF,),
                (seriesqueries.TIMES, 1),
                (seriesqueries.AGES,),
            ):
                await compare(split, question, *span, *which, *each)
        assert await compare(split, seriesqueries.ENDED_IN_STEPS, *span, None)
        assert await compare(split, seriesqueries.MOVES, *span)


def test_each_question_about_the_past_says_whether_the_archive_is_asked() -> None:
    of_tables = {"LEFT", "LEFT_NARROWLY", "PAUSING", "LOG_KEPT", "LEFT_IN_LOG", "TIMED"}
    left = {
        name
        for module in (pastqueries, seriesqueries)
        for name, text in vars(module).items()
        if name.isupper() and name[0] != "_" and isinstance(text, str) and not spanned(text)
    }
    assert of_tables == left


def keeping_of(queue: TaskQueue) -> Any:
    access = inside(queue).access
    assert isinstance(access, FleetAccess)
    return access.retiring


def count(directory: Path, table: str) -> int:
    """Return how many rows of a table there are in an archive."""
    if not days(directory, FOLDERS[table]):
        return 0
    found = Cold(directory, "200MB")
    try:
        question = f"select count(*) from {FOLDERS[table].table}"
        return int(found.ask(question, [], QueryLimits()).rows[0][0])
    finally:
        found.close()


def working(home: PostgresHome, **settings: Any) -> TaskQueue:
    queue = home.queue(settings=Settings(**settings))

    @queue.task(name="work")
    async def work(number: int) -> dict[str, int]:
        logger.warning("working on %d", number)
        return {"doubled": 2 * number}

    return queue


async def worked(queue: TaskQueue, most: int = 4) -> list[str]:
    """Let some tasks run, and keep what they log; return their ids."""
    stop = keep_logs(queue)
    try:
        ids = await queue.enqueue_ids("work", [(number,) for number in range(most)], {})
        await queue.start_workers("default", 2)
        await ended(queue, *ids)
        await queue.get_logs(ids[0])
    finally:
        stop()
    return list(ids)


async def test_what_is_archived_is_found_on_each_host(shared: PostgresHome, tmp_path: Path) -> None:
    archive = tmp_path / "old"
    queue, other = working(shared, archive=archive), working(shared, archive=archive)
    async with queue, other:
        ids = await worked(queue)
        later = (await queue.enqueue_ids("work", [(9,)], {"delay": 3600}))[0]
        before = await queue.as_of(0).get_task_stats()
        history = await queue.get_history(ids[2])
        words = ("archive", archive, "--days", "0", "--dry-run", "--database", shared.address)
        answer = await asyncio.to_thread(call, *words)
        assert (0, "4 tasks would be archived.") == (answer.code, answer.out.strip())
        assert 4 == await queue.archive_old_tasks(days=0, directory=archive)
        assert 1 == (await queue.sql("select count(*) from tasks")).scalar()
        assert 0 == (await other.sql("select count(*) from task_logs")).scalar()
        info = await other.require_task_info(ids[2])
        assert ("success", {"doubled": 4}) == (info.status.value, info.result)
        assert history == await other.get_history(ids[2])
        assert ["working on 2"] == [one.message for one in await other.get_logs(ids[2])]
        assert {"doubled": 2} == (await other.wait(ids[1], timeout=PATIENCE)).result
        assert before == await other.as_of(0).get_task_stats()
        assert [later, *reversed(ids)] == [one.id for one in await other.as_of(0).get_tasks()]
        [series] = (await other.series(by="hour")).series
        assert 4 == sum(point.succeeded for point in series.points)
        [act] = [one for one in await other.acts() if one.verb == "archive"]
        assert (4, True) == (act.changed, str(archive) in act.detail)
        assert await other.get_task_info("01a22ceb-b399-7000-974a-59bc457b9324") is None
    report, _ = await asyncio.to_thread(check, PostgresAddress(shared.address))
    assert [] == report.problems


async def test_a_portion_that_was_broken_off_is_neither_lost_nor_there_twice(
    shared: PostgresHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "old"
    queue = working(shared, archive=archive)
    really = Cold.write

    def breaks_off(self: Cold, name: str, rows: Any) -> int:
        really(self, name, rows)
        raise StorageFileError("it broke after the files were in place")

    async with queue:
        await worked(queue)
        monkeypatch.setattr(Cold, "write", breaks_off)
        with pytest.raises(StorageFileError, match="it broke"):
            await queue.archive_old_tasks(days=0)
        monkeypatch.setattr(Cold, "write", really)
        assert 4 == (await queue.sql("select count(*) from tasks")).scalar()
        assert 4 == count(archive, "tasks")
        async with working(shared, archive=tmp_path / "elsewhere") as other:
            with pytest.raises(StorageFileError, match="one archive, under one name"):
                await other.archive_old_tasks(days=0)
        assert 4 == await queue.archive_old_tasks(days=0)
        assert [4, 12, 4] == [count(archive, one) for one in ("tasks", "transitions", "logs")]
        assert 0 == (await queue.sql("select count(*) from transitions")).scalar()
        assert [] == await queue.storage.connections.rows(
            "select 1 from wopr.meta where key = 'retiring'"
        )


async def test_rules_archive(shared: PostgresHome, tmp_path: Path) -> None:
    queue = working(shared, archive=tmp_path / "old", keep_success="1h")
    async with queue:
        ids = await worked(queue)
        await queue.storage.connections.rows(
            "update wopr.tasks set completed_at = completed_at - interval '3 hours', "
            "started_at = started_at - interval '3 hours', "
            "created_at = created_at - interval '3 hours'"
        )
        keeping = keeping_of(queue).rules
        await keeping.round()
        assert (4, 0) == (keeping.told.archived, keeping.told.deleted)
        assert 0 == (await queue.get_task_stats())["total"]
        assert "success" == (await queue.require_task_info(ids[0])).status.value


async def test_without_an_archive_nothing_is_archived(shared: PostgresHome) -> None:
    async with working(shared) as queue:
        await worked(queue, 1)
        with pytest.raises(StorageFileError, match="WOPR_TASKS_ARCHIVE"):
            await queue.archive_old_tasks(days=0)
        assert 1 == (await queue.get_task_stats())["total"]
