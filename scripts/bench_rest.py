"""The workloads of the benchmark in which another process enqueues over HTTP."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from bench_workloads import PAYLOAD, Bench

CONNECTIONS = 50
ALL = 6_000
WARM_UP = 500
CALLS = 1_000


async def enqueue(bench: Bench) -> float:
    """Tasks per second that 50 connections of another process enqueue, one after the other each."""
    return await from_elsewhere(bench, "load")


async def client(bench: Bench) -> float:
    """Milliseconds that an enqueue of ``wopr.client`` in another process takes, the median."""
    return await from_elsewhere(bench, "client")


async def from_elsewhere(bench: Bench, what: str) -> float:
    """Serve the queue, and return what another process measures."""
    from wopr.service.appserver import AppServer, place_at
    from wopr.web import create_app

    server = AppServer(lambda: create_app(bench.queue), place_at("0"))
    await server.start()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, what, server.url, stdout=subprocess.PIPE
        )
        output, _ = await child.communicate()
    finally:
        await server.stop()
    return float(output)


async def load(port: int) -> float:
    """Ask on all connections at once; return the answers per second."""
    call = json.dumps({"name": "noop", "args": [1, PAYLOAD]}).encode()
    head = (
        "POST /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(call)}\r\n\r\n"
    )
    request = head.encode() + call
    ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]

    async def ask(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], times: int) -> None:
        reader, writer = ends
        for _ in range(times):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 201"), answer
            await reader.readuntil(b"}")

    await asyncio.gather(*(ask(one, WARM_UP // CONNECTIONS) for one in ends))
    began = time.perf_counter()
    await asyncio.gather(*(ask(one, ALL // CONNECTIONS) for one in ends))
    return ALL / (time.perf_counter() - began)


def calls(url: str) -> float:
    """Enqueue one task after the other; return the median of the milliseconds."""
    from wopr.client import Client

    taken: list[float] = []
    with Client(url) as client:
        for _ in range(WARM_UP):
            client.enqueue("noop", [1, PAYLOAD])
        for _ in range(CALLS):
            began = time.perf_counter()
            client.enqueue("noop", [1, PAYLOAD])
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1_000


REST: dict[str, Callable[[Bench], Awaitable[float]]] = {
    "REST: enqueue, 50 connections": enqueue,
    "REST: wopr.client, enqueue, p50 (ms)": client,
}


if __name__ == "__main__":
    what, url = sys.argv[1:]
    print(calls(url) if what == "client" else asyncio.run(load(int(url.rpartition(":")[2]))))
