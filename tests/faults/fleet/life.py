"""What a host of the campaign does until it is killed: enqueue, work, change, wait, read.

It tells what it knows by lines appended to a file: ``ack`` once an id was returned, ``run`` when
a function starts, ``done`` when it returns, ``got`` once a result was handed out, ``cancelled``
and ``retried`` once that was acknowledged, ``error`` when a call said that it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import signal
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tenacity import wait_none

from wopr import Misfire, OnConflict, OnParentFailure, Overlap, TaskQueue, current_task
from wopr.config.settings import Settings
from wopr.domain.errors import InvalidCallError, StorageError, UniqueKeyConflictError
from wopr.fleet import fleet, owner
from wopr.storage.postgres import connections

LIFE_SECONDS = 600
"""After that a child ends that nobody kills: the campaign that had to is gone."""
TICK = timedelta(milliseconds=200)
LIMIT = 2
LEASE_SECONDS = 1.5
LOOK_SECONDS = 0.1
PAUSE_SECONDS = 2


@dataclass(frozen=True)
class Orders:
    """What one host is told."""

    address: str
    said: Path
    seed: int
    kind: str
    """``story``: each verb once, then it ends; ``storm``: until it is killed; ``works``: the same
    without calls of its own; ``drain``: until all is done, then it ends."""
    call_seconds: float = 20.0


class Journal:
    """The file of what is known."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, *words: object) -> None:
        """Append one line, at once."""
        os.write(self._fd, (json.dumps([*map(str, words)]) + "\n").encode())


def outcome(number: int, attempt: int) -> str:
    """Say how attempt ``attempt`` of task ``number`` ends: success, or an error."""
    if number % 7 == 3 or (number % 5 == 2 and attempt == 1):
        return "error"
    return "success"


def define(queue: TaskQueue, journal: Journal) -> Any:
    """Give a queue the functions of the campaign; return the first of them."""

    def finish(number: int) -> int:
        me = current_task()
        journal.say("done", me.id, me.attempt)
        if outcome(number, me.attempt) == "error":
            raise ValueError(f"{number} fails in attempt {me.attempt}, as told")
        return number * 2

    def begin() -> None:
        me = current_task()
        journal.say("run", me.id, me.attempt)

    @queue.task(name="fast", category="fast", max_retries=1, retry=wait_none())
    async def fast(number: int) -> int:
        begin()
        return finish(number)

    @queue.task(name="slow", category="slow", max_retries=1, retry=wait_none())
    async def slow(number: int) -> int:
        begin()
        current_task().progress(50, "half way")
        await asyncio.sleep(0.02)
        return finish(number)

    @queue.task(name="limited", category="limited", limit=LIMIT)
    async def limited(number: int) -> int:
        begin()
        await asyncio.sleep(0.01)
        return finish(number - number % 35)

    @queue.task(name="thread", category="fast", max_retries=1, retry=wait_none())
    def thread(number: int) -> int:
        begin()
        return finish(number)

    @queue.schedule(
        every=TICK,
        name="tick",
        overlap=Overlap.ALLOW,
        misfire=Misfire.RUN_ALL,
        misfire_limit=10_000,
    )
    @queue.task(name="tick", category="fast")
    async def tick() -> None:
        begin()

    return fast


