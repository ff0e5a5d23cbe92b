"""The engine's own reads, as SQL. Each runs on folded tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import duckdb

from wopr.domain.status import CLAIMABLE, LIVE, TaskStatus
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import Counts, LaneCount, TaskFilter
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, transition_from_row

Connection = duckdb.DuckDBPyConnection

_TASKS = f"select id::varchar, {', '.join(COLUMNS[1:])} from tasks"
_AMONG = "id in (select unnest(?::uuid[])) and id between ?::uuid and ?::uuid"
_WAITING = ", ".join(f"'{status.value}'" for status in sorted(CLAIMABLE))
_FREE = "waiting is not true"  # of other tasks
_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))


def is_id(text: str) -> bool:
    """Whether a text is the id of a task, as far as its form goes."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@contextlib.contextmanager
def _one_moment(cursor: Connection) -> Iterator[None]:
    """Let the statements within see the same state of the tables.

    Else a page may lack tasks that were claimed between its two statements, and look
    like the last one.
    """
    cursor.execute("begin transaction read only")
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):  # it would hide what went wrong before
            cursor.execute("rollback")


def get(cursor: Connection, task_id: str) -> TaskRecord | None:
    """Return one task by id."""
    if not is_id(task_id):
        return None
    row = cursor.execute(f"{_TASKS} where id = ?", [task_id]).fetchone()
    return TaskRecord.from_row(row) if row else None


