"""A glance: its questions wait for the tables once, and see at least what the first one saw."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.ports.glance import glance, once
from wopr.storage.duckdb.folding import Folding

WAITING = "select count(*) from tasks"


async def test_the_first_question_waits_for_the_tables_and_the_others_do_not(
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

        async def count() -> int:
            return (await queue.sql(WAITING)).scalar()

        await work.enqueue()
        with glance():
            monkeypatch.setattr(Folding, "call", noted)
            assert [1, 1] == await asyncio.gather(count(), count())
            await work.enqueue()
            assert 1 <= await count()
            assert 1 == len(waited)
        assert 2 == await count()
        assert 2 == len(waited)


async def test_whoever_gives_up_does_not_stop_the_others_and_an_error_is_everybodys() -> None:
    go = asyncio.Event()
    done = []

    async def do() -> None:
        await go.wait()
        done.append(1)

    async def fail() -> None:
        raise ValueError("no tables")

    with glance():
        first, second = (asyncio.ensure_future(once("key", do)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        go.set()
        await asyncio.wait_for(second, PATIENCE)
        assert first.cancelled()
        assert [1] == done
        for _ in range(2):
            with pytest.raises(ValueError, match="no tables"):
                await once("other", fail)
    await once("key", do)
    await once("key", do)
    assert [1, 1, 1] == done
