"""The REST API of a queue under test, asked by somebody with a role."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import uvicorn

from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.service.listening import listen_on
from wopr.web import create_app
from wopr.web.guard.roles import Caller, Role

HERE = "http://127.0.0.1/api/v1"


def rest_app(queue: TaskQueue, role: Role = Role.ADMIN, name: str = "ada") -> Any:
    """Return the application, asked by ``name`` whoever asks."""
    return create_app(queue, authenticate=lambda request: Caller(name, role))


@asynccontextmanager
async def asking(queue: TaskQueue, role: Role = Role.ADMIN) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of it."""
    transport = httpx.ASGITransport(app=rest_app(queue, role))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        yield client


async def enqueued(client: httpx.AsyncClient, name: str, *args: Any, **options: Any) -> str:
    """Enqueue a task, and return its id."""
    call = {"name": name, "args": args, "options": options}
    answer = await client.post("/tasks", json=call)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@asynccontextmanager
async def served(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an application at an address."""
    listener = listen_on("127.0.0.1", port)
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])
        listener.close()


class Stream:
    """A request whose answer goes on, read event by event."""

    def __init__(self, app: Any, path: str, headers: dict[str, str] | None = None) -> None:
        """Ask for a path below the API."""
        self._app = app
        path, _, query = path.partition("?")
        given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": f"/api/v1{path}",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1"), *given],
        }
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._left = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._text = ""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._left.set()
        assert self._task is not None
        await asyncio.wait_for(self._task, PATIENCE)

    async def _receive(self) -> Any:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self._parts.put_nowait(message["body"])
            if not message.get("more_body"):
                self._parts.put_nowait(None)

    async def event(self) -> dict[str, Any] | None:
        """Return the next event: its name as ``event``, its data, its ``id``; ``None``: the end."""
        while "\n\n" not in self._text:
            part = await asyncio.wait_for(self._parts.get(), PATIENCE)
            if part is None:
                return None
            self._text += part.decode()
        block, _, self._text = self._text.partition("\n\n")
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" not in lines:  # a heartbeat
            return await self.event()
        return {"id": lines.get("id"), "event": lines["event"], **json.loads(lines["data"])}
