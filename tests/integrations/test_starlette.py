"""A queue in Starlette and FastAPI: it lives as long as the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from integrations.client import served
from support.queues import PATIENCE
from wopr import InvalidCallError, QueueClosedError, TaskQueue
from wopr.integrations.starlette import get_queue, lifespan
from wopr.queue.queue import inside

Queue = Annotated[TaskQueue, Depends(get_queue)]


def add_routes(app: FastAPI) -> FastAPI:
    @app.post("/double/{number}")
    async def double(number: int, queue: Queue) -> str:
        return (await queue.enqueue("double", (number,))).id

    @app.get("/tasks/{task_id}")
    async def result(task_id: str, queue: Queue) -> int:
        return int(await queue.handle(task_id).result(timeout=PATIENCE))

    @app.get("/status/{task_id}")
    async def status(task_id: str, queue: Queue) -> str:
        return await queue.handle(task_id).status()

    return app


def is_open(queue: TaskQueue) -> bool:
    return inside(queue).access.open


async def test_a_request_enqueues_and_another_reads_the_result(queue: TaskQueue) -> None:
    app = add_routes(FastAPI(lifespan=lifespan(queue, workers={"sums": 2})))
    async with served(app) as client:
        task_id = (await client.post("/double/21")).json()
        assert 42 == (await client.get(f"/tasks/{task_id}")).json()
        assert is_open(queue)
    assert not is_open(queue)


async def test_there_are_workers_for_the_default_category_unless_told_otherwise(
    queue: TaskQueue,
) -> None:
    @queue.task(name="plain")
    async def plain() -> int:
        return 7

    app = add_routes(FastAPI(lifespan=lifespan(queue)))

    @app.post("/plain")
    async def enqueue() -> str:
        return (await plain.enqueue()).id

    async with served(app) as client:
        task_id = (await client.post("/plain")).json()
        assert 7 == (await client.get(f"/tasks/{task_id}")).json()
        assert {"default": 4} == {name: len(slots) for name, slots in queue.workers.items()}


@pytest.mark.parametrize("workers", [{}, {"sums": 0}])
async def test_without_workers_it_only_enqueues(queue: TaskQueue, workers: dict[str, int]) -> None:
    app = add_routes(FastAPI(lifespan=lifespan(queue, workers)))
    async with served(app) as client:
        task_id = (await client.post("/double/21")).json()
        assert "pending" == (await client.get(f"/status/{task_id}")).json()
        assert {} == queue.workers


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        (4, r"workers is a dict of category to number, like \{'images': 4\}, not 4\."),
        (["sums"], "workers is a dict of category to number"),
        ({4: 4}, "workers is a dict of category to number"),
        ({"sums": -1}, r"workers\['sums'\] must be a whole number from 0 to 10000, not -1"),
        ({"sums": "4"}, r"workers\['sums'\] must be a whole number"),
    ],
)
def test_workers_that_can_not_be_are_refused_when_it_is_built(
    queue: TaskQueue, workers: Any, text: str
) -> None:
    with pytest.raises(InvalidCallError, match=text):
        lifespan(queue, workers)


def test_a_queue_that_is_none_is_refused_when_it_is_built() -> None:
    no_queue: Any = FastAPI()
    with pytest.raises(InvalidCallError, match="queue must be a TaskQueue, not <fastapi"):
        lifespan(no_queue)


async def test_workers_that_can_not_start_leave_the_queue_closed(queue: TaskQueue) -> None:
    app = FastAPI(lifespan=lifespan(queue, {"": 1}))
    with pytest.raises(InvalidCallError, match="category must have 1 to"):
        async with served(app):
            raise AssertionError("it starts")
    assert not is_open(queue)


async def test_workers_that_have_nothing_to_do_are_warned_of(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(FastAPI(lifespan=lifespan(queue, {"sums": 1, "sum": 1, "none": 0}))):
        pass
    assert ["No task is registered in category 'sum': its workers have nothing to do."] == [
        record.message for record in caplog.records if record.levelname == "WARNING"
    ]


async def test_the_applications_own_lifespan_is_inside_of_the_queues(queue: TaskQueue) -> None:
    seen: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, str]]:
        seen.append(("begin", is_open(queue)))
        yield {"shop": "open"}
        seen.append(("end", is_open(queue)))

    app = FastAPI(lifespan=lifespan(queue, {}, own))

    @app.get("/shop")
    async def shop(request: Request, queue: Queue) -> str:
        return str(request.state.shop)

    async with served(app) as client:
        assert "open" == (await client.get("/shop")).json()
    assert [("begin", True), ("end", True)] == seen
    assert not is_open(queue)


async def test_a_mounted_application_has_the_queue_too(queue: TaskQueue) -> None:
    app = FastAPI(lifespan=lifespan(queue, {"sums": 1}))
    app.mount("/v1", add_routes(FastAPI()))
    async with served(app) as client:
        task_id = (await client.post("/v1/double/4")).json()
        assert 8 == (await client.get(f"/v1/tasks/{task_id}")).json()


async def test_a_client_without_lifespan_state_finds_the_queue_of_the_application(
    queue: TaskQueue,
) -> None:
    app = add_routes(FastAPI(lifespan=lifespan(queue, {"sums": 1})))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        task_id = (await client.post("/double/21")).json()
        assert 42 == (await client.get(f"/tasks/{task_id}")).json()


async def test_it_works_in_starlette(queue: TaskQueue) -> None:
    async def double(request: Request) -> Response:
        handle = await get_queue(request).enqueue("double", (request.path_params["number"],))
        return JSONResponse(await handle.result(timeout=PATIENCE))

    routes = [Mount("/sums", routes=[Route("/double/{number:int}", double)])]
    app = Starlette(routes=routes, lifespan=lifespan(queue, {"sums": 1}))
    async with served(app) as client:
        assert 42 == (await client.get("/sums/double/21")).json()


async def test_without_the_lifespan_the_error_says_what_is_missing(queue: TaskQueue) -> None:
    async with served(add_routes(FastAPI())) as client:
        with pytest.raises(QueueClosedError, match=r"/double/1 has no queue.*lifespan\(queue\)"):
            await client.post("/double/1")


async def test_an_application_starts_again_after_it_has_ended(queue: TaskQueue) -> None:
    app = add_routes(FastAPI(lifespan=lifespan(queue, workers={"sums": 1})))
    for number in (1, 2):
        async with served(app) as client:
            task_id = (await client.post(f"/double/{number}")).json()
            assert 2 * number == (await client.get(f"/tasks/{task_id}")).json()
