"""Everything that an operator and callers may do, at random, while the disk fails now and then.

Nobody can say what exactly happens. What must hold in any case is checked: limits are kept,
every task ends, each transition is told once, and nothing is counted that is over.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tenacity import stop_after_attempt, wait_fixed

from support.audit import clean, doctor
from support.queues import until
from wopr import OnParentFailure, StorageError, TaskEvent, TaskPriority, TaskQueue
from wopr.config.settings import Settings
from wopr.engine.pools.pool import Pool
from wopr.queue.queue import inside
from wopr.storage.duckdb import applied, disk, folding
from wopr.storage.duckdb.journal import segments
from wopr.storage.duckdb.journal.format import GROUP_MAGIC

STEPS = 90
LIVES = 2
WORKERS = 5
KEYS = "abc"
FULL = "could not write all bytes: No space left on device"


class Disk:
    """Lets some of the writes of the journal fail, and some of the transactions of the tables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.fails = 0.0
        """The share of those that fail."""
        write, apply = disk.writer, applied._apply

        def failing_write(descriptor: int, content: bytes, offset: int) -> None:
            group = content[: len(GROUP_MAGIC)] == GROUP_MAGIC
            if group and rng.random() ** 2 < self.fails:  # each is tried once more by itself
                raise OSError(errno.ENOSPC, "No space left on device")
            write(descriptor, content, offset)

        def failing_apply(*arguments: Any) -> None:
            if rng.random() < self.fails:
                raise duckdb.TransactionException(FULL)
            apply(*arguments)

        monkeypatch.setattr(disk, "writer", failing_write)
        monkeypatch.setattr(applied, "_apply", failing_apply)
        monkeypatch.setattr(folding, "BACK_OFF_SECONDS", 0.01)
        monkeypatch.setattr(segments, "FIRST_BYTES", 8192)
        monkeypatch.setattr(segments, "SEGMENT_BYTES", 8192)


