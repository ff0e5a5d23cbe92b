"""What a child of the crash test does until it is killed: enqueue, work, read, pause.

It goes on until then, however slow the machine is: a point is reached because the work
never ends, not because it was quick enough. It tells what it knows by lines appended to a
file (``os.write`` to O_APPEND survives the process): ``ack`` once an id was returned,
``run`` when a function starts, ``done`` when it returns, ``got`` once a result was handed out.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import signal
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import wait_none

from wopr import Misfire, Overlap, TaskPriority, TaskQueue, current_task
from wopr.config import crashpoint
from wopr.config.settings import Settings
from wopr.domain.errors import StorageError
from wopr.storage.duckdb import checkpoints, folding
from wopr.storage.duckdb.journal import segments

CATEGORIES = ("fast", "slow")
PADDING = (*(0,) * 36, 100, 5_000, 60_000, 250_000)
"""How long payloads are: from nothing to nearly the largest that is allowed."""
MOST_BULKS = 5
"""So many bulks wait at a time: on a slow disk they come faster than they are worked off."""
BEAT_MILLISECONDS = 100
"""So often the schedule is due, and what a slow machine missed is made up for."""
LIFE_SECONDS = 300
"""After that a child ends that nobody kills: the test that had to is gone."""


@dataclass(frozen=True)
class Orders:
    """What one child is told."""

    database: Path
    journal: Path
    seed: int
    point: str = ""
    passes: int = 0
    drain: bool = False
    """Work off everything, enqueue nothing, end cleanly."""


class Journal:
    """The file of what the child knows."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, *words: object) -> None:
        """Append one line, at once."""
        os.write(self._fd, (" ".join(map(str, words)) + "\n").encode())


def outcome(number: int, attempt: int) -> str:
    """Say how attempt ``attempt`` of task ``number`` ends: success, or an error."""
    if number % 7 == 3:
        return "error"
    if number % 5 == 2 and attempt == 1:
        return "error"
    return "success"


def _define(queue: TaskQueue, journal: Journal) -> dict[str, Any]:
    def begin() -> tuple[str, int]:
        me = current_task()
        journal.say("run", me.id, me.attempt)
        return me.id, me.attempt

    def finish(number: int, task_id: str, attempt: int) -> int:
        journal.say("done", task_id, attempt)
        if outcome(number, attempt) == "error":
            raise ValueError(f"{number} fails in attempt {attempt} – as told")
        return number * 2

    @queue.task(name="fast", category="fast", max_retries=1, retry=wait_none())
    async def fast(number: int, padding: str = "") -> int:
        me = begin()
        return finish(number, *me)

    @queue.task(name="slow", category="slow", max_retries=1, retry=wait_none())
    async def slow(number: int, padding: str = "") -> int:
        me = begin()
        current_task().progress(50, "half – way")
        await asyncio.sleep(0.015)
        return finish(number, *me)

    @queue.task(name="thread", category="slow", priority=TaskPriority.HIGH, max_retries=1)
    def thread(number: int, padding: str = "") -> int:
        me = begin()
        return finish(number, *me)

    @queue.schedule(
        every={"milliseconds": BEAT_MILLISECONDS},
        overlap=Overlap.ALLOW,
        misfire=Misfire.RUN_ALL,
        misfire_limit=10_000,
    )
    @queue.task(name="beat", category="fast")
    async def beat() -> int:
        return finish(0, *begin())

    return {"fast": fast, "slow": slow, "thread": thread}


class Scenario:
    """One child's life."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.rng = random.Random(orders.seed)
        self.journal = Journal(orders.journal)
        self.queue = TaskQueue(
            enabled=True,
            database=orders.database,
            settings=Settings(max_crashes=1_000_000, window=20, scheduler=not orders.drain),
        )
        self.tasks = _define(self.queue, self.journal)

    async def run(self) -> None:
        """Work until killed, or until everything is done."""
        async with self.queue:
            self.journal.say("open", os.getpid())
            for category in CATEGORIES:
                await self.queue.start_workers(category, 3)
            if self.orders.drain:
                await self._drain()
                return
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(self._caller())
                group.create_task(self._bulk())
                group.create_task(self._reader())
                if self.orders.point.startswith("checkpoint."):
                    group.create_task(self._checkpoints())

    async def _caller(self) -> None:
        for turn in itertools.count():
            name = self.rng.choice(["fast", "fast", "fast", "slow", "thread"])
            number = self.rng.randrange(1_000_000)
            waits = turn % 4 == 0
            handle = (
                await self.tasks[name]
                .options(
                    delay=self.rng.choice([None, None, None, 0.005]),
                    priority=TaskPriority.CRITICAL if waits else None,
                )
                .enqueue(number, "x" * self.rng.choice(PADDING))
            )
            self.journal.say("ack", handle.id, name, number)
            if waits:
                await self._result(handle, number)
            if turn % 10 == 9:
                await asyncio.sleep(0.03)

    async def _result(self, handle: Any, number: int) -> None:
        info = await self.queue.wait(handle.id)
        if info.status.value == "success":
            assert info.result == number * 2
            self.journal.say("got", handle.id)

    async def _bulk(self) -> None:
        waiting: deque[Any] = deque()
        while True:
            numbers = [self.rng.randrange(1_000_000) for _ in range(30)]
            handles = await self.tasks["fast"].enqueue_many([(number,) for number in numbers])
            for handle, number in zip(handles, numbers, strict=True):
                self.journal.say("ack", handle.id, "fast", number)
            waiting.append(handles[-1])
            if len(waiting) > MOST_BULKS:  # what is left to the last child has an end
                await self.queue.wait(waiting.popleft().id)
            await asyncio.sleep(0.04)

    async def _reader(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            waiting = await self.queue.get_tasks(status="pending", limit=3)
            for info in waiting[:1]:
                if await self.queue.cancel_task(info.id):
                    self.journal.say("cancelled", info.id)

    async def _checkpoints(self) -> None:
        """Do again and again what is done in a quiet moment, which may never come."""
        folding_now = self.queue.storage._folding

        def checkpoint(_: object) -> None:
            folding_now._checkpoints.make(folding_now.pending.position)

        while True:
            number = self.rng.randrange(1_000_000)
            handle = await self.tasks["fast"].enqueue(number)  # something to be moved
            self.journal.say("ack", handle.id, "fast", number)
            with contextlib.suppress(StorageError):  # somebody reads just now: the next time
                await asyncio.wrap_future(self.queue.storage.in_writer(checkpoint))

    async def _drain(self) -> None:
        while True:
            stats = await self.queue.get_task_stats()
            by_status = stats["by_status"]
            if not any(by_status.get(name) for name in ("pending", "started", "retry")):
                return
            await asyncio.sleep(0.02)


def live(orders: Orders) -> None:
    """Be the child. Every pause is long enough to fold and to checkpoint; segments are short."""
    signal.alarm(LIFE_SECONDS)
    logging.disable(logging.CRITICAL)
    lower_thresholds()
    if orders.point:
        crashpoint._remaining[orders.point] = orders.passes
    asyncio.run(Scenario(orders).run())


def lower_thresholds() -> None:
    """Let all that the storage does happen in a life of some milliseconds."""
    folding.QUIET_SECONDS = 0.001
    checkpoints.QUIET_SECONDS = 0.02
    checkpoints.QUIET_BYTES = 1
    segments.FIRST_BYTES = segments.SEGMENT_BYTES = 8192
