"""Files of Gobstopper become wopr files with every task, or stay as they are."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.databases import bytes_of, child, child_ok, log_of, names_beside
from wopr.domain.errors import SchemaError, StorageFileError
from wopr.domain.task import COLUMNS
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, record_from_add, transition_from_row

OLD_LAYOUT = """
CREATE TABLE tasks (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    priority INTEGER NOT NULL,
    status VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    elapsed_seconds DOUBLE,
    result JSON,
    error TEXT,
    retry_count INTEGER DEFAULT 0,
    max_retries INTEGER DEFAULT 0,
    args JSON,
    kwargs JSON,
    progress DOUBLE DEFAULT 0.0,
    progress_message VARCHAR DEFAULT ''
);
CREATE INDEX idx_tasks_category ON tasks(category);
CREATE INDEX idx_tasks_status ON tasks(status);
CREATE INDEX idx_tasks_created_at ON tasks(created_at);
CREATE INDEX idx_tasks_priority ON tasks(priority);
"""

LEASE_LAYOUT = """
CREATE TABLE tasks (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    priority INTEGER NOT NULL,
    status VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    elapsed_seconds DOUBLE,
    result JSON,
    error TEXT,
    retry_count INTEGER DEFAULT 0,
    max_retries INTEGER DEFAULT 0,
    attempt INTEGER DEFAULT 0,
    max_attempts INTEGER DEFAULT 1,
    idempotency_key VARCHAR,
    not_before TIMESTAMP,
    next_attempt_at TIMESTAMP,
    lease_owner VARCHAR,
    lease_expires_at TIMESTAMP,
    claimed_at TIMESTAMP,
    last_heartbeat_at TIMESTAMP,
    args JSON,
    kwargs JSON,
    progress DOUBLE DEFAULT 0.0,
    progress_message VARCHAR DEFAULT ''
);
CREATE INDEX idx_tasks_category ON tasks(category);
CREATE INDEX idx_tasks_status ON tasks(status);
CREATE INDEX idx_tasks_created_at ON tasks(created_at);
CREATE INDEX idx_tasks_priority ON tasks(priority);
CREATE INDEX idx_tasks_next_attempt ON tasks(next_attempt_at);
CREATE INDEX idx_tasks_idempotency_key ON tasks(idempotency_key);
CREATE INDEX idx_tasks_lease_expires ON tasks(lease_expires_at);
"""

IDS = {
    "waiting": "9b2fd1c2-8d5f-4a43-9d55-0d6b0c4a2f01",
    "running": "1e0d4a8f-60a3-4f53-8a0e-6f0f9f0f7a02",
    "done": "c1a6f3d5-15ab-4b8c-b4a4-2f2b6a6d8e03",
    "broken": "0f3b7c77-2b0c-4c57-8f4e-1c9d7e5a9b04",
}
NOON = datetime(2026, 1, 15, 12, 0, 0, 250_000)


def at(seconds: int) -> datetime:
    return NOON.replace(second=seconds)


ROWS: list[dict[str, Any]] = [
    {
        "id": IDS["broken"],
        "name": "charge",
        "category": "money",
        "priority": 4,
        "status": "failed",
        "created_at": at(4),
        "started_at": at(5),
        "completed_at": at(6),
        "elapsed_seconds": 1.0,
        "error": "no funds",
        "retry_count": 3,
        "max_retries": 2,
        "args": "[7]",
        "kwargs": "{}",
    },
    {
        "id": IDS["done"],
        "name": "mail",
        "category": "default",
        "priority": 2,
        "status": "success",
        "created_at": at(3),
        "started_at": at(4),
        "completed_at": at(9),
        "elapsed_seconds": 5.0,
        "result": '{"sent": true, "to": "é"}',
        "retry_count": 1,
        "max_retries": 3,
        "args": '["a", 1]',
        "kwargs": '{"cc": null}',
        "progress": 100.0,
        "progress_message": "sent",
    },
    {
        "id": IDS["running"],
        "name": "resize",
        "category": "images",
        "priority": 1,
        "status": "started",
        "created_at": at(2),
        "started_at": at(8),
        "retry_count": 0,
        "max_retries": 0,
        "args": None,
        "kwargs": None,
        "progress": 40.0,
        "progress_message": "half",
    },
    {
        "id": IDS["waiting"],
        "name": "mail",
        "category": "default",
        "priority": 3,
        "status": "pending",
        "created_at": at(1),
        "retry_count": 0,
        "max_retries": 5,
        "args": "[]",
        "kwargs": "{}",
    },
]

LEASES: dict[str, dict[str, Any]] = {
    IDS["waiting"]: {"idempotency_key": "once", "not_before": at(30), "attempt": 0},
    IDS["running"]: {"attempt": 2, "lease_owner": "w-1", "lease_expires_at": at(38)},
    IDS["done"]: {"attempt": 2, "idempotency_key": "spent"},
    IDS["broken"]: {"attempt": 3, "next_attempt_at": at(50)},
}


def write_old_file(path: Path, layout: str, rows: list[dict[str, Any]]) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(layout)
        for row in rows:
            extra = LEASES.get(row["id"], {}) if layout is LEASE_LAYOUT else {}
            values = row | extra
            connection.execute(
                f"INSERT INTO tasks ({', '.join(values)}) "
                f"VALUES ({', '.join('?' for _ in values)})",
                list(values.values()),
            )


def tasks_by_label(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM tasks").fetchall()
    tasks = {str(row[0]): dict(zip(COLUMNS, row, strict=True)) for row in rows}
    return {label: tasks[task_id] for label, task_id in IDS.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gobstopper_tasks.duckdb"


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a machine two hours east of UTC, as POSIX writes it."""
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("layout", [OLD_LAYOUT, LEASE_LAYOUT], ids=["0.5.0", "0.5.1"])
def test_every_task_is_taken_over(path: Path, layout: str, local_zone: None) -> None:
    write_old_file(path, layout, ROWS)

    database = open_database(path)
    tasks = tasks_by_label(database.connection)
    database.close()

    ten = NOON.replace(hour=10)
    assert {"waiting": 1, "running": 2, "done": 3, "broken": 4} == {
        label: task["seq"] for label, task in tasks.items()
    }
    done = tasks["done"]
    assert ("success", "mail", "default", 2) == tuple(
        done[key] for key in ("status", "name", "category", "priority")
    )
    assert (ten.replace(second=3), ten.replace(second=4), ten.replace(second=9)) == tuple(
        done[key] for key in ("created_at", "started_at", "completed_at")
    )
    assert {"sent": True, "to": "é"} == json.loads(done["result"])
    assert (["a", 1], {"cc": None}) == (json.loads(done["args"]), json.loads(done["kwargs"]))
    assert (1, 3, 2, 100.0, "sent") == tuple(
        done[key]
        for key in ("retry_count", "max_retries", "attempt", "progress", "progress_message")
    )
    broken = tasks["broken"]
    assert ("failed", "no funds", 3, 3) == tuple(
        broken[key] for key in ("status", "error", "retry_count", "attempt")
    )


