"""The engine's own reads, as SQL. Each runs on folded tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import duckdb

from wopr.domain.errors import StorageError
from wopr.domain.place import AT_FRONT, place
from wopr.domain.status import CLAIMABLE, LIVE, TaskPriority, TaskStatus
from wopr.domain.stored import task_fault
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import PAGE_BYTES, Counts, LaneCount, TaskFilter
from wopr.storage.duckdb import largeresults, wide
from wopr.storage.duckdb.aside import set_aside
from wopr.storage.duckdb.failures import lacks_memory
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, UNREADABLE, transition_from_row

Connection = duckdb.DuckDBPyConnection
Row = tuple[Any, ...]

_AMONG = "id in (select unnest(?::uuid[])) and id between ?::uuid and ?::uuid"
_LOG = f"select {TRANSITION_COLUMNS}"
_WAITING = ", ".join(f"'{status.value}'" for status in sorted(CLAIMABLE))
LAST_MOMENT = "timestamp '9999-12-31 23:59:59'"
"""Of those that a datetime can be."""
_FREE = "waiting is not true"  # of other tasks
_AT_FRONT = (
    f"case when contains(options, '\"{AT_FRONT}\"') and json_valid(options) "
    f"then coalesce(options ->> '$.{AT_FRONT}' = 'true', false) else false end"
)
_ENDS = {None: "", False: f" and not {_AT_FRONT}", True: f" and {_AT_FRONT}"}
_PRIORITIES = ", ".join(str(int(priority)) for priority in TaskPriority)
_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))


def is_id(text: str) -> bool:
    """Whether a text is the id of a task, as far as its form goes."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _tasks(chunks: wide.Chunks) -> str:
    """Return what to select tasks from: all of them, but those that can't be read."""
    if not chunks.aside:
        return "tasks"
    return f"(from tasks where seq not in ({', '.join(map(str, chunks.aside))})) as tasks"


def _seqs(
    cursor: Connection, rest: str, params: Sequence[object], chunks: wide.Chunks
) -> list[int]:
    """Return the numbers of the tasks that a query wants, in its order.

    Two steps, because a top-n of whole rows reads every column of every match: 470 ms
    instead of 40 ms for a page out of a million, and all memory if the rows are large.
    """
    asked = cursor.execute(f"select seq from {_tasks(chunks)} {rest}", params)
    return [seq for (seq,) in asked.fetchall()]


def _page(
    cursor: Connection, rest: str, params: Sequence[object], most_bytes: int | None = None
) -> list[TaskRecord]:
    """Return the tasks that a query wants, up to the one that makes ``most_bytes``."""

    def read(chunks: wide.Chunks) -> list[TaskRecord]:
        return wide.tasks(cursor, _seqs(cursor, rest, params, chunks), chunks, most_bytes)

    return wide.in_chunks(cursor, read)


def get(cursor: Connection, task_id: str) -> TaskRecord | None:
    """Return one task by id."""
    if not is_id(task_id):
        return None
    try:
        row = cursor.execute(f"{wide.TASKS} from tasks where id = ?", [task_id]).fetchone()
    except duckdb.Error as error:
        if not lacks_memory(error):
            raise
        return _one(cursor, task_id)  # looked up in a way that needs less
    if row is not None and largeresults.lacks(row):
        return _one(cursor, task_id)
    if row is not None and (fault := task_fault(row)) is not None:
        raise StorageError(
            f"Task {task_id} is in the file, but its row can't be read: {fault}. Was it written by "
            "another program? It is left out of what is listed and run; wopr doctor lists all such "
            "rows."
        )
    return TaskRecord.from_row(row) if row else None


def _one(cursor: Connection, task_id: str) -> TaskRecord | None:
    """Return one task by id, in several steps that see one moment."""
    found = _page(cursor, "where id = ?", [task_id])
    return found[0] if found else None


