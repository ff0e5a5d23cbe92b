"""A queue with a few functions, and who asks about it over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import httpx
import pytest

from support.restapp import asking
from wopr import TaskQueue


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    """Return a queue with a worker in ``sums`` and none in ``idle``."""
    made = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @made.task(name="add", category="sums")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @made.task(name="break", category="sums")
    async def broken() -> None:
        raise ValueError("it is broken")

    @made.task(name="on", category="idle")
    async def on(day: date, password: str = "") -> str:
        """Say a day."""
        return day.isoformat()

    @made.task(name="large", category="sums")
    async def large(size: int) -> str:
        return "x" * size

    async with made:
        await made.start_workers("sums")
        yield made


@pytest.fixture
async def client(queue: TaskQueue) -> AsyncIterator[httpx.AsyncClient]:
    """Return somebody who may everything."""
    async with asking(queue) as made:
        yield made
