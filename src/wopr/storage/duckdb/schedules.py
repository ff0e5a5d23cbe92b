"""The table of schedules, and what the tasks say about them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import duckdb

from wopr.domain.schedule import COLUMNS, Schedule
from wopr.domain.snapshot import aware
from wopr.domain.status import LIVE
from wopr.ports.storage import ScheduleProgress
from wopr.storage.duckdb.base import Base

Connection = duckdb.DuckDBPyConnection

_TYPES = {
    "priority": "integer",
    "max_retries": "integer",
    "misfire_limit": "integer",
    "misfire_grace": "double",
    "jitter": "double",
    "run_on_start": "boolean",
    "last_task_id": "uuid",
    "missed": "bigint",
    "skipped": "bigint",
    **dict.fromkeys(
        ("start_at", "end_at", "paused_at", "next_fire_at", "last_fire_at"), "timestamp"
    ),
    **dict.fromkeys(("created_at", "updated_at"), "timestamp"),
}
_NEW = ", ".join(f"unnest(?::{_TYPES.get(column, 'varchar')}[]) as {column}" for column in COLUMNS)
_SAVE = (
    f"merge into schedules using (select {_NEW}) as new using (name) "
    f"when matched then update set {', '.join(f'{one} = new.{one}' for one in COLUMNS[1:])} "
    f"when not matched then insert ({', '.join(COLUMNS)}) "
    f"values ({', '.join(f'new.{one}' for one in COLUMNS)})"
)
_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_PROGRESS = f"""
select
    schedule,
    max(scheduled_for) filter (tasks.created_at >= schedules.updated_at),
    arg_max(id, scheduled_for) filter (tasks.created_at >= schedules.updated_at)::varchar,
    list(id::varchar order by seq) filter (status in ({_ALIVE})),
    arg_max(id, completed_at) filter (status = 'success')::varchar
from tasks
join schedules on schedules.name = tasks.schedule
where schedule is not null
group by schedule
"""


def load(cursor: Connection) -> list[Schedule]:
    """Return all schedules, by name."""
    rows = cursor.execute(f"select {', '.join(COLUMNS)} from schedules order by name").fetchall()
    return [Schedule.from_row(row) for row in rows]


def progress(cursor: Connection) -> dict[str, ScheduleProgress]:
    """Return what the tasks say about each schedule that has any."""
    return {
        name: ScheduleProgress(aware(newest), newest_id, tuple(live or ()), succeeded)
        for name, newest, newest_id, live, succeeded in cursor.execute(_PROGRESS).fetchall()
    }


def save(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Write new and changed rows in one statement, which is one commit."""
    columns = [list(values) for values in zip(*rows, strict=True)]
    connection.execute(_SAVE, columns).fetchall()


def delete(connection: Connection, name: str) -> None:
    """Delete a row."""
    connection.execute("delete from schedules where name = ?", [name]).fetchall()


class ScheduleCalls(Base):
    """The calls of the storage that are about schedules."""

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        return await self._read(load)

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        return await self._read(progress)

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Write new and changed schedules in one commit; see the port."""
        rows = [schedule.row() for schedule in schedules]
        if rows:
            await asyncio.wrap_future(self.in_writer(lambda connection: save(connection, rows)))

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule."""
        await asyncio.wrap_future(self.in_writer(lambda connection: delete(connection, name)))
