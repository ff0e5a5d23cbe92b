"""The engine's own reads, as SQL. Each runs on folded tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import duckdb

from wopr.domain.status import CLAIMABLE, LIVE, TaskStatus
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import Counts, LaneCount, TaskFilter
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, transition_from_row

Connection = duckdb.DuckDBPyConnection

_TASKS = f"select {', '.join(COLUMNS)} from tasks"
_WAITING = ", ".join(f"'{status.value}'" for status in sorted(CLAIMABLE))
_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))


def is_id(text: str) -> bool:
    """Whether a text is the id of a task, as far as its form goes."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def get(cursor: Connection, task_id: str) -> TaskRecord | None:
    """Return one task by id."""
    if not is_id(task_id):
        return None
    row = cursor.execute(f"{_TASKS} where id = ?", [task_id]).fetchone()
    return TaskRecord.from_row(row) if row else None


def find(cursor: Connection, query: TaskFilter) -> list[TaskRecord]:
    """Return matching tasks, newest first."""
    conditions = []
    params: list[object] = []
    for column, value in (
        ("category", query.category),
        ("status", query.status.value if query.status else None),
        ("name", query.name),
    ):
        if value is not None:
            conditions.append(f"{column} = ?")
            params.append(value)
    if query.before_seq is not None:
        conditions.append("seq < ?")
        params.append(query.before_seq)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    rows = cursor.execute(
        f"{_TASKS}{where} order by seq desc limit ? offset ?",
        [*params, query.limit, query.offset],
    ).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def ready(
    cursor: Connection,
    category: str,
    priority: int,
    after_seq: int,
    now: datetime,
    skip: Sequence[str],
    limit: int,
) -> list[TaskRecord]:
    """Return one lane's due tasks in enqueue order."""
    rows = cursor.execute(
        f"{_TASKS} where seq > ? and status in ({_WAITING}) and category = ? and priority = ? "
        "and (run_at is null or run_at <= ?) and not list_contains(?::varchar[], name) "
        "order by seq limit ?",
        [after_seq, category, priority, now, list(skip), limit],
    ).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def delayed(
    cursor: Connection, category: str, not_before: datetime, skip: Sequence[str], limit: int
) -> list[TaskRecord]:
    """Return a category's tasks that become due, the earliest first."""
    rows = cursor.execute(
        f"{_TASKS} where status in ({_WAITING}) and category = ? and run_at >= ? "
        "and not list_contains(?::varchar[], name) order by run_at, seq limit ?",
        [category, not_before, list(skip), limit],
    ).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def lanes(cursor: Connection) -> list[LaneCount]:
    """Return how many tasks wait per category and priority."""
    rows = cursor.execute(
        f"select category, priority, count(*) from tasks where status in ({_WAITING}) "
        "group by all order by all"
    ).fetchall()
    return [LaneCount(*row) for row in rows]


def orphans(cursor: Connection) -> list[TaskRecord]:
    """Return the STARTED tasks."""
    rows = cursor.execute(
        f"{_TASKS} where status = ? order by seq", [TaskStatus.STARTED.value]
    ).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def unique_keys(cursor: Connection) -> dict[str, str]:
    """Return the unique keys of live tasks."""
    rows = cursor.execute(
        f"select unique_key, id from tasks where unique_key is not null and status in ({_ALIVE})"
    ).fetchall()
    return {key: str(task_id) for key, task_id in rows}


def counts(cursor: Connection) -> Counts:
    """Return exact counts."""
    by_status = cursor.execute(
        "select status, count(*) from tasks group by all order by all"
    ).fetchall()
    by_category = cursor.execute(
        "select category, count(*) from tasks group by all order by all"
    ).fetchall()
    return Counts(dict(by_status), dict(by_category))


def position(cursor: Connection, record: TaskRecord, now: datetime) -> int:
    """Return how many due tasks stand before this one."""
    row = cursor.execute(
        f"select count(*) from tasks where status in ({_WAITING}) and category = ? "
        "and (run_at is null or run_at <= ?) and (priority > ? or (priority = ? and seq < ?))",
        [record.category, now, record.priority, record.priority, record.seq],
    ).fetchone()
    return int(row[0]) if row else 0


def history(cursor: Connection, task_id: str) -> list[Transition]:
    """Return a task's transitions in order."""
    if not is_id(task_id):
        return []
    rows = cursor.execute(
        f"select {TRANSITION_COLUMNS} from transitions where task_id = ? order by seq", [task_id]
    ).fetchall()
    return [transition_from_row(row) for row in rows]
