"""The questions of a page are one glance, also where another process has the file."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path

import pytest

from wopr import TaskQueue
from wopr.ports import glance as glances
from wopr.ports.glance import glance
from wopr.remote.client import RemoteBackend
from wopr.storage.duckdb.folding import Folding

WAITING = "select count(*) from tasks"


async def asked(remote: RemoteBackend) -> int:
    return int((await remote.stats())["total"])


async def test_they_wait_for_the_tables_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[object] = []
    call = Folding.call

    def noted(self: Folding, *args: object) -> object:
        waited.append(args)
        return call(self, *args)  # type: ignore[arg-type]

    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:

        @queue.task
        async def work() -> None: ...

        remote = RemoteBackend(queue.database)
        assert await remote.connect()
        try:
            await work.enqueue()
            monkeypatch.setattr(Folding, "call", noted)
            with glance():
                assert 1 == await asked(remote)
                await work.enqueue()
                assert 1 <= await asked(remote)
                assert 1 == len(waited)
            with glance():
                assert 2 == await asked(remote)
            await work.enqueue()
            assert 3 == await asked(remote)
            assert 3 == len(waited)
        finally:
            await remote.close()


async def test_what_is_opened_in_a_glance_outlives_it(tmp_path: Path) -> None:
    """A page may be the first to ask: who asks over the socket later sees what is newer."""
    database = tmp_path / "q.duckdb"
    async with TaskQueue(enabled=True, database=database) as queue:
        queue.register_task("work")(lambda: None)
        await queue.enqueue("work")
    queue = TaskQueue(enabled=True, database=database)
    queue.register_task("work")(lambda: None)
    remote = RemoteBackend(database)
    try:
        with glance():
            assert 1 == (await queue.get_task_stats())["total"]
            assert await remote.connect()
            await queue.enqueue("work")
            with_others = asyncio.create_task(asked(remote), context=contextvars.Context())
            assert 2 == await with_others
        await queue.enqueue("work")
        assert 3 == await asked(remote)
    finally:
        await remote.close()
        await queue.shutdown()


async def test_a_glance_ends_for_what_goes_on_after_it() -> None:
    done: list[int] = []

    async def do() -> None:
        done.append(1)

    async def going_on(ended: asyncio.Event) -> int | None:
        await glances.once("key", do)
        await ended.wait()
        await glances.once("key", do)
        return glances.number()

    ended = asyncio.Event()
    with glance():
        task = asyncio.ensure_future(going_on(ended))
        await glances.once("key", do)
        assert 1 == len(done)
    ended.set()
    assert await task is None
    assert 2 == len(done)


async def test_no_more_glances_are_known_than_a_few() -> None:
    followed = glances.Followed()
    done: list[int] = []

    async def do() -> None:
        done.append(1)

    for number in range(glances.MOST_FOLLOWED + 1):
        with followed.within(number):
            await glances.once("key", do)
    with followed.within(glances.MOST_FOLLOWED):
        await glances.once("key", do)
    assert glances.MOST_FOLLOWED + 1 == len(done)
    with followed.within(0):  # which was forgotten
        await glances.once("key", do)
    for nothing in (None, True, "1", [1]):
        with followed.within(nothing):
            await glances.once("key", do)
    assert glances.MOST_FOLLOWED + 6 == len(done)
