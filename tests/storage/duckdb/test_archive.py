"""Tasks that are archived leave the file, are there once whatever happens, and are still asked."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.parquet import ids, rows
from support.queues import PATIENCE, ended
from wopr import (
    Settings,
    StorageError,
    StorageFileError,
    TaskFailedError,
    TaskQueue,
    chain,
)
from wopr.config.crashpoint import KEEPING
from wopr.domain.keeping import Old
from wopr.queue.queue import inside
from wopr.service.capture import keep_logs
from wopr.storage.duckdb.archivecalls import RETIRING
from wopr.storage.duckdb.operations import save_fact

COUNTS = """
select (select count(*) from tasks), (select count(distinct id) from tasks),
    (select count(*) from transitions), (select count(distinct seq) from transitions),
    (select count(*) from task_logs), (select sum(strlen(result)) from tasks),
    (select sum(tasks) from latency), (select count(*) from history)
"""


def settings(tmp_path: Path) -> Settings:
    return Settings(archive=tmp_path / "it's old")


def queue_of(tmp_path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=tmp_path / "t.duckdb", settings=settings(tmp_path))

    @queue.task(name="say")
    async def say(number: int) -> str:
        from wopr import current_task

        current_task().logger.warning("number %d", number)
        return "x" * (10_000 if number % 3 == 0 else 3)

    @queue.task(name="fail", max_retries=0)
    async def fail(number: int) -> None:
        raise ValueError(f"number {number}")

    return queue


async def fill(queue: TaskQueue, count: int) -> list[str]:
    """Have so many tasks succeed, and half as many fail."""
    await queue.start_workers(worker_count=4)
    names = ["say"] * count + ["fail"] * (count // 2)
    added = [await queue.enqueue(name, (number,)) for number, name in enumerate(names)]
    await ended(queue, *(one.id for one in added))
    return [one.id for one in added]


async def counts(queue: TaskQueue) -> tuple[Any, ...]:
    [found] = (await queue.sql(COUNTS)).rows
    [typed] = (await queue.typed_sql(COUNTS)).rows
    assert found == typed
    return found


def archive_of(tmp_path: Path) -> Path:
    return tmp_path / "it's old"


async def test_questions_span_file_and_archive(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        forget = keep_logs(queue)
        added = await fill(queue, 30)
        before = await counts(queue)
        assert (45, 45, 30) == (before[0], before[1], before[4])
        assert 45 == await queue.archive_old_tasks(days=0)
        assert before == await counts(queue)
        assert 0 == (await queue.get_task_stats())["total"]
        assert sorted(added) == ids(archive_of(tmp_path))
        forget()


async def test_a_task_that_was_archived_still_answers_by_its_id(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        forget = keep_logs(queue)
        added = await fill(queue, 4)
        asked = [
            (
                await queue.get_task_info(one),
                await queue.get_history(one),
                await queue.get_logs(one),
            )
            for one in added
        ]
        assert 6 == await queue.archive_old_tasks(days=0)
        assert asked == [
            (
                await queue.get_task_info(one),
                await queue.get_history(one),
                await queue.get_logs(one),
            )
            for one in added
        ]
        assert 10_000 == len((await queue.require_task_info(added[0])).result)
        assert 10_000 == len(await queue.handle(added[0]).result(timeout=PATIENCE))
        assert "It ended success" in (await queue.explain(added[0])).text
        with pytest.raises(TaskFailedError, match="number 4"):
            await queue.handle(added[4]).result(timeout=PATIENCE)
        assert await queue.get_task_info("0190a0a0-0000-7000-8000-000000000000") is None
        forget()


async def test_what_others_still_need_is_not_archived(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:

        @queue.task(name="first")
        async def first() -> str:
            return "x" * 10_000

        @queue.task(name="later", category="nobody")
        async def later(text: str) -> None: ...

        flow = await queue.enqueue_flow(chain(first.s(), later.s()))
        await queue.start_workers()
        parent = next(one.id for one in await queue.get_tasks(name="first"))
        await queue.wait(parent, timeout=PATIENCE)
        assert 0 == await queue.archive_old_tasks(days=0)
        assert 1 == len(await queue.get_tasks(name="first"))
        await queue.start_workers("nobody")
        await flow.wait(timeout=PATIENCE)
        assert 2 == await queue.archive_old_tasks(days=0)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from wopr import Settings, TaskQueue

async def main():
    settings = Settings(archive=Path(sys.argv[2]))
    async with TaskQueue(enabled=True, database=sys.argv[1], settings=settings) as queue:
        print(await queue.archive_old_tasks(days=0), flush=True)

asyncio.run(main())
"""


