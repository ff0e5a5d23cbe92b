"""A move that was broken off is gone on with only if it is the same queue still."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from wopr import StorageError, TaskQueue
from wopr.domain.address import PostgresAddress, database_of
from wopr.moving import tofile, toserver
from wopr.moving.move import move
from wopr.storage import restore


async def enqueue(database: Any, *words: str) -> None:
    """Enqueue tasks at a home."""
    async with TaskQueue(enabled=True, database=database) as queue:

        @queue.task(name="say")
        async def say(word: str) -> str:
            return word

        await say.enqueue_many([(word,) for word in words])


async def words(database: Any) -> list[str]:
    """Return what the tasks at a home are called with."""
    async with TaskQueue(enabled=True, database=database) as queue:
        return sorted(row["args"] for row in await queue.sql("select args from tasks"))


async def break_off(source: Any, target: Any, patch: Callable[..., None]) -> None:
    """Begin a move, and break it off before its pause."""

    def broken(*_: Any) -> Any:
        raise KeyboardInterrupt

    patch(toserver, "taken", broken)
    patch(tofile.ToFile, "_wait_for_runs", broken)
    with pytest.raises(KeyboardInterrupt):
        await move(source, target, TaskQueue(enabled=True).settings)


@pytest.mark.parametrize("other", [True, False])
async def test_to_a_server_with_another_file_in_its_place(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    file, backup, server = tmp_path / "q.db", tmp_path / "backup.db", database_of(address)
    await enqueue(file, "a")
    async with TaskQueue(enabled=True, database=file) as queue:
        await queue.backup(backup)
    await enqueue(file, "lost")
    with monkeypatch.context() as patch:
        await break_off(file, server, patch.setattr)
    settings = TaskQueue(enabled=True).settings
    if other:
        file.unlink()
        restore(backup, file, settings)
    await enqueue(file, "new")
    if other:
        with pytest.raises(StorageError, match="Was a backup restored since"):
            await move(file, server, settings)
        assert ['["a"]', '["new"]'] == await words(file)
    else:
        await move(file, server, settings)
        assert ['["a"]', '["lost"]', '["new"]'] == await words(address)


@pytest.mark.parametrize("other", [True, False])
async def test_to_a_file_with_another_queue_in_its_place(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    file, server = tmp_path / "q.db", database_of(address)
    await enqueue(address, "lost")
    with monkeypatch.context() as patch:
        await break_off(server, file, patch.setattr)
    if other:
        with psycopg.connect(PostgresAddress(address).conninfo, autocommit=True) as connection:
            connection.execute("drop schema wopr cascade")
    await enqueue(address, "new")
    settings = TaskQueue(enabled=True).settings
    if other:
        with pytest.raises(StorageError, match="Was a backup restored since"):
            await move(server, file, settings)
        assert ['["new"]'] == await words(address)
    else:
        await move(server, file, settings)
        assert ['["lost"]', '["new"]'] == await words(file)


async def test_half_a_queue_is_not_moved_on(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, server = tmp_path / "q.db", database_of(address)
    await enqueue(file, "a")
    with monkeypatch.context() as patch:
        await break_off(file, server, patch.setattr)
    with pytest.raises(StorageError, match=r"half moved: it is still at .*q\.db"):
        await move(server, tmp_path / "other.db", TaskQueue(enabled=True).settings)
    assert [] == list(tmp_path.glob("other*"))
