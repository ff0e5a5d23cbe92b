"""How functions are run, and what their end means."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    Home,
    ended,
    run_out_of_time,
    running,
)
from wopr import (
    Settings,
    TaskCancelledError,
    TaskInfo,
    TaskStatus,
    current_task,
)

SUCCESS, FAILED, CANCELLED = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED


class Adder:
    """An object that can be called."""

    def __call__(self, n: int) -> int:
        return n + 1

    async def method(self, n: int) -> int:
        return n + 1


class AsyncAdder:
    """An object that can be awaited."""

    async def __call__(self, n: int) -> int:
        await asyncio.sleep(0)
        return n + 1


async def add(by: int, n: int) -> int:
    return n + by


def add_sync(by: int, n: int) -> int:
    return n + by


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(add, 1),
        functools.partial(add_sync, 1),
        Adder(),
        Adder().method,
        AsyncAdder(),
        functools.partial(AsyncAdder()),
        lambda n: n + 1,
    ],
    ids=["partial-async", "partial", "object", "method", "async-object", "nested", "lambda"],
)
async def test_everything_that_can_be_called_can_be_a_task(
    durable_home: DuckDBHome, function: Callable[..., Any]
) -> None:
    queue = durable_home.queue()
    queue.register_task("add", "c")(function)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("add", n=41))
    assert (SUCCESS, 42) == (info.status, info.result)


async def test_coroutines_run_on_the_loop_and_functions_in_threads(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="here", category="c")
    async def here() -> int:
        return threading.get_ident()

    @queue.task(name="there", category="c")
    def there() -> int:
        return threading.get_ident()

    async with running(queue, c=1):
        assert threading.get_ident() == await (await here.enqueue()).result(timeout=PATIENCE)
        assert threading.get_ident() != await (await there.enqueue()).result(timeout=PATIENCE)


async def test_blocking_functions_run_beside_each_other(home: Home) -> None:
    queue = home.queue()
    together = threading.Barrier(3)

    @queue.task(name="meet", category="c")
    def meet() -> int:
        return together.wait(timeout=PATIENCE)

    async with running(queue, c=3):
        handles = [await meet.enqueue() for _ in range(3)]
        results = [await handle.result(timeout=PATIENCE) for handle in handles]
    assert [0, 1, 2] == sorted(results)


# -- timeouts --------------------------------------------------------------------


async def test_a_coroutine_is_stopped_at_its_timeout(home: Home) -> None:
    queue = home.queue()
    seen: list[str] = []

    @queue.register_task("endless", "c", timeout=0.05)
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("stopped")
            raise

    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("endless"))
    assert ["stopped"] == seen
    assert (FAILED, "TimeoutError") == (info.status, info.error_type)
    assert info.error is not None
    assert "attempt 1 of task 'endless' ran longer than its timeout of 0.05 s" in info.error


async def test_a_blocking_function_is_let_go_at_its_timeout(home: Home) -> None:
    queue = home.queue()
    begun, release = threading.Event(), threading.Event()
    told: list[bool] = []
    done = threading.Event()

    @queue.register_task("block", "c")
    def block() -> str:
        begun.set()
        release.wait(PATIENCE)
        told.append(current_task().cancelled)
        done.set()
        return "too late"

    @queue.register_task("next", "c")
    async def following() -> str:
        return "ran"

    async with running(queue, c=1):
        handle = await queue.enqueue("block", timeout=3_600)
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        run_out_of_time(queue, handle.id)
        assert "ran" == await (await queue.enqueue("next")).result(timeout=PATIENCE)
        release.set()
        assert await asyncio.to_thread(done.wait, PATIENCE)
        info = await handle.info()
    assert [True] == told
    assert (FAILED, None, 3_600) == (info.status, info.result, info.timeout)


async def test_a_timeout_of_the_functions_own_making_is_an_ordinary_error(home: Home) -> None:
    queue = home.queue()

    @queue.register_task("own", "c", timeout=30)
    async def own() -> None:
        raise TimeoutError("the mail server")

    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("own"))
    assert "TimeoutError: the mail server" == info.error


# -- cancel ----------------------------------------------------------------------


async def test_a_running_coroutine_can_be_cancelled(home: Home) -> None:
    queue = home.queue()
    gate = Gate()
    seen: list[str] = []

    @queue.task(name="wait", category="c")
    async def wait() -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            seen.append("stopped")
            raise

    async with running(queue, c=1):
        handle = await wait.enqueue()
        await gate.arrivals()
        assert True is await handle.cancel()
        with pytest.raises(TaskCancelledError, match="was cancelled"):
            await handle.result(timeout=PATIENCE)
        assert False is await handle.cancel()
        info = await handle.info()
        gate.open()
        other = await wait.enqueue()  # the worker is free again
        await other.result(timeout=PATIENCE)
        history = await queue.get_history(handle.id)
    assert ["stopped"] == seen
    assert (CANCELLED, 1) == (info.status, info.attempt)
    assert info.completed_at is not None
    assert ["add", "claim", "cancel"] == [step.reason for step in history]


async def test_what_a_cancelled_attempt_still_does_changes_nothing(home: Home) -> None:
    queue = home.queue()
    release, done = threading.Event(), threading.Event()
    started = threading.Event()

    @queue.task(name="stubborn", category="c")
    def stubborn() -> str:
        started.set()
        release.wait(PATIENCE)
        current_task().progress(50, "still here")
        done.set()
        return "late"

    async with running(queue, c=1):
        handle = await stubborn.enqueue()
        assert await asyncio.to_thread(started.wait, PATIENCE)
        assert True is await handle.cancel()
        release.set()
        assert await asyncio.to_thread(done.wait, PATIENCE)
        await queue.get_task_stats()
        info = await handle.info()
        history = await queue.get_history(handle.id)
    assert (CANCELLED, None) == (info.status, info.result)
    assert ["add", "claim", "cancel"] == [step.reason for step in history]


async def test_a_coroutine_that_swallows_the_cancellation_is_cancelled_all_the_same(
    home: Home,
) -> None:
    queue = home.queue()
    gate = Gate()

    @queue.task(name="deaf", category="c")
    async def deaf() -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            return "I do not care"
        return "opened"

    async with running(queue, c=1):
        handle = await deaf.enqueue()
        await gate.arrivals()
        assert True is await handle.cancel()
        info = (await ended(queue, handle.id))[0]
        gate.open()
        assert "opened" == await (await deaf.enqueue()).result(timeout=PATIENCE)
        again = await handle.info()
    assert (CANCELLED, None) == (info.status, info.result)
    assert info == again


async def test_a_waiting_task_that_is_cancelled_never_starts(home: Home) -> None:
    queue = home.queue()
    started: list[int] = []
    queue.register_task("note", "c")(started.append)
    async with running(queue):
        first = await queue.enqueue("note", (1,))
        second = await queue.enqueue("note", (2,))
        assert True is await first.cancel()
        await queue.start_workers("c")
        await second.result(timeout=PATIENCE)
        info = await first.info()
    assert [2] == started
    assert (CANCELLED, 0, None) == (info.status, info.attempt, info.started_at)


async def test_ended_and_unknown_tasks_can_not_be_cancelled(home: Home) -> None:
    queue = home.queue()
    queue.register_task("fine", "c")(lambda: 1)
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("fine"))
        assert False is await queue.cancel_task(info.id)
        assert False is await queue.cancel_task("0190cafe-0000-7000-8000-000000000000")
        assert False is await queue.cancel_task("no id at all")
        assert info == await queue.get_task_info(info.id)


# -- ends that kill lesser workers -----------------------------------------------


async def _end_of(home: Home, function: Callable[..., Any], retries: int = 0) -> TaskInfo:
    """Run the function; check that its worker still works afterwards; return what came of it."""
    queue = home.queue(settings=Settings(max_result_bytes=1_000))
    queue.register_task("bad", "c")(function)
    queue.register_task("good", "c")(lambda: "still alive")
    async with running(queue, c=1):
        [info] = await ended(queue, await queue.add_task("bad", max_retries=retries))
        good = await queue.handle(await queue.add_task("good")).result(timeout=PATIENCE)
        stats = await queue.get_task_stats()
        assert {} == queue.running_tasks
    assert "still alive" == good
    assert {"failed": 1, "success": 1} == stats["by_status"]
    return info


@pytest.mark.parametrize("kind", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("way", ["coroutine", "thread"])
async def test_an_exception_that_ends_programs_ends_only_the_task(
    home: Home, kind: type[BaseException], way: str
) -> None:
    async def coroutine() -> None:
        raise kind("on purpose")

    def function() -> None:
        raise kind("on purpose")

    info = await _end_of(home, coroutine if way == "coroutine" else function, retries=3)
    assert (FAILED, 1) == (info.status, info.attempt)
    assert info.error_type is not None
    assert info.error_type.endswith(kind.__name__)
    assert f"{kind.__name__}: on purpose" == info.error


class Opaque:
    """Nothing that JSON knows."""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Opaque(), "Opaque"),
        ([1, {2: Opaque()}], "Opaque"),
        ("x" * 2_000, "the limit is 1,000"),
        ("\ud800", "can't be stored"),
        (lambda: 1, "function"),
    ],
    ids=["object", "nested", "large", "surrogate", "function"],
)
async def test_a_result_that_can_not_be_stored_fails_the_task(
    durable_home: DuckDBHome, value: object, says: str
) -> None:
    info = await _end_of(durable_home, lambda: value, retries=3)
    assert (FAILED, 1, None) == (info.status, info.attempt, info.result)
    assert info.error is not None
    assert "The result of task 'bad'" in info.error
    assert says in info.error


async def test_a_result_that_contains_itself_fails_the_task(home: Home) -> None:
    loop: list[object] = []
    loop.append(loop)
    info = await _end_of(home, lambda: loop)
    assert info.error is not None
    assert "The result of task 'bad'" in info.error


async def test_a_function_that_gives_a_coroutine_back_fails_with_the_remedy(home: Home) -> None:
    info = await _end_of(home, lambda: add(1, 1))
    assert info.error is not None
    assert "'async def'" in info.error


async def test_an_exception_that_can_not_be_shown_is_a_failure_like_others(home: Home) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not telling")

    async def mute() -> None:
        raise MuteError

    info = await _end_of(home, mute)
    assert info.error_type is not None
    assert info.error_type.endswith("MuteError")
