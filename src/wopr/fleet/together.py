"""New tasks of many callers, in one statement."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from wopr.domain.errors import StorageError
from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts

MOST_AT_ONCE = 500


class Together:
    """Adds tasks one statement after the other: what comes meanwhile is in the next one.

    Args:
        parts: of the fleet.
        tell: is told of those that are there now.
    """

    def __init__(self, parts: Parts, tell: Callable[[Sequence[TaskRecord]], None]) -> None:
        self._parts = parts
        self._tell = tell
        self._waiting: deque[tuple[TaskRecord, asyncio.Future[bool]]] = deque()
        self._writing = False

    async def add(self, record: TaskRecord) -> bool:
        """Add a task; whether it was not there."""
        if self._writing:
            future = self._parts.around.loop.create_future()
            self._waiting.append((record, future))
            added_now: bool = await future
            return added_now
        self._writing = True
        try:
            there = await self._parts.store.add([record])
        finally:
            self._writing = bool(self._waiting)  # who came meanwhile is written together
            if self._writing:
                self._parts.spawn(self._write())
        self._tell([record] if there else [])
        return bool(there)

    async def _write(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), MOST_AT_ONCE)
                batch = [self._waiting.popleft() for _ in range(count)]
                try:
                    there = await self._parts.store.add([record for record, _ in batch])
                except StorageError as error:
                    await self._one_by_one(batch, error)
                    continue
                self._tell([record for record, _ in batch if record.id in there])
                for record, future in batch:
                    if not future.done():
                        future.set_result(record.id in there)
        finally:
            self._writing = False

    async def _one_by_one(
        self, batch: list[tuple[TaskRecord, asyncio.Future[bool]]], error: StorageError
    ) -> None:
        """Find the one that can't be stored, so that the others are."""
        for record, future in batch:
            failure: StorageError | None = error
            there: set[str] = set()
            if len(batch) > 1 and not error.in_doubt and not error.unreached:
                failure = None
                try:
                    there = await self._parts.store.add([record])
                except StorageError as own:
                    failure = own
                self._tell([record] if there else [])
            if future.done():
                continue
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(bool(there))
