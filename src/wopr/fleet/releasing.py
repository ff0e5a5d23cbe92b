"""What the end of a task sets free, or ends too: in the transaction that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wopr.calls.waits import standing
from wopr.domain import decide
from wopr.domain.snapshot import parents_of
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts
from wopr.ports.storage import Entry
from wopr.storage.postgres import statements
from wopr.storage.postgres.store import records

MOST_AT_ONCE = 1_000


class Releasing:
    """Children of the tasks that end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def change(self, connection: Any, entries: Sequence[Entry]) -> list[Entry]:
        """Make changes, and what follows from them; return all that were made, as they are then.

        Args:
            connection: with a transaction.
            entries: those whose task has changed meanwhile are left out.
        """
        made: list[Entry] = []
        todo = list(entries)
        while todo:
            done = await self._changed(connection, todo)
            made += done
            todo = await self._follow(connection, [one for one, _ in done])
        return made

    async def _changed(self, connection: Any, entries: Sequence[Entry]) -> list[Entry]:
        by_id = {record.id: transition for record, transition in entries}
        found: list[Entry] = []
        for at in range(0, len(entries), MOST_AT_ONCE):
            rows = await self._parts.store.change(entries[at : at + MOST_AT_ONCE], connection)
            found += [(record, by_id[record.id]) for record, _ in rows]
        return found

    async def _follow(self, connection: Any, changed: Sequence[TaskRecord]) -> list[Entry]:
        """Return what becomes of the children of those that have ended."""
        ended = [record.id for record in changed if record.status in TERMINAL]
        if not ended:
            return []
        await connection.execute(statements.GIVEN_UP, {"ids": ended})
        cursor = await connection.execute(statements.FREED, {"ids": ended})
        children = sorted({child for (child,) in await cursor.fetchall()})
        found: list[Entry] = []
        for at in range(0, len(children), MOST_AT_ONCE):
            found += await self.look(connection, children[at : at + MOST_AT_ONCE])
        return found

    async def look(self, connection: Any, ids: Sequence[str]) -> list[Entry]:
        """Return what becomes of tasks that wait for others, by where those stand now.

        They are locked first: of two parents that end at once, the second sees the first.
        """
        cursor = await connection.execute(statements.LOCKED, {"ids": list(ids)})
        waiting = [
            one
            for one in records(await cursor.fetchall())
            if one.waiting and one.status is TaskStatus.PENDING and not decide.is_unfit(one)
        ]
        parents = sorted({parent for one in waiting for parent in parents_of(one)})
        cursor = await connection.execute(statements.STANDING, {"ids": parents})
        known = {parent: TaskStatus(status) for parent, status in await cursor.fetchall()}
        now = self._parts.now()
        made: list[Entry] = []
        for record in waiting:
            wait = standing(record, known)
            if wait.over:
                transition = decide.release(record, now, wait.failed, wait.on_failure)
                if transition is not None:
                    made.append((record, transition))
        return made

    async def adopt(self, connection: Any, renewed: Sequence[TaskRecord]) -> list[Entry]:
        """Let tasks that were put back wait for their parents again; return what they come to."""
        waiting = [one for one in renewed if one.waiting and one.depends_on is not None]
        for record in waiting:
            await self.wait_for(connection, record.id, parents_of(record))
        return await self.look(connection, [one.id for one in waiting]) if waiting else []

    async def wait_for(self, connection: Any, child: str, parents: Sequence[str]) -> None:
        """Note that a task waits for those of the parents that have not ended."""
        ids = sorted(set(parents))
        cursor = await connection.execute(statements.PARENTS, {"ids": ids})
        alive = [parent for (parent,) in await cursor.fetchall()]
        values = {"parents": alive, "children": [child] * len(alive)}
        await connection.execute(statements.AWAIT, values)
