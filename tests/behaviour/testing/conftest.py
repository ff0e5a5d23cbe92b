"""An application's queue, as the tools for tests find it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wopr import TaskQueue
from wopr.testing import FakeClock, isolated


@pytest.fixture
def clock() -> FakeClock:
    """Return the time of ``queue``."""
    return FakeClock()


@pytest.fixture
async def queue(tmp_path: Path, clock: FakeClock) -> AsyncIterator[TaskQueue]:
    """Give a queue of an application, open on a file of this test."""
    async with isolated(TaskQueue(), database=tmp_path / "t.duckdb", clock=clock) as queue:
        yield queue
