"""BackgroundTask: a service of one's own, made of what to take and how to handle it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from behaviour.background.services import some_time
from support.queues import PATIENCE
from wopr.background import BackgroundPriority, BackgroundScheduler, BackgroundTask, TaskState


class Doubler(BackgroundTask[int]):
    """Doubles numbers from a queue; a negative one is an error."""

    error_pause = 0.0

    def __init__(self) -> None:
        super().__init__("doubler", BackgroundPriority.HIGH)
        self.numbers: asyncio.Queue[int] = asyncio.Queue()
        self.doubled: list[int] = []
        self.enough = asyncio.Event()
        self.enough_at = 1
        self.tidied = 0

    async def take(self) -> int:
        return await self.numbers.get()

    async def handle(self, work: int) -> None:
        if work < 0:
            raise ValueError("negative")
        if work == 99:
            raise asyncio.CancelledError
        self.doubled.append(2 * work)
        if len(self.doubled) >= self.enough_at:
            self.enough.set()

    def stopped(self) -> None:
        self.tidied += 1

    async def feed(self, *numbers: int, until: int) -> list[int]:
        self.enough_at = until
        for number in numbers:
            self.numbers.put_nowait(number)
        await asyncio.wait_for(self.enough.wait(), PATIENCE)
        return self.doubled


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


async def test_it_takes_and_handles_one_after_the_other(doubler: Doubler) -> None:
    await doubler.start()
    assert [2, 4, 6] == await doubler.feed(1, 2, 3, until=3)
    await doubler.stop()
    assert 1 == doubler.tidied


async def test_it_is_a_service_of_a_scheduler(doubler: Doubler) -> None:
    scheduler = BackgroundScheduler()
    scheduler.register(doubler)
    await scheduler.start_all()
    assert {"running": True} == doubler.get_progress()
    assert [{"name": "doubler", "state": "running", "priority": 10}] == scheduler.get_all_status()
    await scheduler.shutdown()
    assert TaskState.STOPPED is doubler.state


@pytest.mark.parametrize("bad", [-1, 99])
async def test_work_that_fails_is_logged_and_the_next_is_taken(
    doubler: Doubler, bad: int, caplog: pytest.LogCaptureFixture
) -> None:
    await doubler.start()
    assert [2] == await doubler.feed(bad, 1, until=1)
    await doubler.stop()
    assert "'doubler' failed" in caplog.text


async def test_after_an_error_it_pauses_and_neither_suspend_nor_stop_wait_for_that(
    doubler: Doubler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubler, "error_pause", 3_600.0)
    doubler.numbers.put_nowait(-1)
    doubler.numbers.put_nowait(1)
    await doubler.start()
    await some_time()
    assert [] == doubler.doubled
    await doubler.suspend()
    await doubler.resume()
    assert [2] == await doubler.feed(until=1)
    doubler.numbers.put_nowait(-1)
    await some_time()
    await doubler.stop()


async def test_work_that_fails_during_a_stop_does_not_hold_it_up(
    doubler: Doubler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubler, "error_pause", 3_600.0)
    handling, fail = asyncio.Event(), asyncio.Event()

    async def handle(work: int) -> None:
        handling.set()
        await fail.wait()
        raise ValueError("late")

    monkeypatch.setattr(doubler, "handle", handle)
    doubler.numbers.put_nowait(1)
    await doubler.start()
    await handling.wait()
    stopping = asyncio.create_task(doubler.stop())
    await some_time()
    fail.set()
    await stopping
    assert TaskState.STOPPED is doubler.state


async def test_a_service_whose_event_loop_ends_ends_with_it() -> None:
    handled: list[Any] = []

    async def main() -> None:
        doubler = Doubler()
        await doubler.start()
        await doubler.feed(1, until=1)
        handled.extend(doubler.doubled)

    await asyncio.to_thread(asyncio.run, main())  # without a stop: nothing hangs, nothing warns
    assert [2] == handled


@pytest.mark.parametrize("stopped", [True, False])
def test_it_starts_again_on_another_event_loop(doubler: Doubler, stopped: bool) -> None:
    async def main(number: int) -> None:
        doubler.numbers = asyncio.Queue()
        doubler.enough = asyncio.Event()
        await doubler.start()
        await some_time()
        await doubler.feed(number, until=number)
        if stopped:
            await doubler.stop()

    for number in (1, 2):
        asyncio.run(main(number))
    assert [2, 4] == doubler.doubled