class Life:
    """The life of one host."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.rng = random.Random(orders.seed)
        self.journal = Journal(orders.said)
        settings = Settings(max_crashes=1_000_000, call_seconds=orders.call_seconds)
        self.queue = TaskQueue(enabled=True, database=orders.address, settings=settings)
        self.fast = define(self.queue, self.journal)

    async def run(self) -> None:
        """Work as it was told."""
        while True:
            try:
                await self.queue.__aenter__()
            except StorageError:
                await asyncio.sleep(0.2)  # what starts a worker does so again
            else:
                break
        try:
            await self._live()
        finally:
            await self.queue.shutdown()

    async def _live(self) -> None:
        self.journal.say("open", os.getpid())
        if self.orders.kind in {"story", "drain"}:  # who died in between has left it paused
            await self.queue.resume("slow")
        for category in ("fast", "slow", "limited"):
            await self.queue.start_workers(category, 3)
        await self.queue.start_scheduler(0.05)
        if self.orders.kind == "story":
            await self.story()
        elif self.orders.kind == "drain":
            await self.drain()
        elif self.orders.kind == "works":
            await asyncio.Event().wait()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(self.storm())

    # -- calls -----------------------------------------------------------------

    async def enqueue(self, name: str, **options: Any) -> Any:
        """Enqueue one task; return its handle, if it is acknowledged."""
        number = self.rng.randrange(1_000_000)
        try:
            handle = await self.queue.enqueue(name, (number,), **options)
        except StorageError as error:
            self.journal.say("error", "enqueue", error)
            return None
        self.journal.say("ack", handle.id, name, number)
        return handle

    async def many(self) -> None:
        """Enqueue some at once."""
        numbers = [self.rng.randrange(1_000_000) for _ in range(5)]
        try:
            handles = await self.fast.enqueue_many([(number,) for number in numbers])
        except StorageError as error:
            self.journal.say("error", "enqueue_many", error)
            return
        for handle, number in zip(handles, numbers, strict=True):
            self.journal.say("ack", handle.id, "fast", number)

    async def flow(self) -> None:
        """Enqueue two tasks, and one that waits for both."""
        parents = [await self.enqueue(name) for name in ("slow", "fast")]
        if None not in parents:
            await self.enqueue("slow", depends_on=parents, on_parent_failure=OnParentFailure.RUN)

    async def unique(self) -> None:
        """Enqueue one of a few keys, in one of the ways to deal with another one."""
        key = f"key {self.rng.randrange(3)}"
        how = self.rng.choice(list(OnConflict))
        with contextlib.suppress(UniqueKeyConflictError):
            await self.queue_unique(key, how)

    async def queue_unique(self, key: str, how: OnConflict) -> None:
        """Enqueue a task with a key."""
        try:
            handle = await self.queue.enqueue("slow", (0,), unique_key=key, on_conflict=how)
        except StorageError as error:
            self.journal.say("error", "enqueue", error)
        else:
            self.journal.say("ack", handle.id, "unique", 0)

    async def cancel(self, task_id: str) -> None:
        """Cancel a task."""
        try:
            if await self.queue.cancel_task(task_id):
                self.journal.say("cancelled", task_id)
        except StorageError as error:
            self.journal.say("error", "cancel", error)

    async def retry(self, task_id: str) -> None:
        """Cancel a task, and put it back."""
        with contextlib.suppress(InvalidCallError):
            try:
                await self.queue.retry_task(task_id)
            except StorageError as error:
                self.journal.say("error", "retry", error)

    async def result(self, handle: Any) -> None:
        """Wait for a task."""
        try:
            info = await self.queue.wait(handle.id, timeout=self.orders.call_seconds * 2)
        except StorageError as error:
            self.journal.say("error", "wait", error)
        else:
            self.journal.say("got", handle.id, info.status.value, info.result)

    # -- lives ------------------------------------------------------------------

    async def story(self) -> None:
        """Call each verb once, and end."""
        handles = [await self.enqueue(name) for name in ("fast", "slow", "limited", "thread")]
        await self.many()
        await self.flow()
        for how in OnConflict:
            with contextlib.suppress(UniqueKeyConflictError):
                await self.queue_unique("key 0", how)
        waiting = await self.enqueue("slow", delay=3)
        if waiting is not None:
            await self.cancel(waiting.id)
        for handle in handles:
            if handle is not None:
                await self.result(handle)
        await self.controls()
        await self.queue.get_task_stats()
        await self.queue.get_tasks(limit=3)
        self.journal.say("told")

    async def controls(self) -> None:
        """Set and take back what operators do."""
        await self.queue.pause("slow", reason="a look")
        await self.queue.resume("slow")
        await self.queue.set_limit("slow", concurrency=2)
        await self.queue.remove_limit("slow")
        await self.queue.tasks.where(category="nothing").cancel()
        await self.queue.sql("select count(*) as n from tasks")

    async def storm(self) -> None:
        """Call at random until it is killed."""
        for turn in itertools.count():
            kind = self.rng.choice(["one", "one", "many", "flow", "unique", "cancel", "limited"])
            if kind == "one":
                handle: Any = await self.enqueue(self.rng.choice(["fast", "slow", "thread"]))
                if handle is not None and turn % 4 == 0:
                    await self.result(handle)
            elif kind == "cancel":
                handle = await self.enqueue("slow")
                if handle is not None:
                    await self.cancel(handle.id)
            elif kind == "limited":
                await self.enqueue("limited")
            else:
                await {"many": self.many, "flow": self.flow, "unique": self.unique}[kind]()
            await asyncio.sleep(0.03)

    async def drain(self) -> None:
        """Wait until nothing is left to be done."""
        await self.queue.schedules.pause("tick")
        while True:
            stats = (await self.queue.get_task_stats())["by_status"]
            if not any(stats.get(name) for name in ("pending", "started", "retry")):
                return
            await asyncio.sleep(0.05)


def live(orders: Orders) -> None:
    """Be the host. Leases are short, and looks frequent."""
    signal.alarm(LIFE_SECONDS)
    owner.LEASE_SECONDS = LEASE_SECONDS
    connections.LONGEST_PAUSE = PAUSE_SECONDS
    fleet.LOOK_SECONDS = LOOK_SECONDS
    logging.disable(logging.CRITICAL)
    life = Life(orders)
    try:
        asyncio.run(life.run())
    except BaseException:
        life.journal.say("broke", traceback.format_exc())
        raise
    life.journal.say("end", os.getpid())
