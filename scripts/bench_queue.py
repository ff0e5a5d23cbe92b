"""Measure the queue: every figure is the median of several runs, in one process.

No-op async tasks with one int and a 100-byte string as arguments, results stored,
full durability, all transitions recorded. The machine's floors come first, so that
figures of different machines can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import duckdb

from wopr import RetryPolicy, TaskQueue
from wopr.config import Settings

PAYLOAD = "x" * 100
BARS = {
    "enqueue, one caller": (">=", 700),
    "enqueue, 100 callers": (">=", 10_000),
    "bulk enqueue, chunks of 1,000": (">=", 60_000),
    "drain 10,000": (">=", 15_000),
    "end to end, 100 callers": (">=", 10_000),
    "idle latency p50 (ms)": ("<=", 2.5),
    "idle latency p99 (ms)": ("<=", 8.0),
    "1,000 sleeps of 10 ms, 50 at once (x ideal)": ("<=", 1.3),
    "2,000 tasks that fail once": (">=", 4_000),
    "loop pause during 10,000 enqueues (ms)": ("<=", 20.0),
    "enqueue with 2,000,000 tasks (x of small)": (">=", 0.8),
    "drain with 2,000,000 tasks (x of small)": (">=", 0.8),
    "open 1,000,000 pending until first run (s)": ("<=", 2.0),
    "peak RSS with 2,000,000 tasks (MB)": ("<=", 400.0),
}


class Bench:
    """One fresh queue with the tasks of the benchmark."""

    def __init__(self, path: Path) -> None:
        self.queue = TaskQueue(enabled=True, database=path, settings=Settings())
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
        while any(pool.running for pool in self.queue._opening.pools.values()):
            await asyncio.sleep(0)
        await self.queue.storage.flush()


def _no_wait() -> Any:
    import tenacity

    return tenacity.wait_none()


async def enqueue_one(bench: Bench) -> float:
    """Tasks per second of one caller that awaits each."""
    count = 1_000
    began = time.perf_counter()
    for number in range(count):
        await bench.noop.enqueue(number, PAYLOAD)
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
        await bench.noop.enqueue_many(
            [(number, PAYLOAD) for number in range(first, first + 1_000)]
        )
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
    """The longest time in ms that the event loop did not turn during 10,000 enqueues."""
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
    """Run one measurement on a queue of its own."""
    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        bench = Bench(Path(folder) / "bench.duckdb")
        async with bench.queue:
            return await run(bench)


async def large(result: dict[str, Any], small: dict[str, float], tasks: int) -> None:
    """The same with ``tasks`` waiting and as many finished."""
    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        path = Path(folder) / "large.duckdb"
        bench = Bench(path)
        async with bench.queue:
            await bench.queue.sql("select 1")
        fill(path, tasks)
        bench = Bench(path)
        bench.expect(1)
        began = time.perf_counter()
        async with bench.queue:
            await bench.queue.start_workers("default", 1)
            await bench.reached.wait()
            result["open 1,000,000 pending until first run (s)"] = time.perf_counter() - began
        bench = Bench(path)
        async with bench.queue:
            rate = await enqueue_many_callers(bench)
            result["enqueue with 2,000,000 tasks (x of small)"] = (
                rate / small["enqueue, 100 callers"]
            )
            await bench.queue.sql("select 1")
            bench.expect(10_000)
            began = time.perf_counter()
            await bench.queue.start_workers("default", 100)
            await bench.reached.wait()
            rate = 10_000 / (time.perf_counter() - began)
            result["drain with 2,000,000 tasks (x of small)"] = rate / small["drain 10,000"]
        result["peak RSS with 2,000,000 tasks (MB)"] = peak_rss()


def fill(path: Path, tasks: int) -> None:
    """Write ``tasks`` finished and ``tasks`` waiting tasks, as a queue would have left them."""
    connection = duckdb.connect(str(path), config={"threads": 1, "memory_limit": "200MB"})
    step = 100_000
    for first in range(1, 2 * tasks + 1, step):
        connection.execute(
            FILL_TASKS, {"first": first, "last": first + step - 1, "tasks": tasks}
        ).fetchall()
        connection.execute(
            FILL_LOG, {"first": first, "last": first + step - 1, "tasks": tasks}
        ).fetchall()
    connection.execute(
        "update meta set value = (select max(seq)::varchar from transitions) where key = 'folded'"
    ).fetchall()
    connection.execute("checkpoint")
    connection.close()


_ID = (
    "(lpad(to_hex(n), 8, '0') || '-0000-7000-8000-' || "
    "substr(md5(n::varchar), 1, 12))::uuid"
)
FILL_TASKS = f"""
insert into tasks by name
select {_ID} as id, n * 3 as seq, 'noop' as name, 'default' as category, 2 as priority,
       case when n <= $tasks then 'success' else 'pending' end as status,
       case when n <= $tasks then 1 else 0 end as attempt, 0 as retry_count, 0 as max_retries,
       0 as crashes, '[' || n || ',"' || repeat('x', 100) || '"]' as args, '{{}}' as kwargs,
       timestamp '2026-01-01' + to_milliseconds(n) as created_at,
       case when n <= $tasks then created_at end as started_at,
       case when n <= $tasks then created_at end as completed_at,
       case when n <= $tasks then n::varchar end as result,
       0.0 as progress, '' as progress_message,
       case when n <= $tasks then n * 3 + 2 else n * 3 end as version
