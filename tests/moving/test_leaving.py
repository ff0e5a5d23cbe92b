"""What a queue leaves a server with: all of it, looked through beside the work."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.queues import PATIENCE, until
from wopr import StorageError, TaskQueue
from wopr.domain.address import PostgresAddress, database_of
from wopr.domain.clock import SystemClock, naive_now
from wopr.domain.logline import LogLine
from wopr.moving import tofile, toserver
from wopr.moving.move import move
from wopr.queue.queue import inside
from wopr.storage.moving.tables import silent
from wopr.storage.postgres.moving import locking
from wopr.storage.postgres.moving.filling import Filling
from wopr.storage.postgres.moving.reading import ServerReader

LINE = "insert into wopr.task_logs select id, 1, {0}, now(), 'INFO', 'shop', 'late' from wopr.tasks"
VACUUMED = """
select pid from pg_stat_activity join pg_locks using (pid)
where backend_type = 'autovacuum worker' and relation = 'wopr.transitions'::regclass
    and mode = 'ShareUpdateExclusiveLock' and granted
"""
READ = """
select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_user_tables where schemaname = 'wopr'
"""


def rows(address: str, statement: str) -> list[Any]:
    conninfo = PostgresAddress(address).conninfo
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def fill(address: str, tasks: int) -> None:
    """Make a queue with so many tasks that have ended, and one that waits."""
    async with TaskQueue(enabled=True, database=address) as queue:

        @queue.task(name="say")
        async def say(number: int) -> int:
            return number

        handles = await say.enqueue_many([(number,) for number in range(tasks)])
        await queue.start_workers("default", 5)
        for handle in handles:
            await handle.result(timeout=PATIENCE)
        await say.options(delay=3_600).enqueue(0)


async def test_lines_that_come_while_it_leaves_come_along(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 1)
    settle, left = tofile.ToFile._settle, tofile.ToFile._leave

    def settled(self: tofile.ToFile) -> None:
        rows(address, LINE.format(100))
        settle(self)
        rows(address, LINE.format(200))

    def leave(self: tofile.ToFile) -> None:
        rows(address, LINE.format(300))
        left(self)

    monkeypatch.setattr(tofile.ToFile, "_settle", settled)
    monkeypatch.setattr(tofile.ToFile, "_leave", leave)
    settings = TaskQueue(enabled=True).settings
    moved = await move(database_of(address), tmp_path / "q.db", settings)
    assert 6 == moved.logs
    async with TaskQueue(enabled=True, database=tmp_path / "q.db") as queue:
        found = await queue.sql("select number, count(*) as n from task_logs group by 1 order by 1")
        assert [(100, 2), (200, 2), (300, 2)] == [tuple(one.values()) for one in found]
    with pytest.raises(psycopg.DatabaseError, match=r"q\.db"):
        rows(address, LINE.format(400))


async def test_a_line_that_the_old_home_refuses_is_kept_at_the_new_one(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 1)
    [(task_id,)] = rows(address, "select id::text from wopr.tasks where status = 'success'")
    queue = TaskQueue(enabled=True, database=address)
    loop, mark = asyncio.get_running_loop(), ServerReader.mark

    def log() -> None:
        keeping = inside(queue).access.keeping
        assert keeping is not None
        now = naive_now(SystemClock())
        keeping.save_logs([LogLine(task_id, 1, 900, now, "INFO", "shop", "in the last moment")])

    def marked(self: ServerReader, moving: Any) -> None:
        loop.call_soon_threadsafe(log)
        while not rows(address, "select 1 from pg_locks where not granted"):
            time.sleep(0.01)  # its insert waits for us
        mark(self, moving)

    monkeypatch.setattr(ServerReader, "mark", marked)
    async with queue:
        moved = await move(database_of(address), tmp_path / "q.db", queue.settings)
        assert 0 == moved.logs

        async def logged() -> list[str]:
            return [one.message for one in await queue.get_logs(task_id)]

        await until(logged, lambda found: found == ["in the last moment"])


async def test_nothing_is_deleted_between_the_last_count_and_the_end(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 2)
    refused = []

    def leave(self: tofile.ToFile) -> None:
        for statement in ("delete from wopr.tasks", "delete from wopr.task_logs where number = 7"):
            with pytest.raises(psycopg.DatabaseError, match="nothing is deleted") as caught:
                rows(address, statement)
            refused.append(caught.value.sqlstate)
        raise KeyboardInterrupt

    settings = TaskQueue(enabled=True).settings
    with monkeypatch.context() as patch:
        patch.setattr(tofile.ToFile, "_leave", leave)
        with pytest.raises(KeyboardInterrupt):
            await move(database_of(address), tmp_path / "q.db", settings)
    assert ["WM002", "WM002"] == refused
    assert [] == rows(address, "select 1 from pg_trigger where tgname in ('is_leaving')")
    rows(address, "delete from wopr.tasks where status = 'success'")
    moved = await move(database_of(address), tmp_path / "q.db", settings)
    assert 1 == moved.tasks


async def test_the_pause_reads_no_more_than_what_is_new(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 300)
    read: list[int] = []
    left, mark = tofile.ToFile._left, ServerReader.mark

    def leave(self: tofile.ToFile) -> bool:
        read.append(int(self._reader._rows(READ)[0][0]))
        return left(self)

    def marked(self: ServerReader, moving: Any) -> None:
        read.append(int(self._rows(READ)[0][0]))
        mark(self, moving)

    monkeypatch.setattr(tofile.ToFile, "_left", leave)
    monkeypatch.setattr(ServerReader, "mark", marked)
    given = database_of(f"{address}&options=-c%20enable_seqscan%3Doff")
    await move(given, tmp_path / "q.db", TaskQueue(enabled=True).settings)
    before, after = read
    assert after - before < 100


async def test_who_waits_for_a_long_transaction_holds_nobody_up_and_says_for_whom(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 1)
    monkeypatch.setattr(locking, "LONG_SECONDS", 0)
    monkeypatch.setattr(locking, "WAIT_SECONDS", 1)
    said: list[str] = []
    waiting: list[Any] = []

    def tell(what: str, _done: int, _total: int) -> None:
        if what.startswith("Waiting"):
            waiting.extend(rows(address, "select 1 from pg_locks where not granted"))
            said.append(what)

    settings = TaskQueue(enabled=True).settings
    conninfo = f"{PostgresAddress(address).conninfo}&application_name=shop"
    with psycopg.connect(conninfo) as other:
        other.execute("lock table wopr.tasks in row exclusive mode")
        pid = other.info.backend_pid
        with pytest.raises(StorageError, match=rf"of shop, pid {pid}.*pg_stat_activity"):
            await move(database_of(address), tmp_path / "q.db", settings, tell=tell)
    assert said
    assert all(f"shop (pid {pid}" in one for one in said)
    assert [] == waiting


async def test_who_only_tries_to_share_a_lock_does_not_keep_it_from_who_wants_it_alone(
    address: str,
) -> None:
    await fill(address, 0)
    conninfo = PostgresAddress(address).conninfo
    tried = "select pg_try_advisory_xact_lock_shared(77)"
    waits = "select 1 from pg_locks where locktype = 'advisory' and objid = 77 and not granted"

    def alone() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            wanted = locking.Locking(connection, silent)
            wanted.begin()
            wanted.alone(77)
            found = connection.execute("select pg_advisory_unlock(77)").fetchone()
            assert (True,) == found

    with psycopg.connect(conninfo) as first, psycopg.connect(conninfo) as second:
        assert (True,) == first.execute(tried).fetchone()
        comes = asyncio.create_task(asyncio.to_thread(alone))

        async def waiting() -> list[Any]:
            return await asyncio.to_thread(rows, address, waits)

        await until(waiting, bool)
        assert (False,) == second.execute(tried).fetchone()
        first.commit()
        await comes


async def test_an_autovacuum_is_not_waited_for(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(address, 20)
    monkeypatch.setattr(locking, "LONG_SECONDS", 0)
    slow = "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0"
    slow += ", autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    rows(address, "alter system set autovacuum_naptime = '1s'")
    try:
        rows(address, "select pg_reload_conf()")
        rows(address, f"alter table wopr.transitions set ({slow})")
        rows(address, "update wopr.transitions set reason = reason")

        async def vacuumed() -> list[Any]:
            return await asyncio.to_thread(rows, address, VACUUMED)

        await until(vacuumed, bool)
        [(pid,)] = await vacuumed()
        said: list[str] = []
        await move(
            database_of(address),
            tmp_path / "q.db",
            TaskQueue(enabled=True).settings,
            tell=lambda what, _done, _total: said.append(what),
        )
        assert not [one for one in said if f"pid {pid}" in one]
    finally:
        rows(address, "alter system reset autovacuum_naptime")
        rows(address, "select pg_reload_conf()")


@pytest.mark.parametrize("what", ["a name that is taken", "no queue"])
async def test_a_move_that_is_refused_leaves_no_folder(
    tmp_path: Path, address: str, what: str
) -> None:
    target = tmp_path / "q.db"
    if what == "no queue":
        said = "wopr db upgrade"
    else:
        await fill(address, 1)
        target.write_text("mine")
        said = "Name a file that does not exist|is no"
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=said):
        await move(database_of(address), target, TaskQueue(enabled=True).settings)
    assert before == [one for one in sorted(tmp_path.iterdir()) if one.suffix != ".lock"]


async def test_nor_does_one_to_a_server(tmp_path: Path, address: str) -> None:
    await asyncio.gather(fill(address, 1), fill(str(tmp_path / "q.db"), 1))
    with pytest.raises(StorageError, match="has a queue already"):
        await move(tmp_path / "q.db", database_of(address), TaskQueue(enabled=True).settings)
    assert [] == list(tmp_path.glob("*.moving"))


async def test_the_pause_before_a_server_counts_what_is_new_and_finds_what_is_gone(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "q.db"
    await fill(str(file), 5)
    counted: list[str] = []
    taken, counts, hours = toserver.taken, Filling.counts, Filling.hours

    async def take(*given: Any) -> Any:
        async with TaskQueue(enabled=True, database=file) as queue:
            assert 5 == await queue.cleanup_old_tasks(days=0)
            queue.task(name="late")(lambda: None)
            await queue.enqueue("late")
        counted.clear()
        return await taken(*given)

    def noted(self: Filling, table: str, where: str = "true") -> dict[int, int]:
        counted.append(where)
        return counts(self, table, where)

    def asked(self: Filling) -> dict[Any, int]:
        counted.append("true")
        return hours(self)

    monkeypatch.setattr(toserver, "taken", take)
    monkeypatch.setattr(Filling, "counts", noted)
    monkeypatch.setattr(Filling, "hours", asked)
    moved = await move(file, database_of(address), TaskQueue(enabled=True).settings)
    assert 2 == moved.tasks
    assert counted
    assert "true" not in counted
