"""The REST API of a queue under test, asked by somebody with a role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from wopr import TaskQueue
from wopr.web.api.problems import refused
from wopr.web.api.routes import routes
from wopr.web.guard.roles import Caller, Role

HERE = "http://127.0.0.1/api/v1"


def rest_app(queue: TaskQueue, role: Role = Role.ADMIN, name: str = "ada") -> Any:
    """Return the API alone, asked by ``name`` whoever asks."""
    app = Starlette(
        routes=[Mount("/api/v1", routes=routes())], exception_handlers={HTTPException: refused}
    )
    app.state.queue = queue
    caller = Caller(name, role)

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["caller"] = caller
        await app(scope, receive, send)

    return asked


@asynccontextmanager
async def asking(queue: TaskQueue, role: Role = Role.ADMIN) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of it."""
    transport = httpx.ASGITransport(app=rest_app(queue, role))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        yield client
