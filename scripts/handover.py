"""Restart and kill the worker beside a web server of several processes, and count what that costs.

Each request enqueues one task. Nothing may fail, be lost, or be there twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from wopr import TaskQueue

APP = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from wopr import TaskQueue
from wopr.integrations.starlette import lifespan

queue = TaskQueue(enabled=True)


@queue.task
async def note(number: int) -> int:
    return number


async def add(request):
    handle = await note.enqueue(int(request.query_params["number"]))
    return PlainTextResponse(handle.id)


app = Starlette(
    routes=[Route("/", add, methods=["POST"])], lifespan=lifespan(queue, workers={})
)
"""
BETWEEN = 0.05
"""Seconds between two requests of a caller."""
PATIENCE = 60.0


@dataclass
class Tally:
    """What the callers saw."""

    ids: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def report(self, what: str) -> None:
        """Print it."""
        slowest = max(self.seconds, default=0.0)
        print(
            f"{what}: {len(self.seconds)} requests, {sum(self.failures.values())} failed, median "
            f"{statistics.median(self.seconds) * 1000:.0f} ms, longest {slowest:.2f} s"
        )
        for failure, count in self.failures.most_common(5):
            print(f"  {count} x {failure}")


class Worker:
    """One ``wopr worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.began = time.monotonic()
        self.started = asyncio.Event()
        """Set when its workers run."""
        self.started_at = 0.0
        self.standing_by = asyncio.Event()
        """Set when it runs or waits for the file."""
        self.log = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line.decode()
            if b"Standing by" in line:
                self.standing_by.set()
            if b"Started " in line:
                self.started_at = time.monotonic()
                self.standing_by.set()
                self.started.set()

    async def until(self, event: asyncio.Event) -> None:
        """Return when that has happened."""
        try:
            await asyncio.wait_for(event.wait(), PATIENCE)
        except TimeoutError:
            raise SystemExit(f"A worker did not come to work. It logged:\n{self.log}") from None

    async def end(self, how: signal.Signals) -> None:
        """Signal it, and return when it has ended."""
        self.process.send_signal(how)
        await self.process.wait()
        await self._reading


async def worker() -> Worker:
    """Start one."""
    return Worker(
        await asyncio.create_subprocess_exec(
            "wopr", "worker", "app:queue", "--grace", "2", stderr=asyncio.subprocess.PIPE
        )
    )


@contextlib.asynccontextmanager
async def web(processes: int) -> AsyncIterator[str]:
    """Serve the application with so many processes; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)),
        *("--workers", str(processes), "--log-level", "warning", "--no-access-log"),
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(address)
                    break
                await asyncio.sleep(0.1)
        yield address
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def callers(address: str, count: int, numbers: list[int]) -> AsyncIterator[Tally]:
    """Have so many callers send requests for a ``with`` block."""
    tally, stop = Tally(), asyncio.Event()

    async def call(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            numbers[0] += 1
            began = time.monotonic()
            try:
                answer = await client.post(address, params={"number": numbers[0]})
                if answer.status_code == 200:
                    tally.ids.append(answer.text)
                else:
                    tally.failures[f"{answer.status_code} {answer.text[:100]}"] += 1
            except httpx.TransportError as error:
                tally.failures[repr(error)] += 1
            tally.seconds.append(time.monotonic() - began)
            await asyncio.sleep(BETWEEN)

    # A connection for each request, so that they come to all processes.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as client:
        await client.get(address)
        tasks = [asyncio.create_task(call(client)) for _ in range(count)]
        try:
            yield tally
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def restart(times: int, rng: random.Random) -> None:
    """End the worker and start the next one, at once and after it has ended, in turn."""
    current = await worker()
    await current.until(current.started)
    for number in range(times):
        if number % 2:
            await current.end(signal.SIGTERM)
            current = await worker()
        else:
            following = asyncio.create_task(worker())
            await current.end(signal.SIGTERM)
            current = await following
        await current.until(current.started)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        show(number, times, "restarts")
    await current.end(signal.SIGTERM)


async def kill(times: int, rng: random.Random) -> list[float]:
    """Kill the worker that works, beside one that stands by; return how long that takes."""
    current = await worker()
    await current.until(current.started)
    taken = []
    for number in range(times):
        following = await worker()
        await following.until(following.standing_by)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        killed = time.monotonic()
        await current.end(signal.SIGKILL)
        await following.until(following.started)
        taken.append(following.started_at - killed)
        current = following
        show(number, times, "kills")
    await current.end(signal.SIGTERM)
    return taken


def show(number: int, times: int, what: str) -> None:
    """Print how far it is, now and then."""
    if sys.stderr.isatty() or (number + 1) % 25 == 0:
        print(f"{number + 1} of {times} {what}", file=sys.stderr, flush=True)


async def judge(tally: Tally) -> bool:
    """Whether each acknowledged task is there once, and each request made one at most."""
    queue = TaskQueue(enabled=True)
    async with queue:
        counted = await queue.sql("select count(*), count(distinct args) from tasks")
        found = (await queue.sql("select id from tasks")).rows
    [(count, calls)] = counted.rows
    lost = set(tally.ids) - {str(task_id) for (task_id,) in found}
    twice = len(tally.ids) - len(set(tally.ids)) + count - calls
    print(f"{count} tasks: {len(lost)} lost, {twice} there twice")
    return not lost and not twice and not tally.failures


async def run(options: argparse.Namespace) -> bool:
    """Do both, and return whether nothing was lost."""
    rng, good, numbers = random.Random(options.seed), True, [0]
    async with web(options.web) as address:
        if options.restarts:
            async with callers(address, options.callers, numbers) as tally:
                await restart(options.restarts, rng)
            tally.report(f"{options.restarts} restarts")
            good = await judge(tally) and good
        if options.kills:
            async with callers(address, options.callers, numbers) as tally:
                taken = await kill(options.kills, rng)
            tally.report(f"{options.kills} kills")
            print(
                f"next owner at work after {statistics.median(taken):.2f} s, at most "
                f"{max(taken):.2f} s"
            )
            good = await judge(tally) and good
    return good


def main() -> None:
    """Run it in an empty folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--web", type=int, default=4, help="processes of the web server")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("app.py").write_text(APP, encoding="utf-8")
        os.environ |= {"WOPR_TASKS_ENABLED": "1", "PYTHONPATH": folder}
        good = asyncio.run(run(options))
        os.chdir("/")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
