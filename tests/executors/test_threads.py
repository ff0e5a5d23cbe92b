"""Plain functions in threads: their soft timeout hits them and nobody else; nothing waits."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.calls import call
from support.queues import PATIENCE, SteppableClock
from wopr import PayloadError, RunnerRefusedError, SoftTimeoutError, current_task
from wopr.domain.errors import InvalidCallError
from wopr.executors.abandoned import AbandonedList
from wopr.executors.threads import Job, ThreadExecutor, Threads, _raise_in

SOFT = 0.02


@pytest.fixture
def threads() -> Threads:
    return Threads()


async def run(threads: Threads, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await ThreadExecutor(threads).run(call(function, *args, **options))


def busy() -> None:
    """Run Python code for ever: what is raised in a thread arrives between two steps of it."""
    while True:
        threading.Event().wait(0.001)


async def test_a_function_runs_in_a_thread_and_its_end_is_its_outcome(threads: Threads) -> None:
    def double(number: int, *, more: int) -> tuple[int, str]:
        return 2 * number + more, threading.current_thread().name

    value, name = await run(threads, double, 3, more=1)
    assert 7 == value
    assert name.startswith("wopr-task-")
    with pytest.raises(ZeroDivisionError):
        await run(threads, lambda: 1 / 0)
    with pytest.raises(SystemExit):
        await run(threads, exit, 3)


async def test_a_thread_that_does_not_start_has_not_taken_the_call(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RunnerRefusedError, match=r"can.t start new thread.*ulimit -u"):
            await run(threads, lambda: 1)
    assert 1 == await run(threads, lambda: 1)


async def test_a_coroutine_that_a_plain_function_returns_is_refused(threads: Threads) -> None:
    async def work() -> None: ...

    with pytest.raises(PayloadError, match="Task 'work' returned a coroutine"):
        await run(threads, work)


# -- soft timeout --------------------------------------------------------------------


@pytest.mark.parametrize("caught", [SoftTimeoutError, TimeoutError, Exception])
async def test_a_function_can_catch_its_soft_timeout_and_return(
    threads: Threads, caught: type[Exception]
) -> None:
    def work() -> str:
        try:
            busy()
        except caught as error:
            return type(error).__name__
        return "never told"

    assert "SoftTimeoutError" == await run(threads, work, soft_timeout=SOFT)


async def test_let_out_it_says_which_task_took_too_long(threads: Threads) -> None:
    with pytest.raises(SoftTimeoutError, match=r"attempt 2 of task 'work'.*0\.02 s") as caught:
        await run(threads, busy, soft_timeout=SOFT)
    assert "busy" in [entry.name for entry in caught.traceback]


async def test_a_function_that_is_in_time_hears_nothing(threads: Threads) -> None:
    assert 3 == await run(threads, lambda: 1 + 2, soft_timeout=PATIENCE)


async def test_a_soft_timeout_of_the_functions_own_keeps_its_text(threads: Threads) -> None:
    def work() -> None:
        raise SoftTimeoutError("of my own")

    with pytest.raises(SoftTimeoutError, match="of my own"):
        await run(threads, work, soft_timeout=PATIENCE)


@pytest.fixture
def job() -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    yield lambda function: Job(function, loop.create_future())
    loop.close()


def test_one_that_comes_when_the_function_has_returned_is_dropped(job: Any) -> None:
    late = job(lambda: "done")
    assert (True, "done") == late.run()
    late.interrupt()
    assert 1_000 == sum(1 for _ in range(1_000))  # would be hit here


def test_one_that_comes_before_the_function_has_begun_comes_again(job: Any) -> None:
    early = job(lambda: "done")
    early.interrupt()
    assert early.timer is not None
    assert (True, "done") == early.run()
    early.timer.cancel()


class LateStrike:
    """A job's lock. The soft timeout arrives when the function has returned and takes it."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1
        if self.taken == 2:  # the first is for the beginning
            _raise_in(threading.get_ident(), SoftTimeoutError)

    def __exit__(self, *error: object) -> None: ...


