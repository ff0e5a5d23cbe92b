"""An application's queue on a database of its own."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError
from wopr.queue.queue import TaskQueue, inside


@contextlib.asynccontextmanager
async def isolated(
    queue: TaskQueue, *, database: str | Path | None = None, clock: Clock | None = None
) -> AsyncIterator[TaskQueue]:
    """Open a queue on another database for an ``async with`` block; give the queue.

    It is switched on meanwhile, its tasks, resources and schedules stay as the code declares
    them, and its own file or storage is not touched. No workers run. Chance is always the same.

    Args:
        queue: of the application; must not be open.
        database: the file; ``None`` makes one that is deleted afterwards.
        clock: the time, as a :class:`FakeClock`; ``None`` leaves the queue its own.

    Raises:
        InvalidCallError: the queue is open.
    """
    with contextlib.ExitStack() as stack:
        if database is None:
            folder = tempfile.TemporaryDirectory(prefix="wopr-")
            database = Path(stack.enter_context(folder)) / "wopr.duckdb"
        stack.enter_context(_elsewhere(queue, Path(database)))
        if clock is not None:
            stack.enter_context(another_time(queue, clock))
        try:
            await queue.schedules.sync()  # opens it; what is declared is planned from now on
            yield queue
        finally:
            await queue.shutdown(timeout=0)


@contextlib.contextmanager
def _elsewhere(queue: TaskQueue, database: Path) -> Iterator[None]:
    core = inside(queue)
    if not core.access.closed:
        raise InvalidCallError(
            f"The queue on {queue.database} is open, so it can't be opened on another file. "
            "Do isolated(queue) before anything uses it, or `await queue.shutdown()` first."
        )
    before, core.enabled = core.enabled, True
    try:
        with core.access.elsewhere(database, random.Random(0)):
            yield
    finally:
        core.enabled = before


@contextlib.contextmanager
def another_time(queue: TaskQueue, clock: Clock) -> Iterator[None]:
    """Let the queue's clock, which all of its parts have, say what another one says."""
    own = vars(inside(queue).clock)
    before = dict(own)
    own.update(now=clock.now, monotonic=clock.monotonic)
    try:
        yield
    finally:
        own.clear()
        own.update(before)
