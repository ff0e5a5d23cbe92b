"""A glance: its questions wait for the tables once, and see at least what the first one saw."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.insights import queries
from wopr.ports.glance import glance, once
from wopr.storage.duckdb import folding
from wopr.storage.duckdb.folding import Folding
from wopr.storage.duckdb.storage import DuckDBStorage

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


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one change be as much as else very many, and the tables wait for a question."""
    for name in ("QUIET_SECONDS", "FOLD_SECONDS", "GLANCE_SECONDS"):
        monkeypatch.setattr(folding, name, 3_600.0)
    monkeypatch.setattr(folding, "GLANCE_ROWS", 0)


@pytest.mark.usefixtures("ahead")
async def test_a_glance_does_not_wait_for_what_workers_just_did(tmp_path: Path) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:

        @queue.task
        async def work() -> None: ...

        async def counts() -> tuple[int, int, int]:
            page = await queue.tasks.where().page()
            stats = await queue.get_task_stats()
            return (
                (await queue.sql(queries.NEWEST_TRANSITION)).scalar(),
                len(page.tasks),
                stats["total"],
            )

        first = await work.enqueue()
        assert (1, 1, 1) == await counts()
        second = await work.enqueue()
        with glance():
            assert (1, 1, 1) == await counts()
            assert 1 == len(await queue.get_history(first.id))
            assert 1 == len(await queue.get_history(second.id))  # of one task all is known
        await work.enqueue()
        with glance():
            assert (2, 2, 2) == await counts()
            await queue.pause("default")
            assert (2, 2, 2) == await counts()
        with glance():  # what people did is seen at once
            assert (3, 3, 3) == await counts()


@pytest.mark.usefixtures("ahead")
async def test_a_glance_waits_for_what_comes_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:

        @queue.task
        async def work() -> None: ...

        async def count() -> int:
            with glance():
                return int((await queue.sql(queries.NEWEST_TRANSITION)).scalar())

        await work.enqueue()
        assert 0 == await count()
        monkeypatch.setattr(folding, "GLANCE_SECONDS", 0.0)
        assert 1 == await count()
        monkeypatch.setattr(folding, "GLANCE_SECONDS", 3_600.0)
        await work.enqueue()
        assert 1 == await count()
        monkeypatch.setattr(folding, "GLANCE_ROWS", 1)
        assert 2 == await count()


async def test_a_glance_is_not_held_up_by_what_the_engine_reads(tmp_path: Path) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:

        @queue.task
        async def work() -> None: ...

        task = await work.enqueue()
        assert 1 == (await queue.get_task_stats())["total"]
        go_on = threading.Event()
        storage = queue.storage
        assert isinstance(storage, DuckDBStorage)
        engine_reads = storage._reader.submit(lambda _: go_on.wait())
        try:
            with glance():
                async with asyncio.timeout(PATIENCE):
                    assert await queue.get_task_info(task.id) is not None
                    assert 1 == len(await queue.get_history(task.id))
                    assert 1 == len((await queue.tasks.where().page()).tasks)
                    assert [] == await queue.get_logs(task.id)
            assert not engine_reads.done()
        finally:
            go_on.set()
        await asyncio.wrap_future(engine_reads)


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
