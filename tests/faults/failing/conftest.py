"""A queue whose journal, or whose DuckDB, fails when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.audit import clean, doctor
from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.storage.duckdb import applied, disk
from wopr.storage.duckdb.applied import Piece
from wopr.storage.duckdb.journal.format import GROUP_MAGIC
from wopr.storage.duckdb.journal.scan import segments

TRIES = 2
"""So often a group is written, the second time to a new segment, before it is given up."""


def fresh(error: Exception) -> Exception:
    """Return another error that says the same: one that is raised twice tells two stories."""
    return type(error)(*error.args)


class Fault:
    """Makes the disk refuse groups of the journal; counts how often they were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Exception | None = None
        """Raised instead of the write."""
        self.after: Exception | None = None
        """Raised after the group is on disk."""
        self.times = 0
        """How many writes fail from now on."""
        self.dead = False
        """Whether the disk takes nothing else either meanwhile: no header, no mending."""
        self.tried = 0
        original = disk.writer

        def write(descriptor: int, content: bytes, offset: int) -> None:
            group = content[: len(GROUP_MAGIC)] == GROUP_MAGIC
            self.tried += group
            failing = self.times > 0 and (group or self.dead)
            self.times -= failing and group
            if failing and (self.before is not None or not group):
                raise fresh(self.before or OSError(5, "Input/output error"))
            original(descriptor, content, offset)
            if failing and self.after is not None:
                raise fresh(self.after)

        monkeypatch.setattr(disk, "writer", write)

    def arm(
        self,
        times: int,
        *,
        tries: int = TRIES,
        before: Exception | None = None,
        after: Exception | None = None,
    ) -> None:
        """Let the next ``times`` groups fail, in so many tries of each."""
        self.before, self.after, self.times = before, after, times * tries

    def mend(self) -> None:
        """Let groups be written again."""
        self.times, self.dead = 0, False


Apply = Callable[[Any, Sequence[Piece], Any], None]


class TablesFault:
    """Makes DuckDB refuse to bring the tables up; counts how often that was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: Exception | None = None
        """Raised instead of the transaction."""
        self.after: Exception | None = None
        """Raised after it is committed."""
        self.times = 0
        """How many of them fail from now on."""
        self.tried = 0
        self.apply: Apply = applied._apply
        """One transaction."""
        self._monkeypatch = monkeypatch
        self.replace(self._failing)

    def replace(self, apply: Apply) -> None:
        """Let transactions be what ``apply`` does."""
        self._monkeypatch.setattr(applied, "_apply", apply)

    def _failing(self, connection: Any, work: Sequence[Piece], syncing: Any) -> None:
        self.tried += 1
        failing = self.times > 0
        self.times -= failing
        if failing and self.before is not None:
            raise fresh(self.before)
        self.apply(connection, work, syncing)
        if failing and self.after is not None:
            raise fresh(self.after)

    def arm(
        self,
        times: int,
        *,
        before: Exception | None = None,
        after: Exception | None = None,
    ) -> None:
        """Let the next ``times`` transactions fail."""
        self.before, self.after, self.times = before, after, times

    def mend(self) -> None:
        """Let them succeed again."""
        self.times = 0


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> TablesFault:
    return TablesFault(monkeypatch)


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
            assert [] == segments(path), "a clean end leaves no journal"
            clean(path, whole=True)
            doctor(path)
    finally:
        logging.getLogger("wopr").setLevel(logging.NOTSET)


@contextlib.asynccontextmanager
async def held_up(queue: TaskQueue, rows: int) -> AsyncIterator[None]:
    """Let nobody write to the journal until so many records wait for it."""
    journal = queue.storage._journal
    assert await asyncio.to_thread(journal._writing.acquire, timeout=PATIENCE)
    try:
        yield
        await until(lambda: journal.pending_rows >= rows)
    finally:
        journal._writing.release()


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
