"""Coroutine functions: the soft timeout comes where they wait, and looks after their children."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.calls import call
from support.queues import PATIENCE
from wopr import SoftTimeoutError
from wopr.executors.coroutines import Coroutines

SOFT = 0.01
coroutines = Coroutines()


async def run(function: Callable[[], Awaitable[Any]], soft_timeout: float | None = SOFT) -> Any:
    """Run in a task of its own; it must end, and leave that task in order."""

    async def attempt() -> Any:
        me = asyncio.current_task()
        assert me is not None
        try:
            return await coroutines.run(call(function, soft_timeout=soft_timeout))
        finally:
            assert 0 == me.cancelling()
            await asyncio.sleep(0)  # a cancellation left behind would come up here

    async with asyncio.timeout(PATIENCE):
        return await asyncio.create_task(attempt())


async def for_ever() -> None:
    await asyncio.Event().wait()


def cancel_as_well(task: asyncio.Task[Any]) -> None:
    """Cancel a task between the end of its soft timeout and its own next step."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if task.cancelling():
            task.cancel()
        else:
            loop.call_soon(look)

    loop.call_soon(look)


class Child:
    """Work that a task starts, and which must be cancelled together with it."""

    def __init__(self) -> None:
        self.cancelled = False

    async def work(self) -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_without_a_soft_timeout_nothing_stands_in_between() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert "done" == await run(work, None)


async def test_a_function_that_is_in_time_hears_nothing() -> None:
    async def work() -> str:
        for _ in range(10):
            await asyncio.sleep(0)
        return "done"

    assert "done" == await run(work, PATIENCE)


async def test_a_function_that_fails_in_time_fails_with_its_own_error() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await run(work, PATIENCE)


@pytest.mark.parametrize("caught", [SoftTimeoutError, TimeoutError, Exception])
async def test_a_function_can_catch_it_clean_up_and_return(caught: type[Exception]) -> None:
    async def work() -> str:
        try:
            await for_ever()
        except caught as error:
            await asyncio.sleep(0)  # cleaning up may take awaits
            return str(error)
        return "never told"

    said = await run(work)
    assert "attempt 2 of task 'work' ran longer than its soft timeout of 0.01 s" in said


async def test_it_comes_once() -> None:
    told: list[float] = []

    async def work() -> str:
        loop = asyncio.get_running_loop()
        try:
            await for_ever()
        except SoftTimeoutError:
            told.append(loop.time())
        await asyncio.sleep(3 * SOFT)
        return "done"

    assert "done" == await run(work)
    assert 1 == len(told)


async def test_let_out_it_is_a_failure_and_no_cancellation() -> None:
    with pytest.raises(SoftTimeoutError) as caught:
        await run(for_ever)
    assert type(caught.value) is SoftTimeoutError
    assert not isinstance(caught.value, asyncio.CancelledError)
    assert "for_ever" in [entry.name for entry in caught.traceback]
    assert caught.value.__cause__ is caught.value.__context__ is None


async def test_what_it_caused_is_still_a_soft_timeout_for_those_who_look() -> None:
    async def work() -> None:
        try:
            await for_ever()
        except SoftTimeoutError as error:
            raise LookupError("no page") from error

    with pytest.raises(LookupError) as caught:
        await run(work)
    cause = caught.value.__cause__
    assert isinstance(cause, SoftTimeoutError)
    again = pickle.loads(pickle.dumps(cause))
    assert (SoftTimeoutError, cause.args) == (type(again), again.args)


async def test_a_cancellation_that_a_library_raises_in_its_place_is_a_soft_timeout() -> None:
    async def work() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    with pytest.raises(SoftTimeoutError, match="attempt 2"):
        await run(work)


async def test_a_cancellation_of_the_functions_own_making_stays_one() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError("mine")

    with pytest.raises(asyncio.CancelledError, match="mine"):
        await run(work, PATIENCE)


# -- what the function waits for -----------------------------------------------------


async def test_a_task_group_cancels_its_children_when_it_waits_for_them() -> None:
    children = [Child(), Child()]

    async def work() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                for child in children:
                    group.create_task(child.work())
        except SoftTimeoutError:
            return "told"
        return "never told"

    assert "told" == await run(work)
    assert [True, True] == [child.cancelled for child in children]


