"""Old tasks leave the tables on the server: a portion at a time, by one host at a time.

What was kept long enough by rules is looked for in the order of enqueueing, each task once in a
day or an hour, as the rules count; how far that is stands in ``meta``, for all hosts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageFileError
from wopr.domain.keeping import Old
from wopr.domain.status import TERMINAL
from wopr.storage.postgres.connections import Connections

PORTION = 2_000
LOOKED_AT = 100_000
"""So many tasks are looked at for one portion."""
FIRST = -1
"""Before all tasks: their numbers begin at 1."""
_TERMINAL = "status in ('success', 'failed', 'cancelled')"
_KEPT_UNTIL = "wopr.kept_until(completed_at, options)"
_NOT_NEEDED = """
    not exists (
        select from wopr.rules
        where kind = 'limit' and value like '%%"per":%%'
            and value::json ->> 'category' = tasks.category
            and tasks.started_at > (clock_timestamp() at time zone 'utc')
                - (value::json ->> 'per')::double precision * interval '1 second'
    )
    and id not in (
        select parent.id::uuid from wopr.tasks
        cross join lateral json_array_elements_text(depends_on::json) as parent (id)
        where depends_on is not null and status in ('pending', 'started', 'retry')
    )
    and id not in (
        select distinct on (schedule) id from wopr.tasks
        where status = 'success' and schedule in (
            select json_array_elements_text(depends_on::json) from wopr.schedules
            where depends_on is not null
        )
        order by schedule, completed_at desc
    )
"""
"""A task is kept while a limit counts its start, its result while another one that depends on it is
live, and the last one of a schedule while another schedule depends on that."""
_ALONE = """
turn as materialized (
    select case when %(alone)s
        then pg_try_advisory_xact_lock(hashtextextended('wopr retirement', 0)) else true end as got
)"""
"""Whether it is this host's turn, until the end of the transaction."""
LOOKED_AT_NEXT = f"""
with looked_at as (
    select max(seq) as last from (
        select seq from wopr.tasks where seq > %(after)s order by seq limit {LOOKED_AT}
    ) as next
)"""
"""Up to which number tasks are looked at for one portion."""
IS_OLD = f"""
    {_TERMINAL} and status = any(%(statuses)s::text[])
        and completed_at <= %(before)s
        and seq > %(after)s and seq <= (select last from looked_at)
        and coalesce({_KEPT_UNTIL} <= %(before)s, true)
        and coalesce(category = %(category)s::text, true)
        and category <> all(%(other_than)s::text[])
        and {_NOT_NEEDED}
"""
GONE = """
gone as (
    delete from wopr.tasks using doomed where tasks.id = doomed.id
    returning tasks.id, tasks.seq
),
lines as (delete from wopr.task_logs using gone where task_logs.task_id = gone.id),
past as (
    delete from wopr.transitions using gone
    where transitions.task_id = gone.id and not %(keep_history)s
)"""
DELETE_OLD = f"""
{LOOKED_AT_NEXT},
{_ALONE},
doomed as (
    select id from wopr.tasks where (select got from turn) and {IS_OLD}
    order by seq limit %(most)s for update skip locked
),
{GONE},
deeds as (delete from wopr.acts where ended_at < %(before)s and exists (select from gone)),
counted as (
    insert into wopr.meta (key, value)
    select %(counter)s, (select count(*) from gone)::text where %(counter)s::text is not null
    on conflict (key) do update
    set value = (meta.value::bigint + excluded.value::bigint)::text
    returning value::bigint
)
select got, (select count(*) from gone), case (select count(*) from gone)
    when %(most)s then (select max(seq) from gone) else (select last from looked_at) end,
    (select value from counted)
from turn
"""
"""Deletes the first of the old tasks behind a number; tells how many, up to which number, and how
many the counter has: what was deleted without the answer being heard counts there, too."""
DELETE_OVER = f"""
with {_ALONE},
doomed as (
    select id from wopr.tasks
    where (select got from turn) and {_TERMINAL} and options like '%%"retain"%%'
        and {_KEPT_UNTIL} <= %(now)s and {_NOT_NEEDED}
    order by {_KEPT_UNTIL} limit %(most)s for update skip locked
),
{GONE}
select count(*) from gone
"""
"""Deletes the first tasks whose own time is over; tells how many."""
READ_NOTE = "select value from wopr.meta where key = %(key)s"
FORGET_NOTE = "delete from wopr.meta where key = %(key)s"
NOTE = """
insert into wopr.meta (key, value) values (%(key)s, %(value)s)
on conflict (key) do update set value = excluded.value
"""


