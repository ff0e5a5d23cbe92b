"""A client of an ASGI application that is started and stopped as a server does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application's lifespan, and call it meanwhile.

    Raises what the application raises when it starts.
    """
    state: dict[str, Any] = {}
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    lifespan = asyncio.create_task(app(scope, told.get, heard.put))

    async def tell(word: str) -> None:
        told.put_nowait({"type": f"lifespan.{word}"})
        answer = await heard.get()
        if answer["type"] != f"lifespan.{word}.complete":
            await lifespan  # raises

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    await tell("startup")
    transport = httpx.ASGITransport(app=with_state)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
    finally:
        await tell("shutdown")
        await lifespan
