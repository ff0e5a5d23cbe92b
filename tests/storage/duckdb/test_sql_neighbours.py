"""A query that crashes DuckDB, spoils its database or takes its memory is nobody else's trouble."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.queues import PATIENCE
from wopr import QueryError, QueryTimeoutError, TaskQueue
from wopr.config.settings import Settings
from wopr.domain.errors import StorageError
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb import asking
from wopr.storage.duckdb.asked import apart, people
from wopr.storage.duckdb.asked.reading import run

DEEP = "||".join(f"(select string_agg('{sign}', '') from range(100000))" for sign in "[]")
SPOILS = f"select max(length(value)) from json_tree({DEEP})"
"""What makes DuckDB 2.0 refuse the database from then on."""


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    settings = Settings(query_seconds=PATIENCE)
    queue = TaskQueue(enabled=True, database=tmp_path / "one.duckdb", settings=settings)
    queue.register_task("noop")(lambda number: number)
    async with queue:
        for number in range(3):
            await queue.enqueue("noop", (number,))
        yield queue


async def test_a_query_that_crashes_duckdb_ends_a_process_that_is_not_the_owner(
    queue: TaskQueue,
) -> None:
    with pytest.raises(QueryError, match="ended without an answer"):
        await queue.sql(f"select json_contains({DEEP}, {DEEP})")
    assert 3 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_a_query_that_spoils_the_database_spoils_a_copy(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(QueryError, match=r"FATAL|INTERNAL"):
        await queue.sql(SPOILS)
    assert 3 == (await queue.sql("select count(*) from tasks")).scalar()
    assert "opened again" not in caplog.text


async def spoil(queue: TaskQueue) -> None:
    """Make the database of the owner unusable, as no query can that is known."""
    with contextlib.suppress(StorageError, duckdb.Error):
        await queue.storage._people.ask(
            lambda cursor: cursor.execute(SPOILS).fetchall(), PATIENCE, PATIENCE
        )


async def test_who_asks_an_unusable_database_is_answered_by_the_next(queue: TaskQueue) -> None:
    handle = await queue.enqueue("noop", (3,))
    for ask in (
        lambda: queue.sql("select count(*) from tasks"),
        lambda: queue.get_task_info(str(handle.id)),
        queue.get_task_stats,
        queue.status,
        lambda: queue.enqueue("noop", (4,)),
    ):
        await spoil(queue)
        assert await ask()
    assert 5 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_a_query_that_finds_no_memory_beside_others_is_run_apart(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that take it may have had all of it."""
    both = asyncio.Barrier(2)
    loop = asyncio.get_running_loop()

    def no_memory(*given: Any) -> Any:
        asyncio.run_coroutine_threadsafe(both.wait(), loop).result(PATIENCE)
        try:
            raise duckdb.OutOfMemoryException("failed to allocate data")
        except duckdb.Error as error:
            raise QueryError("no memory") from error

    monkeypatch.setattr(asking, "run", no_memory)
    answers = await asyncio.gather(*[queue.sql("select count(*) from tasks") for _ in range(2)])
    assert [3, 3] == [answer.scalar() for answer in answers]


async def test_a_query_that_finds_no_memory_although_it_is_alone_says_so(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_apart(*given: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(queue.storage, "_apart", not_apart)
    with pytest.raises(QueryError, match="WOPR_TASKS_MEMORY_LIMIT"):
        await queue.sql("select length(string_agg('x' || range, '')) from range(1000000000)")


async def test_what_wopr_asks_itself_is_asked_again_when_it_was_interrupted(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    def interrupted_once(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > 1:
            return run(*given)
        try:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        except duckdb.Error as error:
            raise QueryError("interrupted") from error

    monkeypatch.setattr(asking, "run", interrupted_once)
    limits = QueryLimits(own=True)
    assert [(3,)] == (await queue.storage.query("select count(*) from tasks", [], limits)).rows
    assert 2 == runs


async def test_what_wopr_asks_is_not_stopped_by_what_else_it_asks_again(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each would stop the others, and they it, until one was told of that."""
    interrupted: list[str] = []
    begun, go = threading.Barrier(3), threading.Event()

    class Cursor:
        who = ""

        def interrupt(self) -> None:
            interrupted.append(self.who)
            go.set()

        def close(self) -> None: ...

    def reading(who: str) -> Callable[[Any], None]:
        def read(cursor: Any) -> None:
            cursor.who = who
            begun.wait(PATIENCE)
            go.wait(PATIENCE)

        return read

    monkeypatch.setattr(people, "_cursor", lambda _: Cursor())
    asked = people.People(queue.storage._people._opened)
    reads = [
        asyncio.ensure_future(asked.ask(reading("ours"), PATIENCE, PATIENCE, own=True)),
        asyncio.ensure_future(asked.ask(reading("theirs"), PATIENCE, PATIENCE)),
    ]
    await asyncio.to_thread(begun.wait, PATIENCE)
    await asked.clear()
    await asyncio.gather(*reads)
    assert ["theirs"] == interrupted
    asked.let_go()


async def test_a_query_that_was_interrupted_for_a_commit_is_run_apart(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> Any:
        try:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
        except duckdb.Error as error:
            raise QueryError("interrupted") from error

    monkeypatch.setattr(asking, "run", interrupted)
    assert 3 == (await queue.sql("select count(*) from tasks")).scalar()


async def test_a_condition_is_asked_although_all_threads_are_taken(queue: TaskQueue) -> None:
    begun, go = threading.Barrier(people.MOST + 1), threading.Event()

    def held(_: Any) -> None:
        begun.wait(PATIENCE)
        go.wait(PATIENCE)

    ask = queue.storage._people.ask
    taken = [asyncio.ensure_future(ask(held, PATIENCE, PATIENCE)) for _ in range(people.MOST)]
    await asyncio.to_thread(begun.wait, PATIENCE)
    try:
        assert 3 == await queue.tasks.where("priority = 2").count()
    finally:
        go.set()
        await asyncio.gather(*taken)


APART = "select count(*) from tasks where format('{}', name) = 'noop' and "


async def test_no_more_run_apart_at_once_than_a_few(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take as much memory as the queue, and has a copy of the database."""
    running, at_once, go = 0, 0, asyncio.Event()
    places = queue.storage._places_apart

    async def counted(*given: Any) -> QueryRows:
        nonlocal running, at_once
        running += 1
        at_once = max(at_once, running)
        await go.wait()
        running -= 1
        return QueryRows(("count",), [(3,)], None)

    monkeypatch.setattr(apart, "ask", counted)
    texts = [APART + f"{number} = {number}" for number in range(2 * apart.MOST)]
    asked = [asyncio.ensure_future(queue.sql(text)) for text in texts]
    async with asyncio.timeout(PATIENCE):
        while running + len(places._waiters or ()) < len(asked):
            await asyncio.sleep(0)
    go.set()
    assert {3} == {answer.scalar() for answer in await asyncio.gather(*asked)}
    assert apart.MOST == at_once


async def test_who_gets_no_place_apart_in_time_is_told(queue: TaskQueue) -> None:
    storage = queue.storage
    for _ in range(apart.MOST):
        await storage._places_apart.acquire()
    with pytest.raises(QueryTimeoutError, match="never began"):
        await storage.query(APART + "1 = 1", [], QueryLimits(seconds=0.2))
    storage._places_apart.release()
    assert [(3,)] == (await storage.query(APART + "1 = 1", [], QueryLimits())).rows
