"""Fixtures for pytest; to be imported when pytest has loaded its plugins."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wopr.queue.queue import TaskQueue
from wopr.testing.clock import FakeClock
from wopr.testing.isolated import isolated


def _async_fixture() -> Any:
    """Return the decorator of coroutine fixtures: that of pytest-asyncio, or of pytest itself."""
    if "pytest_asyncio.plugin" in sys.modules:
        import pytest_asyncio

        return pytest_asyncio.fixture
    return pytest.fixture  # what the plugin of anyio understands


@pytest.fixture
def wopr_app() -> TaskQueue:
    """Return the queue of the application; override it to return yours."""
    return TaskQueue()


@pytest.fixture
def wopr_clock() -> FakeClock:
    """Return the time of ``wopr_queue``."""
    return FakeClock()


@_async_fixture()  # type: ignore[untyped-decorator]
async def wopr_queue(
    wopr_app: TaskQueue, wopr_clock: FakeClock, tmp_path: Path
) -> AsyncIterator[TaskQueue]:
    """Give the queue of ``wopr_app``, open on a file of this test; its time is ``wopr_clock``."""
    database = tmp_path / "wopr.duckdb"
    async with isolated(wopr_app, database=database, clock=wopr_clock) as queue:
        yield queue
