"""What seeds have found, one by one."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tenacity import wait_fixed

from wopr.access.starting import new_engine, whole_start
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.clock import naive_now
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import StorageError
from wopr.domain.newtask import NewTask
from wopr.domain.retry import DEFAULT, RetryPolicy
from wopr.domain.status import Move
from wopr.engine.engine import Engine
from wopr.engine.foreground import Foreground
from wopr.engine.shared import to_its_end
from wopr.executors.threads import inline
from wopr.simulation.clock import VirtualClock
from wopr.simulation.disk import Disk
from wopr.simulation.faults import Dice, Faults
from wopr.simulation.loop import VirtualLoop
from wopr.simulation.storage import SimulatedStorage


async def test_an_error_after_its_caller_has_gone_is_logged_and_nobodys_complaint(
    caplog: pytest.LogCaptureFixture,
) -> None:
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
    [told] = caplog.messages
    assert "write failed after its caller had given up: StorageError: The disk refused it." in told


async def test_who_waits_is_told_the_error() -> None:
    async def write() -> None:
        raise StorageError("The disk refused it.")

    with pytest.raises(StorageError, match="refused"):
        await to_its_end(write())


SPAN = timedelta(seconds=20)
Opening = Callable[[Engine, pytest.MonkeyPatch], Coroutine[Any, Any, None]]


async def fails(engine: Engine, patch: pytest.MonkeyPatch) -> None:
    """Open an engine whose storage can't be read to the end."""
    waiting = SimulatedStorage.waiting

    async def breaks(self: SimulatedStorage, after: int, limit: int, **more: Any) -> Any:
        if after:
            raise StorageError("The disk can't be read.")
        return await waiting(self, after, limit, **more)

    with patch.context() as here:
        here.setattr(SimulatedStorage, "waiting", breaks)
        with pytest.raises(StorageError, match="can't be read"):
            await whole_start(engine)


async def is_given_up(engine: Engine, patch: pytest.MonkeyPatch) -> None:
    """Open an engine for a caller that does not wait for it."""
    opening = asyncio.ensure_future(whole_start(engine))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


@pytest.mark.parametrize("opening", [fails, is_given_up])
def test_an_opening_that_came_to_nothing_writes_nothing_into_the_storage_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    """A child that had run was let go once more, by an engine that nobody had."""
    storage = SimulatedStorage(Disk(), Dice(Faults.none(), 0), lambda: None)
    clock, registry = VirtualClock(), Registry(PayloadLimits())
    loop = VirtualLoop(clock, lambda: None)
    for name in ("parent", "child"):
        options: dict[str, Any] = {"max_retries": 0, "retry": DEFAULT, "timeout": None}
        registry.add(lambda: None, name=name, category=name, priority=2, **options)

    def engine() -> Engine:
        return new_engine(storage, registry, clock, random.Random(0), Settings(), Foreground())

    async def ended(engine: Engine, task_id: str, category: str) -> None:
        engine.pool(category).add_workers(["w"])
        await engine.wait(task_id, None)

    async def work() -> list[Move]:
        first = engine()
        await first.start()
        parent = await first.add(_new("parent"))
        child = await first.add(_new("child", parent))
        await ended(first, parent, "parent")
        await first.drain(0)
        await first.close()
        await opening(engine(), monkeypatch)
        last = engine()
        await last.start()
        await ended(last, child, "child")
        await asyncio.sleep(5)
        moves = [made.move for made in await storage.history(child)]
        await last.drain(0)
        await last.close()
        return moves

    with inline():
        moves = loop.run_until_complete(work())
    loop.bury()
    loop.close()
    assert moves == [Move.ADD, Move.CLAIM, Move.SUCCEED]


class SlowDisk(Dice):
    """A disk that takes five seconds for each group of writes."""

    def at_once(self) -> bool:
        return False

    def commit_seconds(self) -> float:
        return 5.0


def test_a_delay_is_no_longer_when_the_clock_is_set_back_while_its_task_is_written() -> None:
    """It was as much longer as the clock was set back: for hours."""
    storage = SimulatedStorage(Disk(), SlowDisk(Faults.none(), 0), lambda: None)
    clock, registry = VirtualClock(), Registry(PayloadLimits())
    loop = VirtualLoop(clock, lambda: None)
    started: list[float] = []
    registry.add(
        lambda: started.append(clock.seconds),
        name="late",
        category="late",
        priority=2,
        max_retries=0,
        retry=DEFAULT,
        timeout=None,
    )

    async def work() -> None:
        engine = new_engine(storage, registry, clock, random.Random(0), Settings(), Foreground())
        await engine.start()
        engine.pool("late").add_workers(["w"])
        engine.heartbeat.start()
        new = replace(_new("late"), options='{"delay": 20.0}', run_at=naive_now(clock) + SPAN)
        adding = asyncio.ensure_future(engine.add(new))
        await asyncio.sleep(1)
        clock.set_by(-7_200)
        await engine.wait(await adding, None)
        await engine.drain(0)
        await engine.close()

    with inline():
        loop.run_until_complete(work())
    loop.bury()
    loop.close()
    [at] = started
    assert 20 <= at <= 60, "not before its delay is over, and not two hours later"


def test_a_retry_is_no_later_when_the_clock_is_set_just_before_it_begins_to_wait() -> None:
    """What began to wait before it was noticed was put off by as much as the clock was set."""
    storage = SimulatedStorage(Disk(), Dice(Faults.none(), 0), lambda: None)
    clock, registry = VirtualClock(), Registry(PayloadLimits())
    loop = VirtualLoop(clock, lambda: None)
    started: list[float] = []

    def work() -> None:
        started.append(clock.seconds)
        if len(started) == 1:
            raise OSError("this attempt fails")

    policy = RetryPolicy(wait=wait_fixed(5))
    options: dict[str, Any] = {"max_retries": 1, "retry": policy, "timeout": None}
    registry.add(work, name="again", category="again", priority=2, **options)

    async def live() -> None:
        engine = new_engine(storage, registry, clock, random.Random(0), Settings(), Foreground())
        await engine.start()
        engine.heartbeat.start()
        clock.set_by(-3_000)
        await asyncio.sleep(2)
        engine.pool("again").add_workers(["w"])
        clock.set_right()
        await engine.wait(await engine.add(replace(_new("again"), max_retries=1)), None)
        await engine.drain(0)
        await engine.close()

    with inline():
        loop.run_until_complete(live())
    loop.bury()
    loop.close()
    first, second = started
    assert 5 <= second - first <= 7


def _new(name: str, *parents: str) -> NewTask:
    options: dict[str, Any] = {"priority": 2, "max_retries": 0, "args": "[]", "kwargs": "{}"}
    return NewTask(name=name, category=name, depends_on=parents, **options)