@pytest.mark.parametrize("layout", [OLD_LAYOUT, LEASE_LAYOUT], ids=["0.5.0", "0.5.1"])
def test_a_task_that_was_running_waits_again(path: Path, layout: str) -> None:
    write_old_file(path, layout, ROWS)

    database = open_database(path)
    running = tasks_by_label(database.connection)["running"]
    database.close()

    assert ("pending", None, None, 0.0, "", "[]", "{}") == tuple(
        running[key]
        for key in (
            "status",
            "started_at",
            "worker",
            "progress",
            "progress_message",
            "args",
            "kwargs",
        )
    )


def test_keys_and_due_times_of_waiting_tasks_are_kept(path: Path, local_zone: None) -> None:
    write_old_file(path, LEASE_LAYOUT, ROWS)

    database = open_database(path)
    tasks = tasks_by_label(database.connection)
    database.close()

    waiting = tasks["waiting"]
    assert ("once", NOON.replace(hour=10, second=30)) == (waiting["unique_key"], waiting["run_at"])
    assert (None, None) == (tasks["done"]["unique_key"], tasks["broken"]["run_at"])


@pytest.mark.parametrize("layout", [OLD_LAYOUT, LEASE_LAYOUT], ids=["0.5.0", "0.5.1"])
def test_each_row_is_the_fold_of_its_first_transition(path: Path, layout: str) -> None:
    write_old_file(path, layout, ROWS)

    database = open_database(path)
    log = database.connection.execute(
        f"SELECT {TRANSITION_COLUMNS} FROM transitions ORDER BY seq"
    ).fetchall()
    folded = [record_from_add(transition_from_row(row)).row() for row in log]
    rows = database.connection.execute(
        f"SELECT {', '.join(COLUMNS)} FROM tasks ORDER BY seq"
    ).fetchall()
    facts = database.connection.execute("FROM meta").fetchall()
    database.close()

    assert [(str(row[0]), *row[1:]) for row in rows] == folded
    assert ["takeover"] * 4 == [row[7] for row in log]
    assert [("folded", "4")] == facts


