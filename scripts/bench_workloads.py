"""The workloads of the benchmark: each runs on a fresh queue and returns its figure."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from wopr import RetryPolicy, TaskQueue
from wopr.access.starting import know_all_secrets
from wopr.config.settings import Settings
from wopr.service.collecting import collecting_seldom

PAYLOAD = "x" * 100
WARM_UP = 200


class Bench:
    """One fresh queue with the tasks of the benchmark."""

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        self.queue = TaskQueue(enabled=True, database=path, settings=settings or Settings())
        self.ran = 0
        self.target = 0
        self.reached = asyncio.Event()
        self.started_at: dict[int, float] = {}
        self.failed: set[int] = set()
        queue = self.queue

        @queue.task(name="noop")
        async def noop(number: int, text: str) -> int:
            self.count()
            return number

        @queue.task(name="nap")
        async def nap(number: int, text: str) -> int:
            await asyncio.sleep(0.01)
            self.count()
            return number

        @queue.task(name="stamp")
        async def stamp(number: int, text: str) -> int:
            self.started_at[number] = time.perf_counter()
            self.count()
            return number

        @queue.task(name="once", max_retries=1, retry=RetryPolicy(wait=_no_wait()))
        async def once(number: int, text: str) -> int:
            if number not in self.failed:
                self.failed.add(number)
                raise ValueError("the first attempt fails")
            self.count()
            return number

        self.noop, self.nap, self.stamp, self.once = noop, nap, stamp, once

    def count(self) -> None:
        """Note that a task ran."""
        self.ran += 1
        if self.ran == self.target:
            self.reached.set()

    def expect(self, number: int) -> None:
        """Wait for that many runs from now on."""
        self.ran, self.target = 0, number
        self.reached.clear()

    async def settled(self) -> None:
        """Return when all ran and every outcome is on disk."""
        await self.reached.wait()
        while any(worker.attempt for pool in self.queue.workers.values() for worker in pool):
            await asyncio.sleep(0)  # the last functions return
        await self.queue.storage.flush()


def _no_wait() -> Any:
    import tenacity

    return tenacity.wait_none()


async def enqueue_one(bench: Bench) -> float:
    """Return tasks per second of one caller that awaits each."""
    for number in range(WARM_UP):
        await bench.noop.enqueue(number, PAYLOAD)
    count = 3_000
    began = time.perf_counter()
    for number in range(count):
        await bench.noop.enqueue(number, PAYLOAD)
    return count / (time.perf_counter() - began)


async def process_mode(bench: Bench) -> float:
    """Return the same with WOPR_TASKS_SYNC=process."""
    path = bench.queue.database.with_name("unsynced.duckdb")
    other = Bench(path, Settings(sync="process"))
    async with other.queue:
        return await enqueue_one(other)


async def one_end_to_end(bench: Bench) -> float:
    """Tasks per second of one caller that awaits each call, until the worker beside it is done."""
    await bench.queue.start_workers("default", 10)
    bench.expect(WARM_UP)
    await enqueue_and_settle(bench, WARM_UP)
    count = 3_000
    bench.expect(count)
    began = time.perf_counter()
    await enqueue_and_settle(bench, count)
    return count / (time.perf_counter() - began)


async def enqueue_and_settle(bench: Bench, count: int) -> None:
    """Let one caller await each call, and wait for the end of the tasks."""
    for number in range(count):
        await bench.noop.enqueue(number, PAYLOAD)
    await bench.settled()


async def each_result(bench: Bench) -> float:
    """Tasks per second of one caller that awaits each result: two syncs after each other."""
    await bench.queue.start_workers("default", 10)
    for number in range(WARM_UP):
        await (await bench.noop.enqueue(number, PAYLOAD)).result()
    count = 1_000
    began = time.perf_counter()
    for number in range(count):
        handle = await bench.noop.enqueue(number, PAYLOAD)
        await handle.result()
    return count / (time.perf_counter() - began)


async def callers(bench: Bench, count: int, of: int = 100) -> float:
    """Seconds that ``of`` concurrent callers need for ``count`` tasks."""

    async def caller(first: int) -> None:
        for number in range(first, count, of):
            await bench.noop.enqueue(number, PAYLOAD)

    began = time.perf_counter()
    await asyncio.gather(*(caller(first) for first in range(of)))
    return time.perf_counter() - began


async def enqueue_many_callers(bench: Bench) -> float:
    """Tasks per second of 100 callers."""
    return 20_000 / await callers(bench, 20_000)


async def bulk(bench: Bench) -> float:
    """Tasks per second in chunks of 1,000, each awaited; the fold included."""
    count = 100_000
    began = time.perf_counter()
    for first in range(0, count, 1_000):
        await bench.noop.enqueue_many([(number, PAYLOAD) for number in range(first, first + 1_000)])
    await bench.queue.sql("select count(*) from tasks")
    return count / (time.perf_counter() - began)


async def drain(bench: Bench) -> float:
    """Tasks per second of 100 workers that find 10,000 waiting."""
    await bench.noop.enqueue_many([(number, PAYLOAD) for number in range(10_000)])
    await bench.queue.sql("select 1")
    bench.expect(10_000)
    began = time.perf_counter()
    await bench.queue.start_workers("default", 100)
    await bench.settled()
    return 10_000 / (time.perf_counter() - began)


async def end_to_end(bench: Bench) -> float:
    """Tasks per second from 100 callers through 100 workers, until all are settled."""
    count = 20_000
    await bench.queue.start_workers("default", 100)
    bench.expect(count)
    began = time.perf_counter()
    await callers(bench, count)
    await bench.settled()
    return count / (time.perf_counter() - began)


async def idle_latency(bench: Bench) -> tuple[float, float]:
    """p50 and p99 in ms from the call of add_task to the start of the function."""
    await bench.queue.start_workers("default", 4)
    called: dict[int, float] = {}
    bench.expect(300)
    for number in range(300):
        await asyncio.sleep(0.02)
        called[number] = time.perf_counter()
        await bench.queue.add_task("stamp", None, None, None, number, PAYLOAD)
    await bench.settled()
    waits = sorted((bench.started_at[n] - called[n]) * 1e3 for n in called)
    return waits[len(waits) // 2], waits[int(len(waits) * 0.99)]


async def sleeps(bench: Bench) -> float:
    """How many times the ideal 0.2 s 1,000 naps of 10 ms take with 50 workers."""
    await bench.nap.enqueue_many([(number, PAYLOAD) for number in range(1_000)])
    await bench.queue.sql("select 1")
    bench.expect(1_000)
    began = time.perf_counter()
    await bench.queue.start_workers("default", 50)
    await bench.settled()
    return (time.perf_counter() - began) / 0.2


async def fail_once(bench: Bench) -> float:
    """Tasks per second that fail once and then succeed."""
    await bench.once.enqueue_many([(number, PAYLOAD) for number in range(2_000)])
    await bench.queue.sql("select 1")
    bench.expect(2_000)
    began = time.perf_counter()
    await bench.queue.start_workers("default", 100)
    await bench.settled()
    return 2_000 / (time.perf_counter() - began)


async def loop_pause(bench: Bench) -> float:
    """Return the longest time in ms that the loop did not turn during 10,000 enqueues."""
    worst = 0.0
    done = False

    async def watch() -> None:
        nonlocal worst
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            worst = max(worst, now - last)
            last = now

    watcher = asyncio.create_task(watch())
    await callers(bench, 10_000)
    done = True
    await watcher
    return worst * 1e3


async def fresh(run: Callable[[Bench], Awaitable[Any]]) -> Any:
    """Run one measurement on a queue of its own.

    The garbage collector runs as seldom as ``wopr worker`` lets it. The rules for secrets are
    loaded before, which takes the first workers of a process 80 ms.
    """
    know_all_secrets()
    with collecting_seldom(), tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        bench = Bench(Path(folder) / "bench.duckdb")
        async with bench.queue:
            return await run(bench)


def peak_rss() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WORKLOADS: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "enqueue, one caller": enqueue_one,
    "enqueue, one caller, unsynced": process_mode,
    "one caller end to end, a worker beside it": one_end_to_end,
    "one caller, each result awaited": each_result,
    "enqueue, 100 callers": enqueue_many_callers,
    "bulk enqueue, chunks of 1,000": bulk,
    "drain 10,000": drain,
    "end to end, 100 callers": end_to_end,
    "idle latency (ms)": idle_latency,
    "1,000 sleeps of 10 ms, 50 at once (x ideal)": sleeps,
    "2,000 tasks that fail once": fail_once,
    "loop pause during 10,000 enqueues (ms)": loop_pause,
}