def test_one_that_arrives_when_the_function_has_returned_does_not_take_its_outcome(
    job: Any,
) -> None:
    late = job(lambda: "done")
    late._lock = lock = LateStrike()
    assert (True, "done") == late.run()
    assert 3 == lock.taken


def test_one_that_is_on_its_way_when_the_function_returns_hits_nobody_else(job: Any) -> None:
    """The function is interrupted from another thread in its last moment, again and again."""
    ends = []
    for _ in range(300):
        go, gone = threading.Event(), threading.Event()

        def work(go: threading.Event = go) -> str:
            go.set()
            return "done"

        tried = job(work)

        def strike(tried: Job = tried, go: threading.Event = go, gone: Any = gone) -> None:
            go.wait(PATIENCE)
            tried.interrupt()
            gone.set()

        threading.Thread(target=strike, daemon=True).start()
        ok, value = tried.run()
        assert gone.wait(PATIENCE)
        assert value == "done" if ok else isinstance(value, SoftTimeoutError)
        ends.append(ok)
    assert 300 == len(ends)


async def test_a_thread_goes_on_after_a_soft_timeout_and_is_used_again(threads: Threads) -> None:
    idents = []

    def work() -> None:
        idents.append(threading.get_ident())
        busy()

    for _ in range(20):
        with pytest.raises(SoftTimeoutError):
            await run(threads, work, soft_timeout=0.001)
    assert 1 == len(set(idents))
    assert idents[0] == await run(threads, threading.get_ident)


# -- what can't be stopped -----------------------------------------------------------


class Stubborn:
    """A function that goes on whatever happens, until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def work(self) -> str:
        self.begun.set()
        self.may_end.wait(PATIENCE)
        return current_task().name


async def until(threads: Threads, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(threads.abandoned.running) != count:
            await asyncio.sleep(0)


async def test_a_cancelled_caller_is_free_at_once_and_the_thread_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SteppableClock()
    threads, stubborn = Threads(AbandonedList(clock)), Stubborn()
    task = asyncio.create_task(run(threads, stubborn.work))
    await asyncio.to_thread(stubborn.begun.wait, PATIENCE)
    assert [] == threads.abandoned.running
    with caplog.at_level(logging.INFO, "wopr.worker"):
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.cancelled()
        [one] = threads.abandoned.running
        assert ("17", "work", 2) == (one.task_id, one.name, one.attempt)
        assert one.where.startswith("thread wopr-task-")
        assert clock.now() == one.since
        [warning] = caplog.records
        assert logging.WARNING == warning.levelno
        assert "Attempt 2 of task 17 (work) was stopped" in warning.message
        assert f"it goes on in {one.where}" in warning.message
        clock.advance(7)
        stubborn.may_end.set()
        async with asyncio.timeout(PATIENCE):
            while len(caplog.records) < 2:  # told by its thread, when it is off the list
                await asyncio.sleep(0)
    assert [] == threads.abandoned.running
    info = caplog.records[-1]
    assert logging.INFO == info.levelno
    assert "task 17 (work), attempt 2, has ended" in info.message
    assert "7.0 s after" in info.message


async def test_a_function_that_has_not_begun_when_its_caller_is_cancelled_never_does(
    threads: Threads, job: Any
) -> None:
    never = job(lambda: pytest.fail("it began"))
    never.abandon(call(print), threads.abandoned)
    assert (False, None) == never.run()
    assert [] == threads.abandoned.running


async def test_work_that_is_no_task_is_let_go_of_silently(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(PATIENCE)

    task = asyncio.create_task(threads.run(work, (), {}))
    await asyncio.to_thread(begun.wait, PATIENCE)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    may_end.set()
    assert [] == threads.abandoned.running
    assert [] == caplog.records


async def test_an_abandoned_function_that_fails_harms_nobody(threads: Threads) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(PATIENCE)
        raise InvalidCallError("late")

    task = asyncio.create_task(run(threads, work))
    await asyncio.to_thread(begun.wait, PATIENCE)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    may_end.set()
    await until(threads, 0)
    assert 3 == await run(threads, lambda: 3)