@dataclass(slots=True)
class _Round:
    """How far the tasks of a rule are looked through, this day or hour."""

    before: datetime
    after: int = FIRST
    done: bool = False


def values_of(which: Old, after: int, most: int) -> dict[str, Any]:
    """Return what the statements about old tasks are given."""
    return {
        "statuses": [one.value for one in which.statuses],
        "before": which.before,
        "after": after,
        "category": which.category,
        "other_than": list(which.other_than),
        "most": most,
    }


def by_hand(which: Old) -> bool:
    """Whether somebody has asked for it: rules are about one status each."""
    return which.statuses == TERMINAL


class Portions(Protocol):
    """Archives old tasks, a portion at a time."""

    directory: Path

    async def portion(self, which: Old, after: int) -> tuple[int, int | None]:
        """Archive and delete a portion; see :meth:`Retirement.delete`."""
        ...


class Retirement:
    """Deletes old tasks; what one portion has begun, the next one goes on with."""

    journal = None
    """Nothing is behind."""

    def __init__(self, connections: Connections, archiving: Portions | None = None) -> None:
        self._connections = connections
        self._archiving = archiving
        self._rounds: dict[str, _Round] = {}
        self.archive = None if archiving is None else archiving.directory
        """The directory of what was archived; ``None``: there is no archive."""

    async def delete(
        self, which: Old, after: int, *, keep_history: bool = False, alone: bool = False
    ) -> tuple[int, int | None]:
        """Delete a portion of old tasks; return how many, and up to which number there is none.

        That is ``None`` once there are no more tasks to be looked at.

        Args:
            which: the tasks.
            after: only those with a higher number.
            keep_history: whether their transitions stay.
            alone: delete none while another host does; then -1 is returned instead of how many.
        """
        [(got, count, last, _)] = await self._connections.rows(
            DELETE_OLD,
            **values_of(which, after, PORTION),
            keep_history=keep_history,
            alone=alone,
            counter=None,
        )
        return (count if got else -1), last

    async def delete_all(self, which: Old, *, keep_history: bool) -> int:
        """Delete old tasks; return how many."""
        counter, count = f"retired by hand {new_identity().hex()}", 0
        last: int | None = FIRST
        while last is not None:
            [(_, _, last, count)] = await self._connections.rows(
                DELETE_OLD,
                **values_of(which, last, PORTION),
                keep_history=keep_history,
                alone=False,
                counter=counter,
            )
        await self._connections.rows(FORGET_NOTE, key=counter)
        return count

    async def retire(self, which: Old, *, archive: bool) -> int:
        """Delete a portion of old tasks, once they are archived; return how many.

        None while another host does it.

        Raises:
            StorageError: it can't be done; nothing was deleted.
        """
        if archive and self._archiving is None:
            raise StorageFileError(
                "There is no archive of this queue, so nothing was archived. Set "
                "WOPR_TASKS_ARCHIVE to a directory that all its hosts reach."
            )
        key = f"retired {'/'.join(sorted(which.statuses))} of {which.category or '*'}"
        found = await self._round(key, which)
        count, loop = 0, asyncio.get_running_loop()
        while not count and not found.done:
            began = loop.time()
            if archive and self._archiving is not None:
                count, last = await self._archiving.portion(which, found.after)
            else:
                count, last = await self.delete(which, found.after, alone=True)
            if last is None and count == 0:
                await self._ended(key, which)
                break
            if last is not None and count >= 0:
                found.after = last
            await asyncio.sleep(loop.time() - began)
        return max(0, count)

    async def _round(self, key: str, which: Old) -> _Round:
        """Return how far it is; a rule's round may have been made by another host."""
        found = self._rounds.get(key)
        if found is None or found.before != which.before:
            found = self._rounds[key] = _Round(which.before)
            if not by_hand(which):
                rows = await self._connections.rows(READ_NOTE, key=key)
                found.done = bool(rows) and rows[0][0] >= which.before.isoformat()
        return found

    async def _ended(self, key: str, which: Old) -> None:
        if by_hand(which):
            del self._rounds[key]
        else:
            self._rounds[key].done = True
            await self._connections.rows(NOTE, key=key, value=which.before.isoformat())

    async def forget(self, now: datetime) -> int:
        """Delete a portion of the tasks whose own time is over; return how many.

        None while another host does it.
        """
        [(count,)] = await self._connections.rows(
            DELETE_OVER, now=now, most=PORTION, keep_history=False, alone=True
        )
        return int(count)
