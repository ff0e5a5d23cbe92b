"""What a tortured child does: one part of all that a queue does to its files.

``work`` opens what lies there, works, cleans up and closes; ``short`` does little of that.
``compact`` compacts what lies there, opens it, and does not close. What a child was told it
prints at once, a line each (``os.write``): what is printed has to be true ever after. A call
that the disk refuses is said and not repeated.

    task ID DIGEST     an enqueue returned; DIGEST is that of its argument
    run ID ATTEMPT     a function begins
    done ID            a result was handed out
    setting N, set N   a limit is to be set; is set
    planning NAME, planned NAME    the same of a schedule
    cleaning, cleaned  what has ended is being deleted; is deleted
    refused WHAT       the disk refused
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from wopr import TaskHandle, TaskQueue, current_task
from wopr.config.settings import Settings
from wopr.domain.errors import WoprError
from wopr.engine.pools import pool
from wopr.storage.duckdb import base, checkpoints, folding
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file import opening
from wopr.storage.duckdb.journal import segments

SIZES = (0, 40, 700, 4_000, 30_000, 250_000)
"""How long arguments are: from nothing to nearly the largest that is allowed."""
OPENINGS = 40
PATIENCE = 30.0
LIFE_SECONDS = 45.0

T = TypeVar("T")


def say(*words: object) -> None:
    """Print a line, at once and whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def digest(text: str) -> str:
    """Return what identifies an argument."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def lower_thresholds() -> None:
    """Let folds, checkpoints, rotations and reuse happen all the time."""
    segments.FIRST_BYTES = 8 * 1024
    segments.SEGMENT_BYTES = 16 * 1024
    folding.FOLD_ROWS = 40
    folding.QUIET_SECONDS = 0.002
    folding.BACK_OFF_SECONDS = 0.02
    checkpoints.QUIET_BYTES = 1
    checkpoints.QUIET_SECONDS = 0.002
    checkpoints.AGAIN_SECONDS = 0.01
    checkpoints.SHARE = 2_000
    base.LAG_ROWS = 400
    pool.LONGEST_BACK_OFF = 0.1  # else a run of failures outlasts all patience by itself


def trust_catalogues() -> None:
    """Look for no code in files: it writes nothing, and takes half of the time of an opening."""

    def trust(connection: duckdb.DuckDBPyConnection, path: Path) -> None: ...

    opening.refuse_code = trust


def new_queue(path: Path, ran: list[tuple[str, int]] | None = None) -> tuple[TaskQueue, Any]:
    """Return a queue over the file, and its task; ``ran`` takes down each attempt."""
    queue = TaskQueue(enabled=True, database=path, settings=Settings(max_crashes=1_000_000))

    @queue.task(name="measure", category="c", max_retries=0)
    async def measure(text: str) -> int:
        me = current_task()
        say("run", me.id, me.attempt)
        if ran is not None:
            ran.append((me.id, me.attempt))
        return len(text)

    return queue, measure


class Life:
    """One opening of the queue, and what is done then."""

    def __init__(self, queue: TaskQueue, measure: Any, chance: random.Random) -> None:
        self._queue = queue
        self._measure = measure
        self._chance = chance
        self._waited_for: list[TaskHandle[int]] = []

    async def enqueue(self, size: int, *, waited_for: bool = False) -> None:
        """Enqueue one task."""
        text = f"{self._chance.getrandbits(40):010x}" + "x" * size
        handle = await tried("enqueue", self._measure.enqueue(text))
        if handle is not None:
            say("task", handle.id, digest(text))
            if waited_for:
                self._waited_for.append(handle)

    async def enqueue_many(self, count: int) -> None:
        """Enqueue some at once."""
        texts = [f"{self._chance.getrandbits(40):010x}" for _ in range(count)]
        handles = await tried("many", self._measure.enqueue_many([(text,) for text in texts]))
        for handle, text in zip(handles or [], texts, strict=False):
            say("task", handle.id, digest(text))

    async def results(self) -> None:
        """Wait for what should have a result."""
        for handle in self._waited_for:
            info = await tried("wait", self._queue.wait(handle.id, timeout=PATIENCE))
            if info is not None and info.status.value == "success":
                say("done", handle.id)
        self._waited_for.clear()

    async def limit(self, number: int) -> None:
        """Set a limit."""
        say("setting", number)
        limits = self._queue.set_limit("c", concurrency=number)
        if await tried("limit", limits) is not None:
            say("set", number)

    async def plan(self, name: str) -> None:
        """Add a schedule."""
        say("planning", name)
        adding = self._queue.schedules.add(name, self._measure, every={"hours": 1}, args=("",))
        if await tried("schedule", adding) is not None:
            say("planned", name)

    async def ask(self) -> None:
        """Ask something that the tables have to answer."""
        await tried("question", self._queue.get_task_stats())

    async def clean(self) -> None:
        """Delete what has ended."""
        say("cleaning")
        if await tried("cleanup", self._queue.cleanup_old_tasks(days=0)) is not None:
            say("cleaned")

    async def close(self) -> None:
        """Close the queue."""
        await tried("close", self._queue.shutdown(timeout=PATIENCE))

    async def work(self, name: str) -> None:
        """Do all of that."""
        for size in SIZES[:4]:
            await self.enqueue(size, waited_for=True)
        await self.limit(self._chance.randint(3, 9))
        await self.enqueue_many(25)
        await self.results()
        await self.plan(name)
        await self.enqueue(SIZES[5], waited_for=True)
        await self.ask()
        await asyncio.gather(*(self.enqueue(self._chance.choice(SIZES[:5])) for _ in range(12)))
        await self.results()
        await self.clean()
        for _ in range(5):
            await self.enqueue(self._chance.choice(SIZES[:4]))
        await self.ask()


async def tried(what: str, call: Awaitable[T]) -> T | None:
    """Return what a call returns; ``None`` if the disk refused it."""
    try:
        return await call
    except WoprError as error:
        refused(what, error)
        return None


def refused(what: str, error: BaseException) -> None:
    """Say what the disk refused."""
    say("refused", what, type(error).__name__, str(error).replace("\n", " ")[:300])


async def opened(path: Path, chance: random.Random) -> Life:
    """Open the queue with two workers, again when the disk refuses."""
    for _ in range(OPENINGS):
        queue, measure = new_queue(path)
        try:
            await queue.start_workers("c", 2)
        except WoprError as error:
            refused("open", error)
            await tried("close", queue.shutdown(timeout=0))
        else:
            return Life(queue, measure, chance)
    raise AssertionError(f"the queue could not be opened {OPENINGS} times")


async def run(path: Path, seed: int, kind: str) -> None:
    """Be the child."""
    chance = random.Random(seed)
    if kind == "compact":
        try:
            compact(path)
        except WoprError as error:
            refused("compact", error)
    life = await opened(path, chance)
    if kind == "work":
        await life.work(f"plan-{seed}")
    else:
        await life.enqueue(100, waited_for=True)
        await life.results()
    if kind == "compact":
        await life.enqueue(4_000)
        os._exit(0)  # as it is: whoever opens it next goes on from the journal
    await life.close()


def live(path: Path, seed: int, kind: str) -> None:
    """Run it in this process."""
    asyncio.run(asyncio.wait_for(run(path, seed, kind), LIFE_SECONDS))  # says where it hangs
