"""Queries share the memory limit with the thread that folds; that one comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import duckdb
import pytest

from faults.failing.conftest import PATIENCE, TablesFault, until
from wopr import StorageError, TaskQueue
from wopr.storage.duckdb import applied, folding
from wopr.storage.duckdb.applied import Piece
from wopr.storage.duckdb.file.memory import bytes_of

NO_ROOM = duckdb.OutOfMemoryException("Out of Memory Error: no room")
FOREVER = 1_000_000


@pytest.fixture
async def stopped(queue: TaskQueue) -> list[int]:
    """Note how often queries were stopped so that there is room."""
    queue.register_task("noop")(lambda: None)
    await queue.sql("select 1")
    found: list[int] = []
    queue.storage._folding._make_room = lambda: found.append(1)
    return found


@pytest.mark.parametrize("landed", [False, True])
async def test_a_fold_without_memory_stops_the_query_and_is_repeated(
    queue: TaskQueue, stopped: list[int], tables: TablesFault, landed: bool
) -> None:
    tables.arm(2, **{"after" if landed else "before": NO_ROOM})
    task_id = await queue.add_task("noop")

    assert 1 == len(await queue.get_history(task_id))
    assert {"pending": 1} == (await queue.get_task_stats())["by_status"]
    assert (1 if landed else 2) == len(stopped)


async def test_memory_that_does_not_come_back_refuses_questions_and_nothing_else(
    queue: TaskQueue,
    stopped: list[int],
    tables: TablesFault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folding, "MEMORY_SECONDS", 0.0)
    monkeypatch.setattr(folding, "QUIET_SECONDS", PATIENCE)  # nothing is folded by itself
    monkeypatch.setattr(folding, "FOLD_SECONDS", PATIENCE)
    monkeypatch.setattr(folding, "physical", lambda: 0)  # the machine has no more
    tables.arm(FOREVER, before=NO_ROOM)
    task_id = await queue.add_task("noop")
    with pytest.raises(StorageError, match="no room"):
        await queue.get_tasks()
    assert folding.MEMORY_TRIES == tables.tried
    assert folding.MEMORY_TRIES - 1 == len(stopped)
    assert task_id == (await queue.get_task_info(task_id)).id

    tables.mend()
    assert [task_id] == [info.id for info in await queue.get_tasks()]


async def test_memory_that_comes_back_is_used_without_a_question(
    queue: TaskQueue,
    stopped: list[int],
    tables: TablesFault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folding, "MEMORY_SECONDS", 0.0)
    monkeypatch.setattr(folding, "BACK_OFF_SECONDS", 0.01)
    tables.arm(3 * folding.MEMORY_TRIES, before=NO_ROOM)
    await queue.add_task("noop")
    storage = queue.storage
    await until(lambda: storage._folding.pending.rows == 0)
    assert 0 == tables.times


async def test_a_fold_that_needs_more_memory_than_allowed_gets_it_and_says_so(
    queue: TaskQueue,
    stopped: list[int],
    tables: TablesFault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(folding.log, "warning", lambda text, *args: said.append(text % args))
    monkeypatch.setattr(folding, "MEMORY_SECONDS", 0.0)
    monkeypatch.setattr(folding, "physical", lambda: 10**12)
    asked = bytes_of(queue.storage.memory_limit)
    tables.arm(folding.MEMORY_TRIES, before=NO_ROOM)
    task_id = await queue.add_task("noop")
    assert [task_id] == [info.id for info in await queue.get_tasks()]
    assert 2 * asked == bytes_of(queue.storage._folding._opened.memory_limit)
    assert "WOPR_TASKS_MEMORY_LIMIT" in "".join(said)
    assert 1 == len(await queue.get_history(task_id))


async def test_a_rollback_that_found_no_memory_is_made_up_for(queue: TaskQueue) -> None:
    queue.register_task("noop")(lambda: None)
    await queue.sql("select 1")

    def fail(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("begin")
        with pytest.raises(duckdb.Error):
            connection.execute("select error('no room')").fetchall()

    await asyncio.wrap_future(queue.storage.in_writer(fail))
    task_id = await queue.add_task("noop")
    assert [task_id] == [info.id for info in await queue.get_tasks()]


async def test_a_fold_whose_rollback_found_no_memory_is_repeated(
    queue: TaskQueue, stopped: list[int], tables: TablesFault
) -> None:
    apply = tables.apply

    def fail(connection: duckdb.DuckDBPyConnection, work: Sequence[Piece], syncing: Any) -> None:
        tables.replace(apply)
        connection.execute("begin")
        with pytest.raises(duckdb.Error):
            connection.execute("select error('no room')").fetchall()
        raise NO_ROOM

    tables.replace(fail)
    task_id = await queue.add_task("noop")
    assert [task_id] == [info.id for info in await queue.get_tasks()]
    assert [1] == stopped


def test_a_rollback_without_memory_has_the_database_opened_again() -> None:
    class Full:
        def execute(self, text: str) -> None:
            if text != "begin":
                raise NO_ROOM

    with pytest.raises(duckdb.FatalException, match="a rollback failed"):
        applied._apply(Full(), [Piece(1, b"!{}", operation=True)], nullcontext)  # type: ignore[arg-type]
