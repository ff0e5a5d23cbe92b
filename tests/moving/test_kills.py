"""A move that is killed has changed nothing, or all; and goes on where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.moving import contents, furnish
from wopr import QueueMovedError, Settings, StorageError, TaskQueue
from wopr.config.crashpoint import MOVING
from wopr.domain.address import PostgresAddress
from wopr.moving.move import move
from wopr.storage.postgres.moving import reading

*BEFORE, BEHIND = MOVING
"""The points at which the queue is where it was, and the one behind which it has moved."""


async def killed(source: object, target: object, point: str) -> None:
    """Let a process move a queue, and die at a point."""
    environment = {**os.environ, "WOPR_CRASH_POINT": point, "WOPR_TASKS_ENABLED": "1"}
    command = [sys.executable, "-m", "wopr", "move", "--from", str(source), "--to", str(target)]
    ended = await asyncio.to_thread(
        subprocess.run, [*command, "--json"], env=environment, capture_output=True, text=True
    )
    assert -signal.SIGKILL == ended.returncode, ended.stdout + ended.stderr


async def has(database: object) -> dict[str, list[str]]:
    """Return all that a queue has that is opened by an address, wherever it is."""
    async with TaskQueue(enabled=True, database=str(database)) as queue:
        return await contents(queue)


async def refused(database: object) -> None:
    """See that a queue can't be opened, since it is half moved."""
    with pytest.raises(StorageError, match=r"half moved.*goes on: wopr move --from"):
        await has(database)


async def test_a_move_to_a_server_goes_on_after_each_kill(tmp_path: Path, address: str) -> None:
    database = tmp_path / "tasks.duckdb"
    await furnish(database)
    before = await has(database)
    for point in BEFORE:
        await killed(database, address, point)
        await refused(address)
    assert before == await has(database)
    await killed(database, address, BEHIND)
    assert before == await has(database), "it follows"
    assert before == await has(address)
    with pytest.raises(QueueMovedError, match="has moved to postgresql://"):
        await move(database, PostgresAddress(address), Settings())


async def test_a_move_to_a_file_goes_on_after_each_kill(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "tasks.duckdb"
    await furnish(database)
    before = await has(database)
    moved = await move(database, PostgresAddress(address), Settings())
    assert len(before["tasks"]) == moved.tasks
    for point in BEFORE[1:]:  # nothing is copied as a whole
        await killed(address, database, point)
    await refused(database)
    assert before == await has(address)
    await killed(address, database, BEHIND)
    assert before == await has(address), "it follows"
    assert before == await has(database)
    assert not [*tmp_path.glob("*.moving/page")]

    await move(database, PostgresAddress(address), Settings())
    assert before == await has(address)

    monkeypatch.setattr(reading, "_FIRST", 7)
    monkeypatch.setattr(reading, "_MOST", 7)
    other = tmp_path / "other.duckdb"
    await move(PostgresAddress(address), other, Settings())
    assert before == await has(other), "in many pages"
