"""The event loop on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from wopr.simulation.clock import VirtualClock
from wopr.simulation.loop import StandstillError, VirtualLoop

Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def loop(clock: VirtualClock) -> Iterator[VirtualLoop]:
    loop = VirtualLoop(clock, lambda: None)
    yield loop
    loop.close()


def test_a_year_of_sleep_takes_no_time(clock: VirtualClock, loop: VirtualLoop) -> None:
    began = clock.now()

    loop.run_until_complete(asyncio.sleep(365 * 86_400))

    assert clock.monotonic() == pytest.approx(365 * 86_400)
    assert (clock.now() - began).days == 365


def test_timers_fire_in_the_order_of_their_times(loop: VirtualLoop) -> None:
    told: list[str] = []

    async def work() -> None:
        loop.call_later(3, told.append, "third")
        loop.call_later(1, told.append, "first")
        loop.call_later(2, told.append, "second")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await loop.create_future()

    loop.run_until_complete(work())
    assert told == ["first", "second", "third"]
    assert loop.time() == pytest.approx(5)


def test_who_waits_for_nobody_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(StandstillError, match="Nothing is left that could ever happen"):
        loop.run_until_complete(loop.create_future())


def test_who_goes_round_and_round_is_told(loop: VirtualLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(StandstillError, match="round and round"):
        loop.run_until_complete(spin())
    loop.bury()


def test_what_is_sent_to_threads_runs_here(loop: VirtualLoop) -> None:
    import threading

    async def work() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(threading.get_ident)

    assert threading.get_ident() == loop.run_until_complete(work())


def test_a_clock_that_was_set_is_set_right_again(clock: VirtualClock) -> None:
    true = clock.now()
    clock.set_by(-60)
    assert (true - clock.now()).total_seconds() == 60
    assert clock.monotonic() == 0
    clock.set_right()
    assert true == clock.now()


def test_a_buried_loop_lets_go_of_those_who_hold_on(loop: VirtualLoop) -> None:
    ended: list[str] = []
    left_behind: list[asyncio.Task[None]] = []

    async def stubborn() -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ended.append("stubborn")
            raise

    async def work() -> None:
        left_behind.append(loop.create_task(stubborn()))
        await asyncio.sleep(1)

    loop.run_until_complete(work())
    loop.bury()
    assert ended == ["stubborn"]
    assert loop.time() == pytest.approx(1)
