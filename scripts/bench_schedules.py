"""The part of the benchmark about schedules: the tick, the burst, and memory."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench_workloads import peak_rss

from wopr import Overlap, Settings, TaskQueue
from wopr.domain.schedule import Schedule, decide, settle
from wopr.domain.triggers import Cron, Interval, Trigger
from wopr.engine.schedules.book import ScheduleBook
from wopr.queue.queue import inside

ACTIVE = 10_000
BURST = 1_000
TICKS = 200
PERIOD = 100


class Hand:
    """A clock that the benchmark moves."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.time

    def monotonic(self) -> float:
        """Return real seconds."""
        return time.monotonic()


def schedule(name: str, trigger: Trigger, now: datetime) -> Schedule:
    """Return a row as if it had been added now."""
    row = Schedule(
        name=name,
        task="noop",
        category="default",
        priority=2,
        max_retries=0,
        args="[]",
        kwargs="{}",
        trigger=trigger,
        overlap=Overlap.ALLOW,
        created_at=now,
        updated_at=now,
    )
    row.plan(now)
    return row


async def with_rows(
    folder: str, clock: Hand, make: Callable[[int], Trigger], count: int
) -> TaskQueue:
    """Return an open queue with so many schedules."""
    queue = TaskQueue(
        enabled=True,
        database=Path(folder) / "schedules.duckdb",
        settings=Settings(scheduler=False),
        clock=clock,
    )
    await queue.sql("select 1")
    rows = [schedule(f"schedule {number}", make(number), clock.now()) for number in range(count)]
    await queue.storage.save_schedules(rows)
    await queue.schedules.tick()
    return queue


async def many(result: dict[str, float]) -> None:
    """Tick once a second with 10,000 schedules, of which 100 are due each time."""
    clock = Hand()
    began_at = clock.now()

    def every(number: int) -> Trigger:
        offset = timedelta(seconds=number * PERIOD / ACTIVE)
        return Interval(timedelta(seconds=PERIOD), began_at + offset)

    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        queue = await with_rows(folder, clock, every, ACTIVE)
        queue.register_task("noop")(noop)
        await queue.start_workers("default", 10)
        book = inside(queue).access.local.schedules.book
        whole = []
        for _ in range(TICKS):
            clock.time += timedelta(seconds=1)
            began = time.perf_counter()
            await queue.schedules.tick()
            whole.append(time.perf_counter() - began)
        decide_tick(book, clock)  # the first one allocates what the others reuse
        resident = current_rss()
        deciding = [decide_tick(book, clock) for _ in range(10 * TICKS)]
        result["tick of 10,000 schedules, deciding, p99 (ms)"] = (
            1_000 * sorted(deciding)[-len(deciding) // 100]
        )
        result["growth in 2,000 such decisions (MB)"] = current_rss() - resident
        result["tick of 10,000 schedules, 100 enqueued (ms)"] = 1_000 * statistics.median(whole)
        await queue.shutdown()


def decide_tick(book: ScheduleBook, clock: Hand) -> float:
    """Do what a tick does but enqueue nothing; return the seconds that it took."""
    clock.time += timedelta(seconds=1)
    began = time.perf_counter()
    names = book.take_due(clock.now(), ACTIVE)
    for name in names:
        row = book.rows[name]
        settle(row, decide(row, clock.now(), book.live(name)), None)
        book.plan(row)
    assert len(names) == ACTIVE // PERIOD
    return time.perf_counter() - began


async def burst(result: dict[str, float]) -> None:
    """Let 1,000 schedules fire in the same second."""
    clock = Hand()
    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        queue = await with_rows(folder, clock, lambda _: Cron("* * * * *"), BURST)
        clock.time += timedelta(minutes=1)
        began = time.perf_counter()
        fired = await queue.schedules.tick()
        result["1,000 schedules due at once, enqueued (s)"] = time.perf_counter() - began
        assert len(fired) == BURST
        await queue.shutdown()


async def measure(result: dict[str, float]) -> None:
    """Add the figures."""
    await many(result)
    await burst(result)


async def noop() -> None:
    """Do nothing."""


def current_rss() -> float:
    """Return the memory of this process now, in MB; its peak where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_rss()
    return pages * resource.getpagesize() / 1024 / 1024
