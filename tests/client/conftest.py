"""A queue with a few functions, served over HTTP, and both clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from support.restapp import rest_app, served
from wopr import TaskQueue
from wopr.client import AsyncClient, Client


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    """Return a queue with a worker in ``sums`` and none in ``idle``."""
    made = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")
    going = asyncio.Event()

    @made.task(name="add", category="sums")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @made.task(name="break", category="sums", max_retries=0)
    async def broken() -> None:
        raise ValueError("it is broken")

    @made.task(name="on", category="idle")
    async def on(day: date) -> date:
        return day

    @made.task(name="day", category="sums")
    async def tomorrow() -> Any:
        return date(2030, 5, 17)

    @made.task(name="forever", category="sums")
    async def forever() -> None:
        await going.wait()

    async with made:
        await made.start_workers("sums")
        yield made
        going.set()


@pytest.fixture
async def address(queue: TaskQueue) -> AsyncIterator[str]:
    """Return where it is served."""
    async with served(rest_app(queue)) as url:
        yield url


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    """Return the client that is awaited."""
    async with AsyncClient(address) as made:
        yield made


@pytest.fixture
def blocking(address: str) -> Client:
    """Return the client that blocks; to be used in a thread, for this one serves."""
    return Client(f"{address}/api/v1/")
