"""The tasks of a queue on PostgreSQL, and their history: each change is one statement.

A task is changed only if it is still as it was read: its ``version`` says so. Who comes too
late changes nothing and is told, whether it is another host, an operator, or an owner that
slept through its lease.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from wopr.domain.checks import is_task_id
from wopr.domain.logline import LogLine
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import Counts, Entry, TaskFilter
from wopr.storage.postgres import inbulk, looks, newtasks, statements
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.promotion import MOST, Known, known_by
from wopr.storage.postgres.rows import (
    after,
    changed_rows,
    has_nul,
    new_row,
    new_rows,
    succeeded_rows,
    transition_of,
)


class Store:
    """Tasks in the tables. All its calls may be repeated."""

    is_open = False
    """Whether this process has the database for itself: no process does."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    # -- change ---------------------------------------------------------------

    async def add(self, records: Sequence[TaskRecord], connection: Any = None) -> set[str]:
        """Add tasks; return the ids of those that were not there before, by id or unique key.

        Args:
            records: they get their numbers.
            connection: of a transaction that goes on; ``None``: it is durable when this returns.
        """
        if connection is None and self.connections.alone:
            with contextlib.suppress(self.connections.conflict):  # some are there already
                if (numbers := await self._add_new(records)) is not None:
                    for record, number in zip(records, numbers, strict=True):
                        record.seq = record.version = number
                    return {record.id for record in records}
        values = new_rows(records)
        if connection is None:
            rows = await self.connections.rows(newtasks.ADD, **values)
        else:
            cursor = await connection.execute(newtasks.ADD, values)
            rows = await cursor.fetchall()
        known: dict[str, int] = dict(rows)
        for record in records:
            record.seq = record.version = known.get(record.id, 0)
        return set(known)

    async def _add_new(self, records: Sequence[TaskRecord]) -> list[int] | None:
        """Add tasks of which none is there, and return their numbers; ``None``: they may be."""
        if any(record.unique_key is not None for record in records):
            return None
        row = new_row(records[0]) if len(records) == 1 else None
        if row is not None:
            rows = await self.connections.rows(newtasks.ADD_ONE, **row)
        elif has_nul(records):
            return None
        elif len(records) > inbulk.FIRST_PART and not self.connections.lent:
            add = partial(inbulk.add, records=records, errors=self.connections.errors)
            rows = await self.connections.run(add)
        else:
            statement, values = inbulk.said(records)
            rows = await self.connections.rows(statement, **values)
        return [int(number) for (numbers,) in rows for number in numbers.split(",")]

    async def change(
        self, entries: Sequence[Entry], connection: Any = None
    ) -> list[tuple[TaskRecord, bool]]:
        """Change tasks that are as their records say; return these as they are then.

        Each with whether others wait for it; without a transaction, those that end and for which
        others wait are not changed.
        """
        if connection is not None:
            values = {**changed_rows(entries), "whole": True}
            rows = await (await connection.execute(statements.CHANGE, values)).fetchall()
        elif (succeeded := succeeded_rows(entries)) is not None:
            rows = await self.connections.rows(statements.SUCCEED, **succeeded)
        else:
            rows = await self.connections.rows(
                statements.CHANGE, **changed_rows(entries), whole=False
            )
        known = {task_id: (version, awaited) for task_id, version, awaited in rows}
        return [
            (versioned(record, transition, known[record.id][0]), known[record.id][1])
            for record, transition in entries
            if record.id in known
        ]

    async def made(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Return the numbers of those of the changes that the history has, by the tasks' ids."""
        rows = await self.connections.rows(
            statements.MADE,
            ids=[record.id for record, _ in entries],
            versions=[record.version for record, _ in entries],
            statuses=[made.to_status.value for _, made in entries],
            times=[made.occurred_at for _, made in entries],
            reasons=[made.reason for _, made in entries],
        )
        return dict(rows)

    async def claim(
        self,
        category: str,
        names: Sequence[str],
        workers: Sequence[str],
        owner: int,
        rules: str,
        now: datetime,
        known: Known,
    ) -> list[tuple[TaskRecord, Transition]] | None:
        """Give the next due tasks of a category to workers, at most one to each.

        An empty list, if the owner has no lease any more, or other rules count than it knows of.
        ``None``, if there are tasks that have become due, and are to be promoted first.

        Args:
            category: of the tasks.
            names: of those that this host has functions for.
            workers: that are free.
            owner: whose lease it is.
            rules: which of them it knows.
            now: the time.
            known: how far the order is.
        """
        rows = await self.connections.rows(
            statements.CLAIM,
            category=category,
            names=list(names),
            workers=list(workers),
            owner=owner,
            rules=rules,
            now=now,
            most=len(workers),
            **known.values(),
        )
        if rows[0][-1]:
            return None
        return [_claimed(row[:-1]) for row in rows if row[0] is not None]

    async def promote(self, category: str, now: datetime) -> Known | None:
        """Let tasks whose time has come stand in the order; how far it is known then.

        ``None``, if there were none, or others have them in hand.
        """
        values = {"category": category, "now": now, "most": MOST}
        rows = await self.connections.rows(statements.PROMOTE, **values)
        return known_by(rows[0], MOST, now)

    async def touch(self, records: Sequence[TaskRecord]) -> None:
        """Store the progress of running tasks; it is no transition."""
        await self.connections.rows(
            statements.TOUCH,
            ids=[one.id for one in records],
            attempts=[one.attempt for one in records],
            progress=[one.progress for one in records],
            messages=[one.progress_message.replace("\0", "�") for one in records],
            data=[one.progress_data for one in records],
        )

    async def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines that tasks logged."""
        await self.connections.rows(
            statements.SAVE_LOGS,
            ids=[one.task_id for one in lines],
            attempts=[one.attempt for one in lines],
            numbers=[one.number for one in lines],
            times=[one.logged_at for one in lines],
            levels=[one.level for one in lines],
            loggers=[one.logger for one in lines],
            messages=[one.message for one in lines],
        )

    # -- read -----------------------------------------------------------------

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task."""
        return (await self.get_many([task_id])).get(task_id)

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are."""
        ids = [one for one in task_ids if is_task_id(one)]
        if not ids:
            return {}
        return {one.id: one for one in records(await self._rows(statements.GET, ids=ids))}

    async def statuses(self, task_ids: Iterable[str]) -> dict[str, TaskStatus]:
        """Return the status of those of the tasks that there are."""
        ids = [one for one in task_ids if is_task_id(one)]
        rows = await self._rows(statements.STANDING, ids=ids) if ids else []
        return {task_id: TaskStatus(status) for task_id, status in rows}

    async def find(self, query: TaskFilter) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        wanted: dict[str, Any] = {
            "category": query.category,
            "name": query.name,
            "flow_id": query.flow_id,
            "schedule": query.schedule,
        }
        if query.flow_id is not None and not is_task_id(query.flow_id):
            return []
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = [f"{name} = %({name})s" for name in given]
        if (
            query.status is not None
        ):  # said in the text, so that indexes of a status are seen to fit
            conditions.append(f"status = '{query.status.value}'")
        if query.before_seq is not None:
            conditions.append("seq < %(before)s")
        where = " and ".join(conditions) or "true"
        text = (
            f"select {statements.TASK} from wopr.tasks where {where} "
            "order by seq desc limit %(limit)s offset %(offset)s"
        )
        bounds = {"before": query.before_seq, "limit": query.limit, "offset": query.offset}
        return records(await self._rows(text, **given, **bounds))

    async def counts(self) -> Counts:
        """Return exact counts of all tasks, of one moment."""
        by_status: dict[str, int] = {}
        by_category: dict[str, int] = {}
        for category, status, count in await self._rows(statements.COUNTS):
            by_status[status] = by_status.get(status, 0) + count
            by_category[category] = by_category.get(category, 0) + count
        return Counts(dict(sorted(by_status.items())), dict(sorted(by_category.items())))

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of a task in order."""
        if not is_task_id(task_id):
            return []
        return [transition_of(row) for row in await self._rows(statements.HISTORY, id=task_id)]

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines of a task, in order of attempt and number."""
        if not is_task_id(task_id):
            return []
        return [LogLine(*row) for row in await self._rows(statements.LOGS, id=task_id, limit=limit)]

    async def holder(self, unique_key: str) -> str | None:
        """Return the live task that has a unique key."""
        rows = await self._rows(statements.HOLDER, key=unique_key)
        return rows[0][0] if rows else None

    async def add_planned(self, whole: Sequence[TaskRecord], connection: Any) -> set[str]:
        """Add tasks of schedules, each planned time once, in a transaction; see :meth:`add`."""
        await connection.execute(statements.MEASURED, {"what": "schedules"})
        cursor = await connection.execute(statements.FIRED, _planned(whole))
        fired = {(schedule, planned) for schedule, planned, _ in await cursor.fetchall()}
        left = [one for one in whole if (one.schedule, one.scheduled_for) not in fired]
        return await self.add(left, connection) if left else set()

    async def has(self, ids: set[str], connection: Any) -> bool:
        """Whether some of the tasks are there, in a transaction."""
        cursor = await connection.execute(statements.STANDING, {"ids": sorted(ids)})
        return bool(await cursor.fetchall())

    async def fired(self, record: TaskRecord) -> str | None:
        """Return the task that a schedule has enqueued for the planned time of this one."""
        rows = await self._rows(statements.FIRED, **_planned([record]))
        return rows[0][2] if rows else None

    async def stale(self, versions: Mapping[str, int]) -> list[str]:
        """Return those of the tasks that have another version than this."""
        rows = await self._rows(looks.STALE, ids=list(versions), versions=list(versions.values()))
        return [task_id for (task_id,) in rows]

    async def ended(self, task_ids: Sequence[str]) -> list[TaskRecord]:
        """Return those of the tasks that have ended."""
        return records(await self._rows(statements.ENDED, ids=list(task_ids)))

    async def live_of(self, name: str, after_seq: int, limit: int) -> list[TaskRecord]:
        """Return a page of the live tasks of a name, in enqueue order."""
        return records(
            await self._rows(statements.LIVE_OF, name=name, after=after_seq, limit=limit)
        )

    async def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return await self.connections.rows(statement, **values)


def _planned(whole: Sequence[TaskRecord]) -> dict[str, Any]:
    planned = [one for one in whole if one.scheduled_for is not None]
    times = [one.scheduled_for for one in planned]
    return {"schedules": [one.schedule for one in planned], "times": times}


def records(rows: Iterable[tuple[Any, ...]]) -> list[TaskRecord]:
    """Return the tasks of rows."""
    return [TaskRecord.from_row(row) for row in rows]


def versioned(record: TaskRecord, transition: Transition, version: int) -> TaskRecord:
    """Return a task as a transition leaves it that has this number."""
    new = after(record, transition)
    new.version = transition.seq = version
    return new


def _claimed(row: tuple[Any, ...]) -> tuple[TaskRecord, Transition]:
    from wopr.domain.status import Move

    record = TaskRecord.from_row(row[:-1])
    assert record.started_at is not None, "it was claimed"
    transition = Transition(
        record.id,
        Move.CLAIM,
        TaskStatus(row[-1]),
        TaskStatus.STARTED,
        record.attempt,
        record.started_at,
        record.worker,
    )
    transition.seq = record.version
    return record, transition
