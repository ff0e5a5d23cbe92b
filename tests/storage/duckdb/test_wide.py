"""Rows that are together larger than the memory DuckDB may use are read in portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from support.records import NOW
from support.wide import LITTLE, WIDE, fill
from wopr.domain.task import TaskRecord
from wopr.ports.storage import TaskFilter, weight
from wopr.storage.duckdb import reads, wide
from wopr.storage.duckdb.file.opening import open_database

COUNT = 240
"""So many wide tasks are 60 MB."""
EVERYTHING = 10**12

Connection = duckdb.DuckDBPyConnection
Read = Callable[[Connection], list[TaskRecord]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wide") / "queue.duckdb"


@pytest.fixture(scope="module")
def ids(path: Path) -> list[str]:
    return fill(path, [WIDE] * COUNT)


@pytest.fixture
def cursor(path: Path, ids: list[str]) -> Iterator[Connection]:
    """Return a cursor on a file of wide tasks that all wait."""
    del ids
    opened = open_database(path, memory_limit=LITTLE)
    yield opened.cursor()
    opened.close(checkpoint=False)


def changed(cursor: Connection, columns: str) -> None:
    cursor.execute(f"update tasks set {columns}").fetchall()


def test_the_memory_is_too_little_for_all_of_them(cursor: Connection) -> None:
    with pytest.raises(duckdb.OutOfMemoryException):
        cursor.execute(f"{wide.TASKS} from tasks order by seq").fetchall()


def test_all_that_were_asked_for_are_found(cursor: Connection, ids: list[str]) -> None:
    found = reads.find(cursor, TaskFilter(limit=10_000))
    assert ids[::-1] == [record.id for record in found]
    assert {WIDE + 4} == {len(record.args) for record in found}
    assert ids == [*reads.get_many(cursor, ids)]


@pytest.mark.parametrize("most_bytes", [WIDE, 20 * WIDE, EVERYTHING])
def test_pages_of_a_lane_are_all_of_it(cursor: Connection, ids: list[str], most_bytes: int) -> None:
    found: list[str] = []
    after, pages = 0, 0
    while page := reads.ready(cursor, "c", 2, after, NOW, (), 2_500, most_bytes=most_bytes):
        assert sum(map(weight, page[:-1])) < most_bytes
        found += [record.id for record in page]
        after = page[-1].seq
        pages += 1
    assert ids == found
    assert {WIDE: COUNT, 20 * WIDE: COUNT // 20, EVERYTHING: 1}[most_bytes] == pages


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ("waiting = true", lambda cursor: reads.waiting(cursor, 0, 500, most_bytes=EVERYTHING)),
        (
            "status = 'started'",
            lambda cursor: reads.orphans(cursor, 0, 500, most_bytes=EVERYTHING),
        ),
        (
            f"run_at = timestamp '{NOW}' + to_seconds({COUNT} - seq)",
            lambda cursor: reads.delayed(cursor, "c", NOW, (), 500, most_bytes=EVERYTHING)[::-1],
        ),
    ],
    ids=["waiting", "started", "delayed"],
)
def test_so_are_those_for_the_opening(tmp_path: Path, columns: str, read: Read) -> None:
    path = tmp_path / "queue.duckdb"
    ids = fill(path, [WIDE] * COUNT, f"update tasks set {columns}")
    opened = open_database(path, memory_limit=LITTLE)
    assert ids == [record.id for record in read(opened.cursor())]
    opened.close()


def test_claims_of_wide_tasks_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    ids = fill(
        path,
        [WIDE] * COUNT,
        "insert into transitions (seq, task_id, attempt, to_status, occurred_at, reason) "
        f"select seq + 1000, id, 1, 'started', timestamp '{NOW}' + to_seconds(seq), 'claim' "
        "from tasks",
    )
    opened = open_database(path, memory_limit=LITTLE)
    found = reads.starts(opened.cursor(), "c", NOW, 0, None)
    assert [(NOW + timedelta(seconds=seq), one) for seq, one in enumerate(ids, 1)] == [
        (moment, record.id) for moment, record in found
    ]
    opened.close()


def test_a_history_longer_than_memory_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    [task_id] = fill(
        path,
        [10],
        "insert into transitions (seq, task_id, attempt, to_status, occurred_at, reason, error) "
        "select range + 2, (select id from tasks), 0, 'retry', timestamp '2026-01-01', 'failed', "
        f"repeat(md5(range::varchar), 8000) from range({COUNT})",
        "update transitions set error = 'none' where error is null",
    )
    opened = open_database(path, memory_limit=LITTLE)
    found = reads.history(opened.cursor(), task_id)
    assert [*range(1, COUNT + 2)] == [transition.seq for transition in found]
    opened.close()


def test_wide_ones_after_many_small_ones_are_read_with_fewer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    ids = fill(path, [10] * 500 + [WIDE] * COUNT + [10] * 500)
    opened = open_database(path, memory_limit=LITTLE)
    found = reads.find(opened.cursor(), TaskFilter(limit=10_000))
    assert ids[::-1] == [record.id for record in found]
    opened.close()


def test_small_ones_between_wide_ones_are_read_without_those(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    ids = fill(
        path,
        [10, WIDE] * COUNT,
        "update tasks set status = 'success' where seq % 2 = 0",
    )
    opened = open_database(path, memory_limit=LITTLE)
    page = reads.ready(opened.cursor(), "c", 2, 0, NOW, (), 2_500)
    assert ids[::2] == [record.id for record in page]
    opened.close()


def test_a_file_that_was_compressed_by_an_older_version_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    ids = fill(path, [10] * COUNT)
    with duckdb.connect(str(path)) as connection:
        # One value is missing, which is noted as a bitmap that no row can be looked up in.
        text = f"repeat('x', {WIDE}) || seq"
        connection.execute(f"update tasks set result = {text} where seq > 1").fetchall()
        connection.execute("checkpoint").fetchall()
        compressed = connection.execute(
            "select compression from pragma_storage_info('tasks') "
            "where column_name = 'result' and segment_type = 'VALIDITY'"
        ).fetchall()
    assert [("Roaring",)] == compressed
    opened = open_database(path, memory_limit=LITTLE)
    cursor = opened.cursor()
    found = reads.find(cursor, TaskFilter(limit=10_000))
    assert ids[::-1] == [record.id for record in found]
    one = reads.get(cursor, ids[7])
    assert one is not None
    assert found[-8].result == one.result
    opened.close()


def test_the_number_of_rows_grows_step_by_step_and_falls_at_once() -> None:
    chunks = wide.Chunks()
    assert wide.FIRST == chunks.count
    chunks.read(wide.FIRST, 100 * wide.FIRST)
    assert wide.FIRST * wide.GROWTH == chunks.count
    chunks.read(chunks.count, wide.CHUNK_BYTES * 4)
    assert wide.FIRST * wide.GROWTH // 4 == chunks.count
    for _ in range(9):
        chunks.failed()
    assert 1 == chunks.count


def test_an_error_that_has_nothing_to_do_with_memory_is_told_at_once(cursor: Connection) -> None:
    tries: list[int] = []

    def read(chunks: wide.Chunks) -> None:
        tries.append(chunks.count)
        cursor.execute("select no_such_column from tasks")

    with pytest.raises(duckdb.BinderException):
        wide.in_chunks(cursor, read)
    assert [wide.FIRST] == tries


def test_memory_that_is_short_for_a_single_row_is_an_error(cursor: Connection) -> None:
    tries: list[int] = []

    def read(chunks: wide.Chunks) -> None:
        tries.append(chunks.count)
        raise duckdb.OutOfMemoryException("Out of Memory Error: no room")

    with pytest.raises(duckdb.OutOfMemoryException):
        wide.in_chunks(cursor, read)
    assert [32, 4, 1] == tries
    assert [(COUNT,)] == cursor.execute("select count(*) from tasks").fetchall()
