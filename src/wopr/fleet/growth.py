"""What the server knows of the size of young tables: told by those who fill them.

A server plans a statement once and keeps the plan; one for a table of a few rows reads all of it
each time, until the server looks at the table anew. It does so once a minute by itself, and in its
first minute a table may grow to a hundred thousand rows.
"""

from __future__ import annotations

from typing import Any

from wopr.fleet.parts import Parts, logged

FIRST_LOOK = 4_000
"""Tasks that a host has added when it lets the server look first: fewer are read fast anyway."""
LAST_LOOK = 1_000_000
_ROUGHLY = "set local default_statistics_target = 10"
"""The size is what counts; a closer look, of ten times as many rows, is the server's own."""
_LOOK = "analyze (skip_locked) wopr.tasks, wopr.transitions"


class Growth:
    """Counts what this host adds, and lets the server look each time that it is ten times more."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._added = 0
        self._next = FIRST_LOOK

    def added(self, count: int) -> None:
        """Take note of tasks that were added."""
        self._added += count
        if self._added >= self._next and self._next <= LAST_LOOK:
            self._next *= 10
            self._parts.spawn(self._look())

    async def _look(self) -> None:
        with logged("The server can't look at the size of the tables now"):
            await self._parts.store.connections.run(_look)


async def _look(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute(_ROUGHLY)
        await connection.execute(_LOOK)