def get_many(cursor: Connection, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
    """Return those of the tasks that there are."""
    ids = [task_id for task_id in task_ids if is_id(task_id)]
    if not ids:
        return {}
    rows = cursor.execute(f"{_TASKS} where {_AMONG}", [ids, min(ids), max(ids)]).fetchall()
    records = [TaskRecord.from_row(row) for row in rows]
    return {record.id: record for record in records}


def statuses(cursor: Connection, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
    """Return the status of those of the tasks that there are."""
    ids = [task_id for task_id in task_ids if is_id(task_id)]
    if not ids:
        return {}
    rows = cursor.execute(
        f"select id::varchar, status from tasks where {_AMONG}", [ids, min(ids), max(ids)]
    ).fetchall()
    return {task_id: TaskStatus(status) for task_id, status in rows}


def waiting(cursor: Connection, after_seq: int, limit: int) -> list[TaskRecord]:
    """Return tasks that wait for others, in enqueue order."""
    rows = cursor.execute(
        f"{_TASKS} where waiting and status = 'pending' and seq > ? order by seq limit ?",
        [after_seq, limit],
    ).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def find(cursor: Connection, query: TaskFilter) -> list[TaskRecord]:
    """Return matching tasks, newest first."""
    conditions = ["true"]
    params: list[object] = []
    for column, value in (
        ("category", query.category),
        ("status", query.status.value if query.status else None),
        ("name", query.name),
        ("flow_id", query.flow_id),
        ("schedule", query.schedule),
    ):
        if value is not None:
            conditions.append(f"{column} = ?")
            params.append(value)
    if query.before_seq is not None:
        conditions.append("seq < ?")
        params.append(query.before_seq)
    if query.flow_id is not None and not is_id(query.flow_id):
        return []
    where = " and ".join(conditions)
    with _one_moment(cursor):
        [(first, last)] = cursor.execute(
            f"select min(seq), max(seq) from (select seq from tasks where {where} "
            "order by seq desc limit ? offset ?)",
            [*params, query.limit, query.offset],
        ).fetchall()
        params += [first, last]
        return _between(cursor, f"{where} and seq between ? and ?", params, "seq desc")


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
    where = (
        f"status in ({_WAITING}) and {_FREE} and category = ? and priority = ? "
        "and (run_at is null or run_at <= ?)"
    )
    params: list[object] = [category, priority, now]
    where += _without(skip, params)
    # What was enqueued together mostly waits together: look nearby before looking everywhere.
    rows = cursor.execute(
        f"{_TASKS} where {where} and seq > ? and seq <= ? order by seq limit ?",
        [*params, after_seq, after_seq + 4 * limit, limit],
    ).fetchall()
    if len(rows) == limit:
        return [TaskRecord.from_row(row) for row in rows]
    with _one_moment(cursor):
        [(last,)] = cursor.execute(
            f"select max(seq) from (select seq from tasks where {where} and seq > ? "
            "order by seq limit ?)",
            [*params, after_seq, limit],
        ).fetchall()
        params += [after_seq, last]
        return _between(cursor, f"{where} and seq > ? and seq <= ?", params, "seq")


def delayed(
    cursor: Connection, category: str, not_before: datetime, skip: Sequence[str], limit: int
) -> list[TaskRecord]:
    """Return a category's tasks that become due, the earliest first."""
    where = f"status in ({_WAITING}) and {_FREE} and category = ?"
    params: list[object] = [category]
    where += _without(skip, params)
    with _one_moment(cursor):
        [(last,)] = cursor.execute(
            f"select max(run_at) from (select run_at from tasks where {where} and run_at >= ? "
            "order by run_at limit ?)",
            [*params, not_before, limit],
        ).fetchall()
        params += [not_before, last]
        found = _between(cursor, f"{where} and run_at between ? and ?", params, "run_at, seq")
    return found[:limit]


def _between(cursor: Connection, where: str, params: list[object], order: str) -> list[TaskRecord]:
    """Return the tasks between two bounds that were found before.

    Two steps, because a top-n of whole rows reads every column of every match:
    470 ms instead of 40 ms for a page out of a million.
    """
    if params[-1] is None:  # nothing matched
        return []
    rows = cursor.execute(f"{_TASKS} where {where} order by {order}", params).fetchall()
    return [TaskRecord.from_row(row) for row in rows]


def _without(names: Sequence[str], params: list[object]) -> str:
    if not names:
        return ""
    params.append(list(names))
    return " and not list_contains(?::varchar[], name)"


def lanes(cursor: Connection, now: datetime) -> list[LaneCount]:
    """Return how many tasks wait per category and priority."""
    rows = cursor.execute(
        "select category, priority, count(*) filter (run_at is null or run_at <= ?), "
        f"count(*) filter (run_at > ?) from tasks where status in ({_WAITING}) "
        f"and {_FREE} group by all order by all",
        [now, now],
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
        f"select count(*) from tasks where status in ({_WAITING}) and {_FREE} and category = ? "
        "and (run_at is null or run_at <= ?) and (priority > ? or (priority = ? and seq < ?))",
        [record.category, now, record.priority, record.priority, record.seq],
    ).fetchone()
    return int(row[0]) if row else 0


def starts(cursor: Connection, category: str, since: datetime) -> list[tuple[datetime, TaskRecord]]:
    """Return when tasks of a category were claimed since a moment, in order."""
    started = "to_status = 'started' and occurred_at >= ?"
    with _one_moment(cursor):
        [ids] = cursor.execute(
            f"select min(task_id), max(task_id) from transitions where {started}", [since]
        ).fetchall()
        rows = cursor.execute(
            f"select occurred_at, id::varchar, {', '.join(f'tasks.{one}' for one in COLUMNS[1:])} "
            f"from transitions join tasks on id = task_id where {started} and category = ? "
            "and id between ? and ? order by occurred_at, transitions.seq",
            [since, category, *ids],
        ).fetchall()
    return [(row[0], TaskRecord.from_row(row[1:])) for row in rows]


def backlog(cursor: Connection, category: str) -> int:
    """Return how many tasks of a category are PENDING or RETRY."""
    [(count,)] = cursor.execute(
        f"select count(*) from tasks where status in ({_WAITING}) and category = ?", [category]
    ).fetchall()
    return int(count)


def history(cursor: Connection, task_id: str) -> list[Transition]:
    """Return a task's transitions in order."""
    if not is_id(task_id):
        return []
    rows = cursor.execute(
        f"select {TRANSITION_COLUMNS} from transitions where task_id = ? order by seq", [task_id]
    ).fetchall()
    return [transition_from_row(row) for row in rows]
