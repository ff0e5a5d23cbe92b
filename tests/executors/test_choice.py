"""What may be said for executor=, and what runs a task then."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import process_tasks as tasks
from support.calls import call
from support.processes import is_gone
from support.queues import PATIENCE
from wopr import InvalidCallError, Settings, TaskQueue, TaskStatus
from wopr.executors.choice import Executors
from wopr.executors.coroutines import Coroutines
from wopr.executors.foreign import Foreign
from wopr.executors.threads import ThreadExecutor


async def asynchronous() -> None: ...


def test_each_function_gets_what_it_was_registered_with() -> None:
    executors = Executors()
    assert isinstance(executors.of(None, is_async=True), Coroutines)
    assert isinstance(executors.of(None, is_async=False), ThreadExecutor)
    assert isinstance(executors.of("thread", is_async=False), ThreadExecutor)
    assert executors.of("process", is_async=True) is executors.of("process", is_async=False)
    with ThreadPoolExecutor() as pool:
        assert isinstance(executors.of(pool, is_async=True), Foreign)


@pytest.mark.parametrize("executor", ["threads", "", 7, ThreadPoolExecutor])
def test_anything_else_is_refused_with_what_is_allowed(executor: object) -> None:
    with pytest.raises(InvalidCallError, match=r'double is None, "thread", "process", a conc'):
        Executors.check(executor, tasks.double, is_async=False, soft_timeout=None)


def test_a_coroutine_function_does_not_run_in_a_thread() -> None:
    with pytest.raises(InvalidCallError, match="asynchronous is a coroutine function"):
        Executors.check("thread", asynchronous, is_async=True, soft_timeout=None)
    Executors.check("thread", tasks.double, is_async=False, soft_timeout=1.0)
    Executors.check(None, asynchronous, is_async=True, soft_timeout=1.0)


def test_a_soft_timeout_is_refused_where_nobody_can_interrupt() -> None:
    with (
        ThreadPoolExecutor() as pool,
        pytest.raises(InvalidCallError, match=r"soft_timeout=1.5, which works on"),
    ):
        Executors.check(pool, tasks.double, is_async=False, soft_timeout=1.5)


def test_what_runs_elsewhere_must_be_found_there() -> None:
    with pytest.raises(InvalidCallError, match="is a lambda"):
        Executors.check("process", lambda: None, is_async=False, soft_timeout=None)
    with (
        ProcessPoolExecutor() as processes,
        pytest.raises(InvalidCallError, match="is a lambda"),
    ):
        Executors.check(processes, lambda: None, is_async=False, soft_timeout=None)
    with ThreadPoolExecutor() as threads:
        Executors.check(threads, lambda: None, is_async=False, soft_timeout=None)


async def test_nothing_is_started_before_it_is_used() -> None:
    executors = Executors(processes=2)
    await executors.close()
    assert 3 == await executors.of(None, is_async=False).run(call(lambda: 3))
    await executors.close()


# -- in a queue ----------------------------------------------------------------------


def queue_in(directory: Path, **settings: Any) -> TaskQueue:
    database = directory / "tasks.duckdb"
    return TaskQueue(enabled=True, database=database, settings=Settings(processes=1, **settings))


async def test_tasks_of_a_queue_run_in_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_in(tmp_path)
    double = queue.task(name="double", executor="process")(tasks.double)
    fail = queue.task(name="fail", executor="process")(tasks.fail)
    crash = queue.task(name="crash", executor="process", max_retries=0)(tasks.segfault)
    soft = queue.task(name="soft", executor="process", soft_timeout=0.3)(tasks.wait_softly)
    hard = queue.task(name="hard", executor="process", timeout=0.05)(tasks.wait_hard)
    report = queue.task(name="report", executor="process")(tasks.report)
    lines = queue.task(name="lines", executor="process")(tasks.log_lines)

    async def ended(task: Any, *args: Any) -> Any:
        return await queue.wait((await task.enqueue(*args)).id, timeout=PATIENCE)

    async with queue:
        await queue.start_workers("default", 2)
        assert 6 == (await ended(double, 3)).result
        failed = await ended(fail, 3)
        assert TaskStatus.FAILED is failed.status
        assert "LoudError: 3" in failed.error
        [trace] = [
            entry.traceback for entry in await queue.get_history(failed.id) if entry.traceback
        ]
        assert "in fail" in trace
        crashed = await ended(crash)
        assert "ProcessDiedError: Worker process" in crashed.error
        assert "SIGSEGV" in crashed.error
        assert "attempt 1 of task 'soft'" in (await ended(soft)).result
        assert "ran longer than its timeout" in (await ended(hard)).error
        reported = await ended(report)
        assert (100, "all") == (reported.progress, reported.progress_message)
        with caplog.at_level(logging.INFO):
            logged = await ended(lines)
        [own] = [record for record in caplog.records if record.name == "wopr.task"]
        assert logged.id == vars(own)["task_id"]
        assert 8 == (await ended(double, 4)).result


async def test_a_shutdown_kills_what_runs_in_a_process_and_gives_the_task_back(
    tmp_path: Path,
) -> None:
    queue = queue_in(tmp_path, shutdown_seconds=0.01)
    work = queue.task(name="work", executor="process")(tasks.begin_and_wait)
    async with queue:
        await queue.start_workers("default", 1)
        handle = await work.enqueue()
        async with asyncio.timeout(PATIENCE):
            while not (info := await handle.info()).progress_message:
                await asyncio.sleep(0)
    async with queue:
        assert TaskStatus.PENDING is (await handle.info()).status
    assert is_gone(int(info.progress_message))
