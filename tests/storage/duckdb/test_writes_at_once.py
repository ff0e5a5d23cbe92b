"""A write that somebody awaits, and that nobody can join, is made before the turn is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.queues import DuckDBHome
from wopr import TaskQueue
from wopr.storage.duckdb.base import ROW_OF_WRITES
from wopr.storage.duckdb.journal.journal import Journal


def noting(path: Path) -> TaskQueue:
    queue = DuckDBHome(path).queue()
    queue.register_task("note")(lambda n: None)
    return queue


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many writes each group had that the loop's thread wrote."""
    found: list[int] = []
    write = Journal._write

    def counting(journal: Journal, writes: list) -> list:  # type: ignore[type-arg]
        found.append(sum(1 for one in writes if one.count))
        return write(journal, writes)

    monkeypatch.setattr(Journal, "_write", counting)
    return found


async def turns_during(queue: TaskQueue, calls: int) -> int:
    """Return how often the loop had its turn while one caller enqueued so many tasks."""
    turns = 0
    going = True

    def turn() -> None:
        nonlocal turns
        turns += 1
        if going:
            asyncio.get_running_loop().call_later(0, turn)  # a timer: nothing that is ready

    turn()
    for number in range(calls):
        await queue.enqueue("note", (number,))
    going = False
    return turns


async def test_one_caller_waits_for_no_turn_of_the_loop(path: Path, groups: list[int]) -> None:
    async with noting(path) as queue:
        await queue.storage.flush()
        queue.storage._row = 0
        await queue.enqueue("note", (0,))
        assert not queue.storage._turn
        assert groups[-1] == 1


async def test_timers_come_to_their_turn_while_one_caller_never_pauses(path: Path) -> None:
    async with noting(path) as queue:
        calls = 40
        assert calls // (ROW_OF_WRITES + 1) <= await turns_during(queue, calls)
        assert calls == len(await queue.get_tasks(limit=calls))


async def test_callers_of_one_turn_share_one_group(path: Path, groups: list[int]) -> None:
    async with noting(path) as queue:
        await asyncio.gather(*(queue.enqueue("note", (number,)) for number in range(20)))
        assert 20 == max(groups)


async def test_a_loop_that_does_not_say_what_is_ready_gets_its_turn_each_time(
    path: Path, groups: list[int]
) -> None:
    async with noting(path) as queue:
        queue.storage._ready = (None,)
        await queue.enqueue("note", (0,))
        assert 0 == queue.storage._row
        assert 1 == len(await queue.get_tasks())


async def test_an_error_at_once_is_the_caller_s(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with noting(path) as queue:

        def refuse(journal: Journal, group: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Journal, "_append", refuse)
        with pytest.raises(Exception, match="No space left"):
            await queue.enqueue("note", (0,))
        monkeypatch.undo()
        await queue.enqueue("note", (1,))
        assert [(1,)] == [task.args for task in await queue.get_tasks()]
