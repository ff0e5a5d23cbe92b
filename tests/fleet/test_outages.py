"""What holds when the server goes away: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from support.postgres import restart
from support.queues import PATIENCE, PostgresHome
from wopr import OnFull, StorageError, TaskStatus
from wopr.core.handle import TaskHandle
from wopr.storage.postgres.connections import Connections

TASKS = 150


async def test_work_goes_on_after_the_server_was_killed_and_restarted(
    shared: PostgresHome,
) -> None:
    ran: Counter[int] = Counter()
    queue = shared.queue()

    @queue.task(name="count")
    async def count(number: int) -> int:
        ran[number] += 1
        return number

    async with queue:
        await queue.start_workers("default", 4)
        acknowledged: dict[int, TaskHandle[int]] = {}

        async def enqueue(number: int) -> None:
            try:
                acknowledged[number] = await count.enqueue(number)
            except StorageError:
                """It is not known whether it is there, and nobody was told that it is."""

        first = [asyncio.create_task(enqueue(number)) for number in range(TASKS)]
        killing = asyncio.create_task(asyncio.to_thread(restart))
        second = [asyncio.create_task(enqueue(number)) for number in range(TASKS, 2 * TASKS)]
        await killing
        await asyncio.gather(*first, *second)
        for number, handle in acknowledged.items():
            assert number == await handle.result(timeout=PATIENCE)
        stats = await queue.get_task_stats()
    assert acknowledged.keys() <= ran.keys()
    assert {1} == set(ran.values())
    assert stats["by_status"] == {"success": len(ran)}


def unheard_of(patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Have the connection break once, behind a commit; return what counts the tries."""
    run, tries = Connections.run, 0

    async def breaking(self: Connections, work: Callable[[Any], Awaitable[Any]], **how: Any) -> Any:
        async def work_and_break(connection: Any) -> Any:
            nonlocal tries
            done = await work(connection)
            tries += 1
            if tries == 1:
                raise psycopg.OperationalError("the connection was lost")
            return done

        return await run(self, work_and_break, **how)

    patch.setattr(Connections, "run", breaking)
    return lambda: tries


@pytest.mark.parametrize("on_full", OnFull)
async def test_a_task_whose_commit_was_not_heard_of_is_not_in_its_own_way(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch, on_full: OnFull
) -> None:
    queue = shared.queue()

    @queue.task(name="say")
    async def say(word: str) -> str:
        return word

    async with queue:
        await queue.set_limit("default", backlog=1, on_full=on_full)
        with monkeypatch.context() as patch:
            tries = unheard_of(patch)
            handle = await asyncio.wait_for(say.enqueue("a"), PATIENCE)
        assert 2 <= tries()
        tasks = [(one.id, one.status) for one in await queue.get_tasks()]
        assert [(handle.id, TaskStatus.PENDING)] == tasks


async def test_a_pause_that_was_ended_is_told_though_the_commit_was_not_heard_of(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared.queue() as queue:
        await queue.pause("default")
        with monkeypatch.context() as patch:
            tries = unheard_of(patch)
            assert await queue.resume("default")
        assert 2 <= tries()
        assert not await queue.pauses()