def archive_killed(tmp_path: Path, point: str) -> int:
    """Archive in a process of its own that is killed at a point; return its exit code."""
    command = [sys.executable, "-c", PROGRAM, tmp_path / "t.duckdb", archive_of(tmp_path)]
    done = subprocess.run(
        [str(one) for one in command],
        env=os.environ | {"WOPR_CRASH_POINT": point},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"" == done.stdout
    return done.returncode


@pytest.mark.crash
@pytest.mark.parametrize("point", [one for one in KEEPING if one.startswith("archive.")])
def test_a_kill_between_any_two_steps_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    async def begin() -> tuple[Any, ...]:
        async with queue_of(tmp_path) as queue:
            await fill(queue, 20)
            return await counts(queue)

    async def look() -> tuple[Any, ...]:
        async with queue_of(tmp_path) as queue:
            return await counts(queue)

    async def again() -> tuple[Any, ...]:
        async with queue_of(tmp_path) as queue:
            assert 30 == await queue.archive_old_tasks(days=0)
            return await counts(queue)

    want = asyncio.run(begin())
    for _ in range(2):
        assert -signal.SIGKILL == archive_killed(tmp_path, point)
        assert want == asyncio.run(look())
    assert want == asyncio.run(again())
    assert 30 == len(ids(archive_of(tmp_path))) == len(set(ids(archive_of(tmp_path))))
    assert [(want[2], want[2])] == rows(
        archive_of(tmp_path), "transitions", "count(*), count(distinct seq)"
    )
    assert [] == [one for one in archive_of(tmp_path).iterdir() if ".new-" in one.name]


@pytest.mark.crash
def test_a_kill_after_the_deletion_was_acknowledged_archives_nothing_twice(
    tmp_path: Path,
) -> None:
    async def begin() -> tuple[Any, ...]:
        async with queue_of(tmp_path) as queue:
            await fill(queue, 20)
            return await counts(queue)

    want = asyncio.run(begin())
    # the first pass is of what is noted before, the second of the deletion
    assert -signal.SIGKILL == archive_killed(tmp_path, "journal.before_deliver:2")

    async def look() -> tuple[Any, ...]:
        async with queue_of(tmp_path) as queue:
            await queue.archive_old_tasks(days=0)
            return await counts(queue)

    assert want == asyncio.run(look())
    assert 30 == len(ids(archive_of(tmp_path)))


async def test_a_task_that_is_in_both_counts_once(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 10)
        want = await counts(queue)
        await queue.backup(tmp_path / "copy.duckdb")
        await queue.archive_old_tasks(days=0)
    shutil.move(tmp_path / "copy.duckdb", tmp_path / "t.duckdb")
    (tmp_path / "t.duckdb.lock").unlink()
    async with queue_of(tmp_path) as queue:
        assert want == await counts(queue)
        assert 15 == await queue.archive_old_tasks(days=0)
        assert want == await counts(queue)
    assert 15 == len(ids(archive_of(tmp_path)))


async def test_files_of_an_older_wopr_that_lack_a_column_answer_with_nothing_there(
    tmp_path: Path,
) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 4)
        await queue.archive_old_tasks(days=0)
        for one in archive_of(tmp_path).rglob("tasks/*/*.parquet"):
            older = one.with_name("older")
            with duckdb.connect() as connection:
                source, target = (str(path).replace("'", "''") for path in (one, older))
                connection.execute(
                    "copy (select * exclude (schedule, flow_id), 1 as gone "
                    f"from read_parquet('{source}', hive_partitioning = false)) "
                    f"to '{target}' (format parquet)"
                )
            os.replace(older, one)
        await fill(queue, 4)
        await queue.archive_old_tasks(days=0)
        found = await queue.sql("select * from tasks where schedule is null")
        assert (12, False) == (len(found.rows), "gone" in found.columns)
        oldest = (await queue.sql("select id::varchar from tasks order by seq limit 1")).scalar()
        info = await queue.require_task_info(oldest)
        assert ("say", None) == (info.name, info.schedule)


async def test_people_reach_no_file_of_the_archive_by_its_name(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 2)
        await queue.archive_old_tasks(days=0)
        secret = tmp_path / "secret.csv"
        secret.write_text("a\n1\n")
        for asked in (
            f"select * from '{secret}'",
            f"select * from read_csv('{secret}')",
            "select * from read_parquet('*')",
        ):
            with pytest.raises(Exception, match=r"can't be read here|can't be used here"):
                await queue.sql(asked)
        with pytest.raises(StorageError, match="Cannot access file"):
            await asyncio.wrap_future(
                queue.storage.in_writer(lambda one: one.execute(f"from read_csv('{secret}')"))
            )


async def test_directories_and_files_of_the_archive_are_its_users_alone(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 2)
        await queue.archive_old_tasks(days=0)
    made = [archive_of(tmp_path), *archive_of(tmp_path).rglob("*")]
    modes = {(one.is_dir(), stat.S_IMODE(one.stat().st_mode)) for one in made}
    assert {(True, 0o700), (False, 0o600)} == modes


