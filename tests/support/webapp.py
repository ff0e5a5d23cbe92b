"""An application over a queue, asked from wherever a test says, without a socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from wopr import TaskQueue
from wopr.core.accesstokens import create_token
from wopr.domain.role import Role
from wopr.queue.queue import inside
from wopr.web import create_app

LOCAL = ("127.0.0.1", 40_000)
FAR = ("10.0.0.7", 40_000)
HERE = "http://127.0.0.1:8800"


def browser(
    app: Starlette,
    *,
    peer: tuple[str, int] = LOCAL,
    url: str = HERE,
    headers: Mapping[str, str] | None = None,
) -> httpx.AsyncClient:
    """Return who asks the application, from a peer and under a URL; it keeps cookies."""
    transport = httpx.ASGITransport(app, client=peer)
    return httpx.AsyncClient(transport=transport, base_url=url, headers=headers)


async def token_of(
    queue: TaskQueue, name: str = "ada", role: Role = Role.READ, life: timedelta | None = None
) -> str:
    """Make a token."""
    text, _ = await create_token(inside(queue), name, role, life)
    return text


def bearer(token: str) -> dict[str, str]:
    """Return the header that a program sends."""
    return {"Authorization": f"Bearer {token}"}


def _routes_of(routes: list[BaseRoute], at: str = "") -> Iterator[tuple[str, str]]:
    for one in routes:
        if isinstance(one, Mount):
            yield from _routes_of(list(one.routes), at + one.path)
        elif isinstance(one, Route):
            yield from ((method, at + one.path) for method in sorted(one.methods or ()))


ROUTES = sorted(
    (
        (method, path)
        for method, path in _routes_of(create_app(TaskQueue(database="nowhere.duckdb")).routes)
        if method != "HEAD"
    ),
    key=lambda route: (route[0] != "GET", route),
)
"""Method and path of every route that there is; those that only look come first."""
