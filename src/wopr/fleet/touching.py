"""The progress that running tasks report, written now and then: it is no transition."""

from __future__ import annotations

import asyncio

from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts, logged


class Touching:
    """Writes the progress of this host's tasks, many at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: dict[str, TaskRecord] = {}
        self._task: asyncio.Task[None] | None = None

    def touch(self, record: TaskRecord) -> None:
        """Store the progress of a task soon."""
        self._waiting[record.id] = record
        if self._task is None:
            self._task = self._parts.around.loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                records, self._waiting = list(self._waiting.values()), {}
                with logged("Progress can't be stored now"):
                    await self._parts.store.touch(records)
        finally:
            self._task = None

    async def close(self) -> None:
        """Write what is left."""
        if self._task is not None:
            await asyncio.wait([self._task])
