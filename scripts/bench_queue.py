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
import statistics
import sys
import tempfile
import time
from pathlib import Path

import bench_large
import bench_schedules
import duckdb
from bench_flows import FLOWS
from bench_service import SERVICE, SEVERAL
from bench_workloads import WORKLOADS, fresh, peak_rss

BARS = {
    "enqueue, one caller": (">=", 5_500),
    "enqueue, one caller, unsynced": (">=", 20_000),
    "one caller, each result awaited": (">=", 3_500),
    "enqueue, 100 callers": (">=", 30_000),
    "bulk enqueue, chunks of 1,000": (">=", 75_000),
    "drain 10,000": (">=", 27_000),
    "end to end, 100 callers": (">=", 15_000),
    "idle latency p50 (ms)": ("<=", 0.5),
    "idle latency p99 (ms)": ("<=", 1.5),
    "1,000 sleeps of 10 ms, 50 at once (x ideal)": ("<=", 1.15),
    "2,000 tasks that fail once": (">=", 7_500),
    "loop pause during 10,000 enqueues (ms)": ("<=", 20.0),
    "flow: graph against its tasks without edges (x)": (">=", 0.85),
    "tick of 10,000 schedules, deciding, p99 (ms)": ("<=", 20.0),
    "1,000 schedules due at once, enqueued (s)": ("<=", 1.0),
    "growth in 2,000 such decisions (MB)": ("<=", 2.0),
    "limits: concurrency of the category (x of none)": (">=", 0.8),
    "limits: concurrency of 500 keys (x of none)": (">=", 0.8),
    "limits: rate (x of none)": (">=", 0.8),
    "limits: rate of 500 keys (x of none)": (">=", 0.8),
    "limits: backlog (x of none)": (">=", 0.8),
    "idle latency p99 beside processes (ms)": ("<=", 20.0),
    "100 categories with 10 workers, idle (% of a core)": ("<=", 1.0),
    "100 categories with 10 workers, idle (MB)": ("<=", 150.0),
    "100 categories with 10 workers, idle (wake-ups/s)": ("<=", 5.0),
    "enqueue with 2,000,000 tasks (x of small)": (">=", 0.8),
    "drain with 2,000,000 tasks (x of small)": (">=", 0.8),
    "open 1,000,000 pending until first run (s)": ("<=", 2.0),
    "peak RSS with 2,000,000 tasks (MB)": ("<=", 400.0),
}


def floors() -> dict[str, float]:
    """Return what this machine can do at best: synced writes and a queue in memory."""
    with tempfile.NamedTemporaryFile(prefix="wopr-bench-") as file:
        os.pwrite(file.fileno(), bytes(1024 * 1024), 0)
        os.fsync(file.fileno())
        began = time.perf_counter()
        for number in range(1_000):
            os.pwrite(file.fileno(), b"x" * 512, number * 512)
            os.fdatasync(file.fileno())
        synced = 1_000 / (time.perf_counter() - began)

    async def memory() -> float:
        queue: asyncio.PriorityQueue[tuple[int, int]] = asyncio.PriorityQueue()
        began = time.perf_counter()
        for number in range(20_000):
            await queue.put((2, number))
        for _ in range(20_000):
            await queue.get()
        return 20_000 / (time.perf_counter() - began)

    return {
        "512 bytes synced into space that is there (/s)": synced,
        "asyncio.PriorityQueue (/s)": asyncio.run(memory()),
    }


def measure(runs: int, only: str) -> dict[str, float]:
    """Run every workload ``runs`` times; return medians."""
    result: dict[str, float] = {}
    for name, run in {**WORKLOADS, **FLOWS, **SERVICE}.items():
        if only not in name:
            continue
        values = [asyncio.run(fresh(run)) for _ in range(runs)]
        if isinstance(values[0], tuple):
            for number, figure in enumerate(SEVERAL[name]):
                result[figure] = statistics.median(value[number] for value in values)
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
    if options.only in "schedules":
        asyncio.run(bench_schedules.measure(result))
    result["peak RSS (MB)"] = peak_rss()
    if not options.no_large and not options.only:
        asyncio.run(bench_large.measure(result, 1_000_000))
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