def test_the_new_file_has_the_schema_and_nothing_of_the_old_one(path: Path) -> None:
    write_old_file(path, OLD_LAYOUT, ROWS)
    open_database(path).close()

    assert migrate.head() == migrate.current(path)
    assert [] == migrate.check(path)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert [] == connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall()


def test_a_copy_of_the_old_file_stays_and_its_name_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_old_file(path, OLD_LAYOUT, ROWS)
    before = path.read_bytes()

    with caplog.at_level(logging.WARNING, logger="wopr"):
        open_database(path).close()

    backup = path.with_name("gobstopper_tasks.duckdb.gobstopper-backup")
    assert before == backup.read_bytes()
    assert 0o600 == backup.stat().st_mode & 0o777
    assert str(backup) in caplog.text
    assert "0.2.0 to 0.5.0: 4 tasks taken over" in caplog.text


def test_taking_over_happens_once(path: Path) -> None:
    write_old_file(path, OLD_LAYOUT, ROWS)
    open_database(path).close()

    open_database(path).close()

    assert ["gobstopper_tasks.duckdb.gobstopper-backup"] == names_beside(path, "gobstopper")


def test_what_a_crash_left_in_the_old_log_is_taken_over_too(path: Path) -> None:
    write_old_file(path, OLD_LAYOUT, ROWS[1:])
    row = ROWS[0]
    child(
        "c = duckdb.connect(path)\nc.execute(sys.argv[2])\ndie()",
        path,
        "INSERT INTO tasks (id, name, category, priority, status, created_at) VALUES "
        f"('{row['id']}', 'charge', 'money', 4, 'pending', '2026-01-15 12:00:04')",
    )
    assert log_of(path).exists()

    database = open_database(path)

    assert "pending" == tasks_by_label(database.connection)["broken"]["status"]
    assert [(4, 4)] == database.connection.execute(
        "SELECT count(*), count(DISTINCT id) FROM tasks"
    ).fetchall()
    database.close()
    backup = path.with_name("gobstopper_tasks.duckdb.gobstopper-backup")
    with duckdb.connect(str(backup)) as old:
        assert (4,) == old.execute("SELECT count(*) FROM tasks").fetchone()


def test_more_rows_than_one_batch_keep_their_order(path: Path) -> None:
    write_old_file(path, OLD_LAYOUT, [])
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO tasks (id, name, category, priority, status, created_at) "
            "SELECT uuid(), i, 'c', 2, 'pending', TIMESTAMP '2026-01-01' - INTERVAL (i) SECOND "
            "FROM range(4500) t(i)"
        )

    database = open_database(path)
    names = database.connection.execute("SELECT name FROM tasks ORDER BY seq").fetchall()
    database.close()

    assert [(str(i),) for i in reversed(range(4500))] == names


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("id", "task-17", "badly formed"),
        ("priority", 9, "9 is not a valid TaskPriority"),
        ("status", "paused", "'paused' is not a valid TaskStatus"),
    ],
)
def test_a_row_that_wopr_can_not_hold_is_named_and_nothing_is_changed(
    path: Path, column: str, value: Any, reason: str
) -> None:
    bad = ROWS[0] | {column: value}
    write_old_file(path, OLD_LAYOUT, [*ROWS[1:], bad])
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match=reason) as caught:
        open_database(path)

    assert repr(bad["id"]) in str(caught.value)
    assert before == bytes_of(path)
    assert [] == names_beside(path, "gobstopper") + names_beside(path, "new-")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tasks ADD COLUMN team VARCHAR",
        "CREATE TABLE customers (id INTEGER)",
    ],
)
def test_a_layout_that_is_not_known_is_refused_untouched(path: Path, change: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(OLD_LAYOUT.partition("CREATE INDEX")[0])
        connection.execute(change)
    before = bytes_of(path)

    with pytest.raises(SchemaError, match="is not a wopr file"):
        open_database(path)

    assert before == bytes_of(path)


@pytest.mark.parametrize("step", ["copy_database", "_checkpoint", "install"])
def test_a_takeover_killed_at_any_step_can_be_done_again(path: Path, step: str) -> None:
    write_old_file(path, OLD_LAYOUT, ROWS)
    done = child(
        "from wopr.storage.duckdb.file import takeover\n"
        f"takeover.{step} = lambda *args: die()\n"
        "open_database(path)",
        path,
    )
    assert -9 == done.returncode

    said = child_ok(
        "print(open_database(path).connection.execute('SELECT count(*) FROM tasks').fetchone()[0])",
        path,
    )

    assert "4" == said
    assert [] == names_beside(path, "new-")
