"""A queue whose storage fails when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from support.audit import clean, doctor
from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.storage.duckdb.writer import Writer


class Fault:
    """Makes commits of the log fail; counts how often that was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Exception | None = None
        """Raised instead of the commit."""
        self.after: Exception | None = None
        """Raised after the commit has really happened."""
        self.times = 0
        """How many commits fail from now on."""
        self.tried = 0
        original = Writer._append

        def append(writer: Writer, batch: list[Any]) -> None:
            self.tried += 1
            failing = self.times > 0 and any(write.logs for write in batch)
            self.times -= failing
            if failing and self.before is not None:
                raise self.before
            original(writer, batch)
            if failing and self.after is not None:
                raise self.after

        monkeypatch.setattr(Writer, "_append", append)

    def arm(
        self,
        times: int,
        *,
        before: Exception | None = None,
        after: Exception | None = None,
    ) -> None:
        """Let the next ``times`` commits fail."""
        self.before, self.after, self.times = before, after, times

    def mend(self) -> None:
        """Let commits succeed again."""
        self.times = 0


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


@pytest.fixture
def failures() -> list[str]:
    """Return what went wrong on the event loop without anybody to tell."""
    return []


@pytest.fixture
async def queue(path: Path, failures: list[str]) -> AsyncIterator[TaskQueue]:
    """Open a queue; afterwards the file has to be in order, and the loop without accidents."""
    logging.getLogger("wopr").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(str(context)))
    queue = TaskQueue(enabled=True, database=path)
    try:
        async with queue:
            yield queue
        assert [] == failures
        if path.exists():
            clean(path, whole=True)
            doctor(path)
    finally:
        logging.getLogger("wopr").setLevel(logging.NOTSET)


@contextlib.asynccontextmanager
async def held_up(queue: TaskQueue, rows: int) -> AsyncIterator[None]:
    """Hold the writer's thread up until so many rows of the log wait for it."""
    begun, go_on = threading.Event(), threading.Event()
    queue.storage.in_writer(lambda _: (begun.set(), go_on.wait(PATIENCE)))
    try:
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        yield
        await until(lambda: queue.storage._writer.pending_rows >= rows)
    finally:
        go_on.set()


async def until(true: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that must happen."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = true()
            if not isinstance(found, bool):
                found = await found
            if found:
                return
            await asyncio.sleep(0.005)
