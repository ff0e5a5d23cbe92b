"""Declared context variables go along with a task; nothing else does."""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from support.identities import ADA, auth_with
from support.queues import (
    PATIENCE,
    AsyncMemoryStorage,
    DuckDBHome,
    SeedHome,
    ended,
    running,
)
from wopr import InvalidCallError, PayloadError, PayloadTooLargeError, Settings, TaskQueue
from wopr.auth import auth_context, protected
from wopr.flows import chain
from wopr.handlers import TaskHandler, task
from wopr.queue.queue import inside

tenant: ContextVar[Any] = ContextVar("tenant")
trace: ContextVar[Any] = ContextVar("trace", default="no trace")
undeclared: ContextVar[Any] = ContextVar("undeclared", default="nothing")


def seen() -> dict[str, Any]:
    """Return what the calling code sees."""
    return {
        "tenant": tenant.get("nobody"),
        "trace": trace.get(),
        "undeclared": undeclared.get(),
    }


def propagating(queue: TaskQueue, *, times: int = 1) -> TaskQueue:
    """Declare two variables and register tasks that say what they see."""
    for _ in range(times):
        queue.propagate(tenant)
        queue.propagate(trace, "trace-id")

    @queue.task(name="look", category="c")
    async def look() -> dict[str, Any]:
        return seen()

    @queue.task(name="look in a thread", category="c", timeout=PATIENCE)
    def look_in_a_thread() -> dict[str, Any]:
        return seen()

    @queue.task(name="look further", category="c")
    async def look_further() -> dict[str, Any]:
        handle = await queue.enqueue("look")
        found: dict[str, Any] = await handle.result(PATIENCE)
        return found

    return queue


async def seen_by(queue: TaskQueue, name: str) -> dict[str, Any]:
    """Enqueue a task and return what it saw."""
    found: dict[str, Any] = await (await queue.enqueue(name)).result(PATIENCE)
    return found


@pytest.fixture(autouse=True)
def _values() -> None:
    tenant.set("engines")
    trace.set("4bf92f")
    undeclared.set("secret")


NOTHING = {"tenant": "nobody", "trace": "no trace", "undeclared": "nothing"}
CARRIED = {"tenant": "engines", "trace": "4bf92f", "undeclared": "nothing"}


@pytest.mark.parametrize("name", ["look", "look in a thread", "look further"])
async def test_declared_variables_are_seen_by_the_task_and_others_are_not(
    home: DuckDBHome, name: str
) -> None:
    queue = propagating(home.queue(), times=2)
    async with running(queue, c=2):
        assert CARRIED == await seen_by(queue, name)


async def test_tasks_of_handlers_see_them_too(home: DuckDBHome) -> None:
    @TaskHandler(category="c")
    class Reports:
        @task
        def look(self) -> dict[str, Any]:
            return seen()

    queue = propagating(home.queue())
    handler = queue.register_handler(Reports)
    async with running(queue, c=1):
        assert CARRIED == await (await handler.task(Reports.look).enqueue()).result(PATIENCE)


async def test_each_task_of_a_flow_sees_them(home: DuckDBHome) -> None:
    @TaskHandler(category="c")
    class Steps:
        @task
        def first(self) -> dict[str, Any]:
            return seen()

        @task
        async def second(self, before: dict[str, Any]) -> list[dict[str, Any]]:
            return [before, seen()]

    queue = propagating(home.queue())
    handler = queue.register_handler(Steps)
    async with running(queue, c=1):
        steps = chain(handler.task(Steps.first).s(), handler.task(Steps.second).s())
        flow = await queue.enqueue_flow(steps)
        tenant.set("later")
        assert [CARRIED, CARRIED] == await flow.result(timeout=PATIENCE)


async def test_what_is_not_declared_stays_behind_whatever_the_storage() -> None:
    queue = propagating(SeedHome(AsyncMemoryStorage()).queue())
    async with running(queue, c=1):
        assert CARRIED == await seen_by(queue, "look")


async def test_what_is_not_set_at_the_enqueue_is_not_set_in_the_run(home: DuckDBHome) -> None:
    queue = propagating(home.queue())
    async with running(queue, c=1):
        await seen_by(queue, "look")  # leaves nothing behind
        loop = asyncio.get_running_loop()
        handle = await loop.create_task(queue.enqueue("look"), context=Context())
        assert NOTHING == await handle.result(PATIENCE)


async def test_each_call_takes_the_values_of_its_own_moment(home: DuckDBHome) -> None:
    queue = propagating(home.queue())
    handles = []
    async with running(queue, c=1):
        for number in range(3):
            tenant.set(number)
            handles.append(await queue.enqueue("look"))
        tenant.set("later")
        assert [0, 1, 2] == [(await one.result(PATIENCE))["tenant"] for one in handles]


