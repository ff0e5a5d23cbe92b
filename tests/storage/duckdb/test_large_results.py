"""Large results lie apart from their tasks' rows, and every reader sees them in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from support.stories import Row, Story
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.ports.storage import TaskFilter
from wopr.storage.duckdb import doctor, fold_sql, largeresults, reads
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.fold_sql import fold
from wopr.storage.duckdb.operations import delete_tasks, execute

LARGEST_SMALL = '"' + "x" * (largeresults.LARGE - 2) + '"'
LARGE = '"' + "x" * largeresults.LARGE + '"'
WIDE = '"' + "ü" * (largeresults.LARGE // 2) + '"'
"""Few characters, and many bytes."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenedDatabase]:
    opened = open_database(tmp_path / "q.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def db(opened: OpenedDatabase) -> duckdb.DuckDBPyConnection:
    return opened.connection


@pytest.fixture(params=["few at a time", "in bulk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Fold by one of the two ways, however much it is."""
    few = 10**9 if request.param == "few at a time" else 0
    monkeypatch.setattr(fold_sql, "FEW_RECORDS", few)
    monkeypatch.setattr(fold_sql, "FEW_BYTES", few)
    return str(request.param)


def commit(db: duckdb.DuckDBPyConnection, lines: list[str]) -> None:
    db.execute("begin")
    fold(db, "\n".join(lines).encode())
    db.execute("commit")


def ended(story: Story, result: str) -> TaskRecord:
    """Let a task be added, and succeed."""
    record = story.add()
    story.claim(record)
    story.succeed(record, result)
    return record


def in_rows(db: duckdb.DuckDBPyConnection) -> list[str | None]:
    found = db.execute("select result from tasks order by seq").fetchall()
    return [result for (result,) in found]


def lying_apart(db: duckdb.DuckDBPyConnection) -> list[Row]:
    return db.execute("select seq, task_id::varchar, result from results order by seq").fetchall()


def check(db: duckdb.DuckDBPyConnection, story: Story) -> None:
    """Compare what is read, one by one and as a list, with what was told."""
    wanted = [record.row() for record in story.records]
    listed = reads.find(db, TaskFilter(limit=100))
    assert wanted == [record.row() for record in reversed(listed)]
    for record, row in zip(story.records, wanted, strict=True):
        found = reads.get(db, record.id)
        assert found is not None
        assert row == found.row()


@pytest.mark.usefixtures("way")
def test_only_large_results_lie_apart(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    results = ["1", LARGEST_SMALL, LARGE, WIDE]
    records = [ended(story, result) for result in results]
    commit(db, story.lines)
    assert ["1", LARGEST_SMALL, None, None] == in_rows(db)
    assert [(one.version, one.id, one.result) for one in records[2:]] == lying_apart(db)
    check(db, story)


@pytest.mark.usefixtures("way")
def test_a_known_task_that_ends_otherwise_may_have_one_too(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    retried, failed, plain, none = (story.add() for _ in range(4))
    commit(db, story.lines)
    start = len(story.lines)
    story.claim(retried, data={"retry_count": 1})
    story.succeed(retried, LARGE)
    story.claim(failed)
    story.move(failed, Move.SAVE, TaskStatus.FAILED, error="E: no", data={"result": LARGE})
    story.claim(plain)
    story.succeed(plain, "2")
    story.claim(none)
    story.succeed(none, data=None)
    commit(db, story.lines[start:])
    assert [None, None, "2", None] == in_rows(db)
    assert [retried.id, failed.id] == [task_id for _, task_id, _ in lying_apart(db)]
    check(db, story)


@pytest.mark.usefixtures("way")
def test_one_that_is_forgotten_is_not_read_any_more(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    record = story.add()
    story.claim(record)
    story.move(record, Move.SAVE, TaskStatus.FAILED, error="E: no", data={"result": LARGE})
    commit(db, story.lines)
    check(db, story)
    start = len(story.lines)
    story.move(record, Move.RENEW, TaskStatus.PENDING)
    commit(db, story.lines[start:])
    assert record.result is None
    check(db, story)
    start = len(story.lines)
    story.claim(record)
    story.move(record, Move.SAVE, TaskStatus.CANCELLED, data={})
    commit(db, story.lines[start:])
    check(db, story)


@pytest.mark.usefixtures("way")
def test_a_task_that_has_not_ended_has_its_result_in_its_row(
    db: duckdb.DuckDBPyConnection,
) -> None:
    story = Story()
    story.move(story.add(), Move.SAVE, TaskStatus.RETRY, data={"result": LARGE})
    commit(db, story.lines)
    assert [LARGE] == in_rows(db)
    check(db, story)


@pytest.mark.parametrize("keep_history", [False, True])
def test_they_are_deleted_with_their_tasks(
    db: duckdb.DuckDBPyConnection, keep_history: bool
) -> None:
    story = Story()
    gone, kept = ended(story, LARGE), ended(story, LARGE)
    commit(db, story.lines)
    execute(db, delete_tasks([gone.id], story.later(), keep_history=keep_history))
    assert [kept.id] == [task_id for _, task_id, _ in lying_apart(db)]
    assert reads.get(db, gone.id) is None


def test_the_doctor_sees_them_in_their_place_and_misses_those_that_are_gone(
    opened: OpenedDatabase,
) -> None:
    story = Story()
    record = ended(story, LARGE)
    commit(opened.connection, story.lines)
    opened.connection.execute("update meta set value = '3' where key = 'seq'")
    opened.close()
    assert [] == doctor.check(opened.path).problems
    with duckdb.connect(str(opened.path)) as connection:
        connection.execute("delete from results")
    [problem] = doctor.check(opened.path).problems
    assert ("row differs", "result", record.id) == (problem.kind, problem.text, problem.task_id)


def test_compacting_takes_those_of_an_older_wopr_out_of_the_rows(opened: OpenedDatabase) -> None:
    story = Story()
    for result in (LARGE, "1", LARGE):
        ended(story, result)
    commit(opened.connection, story.lines)
    first = story.records[0]
    opened.connection.execute("update tasks set result = ? where id = ?", [LARGE, first.id])
    opened.connection.execute("delete from results where seq = ?", [first.version])
    check(opened.connection, story)
    opened.close()
    compact(opened.path)
    again = open_database(opened.path)
    assert [None, "1", None] == in_rows(again.connection)
    check(again.connection, story)
    again.close()
