"""ForegroundMiddleware: the background waits as long as a chosen request is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from support.queues import PATIENCE, Gate
from wopr import InvalidCallError, TaskQueue
from wopr.background import BackgroundScheduler, ForegroundScheduler
from wopr.integrations.asgi import ForegroundMiddleware


@pytest.fixture
def foreground() -> ForegroundScheduler:
    return ForegroundScheduler(BackgroundScheduler())


async def get(app: Any, path: str = "/orders") -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


def looking(foreground: ForegroundScheduler, paths: Any = ("/",)) -> ForegroundMiddleware:
    """Return an application that answers with the number of requests in the foreground."""

    async def answer(request: Request) -> Response:
        return PlainTextResponse(str(foreground.active_count))

    app = Starlette(routes=[Route("/{path:path}", answer)])
    return ForegroundMiddleware(app, foreground, paths)


@pytest.mark.parametrize(
    ("pattern", "path", "held"),
    [
        ("/", "/", True),
        ("/", "/anything/at/all", True),
        ("/orders", "/orders", True),
        ("/orders", "/orders/7", True),
        ("/orders/", "/orders/7", True),
        ("/orders", "/orders-old", False),
        ("/orders", "/api/orders", False),
        ("/api/*/quotes", "/api/krx/quotes", True),
        ("/api/*/quotes", "/api/us/nyse/quotes", True),
        ("/api/*/quotes", "/api/krx/quotes/7", False),
        ("*/quotes", "/api/quotes", True),
        ("/v[12]", "/v2", True),
        ("/v[12]", "/v3", False),
        ("/v?", "/v3", True),
    ],
)
async def test_the_path_says_which_requests_hold_it(
    foreground: ForegroundScheduler, pattern: str, path: str, held: bool
) -> None:
    answer = await get(looking(foreground, [pattern]), path)
    assert ("1" if held else "0", 0) == (answer.text, foreground.active_count)


async def test_all_requests_hold_it_by_default(foreground: ForegroundScheduler) -> None:
    assert "1" == (await get(looking(foreground))).text


async def test_it_is_added_to_an_application_as_any_middleware(
    foreground: ForegroundScheduler,
) -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(str(foreground.active_count))

    app = Starlette(routes=[Route("/orders", answer)])
    app.add_middleware(ForegroundMiddleware, foreground=foreground, paths=["/orders"])
    assert "1" == (await get(app)).text


async def test_a_stream_holds_it_to_its_end(foreground: ForegroundScheduler) -> None:
    gate = Gate()

    async def lines() -> AsyncIterator[str]:
        for _ in range(2):
            await gate.wait(foreground.active_count)
            yield "line"

    async def answer(request: Request) -> Response:
        return StreamingResponse(lines())

    app = ForegroundMiddleware(Starlette(routes=[Route("/orders", answer)]), foreground)
    request = asyncio.create_task(get(app))
    await gate.arrivals()
    assert foreground.is_active
    gate.open()
    await request
    assert ([1, 1], 0) == (gate.arrived, foreground.active_count)


async def test_work_after_the_response_does_not_hold_it(foreground: ForegroundScheduler) -> None:
    after: list[int] = []

    async def work() -> None:
        after.append(foreground.active_count)

    async def answer(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(work))

    app = ForegroundMiddleware(Starlette(routes=[Route("/orders", answer)]), foreground)
    await get(app)
    assert [0] == after


async def test_an_application_that_raises_lets_it_go(foreground: ForegroundScheduler) -> None:
    async def app(*_: Any) -> None:
        assert foreground.is_active
        raise RuntimeError("no such order")

    with pytest.raises(RuntimeError, match="no such order"):
        await get(ForegroundMiddleware(app, foreground))
    assert 0 == foreground.active_count


async def test_a_client_that_goes_away_lets_it_go(foreground: ForegroundScheduler) -> None:
    seen: list[int] = []

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append(foreground.active_count)
        message = await receive()
        assert message["type"] == "http.disconnect"
        seen.append(foreground.active_count)  # goes on without anybody who waits for it

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "path": "/orders"}
    await ForegroundMiddleware(app, foreground)(scope, receive, send)
    assert ([1, 0], 0) == (seen, foreground.active_count)


async def test_a_request_that_is_cancelled_lets_it_go(foreground: ForegroundScheduler) -> None:
    gate = Gate()

    async def app(*_: Any) -> None:
        await gate.wait()

    request = asyncio.create_task(get(ForegroundMiddleware(app, foreground)))
    await gate.arrivals()
    assert 1 == foreground.active_count
    request.cancel()
    await asyncio.wait([request])
    assert 0 == foreground.active_count


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_connections_than_requests_do_not_hold_it(
    foreground: ForegroundScheduler, kind: str
) -> None:
    seen: list[int] = []

    async def app(*_: Any) -> None:
        seen.append(foreground.active_count)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("not called")

    scope = {"type": kind, "path": "/orders"}
    await ForegroundMiddleware(app, foreground)(scope, nothing, nothing)
    assert [0] == seen


async def test_categories_of_the_background_start_nothing_while_a_request_is_answered(
    tmp_path: Path,
) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")
    queue.category("reindex", background=True)

    @queue.task(category="reindex")
    async def reindex() -> str:
        return "done"

    @queue.task(category="orders")
    async def order() -> str:
        return "ordered"

    async def answer(request: Request) -> Response:
        later = await reindex.enqueue()
        now = await order.enqueue()
        await now.result(timeout=PATIENCE)
        status = await later.status()
        return PlainTextResponse(f"{later.id} {status}")

    app = ForegroundMiddleware(Starlette(routes=[Route("/orders", answer)]), queue)
    async with queue:
        await queue.start_workers("reindex")
        await queue.start_workers("orders")
        task_id, status = (await get(app)).text.split()
        assert "pending" == status
        assert "done" == await queue.handle(task_id).result(timeout=PATIENCE)


@pytest.mark.parametrize("paths", ["/orders", [7], ["orders"]])
def test_paths_that_can_not_be_right_are_refused(
    foreground: ForegroundScheduler, paths: Any
) -> None:
    with pytest.raises(InvalidCallError, match="paths must be a list of paths"):
        ForegroundMiddleware(looking(foreground), foreground, paths)


def test_what_has_no_foreground_is_refused(foreground: ForegroundScheduler) -> None:
    with pytest.raises(InvalidCallError, match="takes a TaskQueue or a ForegroundScheduler"):
        ForegroundMiddleware(looking(foreground), object())  # type: ignore[arg-type]
