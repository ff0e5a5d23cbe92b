"""The end of a queue waits for wopr's own questions, which end once they are interrupted."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from wopr import TaskQueue
from wopr.storage.duckdb.asked import people
from wopr.storage.duckdb.asked.people import Asker
from wopr.storage.duckdb.storage import DuckDBStorage


@pytest.mark.parametrize("own", [False, True])
async def test_those_that_end_late(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    own: bool,
) -> None:
    stopped, calls = threading.Event(), []

    def interrupt(self: Asker, *args: object, **kinds: object) -> None:
        calls.append(self)
        if len(calls) == 3:
            stopped.set()

    monkeypatch.setattr(people, "CLOSES_SECONDS", 0.0)
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:
        assert 1 == (await queue.sql("select 1")).scalar()
        storage = queue.storage
        assert isinstance(storage, DuckDBStorage)
        reading = storage._people
        asking = asyncio.ensure_future(reading.ask(lambda _: stopped.wait(), 60.0, 60.0, own=own))
        await asyncio.sleep(0)
        monkeypatch.setattr(Asker, "interrupt", interrupt)
        await asyncio.to_thread(reading.let_go)
        assert own is ("run on although they were interrupted" not in caplog.text)
        stopped.set()
        assert await asking
