"""A write that somebody awaits, and that nobody can join, is made before the turn is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.queues import PATIENCE, DuckDBHome
from wopr import TaskQueue
from wopr.storage.duckdb import folding, turns
from wopr.storage.duckdb.journal.inline import Inline
from wopr.storage.duckdb.journal.journal import Journal
from wopr.storage.duckdb.turns import ALONE_TURNS, ROW


def noting(path: Path) -> TaskQueue:
    queue = DuckDBHome(path).queue()
    queue.register_task("note")(lambda n: None)
    return queue


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be fast, and no fold come between."""
    monkeypatch.setattr(Inline, "took", lambda *_: False)
    monkeypatch.setattr(folding, "QUIET_SECONDS", PATIENCE)
    monkeypatch.setattr(folding, "FOLD_SECONDS", PATIENCE)


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


async def test_one_caller_waits_for_no_turn_of_the_loop(path: Path) -> None:
    async with noting(path) as queue:
        adding = queue.enqueue("note", (0,))
        with pytest.raises(StopIteration):  # it never gives the loop its turn
            adding.send(None)
        assert 1 == len(await queue.get_tasks())


async def test_timers_come_to_their_turn_while_one_caller_never_pauses(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ROW_SECONDS", 0.0)  # any disk is slow then
    async with noting(path) as queue:
        calls = 40
        assert calls // (ROW + 1) <= await turns_during(queue, calls)
        assert calls == len(await queue.get_tasks(limit=calls))


async def test_writes_that_take_no_time_wait_for_no_turn_however_many_there_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ROW_SECONDS", PATIENCE)
    async with noting(path) as queue:
        assert 1 == await turns_during(queue, 10 * ROW)


async def test_callers_of_one_turn_share_one_group(path: Path, groups: list[int]) -> None:
    async with noting(path) as queue:
        await asyncio.gather(*(queue.enqueue("note", (number,)) for number in range(20)))
        assert 19 <= max(groups)


async def test_who_comes_second_in_a_turn_is_waited_for_from_then_on(
    path: Path, groups: list[int]
) -> None:
    async with noting(path) as queue:
        await asyncio.gather(*(queue.enqueue("note", (number,)) for number in range(5)))
        assert [1, 4] == [group for group in groups if group]
        groups.clear()
        for _ in range(3):
            await asyncio.gather(*(queue.enqueue("note", (number,)) for number in range(5)))
        assert [5, 5, 5] == [group for group in groups if group]
        for number in range(ALONE_TURNS):
            await queue.enqueue("note", (number,))
        adding = queue.enqueue("note", (0,))
        with pytest.raises(StopIteration):
            adding.send(None)


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
