"""The table of schedules, and what the tasks say about them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from wopr.domain.errors import InvalidCallError
from wopr.domain.schedule import COLUMNS, Schedule
from wopr.domain.snapshot import aware
from wopr.domain.status import LIVE
from wopr.domain.stored import read_schedule
from wopr.ports.storage import ScheduleProgress
from wopr.storage.duckdb import operations
from wopr.storage.duckdb.aside import set_aside
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.reads import LAST_MOMENT

Connection = duckdb.DuckDBPyConnection

_ALIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_PRESENT = f"tasks.created_at >= schedules.updated_at and scheduled_for <= {LAST_MOMENT}"
_PROGRESS = f"""
select
    schedule,
    max(scheduled_for) filter ({_PRESENT}),
    arg_max(id, scheduled_for) filter ({_PRESENT})::varchar,
    list(id::varchar order by seq) filter (status in ({_ALIVE})),
    arg_max(id, completed_at) filter (status = 'success')::varchar
from tasks
join schedules on schedules.name = tasks.schedule
where schedule is not null
group by schedule
"""


def load(cursor: Connection) -> list[Schedule]:
    """Return all schedules, by name; without those that can't be read, which are told."""
    rows = cursor.execute(f"select {', '.join(COLUMNS)} from schedules order by name").fetchall()
    found: list[Schedule] = []
    for row in rows:
        try:
            found.append(read_schedule(row))
        except InvalidCallError as error:
            set_aside(f"schedule {row[0]!r:.80}", str(error))
    return found


def progress(cursor: Connection) -> dict[str, ScheduleProgress]:
    """Return what the tasks say about each schedule that has any."""
    return {
        name: ScheduleProgress(aware(newest), newest_id, tuple(live or ()), succeeded)
        for name, newest, newest_id, live, succeeded in cursor.execute(_PROGRESS).fetchall()
    }


class ScheduleCalls(Base):
    """The calls of the storage that are about schedules."""

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        return await self._read(load)

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        return await self._read(progress)

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Make new and changed schedules durable, all or none; see the port."""
        rows = [schedule.row() for schedule in schedules]
        await self._log([operations.save_schedules(rows)] if rows else [])

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule."""
        await self._log([operations.delete_schedule(name)])
