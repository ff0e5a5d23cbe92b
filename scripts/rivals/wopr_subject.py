"""wopr on PostgreSQL, as it is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psycopg

from wopr import TaskQueue

DONE = "select count(*) from wopr.tasks where status = 'success'"


class Subject:
    """One queue, with one task."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    async def open(self, address: str, *, install: bool) -> None:
        """Open the queue; it makes its tables."""
        self.queue = TaskQueue(enabled=True, database=address)

        @self.queue.task(name="noop")
        async def noop(number: int, text: str) -> int:
            self.started.put_nowait((number, time.perf_counter()))
            return number

        self.noop = noop
        await self.queue.get_task_stats()  # opens it
        self._looks = await psycopg.AsyncConnection.connect(address, autocommit=True)

    async def close(self) -> None:
        """Shut it down."""
        await self._looks.close()
        await self.queue.shutdown()

    async def enqueue(self, number: int, text: str) -> None:
        """Enqueue one task."""
        await self.noop.enqueue(number, text)

    async def enqueue_many(self, calls: Sequence[tuple[int, str]]) -> None:
        """Enqueue many tasks in one call."""
        await self.noop.enqueue_many(calls)

    async def work(self, at_once: int) -> None:
        """Start workers."""
        await self.queue.start_workers("default", at_once)

    async def done(self) -> int:
        """Return how many have succeeded."""
        cursor = await self._looks.execute(DONE)
        (row,) = await cursor.fetchall()
        return int(row[0])
