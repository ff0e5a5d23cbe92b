"""The schedules that all hosts share, and who may look at them just now: one at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.schedule import COLUMNS, Schedule
from wopr.domain.snapshot import aware
from wopr.domain.status import TaskStatus
from wopr.domain.stored import read_schedule
from wopr.ports.storage import ScheduleProgress
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.store import Store

log = logging.getLogger(__name__)

_LOCK = 0x776F7073
"""Of PostgreSQL's advisory locks: held by whoever decides about schedules."""
_NAMES = ", ".join(COLUMNS)
_PRESENT = "tasks.created_at >= schedules.updated_at"
_PROGRESS = f"""
select
    schedule,
    max(scheduled_for) filter (where {_PRESENT}),
    (array_agg(tasks.id::text order by scheduled_for desc) filter (
        where {_PRESENT} and scheduled_for is not null))[1],
    array_agg(tasks.id::text order by seq) filter (
        where status in ('pending', 'started', 'retry')),
    (array_agg(tasks.id::text order by completed_at desc) filter (where status = 'success'))[1]
from wopr.tasks
join wopr.schedules on schedules.name = tasks.schedule
group by schedule
"""
_SET = ", ".join(f"{one} = excluded.{one}" for one in COLUMNS if one != "name")
_SAVE = f"""
insert into wopr.schedules ({_NAMES}) values ({", ".join(f"%({one})s" for one in COLUMNS)})
on conflict (name) do update set {_SET}
"""
_DUE = """
select exists (select from wopr.schedules where paused_at is null and next_fire_at <= %(now)s)
"""


class ScheduleStore:
    """The rows of schedules, and what their tasks say about them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connections: Connections = store.connections
        self._complained: set[str] = set()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one, on all hosts, who decides about schedules."""
        connection = await self._connections.reserved(f"select pg_advisory_xact_lock({_LOCK})")
        try:
            yield
        finally:  # nothing was written on it, so it does not matter how it ends
            await connection.close()

    async def is_due(self, now: datetime) -> bool:
        """Whether there is one to be fired."""
        rows = await self._connections.rows(_DUE, now=now)
        return bool(rows[0][0])

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name; without those that can't be read, which are told."""
        found: list[Schedule] = []
        for row in await self._connections.rows(
            f"select {_NAMES} from wopr.schedules order by name"
        ):
            try:
                found.append(read_schedule(row))
            except InvalidCallError as error:
                if str(error) not in self._complained:
                    self._complained.add(str(error))
                    log.error("%s. It does not fire.", error)
        return found

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        return {
            name: ScheduleProgress(aware(newest), newest_id, tuple(live or ()), succeeded)
            for name, newest, newest_id, live, succeeded in await self._connections.rows(_PROGRESS)
        }

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Make new and changed schedules durable, all or none."""
        rows = [dict(zip(COLUMNS, one.row(), strict=True)) for one in schedules]

        async def work(connection: Any) -> None:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(_SAVE, rows)

        if rows:
            await self._connections.run(work)

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its tasks stay."""
        await self._connections.rows("delete from wopr.schedules where name = %(name)s", name=name)

    async def statuses(self, task_ids: Iterable[str]) -> dict[str, TaskStatus]:
        """Return the status of those of the tasks that there are."""
        return await self._store.statuses(task_ids)