class Stress:
    """Random calls of one queue on a file, one life after the other."""

    def __init__(self, path: Path, disk: Disk, rng: random.Random) -> None:
        self.path, self.disk, self.rng = path, disk, rng
        self.ids: list[str] = []
        self.told: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()
        self.whole: int | None = None
        self.each: int | None = None
        """What counts now, if that is certain."""
        self.broken: list[str] = []

    # -- what runs --------------------------------------------------------------

    def _enter(self, key: str) -> None:
        for name, most in (("all", self.whole), (key, self.each)):
            self.inside[name] += 1
            if most is not None and self.inside[name] > most:
                self.broken.append(f"{self.inside[name]} of {name} run, at most {most} may")

    def _open(self) -> TaskQueue:
        queue = TaskQueue(enabled=True, database=self.path, settings=Settings(window=10))

        @queue.task(name="work", retry=[wait_fixed(0.01), stop_after_attempt(3)])
        async def work(key: str, how: str) -> None:
            self._enter(key)
            try:
                if how == "fails":
                    raise ValueError("broken")
                if how != "quick":
                    await asyncio.sleep({"short": 0.002, "long": 0.02}.get(how, 60))
            except asyncio.CancelledError:
                await asyncio.sleep(0.005)
                raise
            finally:
                self.inside[key] -= 1
                self.inside["all"] -= 1

        self.work = work

        @queue.on("task.*")
        def count(event: TaskEvent) -> None:
            self.told[event.task_id] += 1

        return queue

    # -- what is done -----------------------------------------------------------

    async def _add(self, queue: TaskQueue) -> None:
        rng, options = self.rng, dict[str, Any]()
        how = rng.choice(["quick", "quick", "short", "fails", "long", "hangs"])
        if how == "hangs" or rng.random() < 0.2:
            options["timeout"] = 0.02
        if rng.random() < 0.2:
            options["priority"] = rng.choice(list(TaskPriority))
        if rng.random() < 0.1:
            options["delay"] = rng.random() / 10
        if self.ids and rng.random() < 0.2:
            options["depends_on"] = [rng.choice(self.ids[-20:])]
            options["on_parent_failure"] = OnParentFailure.RUN
        task = self.work.options(**options) if options else self.work
        self.ids.append((await task.enqueue(rng.choice(KEYS), how)).id)

    async def _add_many(self, queue: TaskQueue) -> None:
        count = self.rng.choice([5, 40])
        calls = [(self.rng.choice(KEYS), self.rng.choice(["quick", "short"])) for _ in range(count)]
        self.ids += [handle.id for handle in await self.work.enqueue_many(calls)]

    async def _cancel(self, queue: TaskQueue) -> None:
        if self.ids:
            await queue.cancel_task(self.rng.choice(self.ids[-60:]))

    async def _retry(self, queue: TaskQueue) -> None:
        if self.ids:
            await queue.retry_task(self.rng.choice(self.ids))

    async def _limit(self, queue: TaskQueue) -> None:
        whole, each = self.rng.choice([None, 1, 3, 4]), self.rng.choice([None, 1, 2])
        await self._limit_to(queue, whole, each, self.rng.choice([None, "200/s"]))

    async def _limit_to(
        self, queue: TaskQueue, whole: int | None, each: int | None, rate: str | None
    ) -> None:
        self.whole = self.each = None
        await queue.set_limit("default", concurrency=whole)
        await queue.set_limit("default", key="key", concurrency=each, rate=rate)
        engine = inside(queue).access._engine
        assert engine is not None
        await engine.limits.built()
        await until(self._most, lambda seen: seen[0] <= (whole or 99) and seen[1] <= (each or 99))
        self.whole, self.each = whole, each

    async def _most(self) -> tuple[int, int]:
        return self.inside["all"], max(self.inside[key] for key in KEYS)

    async def _pause(self, queue: TaskQueue) -> None:
        what = self.rng.choice([{"category": "default"}, {"task": "work"}])
        await queue.pause(**what)
        await self._pass_time(queue)
        while True:
            try:
                await queue.resume(**what)
            except StorageError:
                assert self.disk.fails  # nothing has changed
            else:
                break

    async def _fail(self, queue: TaskQueue) -> None:
        self.disk.fails = self.rng.choice([0.0, 0.0, 0.3])

    async def _pass_time(self, queue: TaskQueue) -> None:
        for _ in range(self.rng.randrange(20)):
            await queue.storage.flush()

    async def _do(self, queue: TaskQueue, actions: list[Any]) -> None:
        for action in actions:
            try:
                await action(queue)
            except StorageError:
                assert self.disk.fails

    async def live(self, *, last: bool) -> None:
        """Do many things; the last time let all that was enqueued come to its end."""
        actions = [self._add, self._add_many, self._cancel, self._retry]
        actions += [self._limit, self._pause, self._fail, self._pass_time]
        weights = [45, 5, 20, 3, 5, 7, 5, 10]
        queue = self._open()
        async with queue:
            for limit in await queue.limits():
                if limit.key is None:
                    self.whole = limit.concurrency
                else:
                    self.each = limit.concurrency
            await queue.start_workers("default", WORKERS)
            await self._do(queue, self.rng.choices(actions, weights, k=STEPS))
            self.disk.fails = 0.0
            await self._limit_to(queue, 4, 2, None)  # from now on nothing is counted anew
            self.disk.fails = 0.3
            await self._do(queue, self.rng.choices(actions[:3], [8, 1, 3], k=STEPS // 3))
            self.disk.fails = 0.0
            if last:
                await until(queue.get_task_stats, _all_ended)
                pool = inside(queue).access.pools["default"]
                await until(lambda: _left_over(pool), lambda seen: not seen)
            await queue.shutdown(timeout=0)
        self.whole = self.each = None


def _all_ended(stats: dict[str, Any]) -> bool:
    return stats["by_status"].keys() <= {"success", "failed", "cancelled"}


async def _left_over(pool: Pool) -> list[object]:
    """Return what is still in use, or counted, although nothing runs."""
    busy = [worker.name for worker in pool.workers if pool._free.count(worker) != 1]
    busy += [*pool.running, *(attempt.record.id for attempt in pool.runs.unwinding)]
    if pool.gate is None:
        return [*busy]
    meters = [*pool.gate._whole, *pool.gate._meters.values()]
    counted = [meter.limit for meter in meters if meter.running]
    return [*busy, *counted, *pool.gate._taken, *pool.gate.records()]


@pytest.mark.parametrize("seed", range(3))
async def test_limits_are_kept_and_every_task_ends(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, accidents = tmp_path / "tasks.duckdb", list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: accidents.append(str(context)))
    stress = Stress(path, Disk(monkeypatch, random.Random(seed)), random.Random(seed))
    logging.getLogger("wopr").setLevel(logging.CRITICAL)
    try:
        for life in range(LIVES):
            await stress.live(last=life == LIVES - 1)
    finally:
        logging.getLogger("wopr").setLevel(logging.NOTSET)
    assert [accidents, stress.broken] == [[], []]
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "select task_id::varchar, count(*) from transitions group by all"
        ).fetchall()
    assert stress.told == Counter(dict(rows))
    assert set(stress.ids) <= stress.told.keys()
    assert len(stress.ids) > STEPS
    clean(path, whole=True)
    doctor(path)
