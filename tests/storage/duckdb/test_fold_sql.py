"""The fold in SQL: the tables become what ``apply`` makes of the same transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.conftest import IDS
from support.records import NOW
from support.stories import FLOATS, JSON, NUMBERS, ODD, TIMES, Row, Story
from wopr.domain.fold import apply
from wopr.domain.status import TRANSITIONS, Move, TaskStatus
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition, added, decode_data, encode_data
from wopr.storage.duckdb import fold_sql, wide
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.fold_sql import fold
from wopr.storage.duckdb.journal.records import transition_record

LOG = "seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, error, data"

# --- the tables ---


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenedDatabase]:
    opened = open_database(tmp_path / "q.duckdb")
    yield opened
    opened.close(checkpoint=False)


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


def commit(db: duckdb.DuckDBPyConnection, text: str) -> None:
    db.execute("begin")
    fold(db, text.encode())
    db.execute("commit")


def tasks(db: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the rows of ``tasks`` as they lie there, with the results that lie apart."""
    columns = ["id::varchar", *COLUMNS[1:]]
    columns[COLUMNS.index("flow_id")] = "flow_id::varchar"
    found = db.execute(f"select {', '.join(columns)} from tasks").fetchall()
    return wide.whole(db, found)


def log(db: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the rows of ``transitions`` as they lie there, with what their data means."""
    rows = db.execute(f"select {LOG} from transitions").fetchall()
    return [(row[0], str(row[1]), *row[2:9], decode_data(row[9])) for row in rows]


def check(db: duckdb.DuckDBPyConnection, story: Story) -> None:
    """Compare all of both tables; by its spelling, so that no bit of a float is left out."""
    for wanted, found in (
        (story.log, log(db)),
        ([record.row() for record in story.records], tasks(db)),
    ):
        assert [row[0] for row in wanted] == [row[0] for row in found]
        for one, other in zip(wanted, found, strict=True):
            assert [*map(repr, one)] == [*map(repr, other)]


# --- any history ---


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(4))
def test_any_history_is_folded_as_apply_does_it(db: duckdb.DuckDBPyConnection, seed: int) -> None:
    story = Story(seed)
    moves = {Move.ADD}
    for _ in range(12):
        start = len(story.lines)
        for _ in range(story.rng.choice([1, 10, 90])):
            if not story.records or story.rng.random() < 0.25:
                story.add_any()
            else:
                moves.add(story.move_any())
        commit(db, "\n".join(story.lines[start:]))
    check(db, story)
    assert {move for _, move in TRANSITIONS} | {Move.SAVE} == moves, "the walk is too short"
    assert set("aAcsfm") == {line.split("\x1f")[1] for line in story.lines}


@pytest.mark.usefixtures("way")
def test_the_usual_history_is_folded_as_apply_does_it(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    records = [story.add() for _ in range(30)]
    for record in records[:20]:
        story.claim(record)
    for record in records[:10]:
        story.succeed(record)
    commit(db, "\n".join(story.lines))
    start = len(story.lines)
    for record in records[10:20]:
        story.succeed(record)
    for record in records[20:25]:
        story.claim(record)
        story.succeed(record)
    for record in records[25:28]:
        story.claim(record)
    commit(db, "\n".join(story.lines[start:]))
    check(db, story)
    assert set("acs") == {line.split("\x1f")[1] for line in story.lines}


UNUSUAL = {
    "retry_count": 1,
    "crashes": 1,
    "run_at": NOW,
    "completed_at": NOW,
    "elapsed_seconds": 0.5,
    "worker": "host-2",
    "result": "3",
    "error": "E: no",
    "error_type": "E",
    "progress": 5.0,
    "progress_message": "half",
    "waiting": True,
    "progress_data": '{"rows": 3}',
}
"""What a task seldom has when it starts or succeeds."""


@pytest.mark.usefixtures("way")
def test_what_is_unusual_in_a_task_is_kept_when_it_starts(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for column, value in UNUSUAL.items():
        record = story.add()
        story.move(record, Move.SAVE, TaskStatus.PENDING, data={column: value})
        story.claim(record)
    for more in ({"error": "E: no"}, {"reason": "by hand"}, {"data": {}}, {"data": {"crashes": 0}}):
        story.claim(story.add(), **more)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_what_is_unusual_in_a_task_is_kept_when_it_succeeds(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for column, value in {**UNUSUAL, "started_at": None}.items():
        record = story.add()
        story.claim(record)
        story.move(record, Move.SAVE, TaskStatus.STARTED, data={column: value})
        story.succeed(record, worker="host-1")
    more: list[dict[str, Any]] = [{"error": "E: no"}, {"reason": "by hand"}]
    more += [{"data": data} for data in (None, {}, {"result": None}, {"crashes": 1})]
    more += [{"data": {"result": "1", "progress_message": "done"}}]
    more += [{"data": {"result": "1", "progress_data": '{"rows": 3}'}}]
    for unusual in more:
        record = story.add()
        story.claim(record)
        story.succeed(record, **unusual)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_what_is_unusual_in_a_new_task_is_kept(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for column in ("run_at", "scheduled_for"):
        story.add(**{column: NOW})
    for column in ("options", "unique_key", "depends_on", "schedule"):
        story.add(**{column: "[]"})
    story.add(flow_id=IDS.new(NOW))
    story.add(waiting=True)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_a_text_may_end_with_a_line_s_end_and_be_empty(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    story.add()
    story.add()
    for text in ("", "\n", "\n".join(story.lines) + "\n"):
        commit(db, text)
    check(db, story)


@pytest.mark.usefixtures("way")
def test_a_task_that_was_deleted_keeps_its_history_only(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    gone, there = story.add(), story.add()
    commit(db, "\n".join(story.lines))
    db.execute("delete from tasks where id = ?", [gone.id])
    story.records.remove(gone)
    for record in (gone, there):
        story.claim(record)
        story.succeed(record)
    story.add()
    commit(db, "\n".join(story.lines[2:]))
    check(db, story)


# --- what a field can hold ---


@pytest.mark.usefixtures("way")
def test_any_text_comes_back_as_it_was(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for odd in ODD:
        quoted = f"[ {encode_data({'error': odd})} ]"
        told = {"unique_key": odd, "schedule": odd, "options": quoted, "depends_on": quoted}
        record = story.add(name=odd, category=odd, args=quoted, kwargs=quoted, **told)
        story.claim(record, worker=odd)
        story.succeed(record, quoted)
        failing = story.add()
        story.claim(failing, reason=odd)
        data = {"error_type": odd, "traceback": odd, "progress_message": odd, "result": quoted}
        story.move(failing, Move.FAIL, TaskStatus.FAILED, error=odd, reason=odd, data=data)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_no_byte_of_a_payload_is_changed(db: duckdb.DuckDBPyConnection) -> None:
    lines = []
    for seq, payload in enumerate([*ODD, *JSON]):
        record = TaskRecord(IDS.new(NOW), "n", "c", 2, 3, payload, payload, NOW, options=payload)
        record.depends_on = payload
        claim = Transition(record.id, Move.CLAIM, record.status, TaskStatus.STARTED, 1, NOW, "w")
        end = Transition(record.id, Move.SUCCEED, TaskStatus.STARTED, TaskStatus.SUCCESS, 1, NOW)
        end.worker, end.data = "w", {"result": payload}
        for number, transition in enumerate((added(record), claim, end)):
            transition.seq = 3 * seq + number + 1
            if transition.move is not Move.ADD:
                apply(record, transition)
            lines.append(transition_record(record, transition))

    commit(db, "\n".join(lines))

    columns = "args, kwargs, options, depends_on, coalesce(tasks.result, results.result)"
    rows = db.execute(
        f"select {columns} from tasks left join results on results.seq = version order by tasks.seq"
    ).fetchall()
    assert [(payload,) * 5 for payload in [*ODD, *JSON]] == rows
    found = db.execute("select data from transitions order by seq").fetchall()
    for seq, payload in enumerate([*ODD, *JSON]):
        [(told,), _, (result,)] = found[3 * seq : 3 * seq + 3]
        assert f'"args":{payload},"kwargs":{payload},"options":{payload},"depends_on"' in told
        assert told.endswith(f'"depends_on":{payload},"waiting":false}}')
        assert f'{{"result":{payload}}}' == result


@pytest.mark.usefixtures("way")
def test_any_number_and_time_comes_back_as_it_was(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for number in NUMBERS:
        record = story.add(priority=number, max_retries=number)
        story.move(
            record, Move.SAVE, TaskStatus.RETRY, data={"retry_count": number, "crashes": number}
        )
    for real in [*FLOATS, -0.0]:  # which no update can make of 0.0: DuckDB sees no change
        data = {"progress": real, "elapsed_seconds": real}
        story.move(story.add(), Move.SAVE, TaskStatus.FAILED, data=data)
    for time in TIMES:
        record = story.add(run_at=time, created_at=time, schedule="s", scheduled_for=time)
        data = {"run_at": time, "started_at": time, "completed_at": time}
        story.move(record, Move.SAVE, TaskStatus.STARTED, occurred_at=time, data=data)
        short = story.add()
        story.claim(short, occurred_at=time)
        story.succeed(short, occurred_at=time)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_how_long_it_ran_is_the_very_number(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for microseconds in (0, 1, 3, 999_999, 1_000_001, 86_399_999_999, 10**14, -1):
        record = story.add()
        story.claim(record, occurred_at=NOW)
        end = NOW + timedelta(microseconds=microseconds)
        story.succeed(record, occurred_at=end)
    commit(db, "\n".join(story.lines))
    check(db, story)


# --- as part of a database ---


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda line: line.replace("\x1fa\x1f", "\x1fa\x1fx"), id="no id"),
        pytest.param(lambda line: line + "\udcff", id="no UTF-8"),
    ],
)
def test_after_a_bad_record_nothing_of_its_text_is_there(
    db: duckdb.DuckDBPyConnection, bad: Callable[[str], str]
) -> None:
    story = Story()
    for _ in range(3):
        record = story.add()
        story.claim(record)
    text = "\n".join([*story.lines[:-2], bad(story.lines[-2])])

    db.execute("begin")
    with pytest.raises((duckdb.Error, ValueError)):
        fold(db, text.encode(errors="surrogateescape"))
    db.execute("rollback")

    assert [] == tasks(db) == log(db)
    commit(db, "\n".join(story.lines))
    check(db, story)


@pytest.mark.usefixtures("way")
def test_nothing_is_there_before_the_caller_commits(opened: OpenedDatabase) -> None:
    story = Story()
    story.claim(story.add())
    other = opened.cursor()
    opened.connection.execute("begin")
    fold(opened.connection, "\n".join(story.lines).encode())
    assert [] == tasks(other) == log(other)
    opened.connection.execute("rollback")
    assert [] == tasks(opened.connection) == log(opened.connection)


@pytest.mark.usefixtures("way")
def test_a_database_that_was_opened_again_goes_on(opened: OpenedDatabase) -> None:
    story = Story()
    record = story.add()
    commit(opened.connection, "\n".join(story.lines))
    opened.reopen()
    story.claim(record)
    commit(opened.connection, story.lines[-1])
    check(opened.connection, story)


def test_large_payloads_fit_and_leave_no_memory_behind(db: duckdb.DuckDBPyConnection) -> None:
    story = Story()
    for _ in range(30):
        noise = story.rng.randbytes(128 * 1024).hex()  # what compresses well would take less
        record = story.add(args=f'["{noise}"]')
        story.claim(record)
        story.succeed(record, f'"{noise}"')
    commit(db, "\n".join(story.lines))
    check(db, story)
    held = "select sum(memory_usage_bytes) from duckdb_memory() where tag = 'IN_MEMORY_TABLE'"
    assert 1024 * 1024 > db.execute(held).fetchall()[0][0]
    assert [] == db.execute("select table_name from duckdb_tables() where temporary").fetchall()
