"""What is measured of every queue on PostgreSQL, in the same way: the standard library only.

Run by the Python of the environment in which that queue is installed:
``python workloads.py SUBJECT WORKLOAD ADDRESS`` prints its figures as JSON. A subject is a module
beside this one with a class ``Subject``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

PAYLOAD = "x" * 100
WARM_UP = 200
CALLERS = 100
AT_ONCE = 50
"""Tasks that one worker process runs at once."""
PROCESSES = 2
GROWTH = (1, 2, 4)
LOOK_SECONDS = 0.02


class Queue(Protocol):
    """What a subject does, with a task that takes a number and a text and does nothing."""

    started: asyncio.Queue[tuple[int, float]]
    """Of each function that started here: its number, and when."""

    async def open(self, address: str, *, install: bool) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(self, number: int, text: str) -> None: ...

    async def enqueue_many(self, calls: Sequence[tuple[int, str]]) -> None: ...

    async def work(self, at_once: int) -> None:
        """Start a worker here, that goes on until :meth:`close`."""

    async def done(self) -> int:
        """Return how many tasks have succeeded, as the database has it."""


async def one_caller(queue: Queue, address: str) -> list[float]:
    """Tasks per second of one caller that awaits each."""
    for number in range(WARM_UP):
        await queue.enqueue(number, PAYLOAD)
    count = 2_000
    began = time.perf_counter()
    for number in range(count):
        await queue.enqueue(number, PAYLOAD)
    return [count / (time.perf_counter() - began)]


async def bulk(queue: Queue, address: str) -> list[float]:
    """Tasks per second in chunks of 1,000."""
    await queue.enqueue_many([(number, PAYLOAD) for number in range(1_000)])
    count = 30_000
    began = time.perf_counter()
    for first in range(0, count, 1_000):
        await queue.enqueue_many([(first + number, PAYLOAD) for number in range(1_000)])
    return [count / (time.perf_counter() - began)]


async def drain(queue: Queue, address: str) -> list[float]:
    """Tasks per second of one worker process that has 10,000 before it."""
    count = 10_000
    for first in range(0, count, 1_000):
        await queue.enqueue_many([(first + number, PAYLOAD) for number in range(1_000)])
    began = time.perf_counter()
    await queue.work(AT_ONCE)
    await until_done(queue, count)
    return [count / (time.perf_counter() - began)]


@contextlib.asynccontextmanager
async def workers(queue: Queue, address: str, count: int) -> AsyncIterator[None]:
    """Let so many worker processes be at work meanwhile."""
    command = [sys.executable, __file__, queue.__class__.__module__, "work", address]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def growth(queue: Queue, address: str) -> list[float]:
    """Tasks per second, from the first chunk of 1,000 to the last outcome, by worker processes."""
    figures, done = [], 0
    for processes in GROWTH:
        async with workers(queue, address, processes):
            began = time.perf_counter()
            count = 10_000
            for first in range(0, count, 1_000):
                await queue.enqueue_many([(first + number, PAYLOAD) for number in range(1_000)])
            done += count
            await until_done(queue, done)
            figures.append(count / (time.perf_counter() - began))
    return figures


async def end_to_end(queue: Queue, address: str) -> list[float]:
    """Tasks per second of 100 callers here, until two worker processes have done all."""
    async with workers(queue, address, PROCESSES):
        await _callers(queue, WARM_UP)
        await until_done(queue, WARM_UP)
        count = 6_000
        began = time.perf_counter()
        await _callers(queue, count)
        await until_done(queue, WARM_UP + count)
        return [count / (time.perf_counter() - began)]


async def _callers(queue: Queue, count: int) -> None:
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await queue.enqueue(number, PAYLOAD)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def latency(queue: Queue, address: str) -> list[float]:
    """Milliseconds from the call to the start of the function, idle: p50 and p99."""
    await queue.work(AT_ONCE)
    spans = []
    for number in range(400):
        began = time.perf_counter()
        await queue.enqueue(number, PAYLOAD)
        _, at = await asyncio.wait_for(queue.started.get(), 60)
        spans.append(1_000 * (at - began))
        await asyncio.sleep(0.005)
    spans = sorted(spans[100:])
    return [spans[len(spans) // 2], spans[int(len(spans) * 0.99)]]


async def until_done(queue: Queue, count: int) -> None:
    """Return once so many have succeeded."""
    deadline = time.monotonic() + 600
    while await queue.done() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{await queue.done():,} of {count:,} tasks were done in 600 s")
        await asyncio.sleep(LOOK_SECONDS)


async def work(queue: Queue, address: str) -> list[float]:
    """Be a worker process, until somebody kills it."""
    await queue.work(AT_ONCE)
    print("ready", flush=True)
    await asyncio.Event().wait()
    return []


WORKLOADS = {
    "one": one_caller,
    "bulk": bulk,
    "drain": drain,
    "end": end_to_end,
    "latency": latency,
    "growth": growth,
    "work": work,
}


async def measured(subject: str, workload: str, address: str) -> list[float]:
    """Run a workload on a subject."""
    queue: Any = importlib.import_module(subject).Subject()
    await queue.open(address, install=workload != "work")
    try:
        return await WORKLOADS[workload](queue, address)
    finally:
        await queue.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(*sys.argv[1:4]))))
