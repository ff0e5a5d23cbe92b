"""A portion of old tasks goes from the tables on a server to an archive of Parquet files.

What is archived is noted first, then written, then deleted together with the note. Who dies in
between leaves files whose name is noted, and all that they hold is in the tables still: they are
deleted before the next portion. So nothing is lost, and nothing is there twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from wopr.config.crashpoint import crashpoint
from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageFileError
from wopr.domain.keeping import Old
from wopr.domain.task import COLUMNS
from wopr.domain.written import TRANSITION_COLUMNS
from wopr.storage.postgres import retirement
from wopr.storage.postgres.connections import Connections

MOST_TASKS = 10_000
MOST_BYTES = 32 * 1024 * 1024
"""Of one portion, in this process; it has one task at least."""
NOTED = "retiring"
"""The fact that says under what name tasks are being archived, and where."""
_LINES = "task_id, attempt, number, logged_at, level, logger, message"

_WHILE_WRITING = "set local idle_in_transaction_session_timeout = '10min'"
"""A portion is written while the transaction waits."""
_TURN = "select pg_try_advisory_xact_lock(hashtextextended('wopr retirement', 0))"
_OWN_TURN = "select pg_advisory_xact_lock(hashtextextended('wopr retirement', 0))"
_OLD = f"""
{retirement.LOOKED_AT_NEXT},
doomed as (
    select id, seq, octet_length(args) + octet_length(kwargs)
        + 2 * coalesce(octet_length(result), 0) + 2 * coalesce(octet_length(error), 0) as bytes
    from wopr.tasks where {retirement.IS_OLD}
    order by seq limit %(most)s for update skip locked
)
select
    (select last from looked_at), doomed.id, doomed.seq,
    doomed.bytes + coalesce((
        select sum(octet_length(message)) from wopr.task_logs where task_id = doomed.id
    ), 0) + 1000
from (select) as one left join doomed on true
order by doomed.seq
"""
"""Up to which number tasks were looked at, and which of them are old, how large each."""
_ROWS = {
    "tasks": (COLUMNS, "select {columns} from wopr.tasks where id = any(%(ids)s) order by seq"),
    "transitions": (
        tuple(TRANSITION_COLUMNS.split(", ")),
        "select {columns} from wopr.transitions where task_id = any(%(ids)s) order by seq",
    ),
    "task_logs": (
        tuple(_LINES.split(", ")),
        "select {columns} from wopr.task_logs where task_id = any(%(ids)s) "
        "order by task_id, attempt, number",
    ),
}
_DELETE = f"""
with doomed as (select unnest(%(ids)s::uuid[]) as id),
{retirement.GONE},
deeds as (delete from wopr.acts where ended_at < %(before)s),
note as (delete from wopr.meta where key = %(key)s)
select count(*) from gone
"""


class Archive(Protocol):
    """Where tasks are archived to."""

    directory: Path

    def write(self, name: str, rows: Any) -> int:
        """Write whole tasks under a name."""
        ...

    def delete(self, name: str) -> None:
        """Delete what there is of a name, durably."""
        ...


class Archiving:
    """Archives portions of tasks, on one host at a time."""

    def __init__(self, connections: Connections, archive: Archive) -> None:
        self._connections = connections
        self._archive = archive
        self.directory = archive.directory

    async def portion(self, which: Old, after: int) -> tuple[int, int | None]:
        """Archive a portion of old tasks, and delete them.

        Return how many, -1 if another host is at it, and up to which number there is none more:
        ``None`` once there are no more to be looked at. Who archives by hand waits for the other.

        Raises:
            StorageError: it can't be done; nothing was deleted.
        """
        connection = await self._connections.reserved()
        try:
            async with connection, connection.transaction():
                await connection.execute(_WHILE_WRITING)
                turn = _OWN_TURN if retirement.by_hand(which) else _TURN
                [(got,)] = await _all(connection, turn)
                if got is False:
                    return -1, None
                await self._clear_up()
                last, ids = await self._chosen(connection, which, after)
                if ids:
                    await self._move(connection, which, ids)
                return len(ids), last
        except self._connections.errors as error:
            raise self._connections.failure(error) from error

    async def _chosen(
        self, connection: Any, which: Old, after: int
    ) -> tuple[int | None, list[Any]]:
        values = retirement.values_of(which, after, MOST_TASKS)
        rows = await _all(connection, _OLD, **values)
        size = 0
        ids: list[Any] = []
        for _, task_id, _, weight in rows:
            if task_id is None or (ids and size + weight > MOST_BYTES):
                break
            size += weight
            ids.append(task_id)
        all_of_it = len(ids) < MOST_TASKS and len(ids) in (0, len(rows))
        return rows[0][0] if all_of_it else rows[len(ids) - 1][2], ids

    async def _move(self, connection: Any, which: Old, ids: Sequence[Any]) -> None:
        rows: dict[str, Any] = {}
        for table, (columns, asked) in _ROWS.items():
            found = await _all(connection, asked.format(columns=", ".join(columns)), ids=ids)
            rows[table] = columns, found
        name = new_identity().hex()
        noted = json.dumps({"name": name, "directory": str(self._archive.directory)})
        await self._connections.rows(retirement.NOTE, key=NOTED, value=noted)
        crashpoint("archive.noted")
        await asyncio.to_thread(self._archive.write, name, rows)
        values = {"ids": ids, "before": which.before, "key": NOTED, "keep_history": False}
        await _all(connection, _DELETE, **values)

    async def _clear_up(self) -> None:
        """Delete the files of a portion that was broken off: its tasks are in the tables."""
        rows = await self._connections.rows(retirement.READ_NOTE, key=NOTED)
        if not rows:
            return
        noted = json.loads(rows[0][0])
        if noted["directory"] != str(self._archive.directory):
            raise StorageFileError(
                f"A host that archived to {noted['directory']} was broken off there, and this one "
                f"archives to {self._archive.directory}. Nothing was archived or deleted. All "
                "hosts of a queue need one archive, under one name: set WOPR_TASKS_ARCHIVE to "
                "that, or let the other host go on."
            )
        await asyncio.to_thread(self._archive.delete, noted["name"])
        await self._connections.rows(retirement.FORGET_NOTE, key=NOTED)


async def _all(connection: Any, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(statement, values or None)
    rows: list[tuple[Any, ...]] = await cursor.fetchall()
    return rows
