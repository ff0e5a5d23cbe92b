"""Reading the lines that tasks logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import duckdb

from wopr.domain.logline import LogLine
from wopr.storage.duckdb.reads import is_id

if TYPE_CHECKING:
    from wopr.storage.duckdb.reader import Reader

T = TypeVar("T")

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


class LogReads:
    """The call of the storage that reads log lines."""

    if TYPE_CHECKING:  # what the storage itself has; documented there
        _reader: Reader

        async def flush(self) -> None: ...  # noqa: D102
        async def _ask(self, reader: Reader, read: Callable[[Connection], T]) -> T: ...

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines of a task, in order of attempt and number."""
        await self.flush()
        return await self._ask(self._reader, lambda cursor: load(cursor, task_id, limit))