@pytest.mark.parametrize("where", [".", "tasks"])
async def test_a_link_in_the_archive_is_refused_and_nothing_is_deleted(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = archive_of(tmp_path) / where
    if where != ".":
        archive_of(tmp_path).mkdir(mode=0o700)
    Path(os.path.normpath(link)).symlink_to(tmp_path / "elsewhere")
    async with queue_of(tmp_path) as queue:
        await fill(queue, 2)
        with pytest.raises(StorageFileError, match="is a symbolic link, not a directory"):
            await queue.archive_old_tasks(days=0)
        assert 3 == (await queue.get_task_stats())["total"]
    assert [] == list((tmp_path / "elsewhere").iterdir())


async def test_without_an_archive_it_is_said_what_to_set(tmp_path: Path) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "t.duckdb") as queue:
        with pytest.raises(StorageFileError, match="Set WOPR_TASKS_ARCHIVE to a directory"):
            await queue.archive_old_tasks(days=0)


async def test_an_archive_that_is_not_where_it_was_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def told(settings: Settings) -> str:
        caplog.clear()
        queue = TaskQueue(enabled=True, database=tmp_path / "t.duckdb", settings=settings)
        async with queue:
            await queue.get_task_stats()
            engine = inside(queue).access.engine
            assert engine is not None
            await engine.keeping.look_for_archive()
        return "\n".join(dict.fromkeys(one for one in caplog.messages if "ARCHIVE" in one))

    right, wrong = settings(tmp_path), Settings(archive=tmp_path / "its old")
    assert f"There is no {right.archive} yet" in await told(right)
    async with queue_of(tmp_path) as queue:
        await fill(queue, 2)
        await queue.archive_old_tasks(days=0)
    assert "" == await told(right)
    assert f"which is no directory, and tasks of this queue were archived to {right.archive}" in (
        await told(wrong)
    )
    (tmp_path / "its old").mkdir()
    assert f"ARCHIVE is {wrong.archive}, and tasks of this queue were" in await told(wrong)


async def test_an_archive_that_can_not_be_written_deletes_nothing_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr.storage.duckdb.parquet import layout

    async with queue_of(tmp_path) as queue:
        await fill(queue, 10)
        want = await counts(queue)
        real, moved = os.replace, []

        def full(source: Path, target: Path) -> None:
            if moved and str(target).endswith(".parquet"):
                raise OSError(28, "No space left on device")
            moved.append(target)
            real(source, target)

        monkeypatch.setattr(layout.os, "replace", full)
        with pytest.raises(StorageFileError, match=r"nothing deleted, because: .*No space left"):
            await queue.archive_old_tasks(days=0)
        assert moved
        assert want == await counts(queue)
        monkeypatch.setattr(layout.os, "replace", real)
        assert 15 == await queue.archive_old_tasks(days=0)
        assert want == await counts(queue)
    assert 15 == len(ids(archive_of(tmp_path)))


async def test_a_portion_whose_caller_gave_up_is_cleared_up_before_the_next(
    tmp_path: Path,
) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 10)
        want = await counts(queue)
        now = datetime.now(UTC).replace(tzinfo=None)
        for turns in range(0, 40, 5):
            retiring = asyncio.ensure_future(queue.storage.retire(Old(before=now), archive=True))
            for _ in range(turns):
                await asyncio.sleep(0)
            retiring.cancel()
            await asyncio.wait([retiring])
        await queue.archive_old_tasks(days=0)
        assert want == await counts(queue)
    assert 15 == len(ids(archive_of(tmp_path)))


async def test_what_is_left_and_can_not_be_deleted_is_told_and_goes_later(tmp_path: Path) -> None:
    async with queue_of(tmp_path) as queue:
        added = await fill(queue, 4)
        noted = {"name": "odd", "directory": str(archive_of(tmp_path)), "ids": added}
        await queue.storage._log([save_fact(RETIRING, json.dumps(noted))])
        left = archive_of(tmp_path) / "tasks" / "day=2030-05-17" / "odd-1.parquet"
        left.mkdir(parents=True)  # what no user may unlink
        with pytest.raises(StorageFileError, match=r"can't be deleted.*Nothing was archived"):
            await queue.archive_old_tasks(days=0)
        assert 6 == (await queue.get_task_stats())["total"]
        left.rmdir()
        assert 6 == await queue.archive_old_tasks(days=0)


async def test_a_copy_made_meanwhile_leaves_the_archive_of_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue_of(tmp_path) as queue:
        await fill(queue, 4)
        want = await counts(queue)
        real, placed, goes_on = queue.storage._archive, threading.Event(), threading.Event()

        def slow(*args: Any) -> Any:
            size = real(*args)
            placed.set()
            goes_on.wait(PATIENCE)
            return size

        monkeypatch.setattr(queue.storage, "_archive", slow)
        archiving = asyncio.ensure_future(queue.archive_old_tasks(days=0))
        await asyncio.to_thread(placed.wait, PATIENCE)
        await queue.backup(tmp_path / "copy.duckdb")
        goes_on.set()
        assert 6 == await archiving
        other = TaskQueue(
            enabled=True,
            database=tmp_path / "copy.duckdb",
            settings=Settings(archive=tmp_path / "another"),
        )
        async with other:
            assert 6 == await other.archive_old_tasks(days=0)
        assert want == await counts(queue)
    assert 6 == len(ids(archive_of(tmp_path)))
