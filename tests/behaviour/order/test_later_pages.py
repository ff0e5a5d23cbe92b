"""Delayed tasks beyond the window: they start, nothing spins, and the clock may step back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from support.queues import PATIENCE, DuckDBHome, SteppableClock
from support.records import NOW, record
from wopr import Settings, TaskQueue
from wopr.engine.pools.lanes import Key, Lanes

DAY = timedelta(days=1)


class TickingClock(SteppableClock):
    """A clock that also goes on by itself, a little with each look at it."""

    def now(self) -> datetime:
        """Return the time, later than at the last look."""
        self.time += timedelta(milliseconds=1)
        return self.time


async def test_a_task_that_is_due_before_a_full_window_of_later_ones_starts(
    tmp_path: Path,
) -> None:
    clock = TickingClock()
    queue = DuckDBHome(tmp_path / "q.duckdb").queue(settings=Settings(window=10), clock=clock)

    @queue.task
    async def echo(number: int) -> int:
        return number

    async with queue:
        await queue.start_workers("default", 1)
        await echo.options(delay=DAY).enqueue_many([(number,) for number in range(10)])
        handles = [await echo.options(delay=60 + n).enqueue(n) for n in range(3)]
        clock.advance(100, queue)
        assert [0, 1, 2] == [await handle.result(timeout=PATIENCE) for handle in handles]


def test_a_pool_sleeps_until_the_next_task_is_due_once_it_knows_it() -> None:
    lanes = Lanes(window=4)
    soon = NOW + timedelta(seconds=1)
    for seq in range(1, 5):
        lanes.push(record(seq, run_at=NOW + DAY), NOW)
    lanes.push(record(5, run_at=soon), NOW)
    assert soon == lanes.next_due()

    lanes.promote(soon)
    assert lanes.wants_later(soon)  # though memory is full of tasks that are due much later
    lanes.later_started()
    lanes.later_ended(None, full=False)
    for priority, _ in lanes.lanes_to_page():
        lanes.page_started(priority)
        lanes.page_ended(priority, 5 if priority == (2, False) else None, full=False)

    assert NOW + DAY == lanes.next_due()
    assert [] == lanes.lanes_to_page()


def test_what_a_page_brought_may_start_although_more_becomes_due_all_the_time() -> None:
    lanes = Lanes(window=4)
    lanes.reset(NOW)
    lanes.page_started(Key(2, at_front=False))
    lanes.add_paged(record(7), NOW)
    lanes.page_ended(Key(2, at_front=False), 7, full=True)
    lanes.later_beyond = NOW  # the next delayed task of the storage is due already

    for key in (Key(4, at_front=False), Key(3, at_front=False)):
        lanes.page_started(key)
        lanes.page_ended(key, None, full=False)
    # a page clears what `reset` asked for; the lanes above are empty now
    lanes.promote(NOW)
    taken = lanes.pop()
    assert taken is not None
    assert 7 == taken.seq


def test_memory_holds_a_bounded_number_of_delayed_tasks() -> None:
    lanes = Lanes(window=4)
    for seq in range(1, 20):
        lanes.add_paged(record(seq, run_at=NOW + seq * DAY), NOW)
    left = lanes.trim()
    assert list(range(9, 20)) == [one.seq for one in left]
    assert (8, NOW + 9 * DAY) == (lanes.qsize(), lanes.later_beyond)


async def test_a_task_that_was_due_when_the_queue_opened_is_not_forgotten_when_the_clock_steps_back(
    tmp_path: Path,
) -> None:
    clock = SteppableClock()
    home = DuckDBHome(tmp_path / "q.duckdb")

    def queue_of_home() -> TaskQueue:
        return home.queue(clock=clock)

    first = queue_of_home()
    first.register_task("echo")(_echo)
    async with first:
        task_id = (await first.enqueue("echo", (5,), delay=60)).id
    clock.advance(120)

    second = queue_of_home()
    second.register_task("echo")(_echo)
    async with second:  # it is due
        clock.advance(-90)
        await second.start_workers("default", 1)
        while second.queues["default"].empty():  # read, and not due any more
            await asyncio.sleep(0)
        clock.advance(40, second)
        assert 5 == (await second.wait(task_id, timeout=PATIENCE)).result


async def _echo(number: int) -> int:
    return number
