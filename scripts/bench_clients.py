"""The workloads of the benchmark in which another process enqueues."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench_workloads import WARM_UP, Bench, callers, enqueue_one

ALL = 20_000


async def one_caller(bench: Bench) -> float:
    """Tasks per second of one caller in another process that awaits each call."""
    return await elsewhere(bench, "one")


async def end_to_end(bench: Bench) -> float:
    """Tasks per second that 100 callers in another process enqueue and workers here end."""
    await bench.queue.start_workers("default", 100)
    bench.expect(ALL + WARM_UP)
    task = asyncio.create_task(elsewhere(bench, "callers"))
    began = await task
    await bench.settled()
    return ALL / (time.time() - began)


async def elsewhere(bench: Bench, what: str) -> float:
    """Run this file as a client of the queue; return the number that it prints."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(bench.queue.database), what, stdout=subprocess.PIPE
    )
    output, _ = await child.communicate()
    return float(output)


async def client(path: Path, what: str) -> float:
    """Return the figure, or when the measured part began."""
    bench = Bench(path)
    async with bench.queue:
        if what == "one":
            return await enqueue_one(bench)
        await callers(bench, WARM_UP)
        began = time.time()
        await callers(bench, ALL)
        return began


CLIENTS: dict[str, Callable[[Bench], Awaitable[float]]] = {
    "client process, one caller": one_caller,
    "client process, end to end, 100 callers": end_to_end,
}


if __name__ == "__main__":
    print(asyncio.run(client(Path(sys.argv[1]), sys.argv[2])))