async def test_tasks_do_not_see_what_others_set(home: DuckDBHome) -> None:
    queue = propagating(home.queue())

    @queue.task(name="set", category="c")
    async def set_it() -> None:
        tenant.set("another")
        undeclared.set("another")

    async with running(queue, c=1):
        await (await set_it.enqueue()).result(PATIENCE)
        assert CARRIED == await seen_by(queue, "look")


async def test_values_survive_a_restart(home: DuckDBHome) -> None:
    first = propagating(home.queue())
    async with first:
        task_id = (await first.enqueue("look")).id
    again = propagating(home.queue())
    tenant.set("another")
    async with running(again, c=1):
        (info,) = await ended(again, task_id)
    assert CARRIED == info.result


async def test_values_survive_a_crash_and_go_with_a_bulk_enqueue(home: DuckDBHome) -> None:
    queue = propagating(home.queue())
    async with queue:
        ids = await queue.enqueue_ids("look", [()] * 3, {})
        image = await home.crash_image(queue)
    again = propagating(image.queue())
    async with running(again, c=1):
        assert [CARRIED] * 3 == [info.result for info in await ended(again, *ids)]


async def test_a_variable_that_is_no_longer_declared_is_left_out(home: DuckDBHome) -> None:
    first = propagating(home.queue())
    async with first:
        task_id = (await first.enqueue("look")).id
    again = home.queue()
    again.propagate(trace, "trace-id")
    again.register_task("look", "c")(seen)
    async with running(again, c=1):
        (info,) = await ended(again, task_id)
    assert {"tenant": "nobody", "trace": "4bf92f", "undeclared": "nothing"} == info.result


async def test_values_of_python_s_types_come_back_as_they_were(home: DuckDBHome) -> None:
    value = {"at": datetime(2030, 1, 2, tzinfo=UTC), "of": (1, None), "sum": Decimal("1.10")}
    queue = propagating(home.queue())
    found: list[object] = []
    queue.register_task("keep", "c")(lambda: found.append(tenant.get()))
    tenant.set(value)
    async with running(queue, c=1):
        await (await queue.enqueue("keep")).result(PATIENCE)
    assert [value] == found


async def test_none_is_a_value(home: DuckDBHome) -> None:
    queue = propagating(home.queue())
    tenant.set(None)
    async with running(queue, c=1):
        assert (await seen_by(queue, "look"))["tenant"] is None


async def test_a_value_that_can_t_be_stored_is_refused_and_named(home: DuckDBHome) -> None:
    queue = propagating(home.queue())
    tenant.set({"who": object()})
    async with queue:
        with pytest.raises(PayloadError) as refused:
            await queue.enqueue("look")
        assert await queue.get_tasks() == []
    assert (
        "The context variable 'tenant', which goes along with task 'look', can't be stored as "
        "JSON: at value['who'], object has no JSON form of its own. Propagate a variable that "
        "holds plain values instead, like an id or a dict of texts."
    ) == str(refused.value)


async def test_a_value_that_is_too_large_is_refused_and_named(home: DuckDBHome) -> None:
    queue = propagating(home.queue(settings=Settings(max_args_bytes=1_000)))
    tenant.set("x" * 2_000)
    async with queue:
        with pytest.raises(PayloadTooLargeError, match=r"'tenant', .* the limit is 1,000"):
            await queue.enqueue("look")


def test_a_queue_without_any_has_nothing_to_carry() -> None:
    queue = TaskQueue(enabled=False)
    queue.register_task("look")(seen)
    assert not inside(queue).registry.get("look").carriers


async def test_variables_declared_after_their_tasks_go_along_too(home: DuckDBHome) -> None:
    queue = home.queue(auth=auth_with())
    queue.register_task("look", "c")(seen)
    queue.register_task("look protected", "c")(protected(_seen))
    queue.propagate(tenant)
    queue.propagate(trace)
    async with running(queue, c=1):
        with auth_context(ADA):
            for name in ("look", "look protected"):
                assert CARRIED == await seen_by(queue, name)


def _seen() -> dict[str, Any]:
    return seen()


def test_a_name_belongs_to_one_variable() -> None:
    queue = TaskQueue(enabled=False)
    queue.propagate(tenant)
    with pytest.raises(InvalidCallError, match=r"as 'tenant' already.*\"tenant2\"\)"):
        queue.propagate(ContextVar("tenant"))


@pytest.mark.parametrize("wrong", ["tenant", None, copy_context()])
def test_what_is_no_context_variable_is_refused(wrong: Any) -> None:
    queue = TaskQueue(enabled=False)
    with pytest.raises(InvalidCallError, match=r"takes a contextvars\.ContextVar, not"):
        queue.propagate(wrong)
    assert not inside(queue).registry.carriers


def test_a_name_is_checked() -> None:
    with pytest.raises(InvalidCallError, match="a context variable's name must have 1 to 200"):
        TaskQueue(enabled=False).propagate(tenant, "")
