"""Which paths a database can have, and that wopr and DuckDB mean the same file by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.databases import seqs
from wopr import TaskQueue
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file.files import free_name
from wopr.storage.duckdb.file.location import LONGEST_SUFFIX, absolute
from wopr.storage.duckdb.file.opening import open_database

ODD = [
    "a'b",
    'a"b',
    "a\nb",
    "a;b",
    "a*b[1]",
    "a%41b",
    "a#b",
    "a b",
    "~",
    "{b}",
    "$HOME",
    "ünï",
    "system",
    "temp",
    "main",
    "x.csv",
    "s3:",
    ":memory:x",
]
NOT_LITERAL = ["why?", "?", "a?access_mode=read_only", "back\\slash", os.fsdecode(b"\xff")]
ADD = (
    "INSERT INTO transitions VALUES "
    "(1, uuid(), 0, NULL, 'pending', TIMESTAMP '2026-01-01', NULL, 'add', NULL, '{}')"
)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("where", ["file", "directory"])
def test_odd_names_are_taken_literally(tmp_path: Path, name: str, where: str) -> None:
    path = tmp_path / name
    if where == "directory":
        path.mkdir()
        path /= "queue.duckdb"
    killed = open_database(path)
    killed.verify_in_place()
    killed.connection.execute(ADD)
    killed.close(checkpoint=False)
    before = {one.name for one in path.parent.iterdir()}

    opened = open_database(path)

    assert {path.name, f"{path.name}.wal"} <= before
    assert [1] == seqs(opened.connection)
    opened.close()
    assert {path.name, f"{path.name}.lock"} == {one.name for one in path.parent.iterdir()}


@pytest.mark.parametrize("name", NOT_LITERAL)
@pytest.mark.parametrize("where", ["file", "directory"])
def test_what_duckdb_reads_as_something_else_is_refused_by_its_sign(
    tmp_path: Path, name: str, where: str
) -> None:
    path = tmp_path / name
    if where == "directory":
        path.mkdir()
        path /= "queue.duckdb"

    with pytest.raises(StorageFileError, match=r"DuckDB reads that as something else"):
        open_database(path)

    assert [] == sorted(one for one in tmp_path.rglob("*") if one.is_file())


def test_a_link_into_such_a_directory_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "what?now").mkdir()
    (tmp_path / "plain").symlink_to("what?now")

    with pytest.raises(StorageFileError, match="what"):
        open_database(tmp_path / "plain" / "queue.duckdb")


@pytest.mark.parametrize(
    "name",
    [
        ":memory:",
        ":memory:shared",
        "md:my_db",
        "s3://bucket/queue.duckdb",
        "postgres:dbname=x",
        "file:queue.duckdb",
    ],
)
async def test_what_is_no_file_is_refused_by_whatever_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    queue = TaskQueue(enabled=True, database=name)

    with pytest.raises(StorageFileError, match="is not a file name"):
        await queue.get_task_stats()
    with pytest.raises(StorageFileError, match="is not a file name"):
        await queue.start_workers()

    assert [] == os.listdir(tmp_path)


def test_a_name_leaves_room_for_all_that_is_appended_to_it(tmp_path: Path) -> None:
    most = os.pathconf(tmp_path, "PC_NAME_MAX") - LONGEST_SUFFIX
    path = tmp_path / ("n" * most)
    open_database(path).close()
    free_name(path.with_name(path.name + ".quarantine-20260101T000000Z.journal-1234567")).touch()

    with pytest.raises(StorageFileError, match=rf"has {most + 1} bytes. At most {most} leave room"):
        open_database(tmp_path / ("n" * (most + 1)))


async def test_a_queue_keeps_its_file_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    queue = TaskQueue(enabled=True, database="queue.duckdb")

    @queue.task
    async def work() -> None: ...

    monkeypatch.chdir(tmp_path / "second")
    async with queue:
        await work.enqueue()
        client = TaskQueue(enabled=True, database="../first/queue.duckdb")
        monkeypatch.chdir(tmp_path)
        async with client:
            assert 1 == (await client.get_task_stats())["total"]

    assert tmp_path / "first" / "queue.duckdb" == queue.database
    assert [] == os.listdir(tmp_path / "second")


def test_a_path_stays_as_it_is_where_there_is_no_directory_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert Path("queue.duckdb") == absolute("queue.duckdb")
    assert Path("wopr_tasks.duckdb") == TaskQueue().database
