"""What seeds have found, one by one."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import Any

import pytest

from wopr.access.starting import new_engine
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import StorageError
from wopr.domain.newtask import NewTask
from wopr.domain.retry import DEFAULT
from wopr.domain.status import Move
from wopr.engine.engine import Engine
from wopr.engine.foreground import Foreground
from wopr.engine.shared import to_its_end
from wopr.executors.threads import inline
from wopr.ports.storage import TaskFilter
from wopr.simulation.clock import VirtualClock
from wopr.simulation.disk import Disk
from wopr.simulation.faults import Dice, Faults
from wopr.simulation.loop import VirtualLoop
from wopr.simulation.storage import SimulatedStorage


async def test_an_error_after_its_caller_has_gone_is_nobodys_complaint() -> None:
    """A caller gave up on pause() or set_limit(), the disk refused it, and asyncio complained."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, said: complaints.append(said))
    written: asyncio.Future[None] = loop.create_future()

    async def write() -> None:
        await written

    caller = asyncio.ensure_future(to_its_end(write()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    written.set_exception(StorageError("The disk refused it."))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_who_waits_is_told_the_error() -> None:
    async def write() -> None:
        raise StorageError("The disk refused it.")

    with pytest.raises(StorageError, match="refused"):
        await to_its_end(write())


def test_a_start_that_failed_writes_nothing_into_the_storage_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A child that had run and failed was let go once more, by an engine that was never open."""
    clock = VirtualClock()
    loop = VirtualLoop(clock, lambda: None)
    storage = SimulatedStorage(Disk(), Dice(Faults.none(), 0), lambda: None)
    registry = Registry(PayloadLimits())
    for name in ("parent", "child"):
        registry.add(
            lambda: None,
            name=name,
            category=name,
            priority=2,
            max_retries=0,
            retry=DEFAULT,
            timeout=None,
        )

    def engine() -> Engine:
        return new_engine(storage, registry, clock, random.Random(0), Settings(), Foreground())

    waiting = SimulatedStorage.waiting

    async def breaks(self: SimulatedStorage, after: int, limit: int, **more: Any) -> Any:
        if after:
            raise StorageError("The disk can't be read.")
        return await waiting(self, after, limit, **more)

    async def work() -> list[Move]:
        first = engine()
        await first.start()
        parent = await first.add(_new("parent"))
        child = await first.add(_new("child", parent))
        done = first.wait(parent, None)
        first.pool("parent").add_workers(["w"])
        await done
        await first.drain(0)
        await first.close()

        monkeypatch.setattr(SimulatedStorage, "waiting", breaks)
        with pytest.raises(StorageError, match="can't be read"):
            await engine().start()
        monkeypatch.setattr(SimulatedStorage, "waiting", waiting)
        third = engine()
        await third.start()
        third.pool("child").add_workers(["w"])
        await third.wait(child, None)
        await asyncio.sleep(5)
        assert len(await third.find(TaskFilter(), None)) == 2
        moves = [made.move for made in await storage.history(child)]
        await third.drain(0)
        await third.close()
        return moves

    with inline():
        moves = loop.run_until_complete(work())
    loop.bury()
    loop.close()
    assert moves == [Move.ADD, Move.CLAIM, Move.SUCCEED]


def _new(name: str, *parents: str) -> NewTask:
    return NewTask(
        name=name,
        category=name,
        priority=2,
        max_retries=0,
        args="[]",
        kwargs="{}",
        depends_on=parents,
    )
