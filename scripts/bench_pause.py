"""The workload of the benchmark that goes on for minutes: how long an acknowledgement may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench_workloads import Bench

SECONDS = 120.0
CALLERS = 100
TEXT = "x" * 2_000


async def longest_pause(bench: Bench) -> float:
    """Return the longest that any of the callers waited for one call, in ms."""
    await bench.queue.start_workers("default", 100)
    until = time.perf_counter() + SECONDS
    worst = 0.0

    async def caller() -> None:
        nonlocal worst
        number = 0
        began = time.perf_counter()
        while began < until:
            await bench.noop.enqueue(number, TEXT)
            now = time.perf_counter()
            worst = max(worst, now - began)
            number, began = number + 1, now

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return worst * 1e3


PAUSE: dict[str, Callable[[Bench], Awaitable[float]]] = {
    "longest pause, 100 callers x 2 kB, 120 s (ms)": longest_pause,
}
