"""Tasks that are enqueued in a transaction of the application: if, and only if, it commits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fleet.callers import CALLERS, psycopg_async, session
from support.postgres import new_database
from support.queues import PATIENCE, DuckDBHome, PostgresHome, until
from wopr import (
    BacklogFullError,
    InvalidCallError,
    OnConflict,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    chain,
)
from wopr.storage.postgres import caller as postgres_caller

KINDS = pytest.mark.parametrize("kind", CALLERS)


def echoing(queue: TaskQueue) -> Any:
    """Give a queue a task that returns what it is given."""

    @queue.task(name="echo")
    async def echo(value: object) -> object:
        return value

    return echo


async def count(queue: TaskQueue) -> int:
    """Return how many tasks are committed."""
    return int((await queue.sql("select count(*) from tasks")).scalar())


@KINDS
async def test_a_task_is_there_if_and_only_if_the_transaction_commits(
    shared: PostgresHome, kind: str
) -> None:
    async with shared.queue() as queue, CALLERS[kind](shared.address) as caller:
        echo = echoing(queue)
        kept = await queue.enqueue(echo, ("kept",), connection=caller.connection)
        many = await echo.options(connection=caller.connection).enqueue_many([(1,), (2,)])
        assert 0 == await count(queue)
        await queue.start_workers("default", 1)
        await caller.commit()
        assert "kept" == await kept.result(timeout=PATIENCE)
        assert [1, 2] == [await one.result(timeout=PATIENCE) for one in many]


@KINDS
async def test_what_is_rolled_back_was_never_enqueued(shared: PostgresHome, kind: str) -> None:
    async with shared.queue() as queue, CALLERS[kind](shared.address) as caller:
        gone = await queue.enqueue(echoing(queue), (1,), connection=caller.connection)
        await caller.rollback()
        assert 0 == await count(queue)
        assert await queue.get_task_info(gone.id) is None


@KINDS
async def test_calls_that_are_made_at_once_take_nothing_of_each_other_back(
    shared: PostgresHome, kind: str
) -> None:
    async with shared.queue() as queue, CALLERS[kind](shared.address) as caller:
        echo = echoing(queue)
        await echo.options(unique_key="k").enqueue(0)
        given: Any = {"connection": caller.connection}
        fine = echo.options(**given)
        raising = echo.options(unique_key="k", on_conflict=OnConflict.RAISE, **given)
        made = await asyncio.gather(
            *((raising if number % 2 else fine).enqueue(number) for number in range(8)),
            return_exceptions=True,
        )
        await caller.commit()
        refused = [one for one in made if isinstance(one, BaseException)]
        assert [UniqueKeyConflictError] * 4 == [type(one) for one in refused]
        assert 5 == await count(queue)
        assert {} == postgres_caller._turns


async def test_who_waits_for_a_key_of_an_open_transaction_holds_up_nobody_else(
    shared: PostgresHome,
) -> None:
    async with shared.queue() as queue, psycopg_async(shared.address) as caller:
        echo = echoing(queue)
        key: Any = {"unique_key": "k"}
        held = await echo.options(connection=caller.connection, **key).enqueue(1)
        waiting = asyncio.ensure_future(echo.options(**key).enqueue(2))
        await until(lambda: blocked(shared), lambda count: count == 1)
        for number in range(3):
            await asyncio.wait_for(echo.enqueue(number), PATIENCE)
        assert not waiting.done()
        await caller.commit()
        assert held.id == (await waiting).id


async def blocked(shared: PostgresHome) -> int:
    """Return how many sessions of the database wait for a lock."""
    async with psycopg_async(shared.address) as other:
        cursor = await other.execute(
            "select count(*) as count from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock'"
        )
        return int((await cursor.fetchone())["count"])


@KINDS
async def test_a_task_that_is_refused_leaves_the_transaction_usable(
    shared: PostgresHome, kind: str
) -> None:
    async with shared.queue() as queue, CALLERS[kind](shared.address) as caller:
        echo = echoing(queue)
        first = await echo.options(unique_key="k").enqueue(1)
        given: Any = {"connection": caller.connection}
        raising = echo.options(unique_key="k", on_conflict=OnConflict.RAISE, **given)
        with pytest.raises(UniqueKeyConflictError, match=first.id):
            await raising.enqueue(2)
        skipping = await echo.options(unique_key="k", **given).enqueue(3)
        unknown = "00000000-0000-7000-8000-000000000000"
        with pytest.raises(TaskNotFoundError, match=unknown):
            await queue.enqueue(echo, (4,), depends_on=[unknown], **given)
        await queue.enqueue(echo, (5,), **given)
        await caller.execute("select 1")
        await caller.commit()
        assert (first.id, 2) == (skipping.id, await count(queue))


async def test_a_full_backlog_refuses_and_does_not_wait(shared: PostgresHome) -> None:
    async with shared.queue() as queue, psycopg_async(shared.address) as caller:
        echo = echoing(queue)
        await queue.set_limit("default", backlog=1, on_full="wait")
        await queue.enqueue(echo, (1,), connection=caller.connection)
        with pytest.raises(BacklogFullError, match="a transaction does not wait"):
            await queue.enqueue(echo, (2,), connection=caller.connection)
        await caller.commit()
        assert 1 == await count(queue)


async def test_what_is_replaced_is_there_again_after_a_rollback(shared: PostgresHome) -> None:
    async with shared.queue() as queue, psycopg_async(shared.address) as caller:
        echo = echoing(queue)
        first = await echo.options(unique_key="k").enqueue(1)
        replacing = echo.options(
            unique_key="k", on_conflict=OnConflict.REPLACE, connection=caller.connection
        )
        await replacing.enqueue(2)
        await caller.rollback()
        assert TaskStatus.PENDING is (await first.info()).status
        second = await replacing.enqueue(3)
        await caller.commit()
        assert TaskStatus.CANCELLED is (await first.info()).status
        assert TaskStatus.PENDING is (await second.info()).status


async def test_flows_and_what_follows_are_part_of_it(shared: PostgresHome) -> None:
    async with shared.queue() as queue, psycopg_async(shared.address) as caller:
        echo = echoing(queue)
        given: Any = {"connection": caller.connection}
        flow = await queue.enqueue_flow(chain(echo.s(1), echo.s()), **given)
        parent = await queue.enqueue(echo, (2,), on_success=echo.s(), **given)
        child = await queue.enqueue(echo, ("child",), depends_on=[parent], **given)
        assert 0 == await count(queue)
        await caller.commit()
        assert 5 == await count(queue)
        await queue.start_workers("default", 1)
        assert 1 == await flow.result(timeout=PATIENCE)
        assert "child" == await child.result(timeout=PATIENCE)


async def test_it_is_the_way_of_programs_without_an_event_loop_too(shared: PostgresHome) -> None:
    queue = shared.queue()
    echo = echoing(queue)

    def in_a_thread() -> str:
        import psycopg

        from wopr.domain.address import PostgresAddress

        conninfo = PostgresAddress(shared.address).conninfo
        with queue.sync() as sync, psycopg.connect(conninfo) as connection:
            sync(queue.enqueue, echo, (1,), connection=connection)
            connection.rollback()
            task_id = sync(queue.add_task, "echo", None, None, None, 2, connection=connection)
            connection.commit()
            return f"{task_id} {sync(queue.sql, 'select id from tasks').scalar()}"

    kept, there = (await asyncio.to_thread(in_a_thread)).split()
    assert kept == there


async def test_scoped_sessions_are_those_of_the_caller(shared: PostgresHome) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import scoped_session, sessionmaker

    async with shared.queue() as queue, session("psycopg")(shared.address) as caller:
        engine = create_engine(caller.connection.get_bind().url)
        scoped = scoped_session(sessionmaker(engine))
        await queue.enqueue(echoing(queue), (1,), connection=scoped)
        scoped.commit()
        scoped.remove()
        engine.dispose()
        assert 1 == await count(queue)


async def test_a_connection_without_a_transaction_is_refused(shared: PostgresHome) -> None:
    async with shared.queue() as queue, psycopg_async(shared.address) as caller:
        echo = echoing(queue)
        await caller.connection.set_autocommit(True)
        with pytest.raises(InvalidCallError, match="no open transaction"):
            await queue.enqueue(echo, (1,), connection=caller.connection)
        async with caller.connection.transaction():
            await queue.enqueue(echo, (2,), connection=caller.connection)
        assert 1 == await count(queue)


async def test_a_connection_to_another_database_is_refused(shared: PostgresHome) -> None:
    empty, other = new_database("wopr_elsewhere"), PostgresHome(new_database("wopr_other"))
    async with shared.queue() as queue, other.queue() as second:
        echo = echoing(queue)
        await second.get_task_stats()
        for address in (empty, other.address):
            async with psycopg_async(address) as caller:
                with pytest.raises(InvalidCallError, match="another database"):
                    await queue.enqueue(echo, (1,), connection=caller.connection)
                await caller.commit()
        assert (0, 0) == (await count(queue), await count(second))


async def test_what_is_no_connection_is_refused(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        echo = echoing(queue)
        with pytest.raises(InvalidCallError, match="psycopg2 or asyncpg"):
            await queue.enqueue(echo, (1,), connection=object())
        with pytest.raises(InvalidCallError, match="is a part of it"):
            await queue.enqueue_flow(chain(echo.options(connection=object()).s(1)))


async def test_a_queue_in_a_file_names_the_outbox(tmp_path: Path) -> None:
    async with DuckDBHome(tmp_path / "tasks.duckdb").queue() as queue:
        echo = echoing(queue)
        with pytest.raises(InvalidCallError, match=r"docs/guides/outbox\.md"):
            await queue.enqueue(echo, (1,), connection=object())
        assert 0 == await count(queue)
