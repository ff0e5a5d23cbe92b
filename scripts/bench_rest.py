"""The workload of the benchmark in which another process enqueues over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from bench_workloads import PAYLOAD, Bench

CONNECTIONS = 50
ALL = 6_000
WARM_UP = 500


async def enqueue(bench: Bench) -> float:
    """Tasks per second that 50 connections of another process enqueue, one after the other each."""
    from wopr.service.appserver import AppServer, place_at
    from wopr.web import create_app

    server = AppServer(lambda: create_app(bench.queue), place_at("0"))
    await server.start()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, server.url, stdout=subprocess.PIPE
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


REST: dict[str, Callable[[Bench], Awaitable[float]]] = {
    "REST: enqueue, 50 connections": enqueue,
}


if __name__ == "__main__":
    print(asyncio.run(load(int(sys.argv[1].rpartition(":")[2]))))
