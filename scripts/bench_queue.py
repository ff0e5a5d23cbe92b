"""Measure the queue: every figure is the median of several runs, each in a process of its own.

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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_large
import bench_pages
import bench_schedules
import duckdb
from bench_clients import CLIENTS
from bench_flows import FLOWS
from bench_pause import PAUSE
from bench_rest import REST
from bench_service import SERVICE, SEVERAL
from bench_workloads import WORKLOADS, fresh, peak_rss

BARS = {
    "enqueue, one caller": (">=", 5_500),
    "enqueue, one caller, unsynced": (">=", 20_000),
    "one caller end to end, a worker beside it": (">=", 3_500),
    "client process, one caller": (">=", 2_500),
    "client process, end to end, 100 callers": (">=", 12_000),
    "longest pause, 100 callers x 2 kB, 120 s (ms)": ("<=", 250.0),
    "REST: enqueue, 50 connections": (">=", 2_000),
    "REST: wopr.client, enqueue, p50 (ms)": ("<=", 3.0),
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
    "pages: slowest median (ms)": ("<=", 300.0),
    "pages: p99 (ms)": ("<=", 1_000.0),
    "pages as of a moment: p99 (ms)": ("<=", 1_000.0),
    "pages: end to end beside somebody who looks (x of alone)": (">=", 0.9),
    "pages: 200 open dashboards (% of a core)": ("<=", 15.0),
    "pages: 200 open dashboards, growth (MB)": ("<=", 10.0),
    "pages: peak RSS of the owner (MB)": ("<=", 400.0),
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


ALL = {**WORKLOADS, **CLIENTS, **FLOWS, **SERVICE, **REST, **PAUSE}


def measure(runs: int, only: str, *, long: bool) -> dict[str, float]:
    """Run every workload ``runs`` times; return medians."""
    result: dict[str, float] = {}
    peak = 0.0
    for name in ALL:
        if only not in name or (name in PAUSE and not long):
            continue
        answers = [apart(name) for _ in range(1 if name in PAUSE else runs)]
        peak = max(peak, *(memory for _, memory in answers))
        for number, figure in enumerate(SEVERAL.get(name, (name,))):
            result[figure] = statistics.median(values[number] for values, _ in answers)
        print(f"  {name}: done", file=sys.stderr)
    result["peak RSS (MB)"] = peak
    return result


def apart(name: str) -> tuple[list[float], float]:
    """Run one workload in a process of its own; return its figures and its peak memory (MB).

    What one leaves behind in memory would change the figures of the next.
    """
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures, peak = json.loads(done.stdout.splitlines()[-1])
    return figures, peak


def one(name: str) -> int:
    """Run one workload here, and print its figures as JSON."""
    value: Any = asyncio.run(fresh(ALL[name]))
    print(json.dumps([value if isinstance(value, tuple) else [value], peak_rss()]))
    return 0


def main() -> int:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs per figure (default 3)")
    parser.add_argument("--only", default="", help="only workloads whose name contains this")
    parser.add_argument("--no-large", action="store_true", help="without the 2,000,000 tasks")
    parser.add_argument("--long", action="store_true", help="with what takes 120 s and more")
    parser.add_argument(
        "--pages", action="store_true", help="with every page over 5,000,000 tasks: 15 minutes"
    )
    parser.add_argument(
        "--pages-file",
        type=Path,
        help="the file for --pages: kept, and taken as it is if it is there",
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if options.one:
        return one(options.one)
    machine = {
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "cores": os.cpu_count(),
        **floors(),
    }
    result = measure(options.runs, options.only, long=options.long)
    if options.only in "schedules":
        asyncio.run(bench_schedules.measure(result))
    if not options.no_large and not options.only:
        asyncio.run(bench_large.measure(result, 1_000_000))
    if options.pages and options.only in "pages":
        bench_pages.measure(result, options.pages_file)
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
