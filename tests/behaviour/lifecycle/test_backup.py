"""One complete file of a queue that works, put back, and copies that were made by other means."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE, DuckDBHome
from wopr import Settings, StorageError, StorageFileError, StorageOwnedError, TaskQueue
from wopr.storage import restore
from wopr.storage.duckdb import asking
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.journal.scan import segments


def beside(folder: Path) -> list[str]:
    """Return what lies in a folder but for lock files, which stay."""
    return sorted(one.name for one in folder.iterdir() if one.suffix != ".lock")


def ids_in(path: Path) -> set[str]:
    with duckdb.connect(path, read_only=True) as connection:
        return {str(row[0]) for row in connection.execute("select id from tasks").fetchall()}


async def some(path: Path, count: int = 3) -> list[str]:
    """Make a file with tasks that nobody has open."""
    async with TaskQueue(enabled=True, database=path) as queue:

        @queue.task
        async def work(number: int) -> None: ...

        return [one.id for one in await work.enqueue_many([(n,) for n in range(count)])]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept" / "copy.duckdb"


async def test_a_backup_of_a_queue_that_works_is_whole_and_of_one_moment(
    durable_home: DuckDBHome, target: Path
) -> None:
    async with durable_home.queue() as queue:

        @queue.task
        async def work(number: int) -> None: ...

        await queue.start_workers("default", 2)
        acknowledged: list[str] = []
        going = asyncio.Event()

        async def enqueue() -> None:
            while True:
                acknowledged.append((await work.enqueue(len(acknowledged))).id)
                if len(acknowledged) == 200:
                    going.set()

        busy = asyncio.create_task(enqueue())
        await asyncio.wait_for(going.wait(), PATIENCE)
        before = set(acknowledged)
        made = await queue.backup(target, verify=True)
        assert not busy.done()
        busy.cancel()
        await asyncio.wait({busy})
        found = ids_in(target)
        assert before <= found
        assert (made.tasks, True) == (len(found), made.verified)
        assert ["copy.duckdb"] == beside(target.parent)
        assert 0o600 == target.stat().st_mode & 0o777
        ids = await queue.sql("select id from tasks where created_at > ?", made.moment)
        assert not found & {str(row["id"]) for row in ids}
    assert check(target).clean


async def test_a_backup_is_what_a_queue_opens_without_anything_else(
    durable_home: DuckDBHome, target: Path
) -> None:
    async with durable_home.queue() as queue:
        handle = await queue.enqueue(queue.task(_nothing))
        await queue.backup(target)
    async with TaskQueue(enabled=True, database=target) as queue:
        queue.task(_nothing)
        await queue.start_workers()
        await queue.wait(handle.id, PATIENCE)


async def _nothing() -> None: ...


async def test_the_owner_in_another_process_is_asked_and_goes_on(
    tmp_path: Path, target: Path
) -> None:
    database = tmp_path / "tasks.duckdb"
    owner = start_owner(database)
    try:
        queue = client(database)
        async with queue:
            handle = await queue.enqueue("double", (21,))
            await handle.result(timeout=PATIENCE)
            assert 1 == (await queue.backup(target, verify=True)).tasks
            assert 42 == await (await queue.enqueue("double", (21,))).result(timeout=PATIENCE)
        assert [] == list(tmp_path.glob("*.new-*"))
    finally:
        end(owner)


async def test_a_file_that_nobody_has_open_is_copied_as_it_is(tmp_path: Path, target: Path) -> None:
    database = tmp_path / "tasks.duckdb"
    await some(database)
    before = database.read_bytes()
    made = await TaskQueue(enabled=True, database=database).backup(target)
    assert (3, before) == (made.tasks, database.read_bytes())
    assert before == target.read_bytes()


async def test_what_a_crash_left_in_the_journal_is_in_the_backup(
    durable_home: DuckDBHome, target: Path
) -> None:
    async with durable_home.queue() as queue:
        ids = {(await queue.enqueue(queue.task(_nothing))).id}
        image = await durable_home.crash_image(queue)
    assert segments(image.path)
    made = await TaskQueue(enabled=True, database=image.path).backup(target, verify=True)
    assert (1, ids) == (made.tasks, ids_in(target))


async def test_a_place_where_something_is_is_refused_and_nothing_is_touched(
    tmp_path: Path, target: Path
) -> None:
    database = tmp_path / "tasks.duckdb"
    await some(database)
    target.write_bytes(b"precious")
    queue = TaskQueue(enabled=True, database=database)
    for wrong, why in (
        (target, "is there already"),
        (database, "is the database"),
        (tmp_path / "tasks.duckdb.wal", "named like a part of it"),
        (tmp_path / "other.duckdb.journal-3", "part of the journal"),
        (tmp_path / "nowhere" / "copy.duckdb", "There is no directory"),
        (tmp_path / "kept", "a directory"),
    ):
        with pytest.raises(StorageFileError, match=why):
            await queue.backup(wrong)
    assert b"precious" == target.read_bytes()
    assert ["copy.duckdb"] == beside(target.parent)
    await queue.backup(target, overwrite=True)
    assert 3 == len(ids_in(target))


async def test_a_backup_that_would_meet_the_log_of_another_file_is_refused(
    tmp_path: Path, target: Path
) -> None:
    await some(tmp_path / "tasks.duckdb")
    Path(f"{target}.wal").write_bytes(b"log")
    with pytest.raises(StorageFileError, match="is there already"):
        await TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb").backup(
            target, overwrite=True
        )


async def test_one_in_which_the_doctor_finds_something_is_not_put_there(
    tmp_path: Path, target: Path
) -> None:
    database = tmp_path / "tasks.duckdb"
    await some(database)
    with duckdb.connect(database) as connection:
        connection.execute("update tasks set name = 'another'")
    queue = TaskQueue(enabled=True, database=database)
    with pytest.raises(StorageFileError, match="has 3 problems"):
        await queue.backup(target, verify=True)
    assert [] == beside(target.parent)
    assert not (await queue.backup(target)).verified


async def test_a_directory_that_others_can_write_to_is_no_fault_of_the_backup(
    tmp_path: Path, target: Path
) -> None:
    database = tmp_path / "tasks.duckdb"
    await some(database)
    target.parent.chmod(0o777)
    await TaskQueue(enabled=True, database=database).backup(target, verify=True)
    assert 3 == restore(target, target.with_name("other.duckdb"), Settings()).tasks


async def test_a_copy_that_takes_too_long_is_given_up_and_nothing_is_left(
    durable_home: DuckDBHome, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "BACKUP", replace(asking.BACKUP, seconds=-1.0))
    async with durable_home.queue() as queue:
        with pytest.raises(StorageError, match="copied for a backup, because that took longer"):
            await queue.backup(target)
        await queue.enqueue(queue.task(_nothing))
        assert [] == [*beside(target.parent), *target.parent.parent.glob("*.new-*")]


async def test_a_copy_that_is_not_taken_away_is_deleted(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ABANDONED_SECONDS", 0.0)
    async with durable_home.queue() as queue:
        found = await queue.storage.backup()
        async with asyncio.timeout(PATIENCE):
            while found.path.parent.exists():
                await asyncio.sleep(0)


# -- back ------------------------------------------------------------------------


async def test_a_backup_is_put_back_and_what_was_there_is_set_aside(
    tmp_path: Path, target: Path
) -> None:
    database = tmp_path / "tasks.duckdb"
    first = set(await some(database))
    await TaskQueue(enabled=True, database=database).backup(target)
    more = set(await some(database))
    done = restore(target, database, Settings())
    assert (3, first) == (done.tasks, ids_in(database))
    [aside] = done.moved
    assert first | more == ids_in(aside)
    assert 1 == aside.stat().st_nlink
    async with TaskQueue(enabled=True, database=database) as queue:
        assert 3 == (await queue.get_task_stats())["total"]


async def test_a_backup_is_put_back_beside_the_journal_of_what_came_after_it(
    durable_home: DuckDBHome, target: Path
) -> None:
    async with durable_home.queue() as queue:
        first = (await queue.enqueue(queue.task(_nothing))).id
        await queue.backup(target)
        await queue.enqueue("_nothing")
        image = await durable_home.crash_image(queue)
    left = len(segments(image.path))
    done = restore(target, image.path, Settings())
    assert {first} == ids_in(image.path)
    assert [] == segments(image.path)
    assert left == sum(".journal-" in one.name for one in done.moved)
    assert check(image.path).clean


async def test_a_backup_is_put_where_nothing_is(tmp_path: Path, target: Path) -> None:
    ids = set(await some(target))
    done = restore(target, tmp_path / "new.duckdb", Settings())
    assert ((), ids) == (done.moved, ids_in(tmp_path / "new.duckdb"))


async def test_nothing_is_put_back_under_a_queue_that_is_open(
    durable_home: DuckDBHome, target: Path
) -> None:
    await some(target)
    async with durable_home.queue() as queue:
        await queue.enqueue(queue.task(_nothing))
        with pytest.raises(StorageOwnedError):
            restore(target, durable_home.path, Settings())
        assert 1 == (await queue.get_task_stats())["total"]


async def test_what_the_doctor_does_not_like_is_not_put_back(tmp_path: Path, target: Path) -> None:
    database = tmp_path / "tasks.duckdb"
    await some(database)
    await some(target)
    before = database.read_bytes(), beside(tmp_path)
    with duckdb.connect(target) as connection:
        connection.execute("update tasks set name = 'another'")
    for damage, why in (
        (lambda: None, "has 3 problems"),
        (lambda: target.write_bytes(b"nothing" * 5_000), str(target)),
        (target.unlink, "There is no backup"),
    ):
        damage()
        with pytest.raises(StorageError, match=why):
            restore(target, database, Settings())
    assert before == (database.read_bytes(), beside(tmp_path))


async def test_the_database_itself_is_no_backup_of_it(tmp_path: Path) -> None:
    await some(tmp_path / "tasks.duckdb")
    with pytest.raises(StorageFileError, match="the database itself"):
        restore(tmp_path / "tasks.duckdb", tmp_path / "tasks.duckdb", Settings())


# -- copies that were made by other means -------------------------------------------


async def test_cp_of_an_open_queue_says_how_many_changes_its_log_would_have(
    durable_home: DuckDBHome, tmp_path: Path
) -> None:
    """Seen: doctor of such a copy said "0 tasks and 0 transitions checked: all is well"."""
    copy = tmp_path / "copy.duckdb"
    async with durable_home.queue() as queue:
        await queue.enqueue_ids(queue.task(_nothing).name, [() for _ in range(290)], {})
        shutil.copy(durable_home.path, copy)
        with pytest.raises(StorageFileError, match="lacks the log of 290 changes") as told:
            check(copy)
        assert f"It is a copy of {durable_home.path}" in str(told.value)
        assert "wopr backup FILE" in str(told.value)
    with pytest.raises(StorageFileError, match="can't be told from it"):
        check(copy)  # the journal of the original is gone by now


async def test_such_a_copy_is_not_put_back_either(durable_home: DuckDBHome, tmp_path: Path) -> None:
    copy, database = tmp_path / "copy.duckdb", tmp_path / "other.duckdb"
    async with durable_home.queue() as queue:
        await queue.enqueue(queue.task(_nothing))
        shutil.copy(durable_home.path, copy)
        with pytest.raises(StorageFileError, match="was not put back") as told:
            restore(copy, database, Settings())
        assert f"The journal of {copy} is missing" in str(told.value)
        assert not database.exists()
        for one in segments(durable_home.path):  # with its journal it is whole
            shutil.copy(one, copy.with_name(copy.name + one.name[len(durable_home.path.name) :]))
    assert 1 == restore(copy, database, Settings()).tasks
