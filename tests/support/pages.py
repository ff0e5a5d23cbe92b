"""The pages of a small queue, asked by requests as somebody with a role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from wopr import TaskQueue
from wopr.core.task import Task
from wopr.domain.act import By, acting
from wopr.web.guard.roles import Caller, Role
from wopr.web.pages.routes import routes


class As:
    """Middleware: the caller has this role."""

    def __init__(self, app: ASGIApp, role: Role) -> None:
        self._app = app
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on."""
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = Caller("ada", self._role)
            acting.set(By("ada", "a test"))
        await self._app(scope, receive, send)


def pages_of(queue: TaskQueue, role: Role) -> httpx.AsyncClient:
    """Return a client of the pages alone, without the guard."""
    app = Starlette(routes=routes(), middleware=[Middleware(As, role=role)])
    app.state.queue = queue
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8800")


@asynccontextmanager
async def opened(path: Path, *tasks: Task[..., Any]) -> AsyncIterator[TaskQueue]:
    """Open a queue of this file, with these tasks."""
    async with TaskQueue(enabled=True, database=path, tasks=tasks) as queue:
        yield queue
