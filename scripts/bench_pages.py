"""The part of the benchmark that opens every page of the dashboard over a large file.

A process has the file and works, and serves the dashboard; another one opens pages, one after
another, as somebody does who looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
from bench_pages_file import fill
from bench_workloads import PAYLOAD, Bench, callers, peak_rss

T = TypeVar("T")

TASKS = 5_000_000
PAGES = (
    "/",
    "/?span=24h",
    "/?span=7d",
    "/tasks",
    "/tasks?status=failed",
    "/tasks?name=shop.task_3&since=24h",
    "/tasks/{task}",
    "/flows",
    "/flows/{flow}",
    "/failures",
    "/failures?span=7d",
    "/schedules",
    "/categories",
    "/workers",
    "/acts",
    "/alerts",
    "/sql",
    "/travel",
)
THEN = ("/?at={then}", "/tasks?at={then}", "/workers?at={then}", "/categories?at={then}")
ROUNDS = 12
PAUSE = 0.25
"""So many seconds somebody looks at a page before they ask for the next one."""
FULL = 40_000
"""So many tasks it is measured with how much the queue does."""
DASHBOARDS = 200
WATCHED = 40.0
"""So many seconds they are open before their cost is measured, and as long again."""


def measure(result: dict[str, float], database: Path | None = None) -> None:
    """Add the figures of a file with 5,000,000 tasks, and three times as many transitions.

    Args:
        result: gets them.
        database: a file that is kept, and taken as it is if it is there.
    """
    with tempfile.TemporaryDirectory(prefix="wopr-bench-") as folder:
        path = database or Path(folder) / "pages.duckdb"
        if not path.exists():
            subprocess.run([sys.executable, __file__, "fill", str(path)], check=True)
        command = [sys.executable, __file__, "measure", str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result.update(json.loads(done.stdout.splitlines()[-1]))


async def make(path: Path) -> None:
    """Make the file."""
    async with Bench(path).queue as queue:
        await queue.sql("select 1")
    began = time.perf_counter()
    moves = fill(path, TASKS)
    took = time.perf_counter() - began
    print(f"  {TASKS:,} tasks, {moves:,} transitions: made in {took:.0f} s", file=sys.stderr)


async def owner(path: Path) -> dict[str, float]:
    """Have the file, work, and serve its pages; return the figures."""
    from wopr.service.appserver import AppServer, place_at
    from wopr.web import create_app

    bench = Bench(path)
    async with bench.queue:
        await bench.queue.start_workers("default", 100)
        await full(bench)  # what comes first takes longer
        alone = await full(bench, 2)
        server = AppServer(lambda: create_app(bench.queue), place_at("0"))
        await server.start()
        try:
            looking = elsewhere("look", server.url, json.dumps([PAGES + THEN, ROUNDS, PAUSE]))
            taken = json.loads(await beside(looking, paced(bench, alone / 2)))
            again = elsewhere("look", server.url, json.dumps([["/", *PAGES[3:12]], 1_000, 2.0]))
            watched = await beside(full(bench, 4), again)
            alone = (alone + await full(bench, 2)) / 2  # before and after: the file has grown
            found = {**figures(taken), **await dashboards(server.url)}
        finally:
            await server.stop()
    found["pages: end to end beside somebody who looks (x of alone)"] = watched / alone
    found["pages: peak RSS of the owner (MB)"] = peak_rss()
    return found


def figures(taken: dict[str, list[float]]) -> dict[str, float]:
    """Return what is told of how long pages took."""
    found = {
        f"page {page} (ms, median)": statistics.median(seconds) * 1_000
        for page, seconds in taken.items()
    }
    every = sorted(one for page in PAGES for one in taken[page])
    then = sorted(one for page in THEN for one in taken[page])
    found["pages: slowest median (ms)"] = max(
        statistics.median(taken[page]) * 1_000 for page in PAGES
    )
    found["pages: p99 (ms)"] = every[int(len(every) * 0.99)] * 1_000
    found["pages as of a moment: p99 (ms)"] = then[int(len(then) * 0.99)] * 1_000
    return found


async def dashboards(url: str) -> dict[str, float]:
    """Return what many cost that are open while the queue rests, and whether memory grows."""
    watching = asyncio.ensure_future(elsewhere("watch", url, str(DASHBOARDS)))
    try:
        await asyncio.sleep(WATCHED)
        peak, spent, began = peak_rss(), time.process_time(), time.perf_counter()
        await asyncio.sleep(WATCHED)
        share = (time.process_time() - spent) / (time.perf_counter() - began)
    finally:
        await stopped(watching)
    return {
        "pages: 200 open dashboards (% of a core)": share * 100,
        "pages: 200 open dashboards, growth (MB)": peak_rss() - peak,
    }


async def full(bench: Bench, times: int = 1) -> float:
    """Return how many tasks a second go from 100 callers through 100 workers."""
    count = FULL * times
    bench.expect(count)
    began = time.perf_counter()
    await callers(bench, count)
    await bench.settled()
    return count / (time.perf_counter() - began)


async def paced(bench: Bench, rate: float) -> None:
    """Enqueue so many tasks a second, some hundredths of a second's at a time."""
    loop = asyncio.get_running_loop()
    began, done = loop.time(), 0
    while True:
        wanted = int((loop.time() - began) * rate)
        if wanted - done > 200:
            some = (bench.noop.enqueue(number, PAYLOAD) for number in range(done, wanted))
            await asyncio.gather(*some)
            done = wanted
        await asyncio.sleep(0.01)


