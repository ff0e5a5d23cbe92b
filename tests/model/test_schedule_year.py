"""A year of schedules in two zones, with restarts and crashes at random moments.

What was enqueued is compared with an enumeration that shares no code with the triggers: it
looks at every minute of the year on both walls.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.queues import DuckDBHome, SteppableClock, files_beside
from wopr import Misfire, Overlap, Settings, TaskQueue

BEGIN = datetime(2029, 12, 31, 23, 30, tzinfo=UTC)
END = datetime(2031, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CATCH_UP: dict[str, Any] = {
    "misfire": Misfire.RUN_ALL,
    "misfire_limit": 10_000,
    "overlap": Overlap.ALLOW,
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "berlin": {"at": "02:30", "tz": "Europe/Berlin"},  # skipped in March, twice in October
    "new york": {"cron": "15 */6 * * *", "tz": "America/New_York"},
    "workdays": {"cron": "0 1 * * MON-FRI", "tz": "America/New_York"},  # twice in November
    "interval": {"interval": timedelta(hours=7)},
}


def walls(zone: str) -> Iterator[tuple[datetime, datetime]]:
    """Give every minute of the year with the wall time it has."""
    where = ZoneInfo(zone)
    moment = BEGIN
    while moment < END:
        moment += MINUTE
        yield moment, moment.astimezone(where).replace(tzinfo=None, fold=0)


def daily(zone: str, hour: int, minute: int, days: range = range(7)) -> list[datetime]:
    """Give the first minute of each day at which the wall has reached a time of day."""
    found: dict[object, datetime] = {}
    began = False
    for moment, wall in walls(zone):
        reached = (wall.hour, wall.minute) >= (hour, minute)
        began = began or not reached  # the rest of the first day is over
        if reached and began and wall.weekday() in days:
            found.setdefault(wall.date(), moment)
    return list(found.values())


def expected() -> dict[str, list[datetime]]:
    new_york = [
        moment
        for moment, wall in walls("America/New_York")
        if wall.hour % 6 == 0 and wall.minute == 15
    ]
    interval = [BEGIN + n * timedelta(hours=7) for n in range(1, 2_000)]
    return {
        "berlin": daily("Europe/Berlin", 2, 30),
        "new york": new_york,
        "workdays": daily("America/New_York", 1, 0, range(5)),
        "interval": [moment for moment in interval if moment <= END],
    }


def declared(home: DuckDBHome, clock: SteppableClock) -> TaskQueue:
    queue = home.queue(clock=clock, settings=Settings(scheduler=False))

    @queue.task
    async def beat() -> None: ...

    for name, when in SCHEDULES.items():
        queue.schedule(name=name, **when, **CATCH_UP)(beat)
    return queue


def renamed(home: DuckDBHome, name: str) -> DuckDBHome:
    for old in [home.path, *files_beside(home.path)]:
        old.rename(home.path.with_name(name + old.name[len(home.path.name) :]))
    return DuckDBHome(home.path.with_name(name))


async def live_until(
    queue: TaskQueue, clock: SteppableClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Live for a random number of ticks; return whether a crash loses the last rows."""
    await queue.schedules.sync()
    for _ in range(rng.randrange(8)):
        clock.time = min(END, clock.time + rng.random() ** 3 * timedelta(days=5))
        await queue.schedules.tick()
    if rng.random() < 0.5:
        return False

    async def lost(rows: Any) -> None:
        """Die before the rows are written."""

    with monkeypatch.context() as patch:
        patch.setattr(queue.storage, "save_schedules", lost)
        clock.time = min(END, clock.time + rng.random() * timedelta(days=3))
        await queue.schedules.tick()
    return True


async def test_a_simulated_year_fires_exactly_what_was_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("WOPR_TEST_SEED", "0")) or int.from_bytes(os.urandom(3), "big")
    print(f"WOPR_TEST_SEED={seed} makes the same year again")
    rng = random.Random(seed)
    clock = SteppableClock(BEGIN)
    home = DuckDBHome(tmp_path / "tasks.duckdb")
    lives = crashes = 0
    while clock.now() < END:
        lives += 1
        crashed = None
        async with declared(home, clock) as queue:
            if await live_until(queue, clock, rng, monkeypatch):
                crashes += 1
                crashed = await home.crash_image(queue)
        home = home if crashed is None else renamed(crashed, f"life-{lives}.duckdb")
    async with declared(home, clock) as queue:
        assert [] == await queue.schedules.tick()
        found: dict[str, list[datetime]] = {name: [] for name in SCHEDULES}
        for task in reversed(await queue.get_tasks(limit=100_000)):
            assert task.schedule is not None
            assert task.scheduled_for is not None
            found[task.schedule].append(task.scheduled_for)
    assert lives > 10
    assert crashes > 3
    assert expected() == found
