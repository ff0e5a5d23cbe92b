"""Take over a file of Gobstopper's task queue, the queue that wopr grew out of.

Its file has one table, ``tasks``, in one of two layouts, and no alembic. The new
file is built aside and put in place when it holds every row; until then, and
whenever anything is odd, the old file is as it was. A copy of it stays as
``<file>.gobstopper-backup``.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from wopr.domain.errors import SchemaError, StorageFileError
from wopr.domain.spoken import counted
from wopr.domain.status import LIVE, Move, TaskPriority, TaskStatus
from wopr.domain.task import COLUMNS
from wopr.domain.transition import Transition, encode_data
from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.catalogue import plain
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import copy_database, install, workshop
from wopr.storage.duckdb.replay import record_from_add

log = logging.getLogger(__name__)

Row = tuple[Any, ...]

_HEAD = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "category": "VARCHAR",
    "priority": "INTEGER",
    "status": "VARCHAR",
    "created_at": "TIMESTAMP",
    "started_at": "TIMESTAMP",
    "completed_at": "TIMESTAMP",
    "elapsed_seconds": "DOUBLE",
    "result": "JSON",
    "error": "VARCHAR",
    "retry_count": "INTEGER",
    "max_retries": "INTEGER",
}
_LEASES = {
    "attempt": "INTEGER",
    "max_attempts": "INTEGER",
    "idempotency_key": "VARCHAR",
    "not_before": "TIMESTAMP",
    "next_attempt_at": "TIMESTAMP",
    "lease_owner": "VARCHAR",
    "lease_expires_at": "TIMESTAMP",
    "claimed_at": "TIMESTAMP",
    "last_heartbeat_at": "TIMESTAMP",
}
_TAIL = {
    "args": "JSON",
    "kwargs": "JSON",
    "progress": "DOUBLE",
    "progress_message": "VARCHAR",
}

LAYOUTS: dict[str, dict[str, str]] = {
    "0.2.0 to 0.5.0": _HEAD | _TAIL,
    "0.5.1 or newer": _HEAD | _LEASES | _TAIL,
}
"""Columns and types of the table ``tasks`` by the versions of Gobstopper that made it."""

_BATCH = 2_000
_RAW_DEFAULTS = {"args": "[]", "kwargs": "{}", "result": "null"}
_LOG_COLUMNS = [
    "seq",
    "task_id",
    "attempt",
    "to_status",
    "occurred_at",
    "reason",
    "error",
    "data",
]


def recognise(state: migrate.FileState) -> str | None:
    """Return which versions of Gobstopper wrote such a file, ``None`` if none did."""
    if set(state.tables) != {"tasks"}:
        return None
    found = state.tables["tasks"]
    return next((name for name, columns in LAYOUTS.items() if columns == found), None)


def take_over(path: Path, state: migrate.FileState) -> Path:
    """Make the file at ``path``, which is locked and not open, a wopr file; return the copy.

    A task that was running becomes pending: its process is gone. Times were
    local and without a zone; they are read in the zone of this machine.

    Raises:
        SchemaError: It is not a file of Gobstopper. It is untouched.
        StorageFileError: A row can't be taken over. The file is untouched.

    """
    versions = recognise(state)
    if versions is None:
        raise SchemaError(
            f"{path} is not a wopr file: it has no schema version, and its tables are "
            f"{', '.join(map(plain, state.tables))}. It was not changed. Set WOPR_TASKS_DATABASE "
            f"to another file; wopr takes over a file of Gobstopper, which has the one table tasks."
        )
    with workshop(path) as new:
        count = _build(path, new)  # a dry run: nothing but reading until all rows are known good
        copy = copy_database(path, f"{path.name}.gobstopper-backup")
        _checkpoint(path)
        install(new, path)
    log.warning(
        "%s was a file of Gobstopper %s: %s taken over. The old file: %s.",
        path,
        versions,
        counted(count, "task"),
        copy,
    )
    return copy


def _checkpoint(path: Path) -> None:
    """Empty the log of the old file, which must not lie beside the new one."""
    with connect(path) as connection:
        connection.execute("CHECKPOINT")


def _build(path: Path, new: Path) -> int:
    """Write a wopr file with the tasks of the old one; return how many."""
    with connect(path, read_only=True) as old, connect(new) as connection:
        migrate.upgrade(connection)
        count = 0
        connection.execute("BEGIN")
        for batch in _batches(old, path):
            _append(connection, batch)
            count += len(batch)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'folded'", [str(count)])
        connection.execute("COMMIT")
        _check_counts(old, connection, path, count)
        connection.execute("CHECKPOINT")
    return count


def _check_counts(
    old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, path: Path, count: int
) -> None:
    found = (
        old.execute("SELECT count(*) FROM tasks").fetchall()
        + new.execute(
            "SELECT count(*) FROM tasks UNION ALL SELECT count(*) FROM transitions "
            "UNION ALL SELECT count(DISTINCT id) FROM tasks"
        ).fetchall()
    )
    if found != [(count,)] * 4:
        raise StorageFileError(
            f"{path} was not taken over, and not changed: of its {counted(count, 'task')}, these "
            f"numbers were found in (old, tasks, transitions, distinct ids): {found}."
        )


def _batches(old: duckdb.DuckDBPyConnection, path: Path) -> Iterator[list[tuple[Row, Row]]]:
    """Give rows of ``tasks`` and of ``transitions``, in the order in which they were added."""
    old.execute("SELECT * FROM tasks ORDER BY created_at, id")
    columns = [column[0] for column in old.description or ()]
    seq = 0
    while rows := old.fetchmany(_BATCH):
        batch = []
        for values in rows:
            seq += 1
            batch.append(_convert(dict(zip(columns, values, strict=True)), seq, path))
        yield batch


def _convert(row: dict[str, Any], seq: int, path: Path) -> tuple[Row, Row]:
    try:
        transition = _transition(row)
    except (ValueError, TypeError) as error:
        raise StorageFileError(
            f"{path} can't be taken over from Gobstopper, and was not changed: the task with id "
            f"{row['id']!r} has a value that wopr can't hold: {error}. Correct or delete that row "
            f"with the duckdb command line, or set WOPR_TASKS_DATABASE to another file."
        ) from error
    transition.seq = seq
    logged = _log_row(transition)  # before the fold, which takes the data apart
    return record_from_add(transition).row(), logged


def _transition(row: dict[str, Any]) -> Transition:
    """Return the ``add`` transition whose fold is the old row."""
    task_id = str(uuid.UUID(row["id"]))
    status = TaskStatus(row["status"])
    if status is TaskStatus.STARTED:
        status = TaskStatus.PENDING
        row |= {"started_at": None, "progress": 0.0, "progress_message": ""}
    live = status in LIVE
    data = {
        "name": row["name"],
        "category": row["category"],
        "priority": TaskPriority(row["priority"]).value,
        "max_retries": row["max_retries"] or 0,
        "retry_count": row["retry_count"] or 0,
        "unique_key": row.get("idempotency_key") if live else None,
        "run_at": _utc(row.get("next_attempt_at") or row.get("not_before")) if live else None,
        "started_at": _utc(row["started_at"]),
        "completed_at": None if live else _utc(row["completed_at"] or row["created_at"]),
        "elapsed_seconds": None if live else row["elapsed_seconds"],
        "error": row["error"],
        "progress": row["progress"] or 0.0,
        "progress_message": row["progress_message"] or "",
        **{column: _compact(row[column], text) for column, text in _RAW_DEFAULTS.items()},
    }
    return Transition(
        task_id,
        Move.ADD,
        None,
        status,
        _attempts(row),
        _known(_utc(row["created_at"])),
        reason="takeover",
        error=row["error"],
        data=data,
    )


def _attempts(row: dict[str, Any]) -> int:
    """Return how often the task was started: counted since 0.5.1, deduced before."""
    counted = row.get("attempt")
    if counted is not None:
        return int(counted)
    ran_to_the_end = row["status"] in (TaskStatus.SUCCESS, TaskStatus.STARTED)
    return int(row["retry_count"] or 0) + ran_to_the_end


def _known(moment: datetime | None) -> datetime:
    if moment is None:
        raise ValueError("created_at is NULL")
    return moment


def _utc(moment: datetime | None) -> datetime | None:
    """Return a local time as wopr keeps times: UTC, without a zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _compact(text: str | None, default: str) -> str | None:
    """Return a JSON value in wopr's spelling; JSON's null is the default, or no value."""
    value = json.loads(text if text is not None else default)
    if value is None:
        return None if default == "null" else default
    return json.dumps(value, separators=(",", ":"))


def _append(connection: duckdb.DuckDBPyConnection, batch: list[tuple[Row, Row]]) -> None:
    rows, large = largeresults.taken(row for row, _ in batch)
    largeresults.add(connection, large)
    tasks = connection.appender("tasks", columns=list(COLUMNS))
    tasks.append_rows(rows)
    tasks.flush()
    transitions = connection.appender("transitions", columns=_LOG_COLUMNS)
    transitions.append_rows([logged for _, logged in batch])
    transitions.flush()


def _log_row(transition: Transition) -> tuple[Any, ...]:
    return (
        transition.seq,
        transition.task_id,
        transition.attempt,
        transition.to_status.value,
        transition.occurred_at,
        transition.reason,
        transition.error,
        encode_data(transition.data),
    )
