"""PgQueuer, as it is measured: on asyncpg, which its documentation prefers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.queries import Queries

DONE = "select count(*) from pgqueuer_log where status = 'successful'"


class Subject:
    """One queue, with one entrypoint."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    async def open(self, address: str, *, install: bool) -> None:
        """Connect, and make its tables."""
        self._address = address
        self._pool = await asyncpg.create_pool(address, min_size=1, max_size=10)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))
        if install:
            await self._queries.install()

    async def close(self) -> None:
        """Stop the worker, and let go of the connections."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            await self._connection.close()
        await self._pool.close()

    async def enqueue(self, number: int, text: str) -> None:
        """Enqueue one job."""
        await self._queries.enqueue("noop", json.dumps([number, text]).encode())

    async def enqueue_many(self, calls: Sequence[tuple[int, str]]) -> None:
        """Enqueue many jobs in one call."""
        payloads = [json.dumps(call).encode() for call in calls]
        await self._queries.enqueue(["noop"] * len(calls), payloads, [0] * len(calls))

    async def work(self, at_once: int) -> None:
        """Start a worker."""
        self._connection = await asyncpg.connect(self._address)
        queue = PgQueuer(AsyncpgDriver(self._connection))

        @queue.entrypoint("noop")
        async def noop(job: object) -> None:
            number, _ = json.loads(job.payload)  # type: ignore[attr-defined]
            self.started.put_nowait((number, time.perf_counter()))

        self._worker = asyncio.create_task(
            queue.run(dequeue_timeout=timedelta(seconds=5), batch_size=at_once)
        )

    async def done(self) -> int:
        """Return how many have succeeded."""
        return int(await self._pool.fetchval(DONE))
