"""Two hosts and a web app share one queue in PostgreSQL: whoever is free takes the next task.

Here they are processes of this machine; two_hosts.compose.yaml has the same as containers.

    WOPR_TASKS_DATABASE=postgresql://user@server/name python two_hosts.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from wopr import TaskQueue

queue = TaskQueue(enabled=True)  # its address is in WOPR_TASKS_DATABASE, for all of them
HOST = os.environ.get("HOST_NAME", socket.gethostname())


@queue.task(name="deliver", category="orders", max_retries=3)
async def deliver(order: int) -> str:
    await asyncio.sleep(0.05)
    return f"order {order} by {HOST}"


# -- the web app: it enqueues and asks, and runs nothing itself ---------------------


async def add(request: Request) -> JSONResponse:
    order = (await request.json())["order"]
    return JSONResponse({"task": (await deliver.enqueue(order)).id}, 202)


async def look(request: Request) -> JSONResponse:
    handle = queue.handle(request.path_params["task"])
    return JSONResponse({"result": await handle.result(timeout=30)})


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with queue:
        yield


app = Starlette(
    routes=[Route("/orders", add, methods=["POST"]), Route("/orders/{task}", look)],
    lifespan=lifespan,
)


# -- all of it on this machine ------------------------------------------------------


def start(*command: str, host: str = "", pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "HOST_NAME": host}
    return subprocess.Popen([sys.executable, "-m", *command], env=env, pass_fds=pass_fds)


async def main() -> None:
    name = Path(__file__).stem
    listening = socket.create_server(("127.0.0.1", 0))
    port, number = listening.getsockname()[1], listening.fileno()
    web = ("uvicorn", f"{name}:app", "--fd", str(number), "--log-level", "warning")
    processes = [
        start(
            "wopr",
            "worker",
            f"{name}:queue",
            "-c",
            "orders:2",
            "--log-level",
            "WARNING",
            host="north",
        ),
        start(
            "wopr",
            "worker",
            f"{name}:queue",
            "-c",
            "orders:2",
            "--log-level",
            "WARNING",
            host="south",
        ),
        start(*web, pass_fds=(number,)),
    ]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            tasks = [
                (await client.post("/orders", json={"order": order})).json()["task"]
                for order in range(40)
            ]
            answers = [(await client.get(f"/orders/{task}")).json()["result"] for task in tasks]
        shares = Counter(answer.rpartition(" ")[2] for answer in answers)
        print(dict(shares))
        assert {"north", "south"} == set(shares)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        listening.close()


if __name__ == "__main__":
    asyncio.run(main())
