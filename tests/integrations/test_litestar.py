"""A queue in Litestar: a plugin with a lifespan and a dependency."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.testing import TestClient

from support.queues import PATIENCE
from wopr import InvalidCallError, TaskQueue
from wopr.integrations.litestar import WoprPlugin
from wopr.queue.queue import inside


@post("/double/{number:int}")
async def double(number: FromPath[int], queue: NamedDependency[TaskQueue]) -> str:
    return (await queue.enqueue("double", (number,))).id


@get("/tasks/{task_id:str}")
async def result(task_id: FromPath[str], queue: NamedDependency[TaskQueue]) -> int:
    return int(await queue.handle(task_id).result(timeout=PATIENCE))


@get("/status/{task_id:str}")
async def status(task_id: FromPath[str], jobs: NamedDependency[TaskQueue]) -> str:
    return str(await jobs.handle(task_id).status())


def test_a_request_enqueues_and_another_reads_the_result(queue: TaskQueue) -> None:
    app = Litestar([double, result], plugins=[WoprPlugin(queue, {"sums": 2})])
    with TestClient(app) as client:
        task_id = client.post("/double/21").text
        assert 42 == client.get(f"/tasks/{task_id}").json()
        assert inside(queue).access.open
    assert not inside(queue).access.open


def test_without_workers_it_only_enqueues_and_the_dependency_has_any_name(
    queue: TaskQueue,
) -> None:
    @post("/double/{number:int}")
    async def other(number: FromPath[int], jobs: NamedDependency[TaskQueue]) -> str:
        return (await jobs.enqueue("double", (number,))).id

    app = Litestar([other, status], plugins=[WoprPlugin(queue, {}, dependency="jobs")])
    with TestClient(app) as client:
        task_id = client.post("/double/21").text
        assert "pending" == client.get(f"/status/{task_id}").text


def test_a_dependency_of_the_same_name_is_not_replaced(queue: TaskQueue) -> None:
    def own() -> str:
        return "mine"

    provide = Provide(own, sync_to_thread=False)
    with pytest.raises(InvalidCallError, match="has a dependency 'queue' already"):
        Litestar([], dependencies={"queue": provide}, plugins=[WoprPlugin(queue)])


def test_workers_and_queues_that_can_not_be_are_refused_when_it_is_built(queue: TaskQueue) -> None:
    wrong: Any = 4
    with pytest.raises(InvalidCallError, match="workers is a dict of category to number"):
        WoprPlugin(queue, wrong)
    with pytest.raises(InvalidCallError, match="queue must be a TaskQueue, not 4"):
        WoprPlugin(wrong)