from range($first, $last + 1) numbers(n)
"""
FILL_LOG = f"""
insert into transitions by name
select n * 3 + step as seq, {_ID} as task_id, least(step, 1) as attempt,
       case step when 1 then 'pending' when 2 then 'started' end as from_status,
       case step when 0 then 'pending' when 1 then 'started' else 'success' end as to_status,
       timestamp '2026-01-01' + to_milliseconds(n) as occurred_at,
       case step when 0 then 'add' when 1 then 'claim' else 'succeed' end as reason,
       case step when 0 then
         '{{"name":"noop","category":"default","priority":2,"max_retries":0,"args":[' || n || ',"'
         || repeat('x', 100) || '"],"kwargs":{{}}}}'
       when 2 then '{{"result":' || n || '}}' end as data
from range($first, $last + 1) numbers(n), range(3) steps(step)
where step = 0 or n <= $tasks
"""


def floors() -> dict[str, float]:
    """What this machine can do at best: synced writes and a queue in memory."""
    with tempfile.NamedTemporaryFile(prefix="wopr-bench-") as file:
        began = time.perf_counter()
        for _ in range(200):
            os.write(file.fileno(), b"x" * 512)
            os.fdatasync(file.fileno())
        synced = 200 / (time.perf_counter() - began)

    async def memory() -> float:
        queue: asyncio.PriorityQueue[tuple[int, int]] = asyncio.PriorityQueue()
        began = time.perf_counter()
        for number in range(20_000):
            await queue.put((2, number))
        for _ in range(20_000):
            await queue.get()
        return 20_000 / (time.perf_counter() - began)

    return {"fdatasync of 512 bytes (/s)": synced, "asyncio.PriorityQueue (/s)": asyncio.run(memory())}


def peak_rss() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WORKLOADS: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "enqueue, one caller": enqueue_one,
    "enqueue, 100 callers": enqueue_many_callers,
    "bulk enqueue, chunks of 1,000": bulk,
    "drain 10,000": drain,
    "end to end, 100 callers": end_to_end,
    "idle latency (ms)": idle_latency,
    "1,000 sleeps of 10 ms, 50 at once (x ideal)": sleeps,
    "2,000 tasks that fail once": fail_once,
    "loop pause during 10,000 enqueues (ms)": loop_pause,
}


def measure(runs: int, only: str) -> dict[str, float]:
    """Run every workload ``runs`` times; return medians."""
    result: dict[str, float] = {}
    for name, run in WORKLOADS.items():
        if only not in name:
            continue
        values = [asyncio.run(fresh(run)) for _ in range(runs)]
        if isinstance(values[0], tuple):
            result["idle latency p50 (ms)"] = statistics.median(v[0] for v in values)
            result["idle latency p99 (ms)"] = statistics.median(v[1] for v in values)
        else:
            result[name] = statistics.median(values)
        print(f"  {name}: done", file=sys.stderr)
    return result


def main() -> int:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs per figure (default 3)")
    parser.add_argument("--only", default="", help="only workloads whose name contains this")
    parser.add_argument("--no-large", action="store_true", help="without the 2,000,000 tasks")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    machine = {
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "cores": os.cpu_count(),
        **floors(),
    }
    result = measure(options.runs, options.only)
    result["peak RSS (MB)"] = peak_rss()
    if not options.no_large and not options.only:
        asyncio.run(large(result, result, 1_000_000))
    for name, value in machine.items():
        print(f"{name:48} {value if isinstance(value, str) else format(value, ',.0f')}")
    missed = 0
    for name, value in result.items():
        sign, bar = BARS.get(name, ("", 0))
        good = not sign or (value >= bar if sign == ">=" else value <= bar)
        missed += not good
        note = f"{sign} {bar:,}  {'ok' if good else 'MISSED'}" if sign else ""
        print(f"{name:48} {value:>12,.2f}  {note}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "figures": result}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
