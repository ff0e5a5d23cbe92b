"""What somebody does on a page is noted under their name."""

from __future__ import annotations

import functools
import os
import socket

from starlette.types import ASGIApp, Receive, Scope, Send

from wopr.domain.act import By, acting
from wopr.web.guard.roles import Caller

LONGEST = 200


class Actor:
    """ASGI middleware: acts of a request are those of its caller, in a browser at that address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller: Caller = scope["state"]["caller"]
        client = scope.get("client")
        peer = "a socket" if client is None else client[0]
        origin = f"dashboard from {peer}, {_here(os.getpid())}"
        token = acting.set(By(caller.name[:LONGEST], origin[:LONGEST]))
        try:
            await self._app(scope, receive, send)
        finally:
            acting.reset(token)


@functools.cache
def _here(pid: int) -> str:
    return f"pid {pid} on {socket.gethostname()}"