async def beside(what: Awaitable[T], goes_on: Awaitable[object]) -> T:
    """Return what comes of one thing, while another one goes on."""
    other = asyncio.ensure_future(goes_on)
    try:
        return await what
    finally:
        await stopped(other)


async def stopped(task: asyncio.Future[object] | asyncio.Future[str]) -> None:
    """End something that goes on."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def elsewhere(*words: str) -> str:
    """Run a part of this file in a process of its own; return what it printed."""
    command = [sys.executable, __file__, *words]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    return output.decode()


def look(url: str, pages: list[str], rounds: int, pause: float) -> dict[str, list[float]]:
    """Open pages in turn; return how long each took, each time."""
    taken: dict[str, list[float]] = {page: [] for page in pages}
    with httpx.Client(base_url=url, timeout=60.0) as client:
        asked = {"name": "shop.task_3", "limit": 200}
        tasks = client.get("/api/v1/tasks", params=asked).raise_for_status().json()["tasks"]
        flow = next(one["flow_id"] for one in tasks if one["flow_id"])
        now = datetime.now(UTC)
        for turn in range(rounds):
            then = (now - timedelta(days=2 + turn % 5, minutes=turn)).isoformat()[:19] + "Z"
            values = {"task": tasks[turn % 200]["id"], "flow": flow, "then": then}
            for page in pages:
                began = time.perf_counter()
                client.get(page.format(**values)).raise_for_status()
                taken[page].append(time.perf_counter() - began)
                time.sleep(pause)
    return taken


async def watch(url: str, count: int) -> None:
    """Hold so many live pages open."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:

        async def one(page: str) -> None:
            while True:
                async with client.stream("GET", "/live" + page) as answer:
                    async for _ in answer.aiter_bytes():
                        pass

        pages = ("", "/tasks", "/failures", "/categories", "/workers")
        await asyncio.gather(*(one(pages[number % len(pages)]) for number in range(count)))


def main(what: str, place: str, *more: str) -> None:
    """Do what another process of the benchmark asks for."""
    if what == "fill":
        asyncio.run(make(Path(place)))
    elif what == "measure":
        print(json.dumps(asyncio.run(owner(Path(place)))))
    elif what == "watch":
        asyncio.run(watch(place, int(more[0])))
    else:
        print(json.dumps(look(place, *json.loads(more[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
