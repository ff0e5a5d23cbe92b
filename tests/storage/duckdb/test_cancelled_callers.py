"""A caller that gives up waiting takes nothing down with it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr.storage.duckdb.storage import DuckDBStorage


@pytest.mark.parametrize("call", ["flush", "counts"])
async def test_the_writer_outlives_a_caller_that_is_cancelled_while_it_waits(
    tmp_path: Path, call: str
) -> None:
    storage = DuckDBStorage(tmp_path / "tasks.duckdb")
    await storage.open()
    busy, go_on = threading.Event(), threading.Event()
    holding = storage.in_writer(lambda _: (busy.set(), go_on.wait()))
    try:
        await asyncio.to_thread(busy.wait)
        waiting = asyncio.create_task(getattr(storage, call)())
        await asyncio.sleep(0)  # it has handed its job over
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        async with asyncio.timeout(PATIENCE):
            await storage.counts()
        assert holding.done()
    finally:
        go_on.set()
        await storage.close()
