"""What is in an archive: asked together with the tables, or for one task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.storage.duckdb.file.connecting import quoted
from wopr.storage.duckdb.parquet.layout import DAY, FOLDERS, SUFFIX, Kind, days
from wopr.storage.duckdb.replay import TRANSITION_COLUMNS, transition_from_row
from wopr.storage.duckdb.wide import TASKS

Connection = duckdb.DuckDBPyConnection

_MOST_TRANSITIONS = 10_000
_DAY = timedelta(days=1)


def source(
    directory: Path, kind: Kind, only: Iterable[str] | None = None, table: str | None = None
) -> str | None:
    """Return what to select a table's archived rows from; ``None``: there are none.

    Files of an older wopr may lack columns, which are NULL then; those of a newer one have more,
    which are left out by whoever selects the columns of ``table``.
    """
    there = days(directory, kind)
    wanted = there if only is None else sorted(set(there).intersection(only))
    if not wanted:
        return None
    places = [directory / kind.folder / f"{DAY}{day}" / f"*{SUFFIX}" for day in wanted]
    if only is None:
        places = [directory / kind.folder / f"{DAY}*" / f"*{SUFFIX}"]
    listed = ", ".join(map(quoted, places))
    read = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    return f"((from {table or kind.table} limit 0) union all by name (from {read}))"


def already(cursor: Connection, directory: Path, ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return which of some tasks are archived, because a backup was put back.

    Those that are as they are here, and those that have ended once more since.
    """
    kind = FOLDERS["tasks"]
    given = [list(ids), min(ids), max(ids)]
    among = "id in (select unnest(?::uuid[])) and id between ?::uuid and ?::uuid"
    asked = f"select id, version, strftime(created_at, '%Y-%m-%d'), seq from tasks where {among}"
    known = cursor.execute(asked, given).fetchall()
    found = source(directory, kind, {day for _, _, day, _ in known})
    if found is None:
        return set(), set()
    seqs = [seq for *_, seq in known]
    rows = cursor.execute(
        f"select id, version from {found} where seq between {min(seqs)} and {max(seqs)}"
    ).fetchall()
    same = {str(one) for one, _ in {(one, version) for one, version, *_ in known} & set(rows)}
    return same, {str(one) for one, _ in rows}.intersection(ids) - same


def days_of(task_id: str) -> set[str]:
    """Return on which days a task can have been enqueued, by its id; none if it does not say."""
    wanted = UUID(task_id)
    if wanted.version != 7:
        return set()
    moment = datetime.fromtimestamp((wanted.int >> 80) / 1000, UTC)
    return {str((moment + step).date()) for step in (-_DAY, timedelta(0), _DAY)}


def get(cursor: Connection, directory: Path, task_id: str) -> TaskRecord | None:
    """Return an archived task."""
    found = source(directory, FOLDERS["tasks"], days_of(task_id) or None)
    if found is None:
        return None
    # The newest, should it have been archived, come back with a backup, and ended once more.
    asked = f"{TASKS} from {found} where id = ?::uuid order by version desc limit 1"
    row = cursor.execute(asked, [task_id]).fetchone()
    return None if row is None else TaskRecord.from_row(row)


def history(cursor: Connection, directory: Path, record: TaskRecord) -> list[Transition]:
    """Return the transitions of an archived task, in order."""
    rows = _of(cursor, directory, record, "transitions", TRANSITION_COLUMNS, "seq")
    return [transition_from_row(row) for row in rows[:_MOST_TRANSITIONS]]


def logs(cursor: Connection, directory: Path, record: TaskRecord, limit: int) -> list[LogLine]:
    """Return the first lines of an archived task, in order."""
    columns = "task_id::varchar, attempt, number, logged_at, level, logger, message"
    rows = _of(cursor, directory, record, "logs", columns, "attempt, number")
    return [LogLine(*row) for row in rows[:limit]]


def _of(
    cursor: Connection, directory: Path, record: TaskRecord, folder: str, columns: str, order: str
) -> list[tuple[Any, ...]]:
    kind = FOLDERS[folder]
    end = (record.completed_at or record.created_at).date() + _DAY
    found = source(directory, kind, _between(record.created_at.date() - _DAY, end))
    if found is None:
        return []
    asked = f"select distinct {columns} from {found} where task_id = ?::uuid order by {order}"
    return cursor.execute(asked, [record.id]).fetchall()


def _between(first: date, last: date) -> Iterable[str]:
    return (str(first + number * _DAY) for number in range((last - first).days + 1))
