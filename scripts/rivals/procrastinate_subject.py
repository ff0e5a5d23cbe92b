"""Procrastinate, as it is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

DONE = "select count(*) as n from procrastinate_jobs where status = 'succeeded'"


class Subject:
    """One app, with one task."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    async def open(self, address: str, *, install: bool) -> None:
        """Connect, and make its tables."""
        self._app = App(connector=PsycopgConnector(conninfo=address))

        @self._app.task(name="noop")
        async def noop(number: int, text: str) -> int:
            self.started.put_nowait((number, time.perf_counter()))
            return number

        self._noop = noop
        await self._app.open_async()
        if install:
            await self._app.schema_manager.apply_schema_async()

    async def close(self) -> None:
        """Stop the worker, and let go of the connections."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._app.close_async()

    async def enqueue(self, number: int, text: str) -> None:
        """Defer one job."""
        await self._noop.defer_async(number=number, text=text)

    async def enqueue_many(self, calls: Sequence[tuple[int, str]]) -> None:
        """Defer many jobs in one call."""
        await self._noop.batch_defer_async(*({"number": n, "text": text} for n, text in calls))

    async def work(self, at_once: int) -> None:
        """Start a worker."""
        self._worker = asyncio.create_task(
            self._app.run_worker_async(concurrency=at_once, install_signal_handlers=False)
        )

    async def done(self) -> int:
        """Return how many have succeeded."""
        (row,) = await self._app.connector.execute_query_all_async(DONE)
        return int(row["n"])
