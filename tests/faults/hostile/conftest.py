"""A queue with a little in it, to be attacked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.queues import DuckDBHome, running
from support.target import Target
from wopr import Settings


@pytest_asyncio.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    """Open a queue with a waiting task and no workers."""
    async for one in _targets(tmp_path):
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unharmed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """Open such a queue once, for all attacks that must not change anything."""
    async for one in _targets(tmp_path_factory.mktemp("unharmed")):
        yield one


async def _targets(folder: Path) -> AsyncIterator[Target]:
    home = DuckDBHome(folder / "tasks.duckdb")
    queue = home.queue(settings=Settings(max_args_bytes=10_000))

    @queue.task(name="any", category="c")
    def accept(*args: Any, **kwargs: Any) -> None: ...

    @queue.task(name="typed", category="c")
    def typed(n: int, name: str = "") -> None: ...

    async with running(queue):
        yield Target(queue, accept, typed, await accept.enqueue(1))
