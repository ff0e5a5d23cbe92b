"""The calls of the storage that are about the lines that tasks log."""

from __future__ import annotations

import os
from collections.abc import Sequence

import duckdb

from wopr.domain.logline import LogLine
from wopr.ports.glance import once
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.reads import is_id

Connection = duckdb.DuckDBPyConnection

_LINES = """
select task_id::varchar, attempt, number, logged_at, level, logger, message
from task_logs
where task_id = ?
order by attempt, number
limit ?
"""


def load(cursor: Connection, task_id: str, limit: int) -> list[LogLine]:
    """Return the first lines of a task, in order of attempt and number."""
    if not is_id(task_id):
        return []
    return [LogLine(*row) for row in cursor.execute(_LINES, [task_id, limit]).fetchall()]


class LineCalls(Base):
    """Lines go to the table in the writer's own time, and are all there before they are read."""

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines that tasks logged when the writer has time; too many are dropped."""
        with self._order:
            if self._started is None or self._pid != os.getpid():
                return  # work that was abandoned can log after the end
            pending = self._folding.lines
            if pending.add(lines):
                self._folding.noticed()
        pending.report()  # not under the lock: whoever handles the message may use the queue

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines of a task, in order of attempt and number."""
        lines = self._folding.lines
        if lines:
            await once(
                ("written", id(self)),
                lambda: self._in_writer(lines.write_all),
                unless=self._folding.keeps_up,
            )
        return await self._ask(self._reader, lambda cursor: load(cursor, task_id, limit))
