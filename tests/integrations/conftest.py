"""A queue per test, in a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from wopr import TaskQueue


@pytest.fixture
def queue(tmp_path: Path) -> TaskQueue:
    """Return a queue with the task ``double`` in the category ``sums``."""
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(name="double", category="sums")
    async def double(number: int) -> int:
        return 2 * number

    return queue
