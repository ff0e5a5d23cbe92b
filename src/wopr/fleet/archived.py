"""What was archived of a queue on PostgreSQL, as this host reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import QueryLimits, QueryRows


class Files(Protocol):
    """The files of an archive; each call takes its time."""

    directory: Path

    def get(self, task_id: str) -> TaskRecord | None:
        """Return an archived task."""
        ...

    def history(self, record: TaskRecord) -> list[Transition]:
        """Return its transitions, in order."""
        ...

    def logs(self, record: TaskRecord, limit: int) -> list[LogLine]:
        """Return the first lines that it logged, in order."""
        ...

    def ask(self, question: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Return what the archive alone answers to a question of wopr's own."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Archived:
    """The archive, asked beside the event loop; empty where there is none."""

    def __init__(self, files: Files | None) -> None:
        self._files = files

    async def there(self) -> bool:
        """Whether there is one."""
        files = self._files
        return files is not None and await asyncio.to_thread(files.directory.is_dir)

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return an archived task."""
        if self._files is None or not await self.there():
            return None
        return await asyncio.to_thread(self._files.get, task_id)

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of an archived task, in order."""
        record = await self.get(task_id)
        if self._files is None or record is None:
            return []
        return await asyncio.to_thread(self._files.history, record)

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that an archived task logged, in order."""
        record = await self.get(task_id)
        if self._files is None or record is None:
            return []
        return await asyncio.to_thread(self._files.logs, record, limit)

    async def ask(self, question: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Return what the archive alone answers to a question of wopr's own."""
        if self._files is None:
            return QueryRows((), [])
        return await asyncio.to_thread(self._files.ask, question, params, limits)

    async def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._files is not None:
            await asyncio.to_thread(self._files.close)