async def test_a_task_group_cancels_its_children_when_its_body_waits() -> None:
    child = Child()

    async def work() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child.work())
                await for_ever()
        except* SoftTimeoutError:  # before Python 3.13 a group wraps what its body raises
            pass
        return "told"

    assert "told" == await run(work)
    assert child.cancelled


async def test_a_task_group_in_a_task_group_ends_as_well() -> None:
    inner, outer = Child(), Child()

    async def nested() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner.work())

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(nested())
            group.create_task(outer.work())

    with pytest.raises(SoftTimeoutError):
        await run(work)
    assert [True, True] == [inner.cancelled, outer.cancelled]


@pytest.mark.parametrize(
    "waiting",
    [
        lambda child: asyncio.gather(child.work(), for_ever()),
        lambda child: asyncio.wait_for(child.work(), PATIENCE),
        lambda child: asyncio.ensure_future(child.work()),
    ],
    ids=["gather", "wait_for", "task"],
)
async def test_what_it_awaits_is_cancelled(
    waiting: Callable[[Child], Awaitable[Any]],
) -> None:
    child = Child()

    async def work() -> str:
        try:
            await waiting(child)
        except SoftTimeoutError:
            return "told"
        return "never told"

    assert "told" == await run(work)
    assert child.cancelled


async def test_a_timeout_inside_of_the_function_works_before_it() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(SOFT / 10):
                await for_ever()
        except SoftTimeoutError:
            return "the wrong one"
        except TimeoutError:
            return "its own"
        return "none"

    assert "its own" == await run(work, PATIENCE)


async def test_it_is_not_mistaken_for_a_timeout_inside_of_the_function() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(PATIENCE) as limit:
                await for_ever()
        except SoftTimeoutError:
            return f"told, {limit.expired()}"
        return "never told"

    assert "told, False" == await run(work)


async def test_one_that_meets_an_inner_timeout_comes_at_the_next_await() -> None:
    seen: list[str] = []

    async def work() -> str:
        me = asyncio.current_task()
        assert me is not None
        cancel_as_well(me)  # as asyncio.timeout does
        try:
            await for_ever()
        except SoftTimeoutError:
            seen.append("too early")
        except asyncio.CancelledError:
            seen.append(f"inner, {me.uncancel()}")
        try:
            await for_ever()
        except SoftTimeoutError:
            seen.append("soft")
        return "done"

    assert "done" == await run(work)
    assert ["inner, 0", "soft"] == seen


async def test_what_was_awaited_may_refuse_to_be_cancelled_and_its_value_is_not_lost() -> None:
    got: list[str] = []

    async def stubborn() -> str:
        try:
            await for_ever()
        except asyncio.CancelledError:
            return "a value"
        return "never told"

    async def work() -> str:
        got.append(await asyncio.ensure_future(stubborn()))
        try:
            await for_ever()
        except SoftTimeoutError:
            got.append("soft")
        return "done"

    assert "done" == await run(work)
    assert ["a value", "soft"] == got


# -- a real cancellation -------------------------------------------------------------


async def test_a_real_cancellation_is_one() -> None:
    seen: list[type[BaseException]] = []

    async def work() -> None:
        try:
            await for_ever()
        except BaseException as error:
            seen.append(type(error))
            raise

    task = asyncio.create_task(coroutines.run(call(work, soft_timeout=PATIENCE)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.cancelled()
    assert [asyncio.CancelledError] == seen


async def test_a_real_cancellation_at_the_same_time_goes_first() -> None:
    seen: list[type[BaseException]] = []

    async def work() -> None:
        try:
            await for_ever()
        except BaseException as error:
            seen.append(type(error))
            raise

    task = asyncio.create_task(coroutines.run(call(work, soft_timeout=SOFT)))
    cancel_as_well(task)
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.cancelled()
    assert [asyncio.CancelledError] == seen


async def test_cleaning_up_after_a_real_cancellation_is_not_disturbed() -> None:
    cleaned = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await for_ever()
        finally:
            await asyncio.sleep(3 * SOFT)
            cleaned.set()

    task = asyncio.create_task(coroutines.run(call(work, soft_timeout=SOFT)))
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    assert cleaned.is_set()
    assert task.cancelled()


async def test_a_timeout_around_it_works() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SOFT):
            await coroutines.run(call(for_ever, soft_timeout=PATIENCE))
    assert type(caught.value) is TimeoutError
