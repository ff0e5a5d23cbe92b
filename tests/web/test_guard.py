"""What every request meets before a route does."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wopr.config.whoami import this_process
from wopr.web.guard.guard import Guard
from wopr.web.guard.roles import Role
from wopr.web.routing import caller_of, route


async def _whoami(request: Request) -> Response:
    caller = caller_of(request)
    return JSONResponse([caller.name, caller.role])


async def test_a_caller_on_this_machine_is_its_user_as_admin() -> None:
    app = Starlette(routes=[route("/", _whoami, needs=Role.ADMIN)], middleware=[Middleware(Guard)])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/")
    assert [this_process().who, "admin"] == answer.json()