def get_many(cursor: Connection, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
    """Return those of the tasks that there are."""
    ids = [task_id for task_id in task_ids if is_id(task_id)]
    if not ids:
        return {}
    found = _page(cursor, f"where {_AMONG} order by seq", [ids, min(ids), max(ids)])
    return {record.id: record for record in found}


def statuses(cursor: Connection, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
    """Return the status of those of the tasks that there are."""
    ids = [task_id for task_id in task_ids if is_id(task_id)]
    if not ids:
        return {}
    rows = cursor.execute(
        f"select id::varchar, status from tasks where {_AMONG}", [ids, min(ids), max(ids)]
    ).fetchall()
    known = {status.value: status for status in TaskStatus}
    return {task_id: known[status] for task_id, status in rows if status in known}


def waiting(
    cursor: Connection, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
) -> list[TaskRecord]:
    """Return a page of tasks that wait for others, in enqueue order."""
    where = "where waiting and status = 'pending' and seq > ? order by seq limit ?"
    return _page(cursor, where, [after_seq, limit], most_bytes)


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
    params += [query.limit, query.offset]
    asked = f"where {where} order by seq desc limit ? offset ?"
    return _page(cursor, asked, params, query.most_bytes)


def selected(
    cursor: Connection, condition: str, params: Sequence[object], limit: int, before: int | None
) -> list[TaskRecord]:
    """Return a page of the tasks that a condition holds for, newest first."""
    asked = f"where {condition} and (?::bigint is null or seq < ?) order by seq desc limit ?"
    return _page(cursor, asked, [*params, before, before, limit], PAGE_BYTES)


def ready(
    cursor: Connection,
    category: str,
    priority: int,
    after_seq: int,
    now: datetime,
    skip: Sequence[str],
    limit: int,
    *,
    most_bytes: int = PAGE_BYTES,
    at_front: bool | None = None,
) -> list[TaskRecord]:
    """Return a page of one lane's due tasks in the order of their places."""
    where = (
        f"where status in ({_WAITING}) and {_FREE} and category = ? and priority = ? "
        "and (run_at is null or run_at <= ?)"
    )
    params: list[object] = [category, priority, now]
    where += _without(skip, params) + _ENDS[at_front]
    params.append(after_seq)
    if at_front:
        where += " and -seq > ? order by seq desc limit ?"
        return _page(cursor, where, [*params, limit], most_bytes)
    where += " and seq > ?"

    def read(chunks: wide.Chunks) -> list[TaskRecord]:
        # What was enqueued together mostly waits together: look nearby before looking everywhere.
        near = [*params, after_seq + 4 * limit, limit]
        seqs = _seqs(cursor, f"{where} and seq <= ? order by seq limit ?", near, chunks)
        if len(seqs) < limit:
            seqs = _seqs(cursor, f"{where} order by seq limit ?", [*params, limit], chunks)
        return wide.tasks(cursor, seqs, chunks, most_bytes)

    return wide.in_chunks(cursor, read)


def delayed(
    cursor: Connection,
    category: str,
    not_before: datetime,
    skip: Sequence[str],
    limit: int,
    *,
    most_bytes: int = PAGE_BYTES,
) -> list[TaskRecord]:
    """Return a page of a category's tasks that become due, the earliest first."""
    where = f"where status in ({_WAITING}) and {_FREE} and category = ?"
    params: list[object] = [category]
    where += _without(skip, params)
    params += [not_before, limit]
    where += " and run_at >= ? order by run_at, seq limit ?"
    return _page(cursor, where, params, most_bytes)


def _without(names: Sequence[str], params: list[object]) -> str:
    if not names:
        return ""
    params.append(list(names))
    return " and not list_contains(?::varchar[], name)"


def lanes(cursor: Connection, now: datetime) -> list[LaneCount]:
    """Return how many tasks wait per category and priority."""
    rows = cursor.execute(
        "select category, priority, count(*) filter (run_at is null or run_at <= ?), "
        f"count(*) filter (run_at > ?), count(*) filter ({_AT_FRONT}) "
        f"from tasks where status in ({_WAITING}) "
        f"and {_FREE} and priority in ({_PRIORITIES}) group by all order by all",
        [now, now],
    ).fetchall()
    return [LaneCount(*row) for row in rows]


def orphans(
    cursor: Connection, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
) -> list[TaskRecord]:
    """Return a page of the STARTED tasks, in enqueue order."""
    where = "where status = ? and seq > ? order by seq limit ?"
    return _page(cursor, where, [TaskStatus.STARTED.value, after_seq, limit], most_bytes)


def unique_keys(cursor: Connection) -> dict[str, str]:
    """Return the unique keys of live tasks."""
    rows = cursor.execute(
        f"select unique_key, id from tasks where unique_key is not null and status in ({_ALIVE})"
    ).fetchall()
    return {key: str(task_id) for key, task_id in rows}


def counts(cursor: Connection) -> Counts:
    """Return exact counts of one moment: two statements would count at two."""
    counted = Counts()
    for status, category, number in cursor.execute(
        "select status, category, count(*) from tasks group by all order by all"
    ).fetchall():
        counted.by_status[status] = counted.by_status.get(status, 0) + number
        counted.by_category[category] = counted.by_category.get(category, 0) + number
    return Counts(counted.by_status, dict(sorted(counted.by_category.items())))


def position(cursor: Connection, record: TaskRecord, now: datetime) -> int:
    """Return how many due tasks stand before this one."""
    row = cursor.execute(
        f"select count(*) from tasks where status in ({_WAITING}) and {_FREE} and category = ? "
        "and (run_at is null or run_at <= ?) and (priority > ? or (priority = ? "
        f"and case when {_AT_FRONT} then -seq else seq end < ?))",
        [record.category, now, record.priority, record.priority, place(record)],
    ).fetchone()
    return int(row[0]) if row else 0


def starts(
    cursor: Connection, category: str, since: datetime, skip: int, most_bytes: int | None
) -> list[tuple[datetime, TaskRecord]]:
    """Return when tasks of a category were claimed since a moment, in order."""
    started = f"to_status = 'started' and occurred_at >= ? and occurred_at <= {LAST_MOMENT}"

    def read(chunks: wide.Chunks) -> list[tuple[datetime, TaskRecord]]:
        [ids] = cursor.execute(
            f"select min(task_id), max(task_id) from transitions where {started}", [since]
        ).fetchall()
        found = cursor.execute(
            "select occurred_at, tasks.seq from transitions "
            f"join {_tasks(chunks)} on id = task_id "
            f"where {started} and category = ? and id between ? and ? "
            "order by occurred_at, transitions.seq offset ?",
            [since, category, *ids, skip],
        ).fetchall()
        wanted = list(dict.fromkeys(seq for _, seq in found))
        records = wide.tasks(cursor, wanted, chunks, most_bytes)
        known = {record.seq: record for record in records}
        pairs = ((moment, known.get(seq)) for moment, seq in found)
        whole = itertools.takewhile(lambda pair: pair[1] is not None, pairs)
        return [(moment, record) for moment, record in whole if record is not None]

    return wide.in_chunks(cursor, read)


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
    try:
        rows = cursor.execute(
            f"{_LOG} from transitions where task_id = ? order by seq", [task_id]
        ).fetchall()
    except duckdb.Error as error:
        if not lacks_memory(error):
            raise
        rows = wide.in_chunks(cursor, lambda chunks: _long_history(cursor, task_id, chunks))
    found: list[Transition] = []
    for row in rows:
        try:
            found.append(transition_from_row(row))
        except UNREADABLE as error:
            set_aside(f"transition {row[0]} of task {task_id}", str(error))
    return found


def _long_history(cursor: Connection, task_id: str, chunks: wide.Chunks) -> list[Row]:
    """Return the rows of a history that does not fit in DuckDB's memory at once."""
    asked = "select seq from transitions where task_id = ? order by seq"
    found: list[Row] = []
    for part in wide.parts([seq for (seq,) in cursor.execute(asked, [task_id]).fetchall()], chunks):
        rows = wide.rows(cursor, _LOG, "transitions", part)
        chunks.read(len(part), sum(len(text) for row in rows for text in row[-2:] if text))
        found += rows
    return found
