"""Hosts that do with a queue what can be done with it, and a storm, by a seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import Any

from tenacity import wait_fixed

from simulation.fleet.server import Weather
from simulation.fleet.world import Host, Storm, World
from wopr import (
    OnConflict,
    OnParentFailure,
    Overlap,
    RetryAfter,
    Snooze,
    StorageError,
    TaskNotFoundError,
    TaskPriority,
    TaskQueue,
    UniqueKeyConflictError,
    WoprError,
    current_task,
)
from wopr.config.settings import Settings

WORKERS = {"plain": 3, "narrow": 3, "rated": 2}
LIMIT = 2
EXPECTED = (StorageError, UniqueKeyConflictError, TaskNotFoundError, TimeoutError)
"""What a call may raise while everything around it fails."""


def storm_of(seed: int) -> Storm:
    """Return what goes wrong under a seed: each kind in some, all of them in others."""
    rng = random.Random(seed)

    def some(*rates: float) -> float:
        return rng.choice([0.0, *rates])

    weather = Weather(
        cut_before=some(0.005, 0.03),
        cut_after=some(0.005, 0.03),
        silent=some(0.002),
        slow=some(0.1, 0.5),
        slowest=rng.choice([0.05, 2.0]),
        deaf=some(0.3, 1.0),
    )
    return Storm(
        weather=weather,
        kill=some(0.0002, 0.001),
        freeze=some(0.0002, 0.0005),
        leave=some(0.0002),
        restart=some(0.0001),
        skew=some(0.4, 3600.0),
        until=45.0,
    )


def build(world: World, name: str) -> TaskQueue:
    """Return a queue with tasks of every kind."""
    world.judge.limits["narrow"] = LIMIT
    settings = Settings(max_crashes=1_000, call_seconds=20.0, shutdown_seconds=1.0)
    rng = random.Random(f"{world.seed} {name}")
    queue = TaskQueue(enabled=True, database="postgresql://s/q", settings=settings, rng=rng)

    async def work(what: list[str], seconds: float) -> int:
        attempt = current_task().attempt
        deed = what[min(attempt, len(what)) - 1]
        current_task().progress(50, "half way")
        await asyncio.sleep(seconds)
        if deed == "fail":
            raise OSError("as told")
        if deed == "snooze":
            raise Snooze(2)
        if deed == "after":
            raise RetryAfter(3)
        if deed == "hang":
            await asyncio.sleep(3_600)
        return attempt

    for category in WORKERS:
        limits: dict[str, Any] = {}
        if category == "narrow":
            limits = {"limit": LIMIT}
        elif category == "rated":
            limits = {"rate": (4, 5.0)}
        given = {"retry": wait_fixed(1), "timeout": 6, **limits}
        queue.task(name=category, category=category, **given)(work)

    @queue.schedule(every=timedelta(seconds=7), name="tick", overlap=Overlap.ALLOW)
    @queue.task(name="tick", category="plain")
    async def tick() -> None:
        await asyncio.sleep(0.5)

    return queue


async def live(world: World, host: Host) -> None:
    """Be a host: have workers, look at schedules, and call."""
    while True:
        try:
            for category, count in WORKERS.items():
                await host.queue.start_workers(category, count)
            await host.queue.start_scheduler(0.5)
            break
        except StorageError:
            await asyncio.sleep(0.5)
        except WoprError:  # it is told to leave before it has begun
            return
    await Caller(world, host).live()


class Caller:
    """Does one thing after the other, and goes on whatever comes of it."""

    def __init__(self, world: World, host: Host) -> None:
        self.world, self.queue = world, host.queue
        self.rng = random.Random(f"{world.seed} {host.name}")
        self.known: list[str] = []

    async def live(self) -> None:
        """Go on until the storm is over."""
        deeds = {
            self._enqueue: 12,
            self._many: 2,
            self._cancel: 3,
            self._retry: 3,
            self._wait: 4,
        }
        while self.world.stormy:
            await asyncio.sleep(self.rng.choice([0.01, 0.5, 3]))
            [deed] = self.rng.choices(list(deeds), list(deeds.values()))
            try:
                async with asyncio.timeout(self.rng.choice([None, None, 0.002, 5])):
                    await deed()
            except EXPECTED:
                continue
            except WoprError as error:
                if "shut" not in str(error):
                    raise
        with contextlib.suppress(WoprError):  # it fires no more, so that all can come to an end
            await self.queue.schedules.pause("tick")

    def _args(self) -> tuple[list[str], float]:
        rng = self.rng
        deeds = ["ok", "ok", "ok", "fail", "snooze", "after", "hang"]
        what = [rng.choice(deeds) for _ in range(rng.randint(0, 2))]
        last = "ok" if rng.random() < 0.8 else "fail"
        return [*what, last], rng.choice([0, 0.01, 1, 4])

    def _told(self, *ids: str) -> None:
        for one in ids:
            self.world.judge.acknowledged(one)
        self.known += ids

    async def _enqueue(self) -> None:
        rng = self.rng
        options: dict[str, Any] = {"max_retries": rng.randint(0, 2)}
        if rng.random() < 0.2:
            options["priority"] = rng.choice(list(TaskPriority))
        if rng.random() < 0.2:
            options["delay"] = rng.choice([0.5, 4])
        elif rng.random() < 0.1:
            options["expires"] = rng.choice([1, 30])
        if rng.random() < 0.3:
            options["unique_key"] = f"key {rng.randint(1, 3)}"
            options["on_conflict"] = rng.choice(list(OnConflict))
        if rng.random() < 0.3 and self.known:
            options["depends_on"] = rng.sample(self.known, min(len(self.known), 2))
            options["on_parent_failure"] = rng.choice(list(OnParentFailure))
        if rng.random() < 0.1:
            options["at_front"] = True
        name = rng.choice(list(WORKERS))
        self._told((await self.queue.enqueue(name, self._args(), **options)).id)

    async def _many(self) -> None:
        calls = [self._args() for _ in range(self.rng.randint(2, 8))]
        name = self.rng.choice(list(WORKERS))
        self._told(*await self.queue.enqueue_ids(name, calls, {}))

    async def _cancel(self) -> None:
        if self.known:
            await self.queue.cancel_task(self.rng.choice(self.known))

    async def _retry(self) -> None:
        if self.known:
            await self.queue.retry_task(self.rng.choice(self.known))

    async def _wait(self) -> None:
        if self.known:
            one = self.rng.choice(self.known)
            info = await self.queue.wait(one, timeout=self.rng.choice([0.1, 10]))
            self.world.judge.told_end(one, info.status.value)


def run(seed: int, storm: Storm | None = None, hosts: int = 3) -> World:
    """Run the universe of a seed, with the storm of that seed unless another one is given."""
    return World(seed, storm or storm_of(seed), hosts, build, live).run()
