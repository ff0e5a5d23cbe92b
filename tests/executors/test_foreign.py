"""Executors that users bring: anything with the interface of concurrent.futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import MethodType
from typing import Any

import pytest

from support import process_tasks as tasks
from support.calls import Reports, call
from support.processes import is_gone
from support.queues import PATIENCE
from wopr import InvalidCallError, PayloadError, ProcessDiedError, current_task
from wopr.executors.choice import Executors
from wopr.executors.context import set_current_task
from wopr.executors.foreign import refusal_of


@pytest.fixture
def executors() -> Executors:
    return Executors()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


async def run(
    executors: Executors,
    executor: concurrent.futures.Executor,
    function: Callable[..., Any],
    *args: Any,
    **more: Any,
) -> Any:
    wanted = call(function, *args, **more)
    set_current_task(wanted.context)  # as an attempt does
    async with asyncio.timeout(PATIENCE):
        return await executors.of(executor, wanted.is_async).run(wanted)


async def test_a_thread_pool_runs_any_function_and_knows_the_task(
    executors: Executors, threads: ThreadPoolExecutor
) -> None:
    reports = Reports()

    def work(number: int) -> tuple[int, str]:
        current_task().progress(50, "half")
        return number, threading.current_thread().name

    async def work_async() -> str:
        await asyncio.sleep(0)
        return current_task().name

    number, name = await run(executors, threads, work, 7, report=reports)
    assert 7 == number
    assert "ThreadPoolExecutor" in name
    assert [(50, "half")] == reports.seen
    assert "work" == await run(executors, threads, work_async)
    with pytest.raises(LookupError, match="its own"):
        await run(executors, threads, _fail)
    with pytest.raises(PayloadError, match="returned a coroutine"):
        await run(executors, threads, tasks.a_coroutine)


def _fail() -> None:
    raise LookupError("its own")


async def test_other_executors_get_functions_by_their_names(
    executors: Executors, processes: ProcessPoolExecutor
) -> None:
    assert 6 == await run(executors, processes, tasks.double, 3)
    assert 6 == await run(executors, processes, tasks.doubled.function, 3)
    assert 6 == await run(executors, processes, tasks.async_double, 3)
    assert ("17", "work", "default", 2) == await run(executors, processes, tasks.who)
    await run(executors, processes, tasks.report)  # nobody hears it, and nobody minds
    with pytest.raises(tasks.LoudError):
        await run(executors, processes, tasks.fail, 1)
    with pytest.raises(InvalidCallError, match="is a lambda"):
        await run(executors, processes, lambda: None)


async def test_a_broken_executor_is_a_failure_that_says_so(
    executors: Executors, processes: ProcessPoolExecutor
) -> None:
    with pytest.raises(ProcessDiedError, match="Attempt 2 of task 'work' got no answer") as caught:
        await run(executors, processes, tasks.exit_at_once, 1)
    assert "BrokenProcessPool" in str(caught.value)
    assert "The executor is yours" in str(caught.value)
    with pytest.raises(ProcessDiedError, match="BrokenProcessPool"):  # at once now
        await run(executors, processes, tasks.double, 1)


async def test_an_executor_that_was_shut_down_is_a_failure_that_says_so(
    executors: Executors,
) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(ProcessDiedError, match=r"RuntimeError: cannot schedule.*shutdown"):
        await run(executors, pool, print)


class Silent(concurrent.futures.Executor):
    """Takes everything, and runs nothing."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


async def test_work_that_somebody_else_cancels_is_a_failure_and_no_cancellation(
    executors: Executors,
) -> None:
    silent = Silent()
    task = asyncio.create_task(run(executors, silent, tasks.double, 1))
    await asyncio.sleep(0)
    silent.futures[0].cancel()
    with pytest.raises(ProcessDiedError, match="cancelled by somebody else"):
        await task


async def test_cancelling_takes_back_what_has_not_begun(executors: Executors) -> None:
    silent = Silent()
    task = asyncio.create_task(run(executors, silent, tasks.double, 1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert silent.futures[0].cancelled()
    assert [] == executors.abandoned


async def test_what_runs_already_is_let_go_of_and_reported(
    executors: Executors, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(PATIENCE)

    task = asyncio.create_task(run(executors, threads, work))
    await asyncio.to_thread(begun.wait, PATIENCE)
    with caplog.at_level(logging.INFO, "wopr.worker"):
        task.cancel()
        await asyncio.wait({task})
        [one] = executors.abandoned
        assert ("17", "work", 2) == (one.task_id, one.name, one.attempt)
        assert "ThreadPoolExecutor" in one.where
        may_end.set()
        assert 3 == await run(executors, threads, lambda: 3)  # after it, in the only thread
    assert [] == executors.abandoned
    assert [logging.WARNING, logging.INFO] == [record.levelno for record in caplog.records]


async def test_a_soft_timeout_of_one_call_is_refused(
    executors: Executors, threads: ThreadPoolExecutor
) -> None:
    with pytest.raises(InvalidCallError, match=r"work has soft_timeout=1.5, which works on"):
        await run(executors, threads, tasks.double, 1, soft_timeout=1.5)


async def test_closing_leaves_executors_of_others_alone(
    executors: Executors, threads: ThreadPoolExecutor
) -> None:
    await executors.of(threads, is_async=False).close()
    await executors.close()
    assert 3 == await run(executors, threads, lambda: 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what a cluster warns of is its own affair
async def test_a_dask_cluster_runs_tasks(executors: Executors) -> None:
    distributed = pytest.importorskip("distributed")

    def start() -> Any:
        return distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        )

    cluster = await asyncio.to_thread(start)
    client = await asyncio.to_thread(distributed.Client, cluster)
    try:
        executor = client.get_executor()
        Executors.check(executor, tasks.doubled.function, is_async=False, soft_timeout=None)
        pids = await asyncio.gather(*(run(executors, executor, tasks.pid) for _ in range(3)))
        assert 1 == len(set(pids))
        assert 6 == await run(executors, executor, tasks.doubled.function, 3)
        assert 6 == await run(executors, executor, tasks.async_double, 3)
        with pytest.raises(tasks.LoudError):
            await run(executors, executor, tasks.fail, 1)
    finally:
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(cluster.close)
    assert is_gone(pids[0])


async def test_asking_a_busy_executor_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silent = Silent()
    assert await refusal_of(silent, 0.0) is None
    [taken_back] = silent.futures
    assert taken_back.cancelled()
    begun: Future[Any] = Future()
    begun.set_running_or_notify_cancel()
    silent.submit = MethodType(lambda *_: begun, silent)  # type: ignore[method-assign]
    assert await refusal_of(silent, 0.0) is None
    begun.set_exception(concurrent.futures.BrokenExecutor("it broke"))
    gc.collect()
    await asyncio.sleep(0)
    assert [] == caplog.records
