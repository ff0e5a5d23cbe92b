"""The part of the benchmark about the service: limits, processes, and doing nothing."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench_workloads import PAYLOAD, Bench

TASKS = 10_000
WORKERS = 100
PAIRS = 3


async def drain(bench: Bench, **limits: Any) -> float:
    """Return the tasks per second of workers that find tasks waiting, under limits."""
    if limits:
        await bench.queue.set_limit("default", **limits)
    calls = [(number % 500, PAYLOAD) for number in range(TASKS)]
    await bench.noop.enqueue_many(calls)
    await bench.queue.sql("select 1")
    bench.expect(TASKS)
    began = time.perf_counter()
    await bench.queue.start_workers("default", WORKERS)
    await bench.settled()
    return TASKS / (time.perf_counter() - began)


def ratio(**limits: Any) -> Callable[[Bench], Awaitable[float]]:
    """Return a workload: the throughput under limits, against none, in one run."""

    async def measure(bench: Bench) -> float:
        found = []
        for _ in range(PAIRS):
            plain = await anew(bench)
            limited = await anew(bench, **limits)
            found.append(limited / plain)
        return statistics.median(found)

    return measure


async def anew(bench: Bench, **limits: Any) -> float:
    """Drain on a fresh queue beside this one."""
    other = Bench(bench.queue.database.with_name(f"{time.monotonic_ns()}.duckdb"))
    async with other.queue:
        return await drain(other, **limits)


def burn(seconds: float) -> float:
    """Keep a processor busy."""
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        pass
    return seconds


async def beside_processes(bench: Bench) -> float:
    """p99 of the idle latency (ms) of an async category while processes burn 50 times 200 ms."""
    burning = bench.queue.task(name="burn", category="cpu", executor="process")(burn)
    await bench.queue.start_workers("default", 1)
    await bench.queue.start_workers("cpu", 50)
    await (await burning.enqueue(0.0)).result(timeout=60)  # the first process is up
    handles = await burning.enqueue_many([(0.2,)] * 50)
    delays: list[float] = []
    number = 0
    while not (await handles[-1].info()).is_completed:
        number += 1
        bench.expect(1)
        began = time.perf_counter()
        await bench.stamp.enqueue(number, PAYLOAD)
        await bench.reached.wait()
        delays.append((bench.started_at[number] - began) * 1e3)
        await asyncio.sleep(0.005)
    for handle in handles:
        await handle.result(timeout=60)
    return statistics.quantiles(delays, n=100)[98]


async def idle(bench: Bench) -> tuple[float, float, float]:
    """CPU (% of a core), memory (MB) and wake-ups per second of 100 categories with 10 workers."""
    for number in range(100):
        await bench.queue.start_workers(f"category {number}", 10)
    await asyncio.sleep(3)  # what opening left to do
    woken = 0
    selector: Any = vars(asyncio.get_running_loop())["_selector"]
    select = selector.select

    def counting(timeout: float | None = None) -> Any:
        nonlocal woken
        woken += 1
        return select(timeout)

    selector.select = counting
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(10)
    seconds = time.perf_counter() - began
    cpu = (time.process_time() - used) / seconds * 100
    selector.select = select
    return cpu, resident(), woken / seconds


def resident() -> float:
    """Return the memory of this process now, in MB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


SERVICE: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "limits: concurrency of the category (x of none)": ratio(concurrency=WORKERS),
    "limits: concurrency of 500 keys (x of none)": ratio(key="number", concurrency=10),
    "limits: rate (x of none)": ratio(rate="100000/s"),
    "limits: rate of 500 keys (x of none)": ratio(key="number", rate="1000/s"),
    "limits: backlog (x of none)": ratio(backlog=TASKS),
    "idle latency p99 beside processes (ms)": beside_processes,
    "idle": idle,
}
"""The names of several figures of one workload are in :data:`SEVERAL`."""
SEVERAL = {
    "idle latency (ms)": ("idle latency p50 (ms)", "idle latency p99 (ms)"),
    "idle": (
        "100 categories with 10 workers, idle (% of a core)",
        "100 categories with 10 workers, idle (MB)",
        "100 categories with 10 workers, idle (wake-ups/s)",
    ),
}
