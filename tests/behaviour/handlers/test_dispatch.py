"""Plain calls of a handler's methods that are enqueued, where its class is registered so."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from support.identities import ADA, BOB, auth_with
from support.queues import DuckDBHome, running
from wopr import (
    AuthContextNotFoundError,
    DuplicateTaskError,
    TaskAsyncInvocationRequiredError,
    TaskFailedError,
    TaskQueue,
    TaskStatus,
    current_task,
)
from wopr.auth import auth_context, current_auth_context, protected, require_role
from wopr.executors.context import running_task
from wopr.handlers import (
    DirectTaskExecutor,
    DirectTaskInvocation,
    DispatchedTask,
    TaskHandler,
    schedule,
    task,
)


def reports() -> type[Any]:
    """Return a class of its own for each test: registering it changes it."""

    @TaskHandler(category="c")
    class Reports:
        @task
        async def build(self, month: int, *, draft: bool = False) -> str:
            return f"{await self.title(month)}{' (draft)' if draft else ''} {bool(running_task())}"

        @task
        async def title(self, month: int) -> str:
            return f"month {month}"

        @task
        def send(self, to: str) -> str:
            return f"sent to {to} by {current_task().name.rpartition('.')[2]}"

        @task
        def plain(self, number: int) -> int:
            return number

        @schedule(every=60)
        def sweep(self) -> str:
            return "swept"

        @task
        @protected
        async def whose(self) -> str:
            context = current_auth_context()
            return "nobody's" if context is None else context.subject.id

        @task
        @require_role("admin")
        async def drop(self) -> str:
            return "dropped"

        def helper(self) -> str:
            return "helped"

    return Reports


def of(value: object) -> DispatchedTask[Any]:
    """Return what a plain call gave, which type checkers take for the method's result."""
    return cast("DispatchedTask[Any]", value)


async def test_a_plain_call_is_enqueued_and_the_same_call_within_a_task_runs_directly(
    home: DuckDBHome,
) -> None:
    queue, kind = home.queue(), reports()
    queue.register_handler(kind, dispatch=True)
    async with running(queue, c=1):
        sent = of(await kind().build(3, draft=True))
        assert "month 3 (draft) True" == await sent.get_async()
        info = await sent.handle.info()
        assert ("Reports.build", (3,), {"draft": True}) == (
            ".".join(info.name.split(".")[-2:]),
            info.args,
            info.kwargs,
        )
        assert 1 == len(await queue.get_tasks())  # title() was no task of its own


async def test_other_methods_and_those_that_only_a_schedule_enqueues_run_here(
    home: DuckDBHome,
) -> None:
    kind = reports()
    home.queue().register_handler(kind, dispatch=True)
    assert ("helped", "swept") == (kind().helper(), kind().sweep())


async def test_nothing_is_dispatched_unless_the_queue_is_so_configured(home: DuckDBHome) -> None:
    kind = reports()
    home.queue().register_handler(kind)
    assert "month 3" == await kind().title(3)
    assert 4 == kind().plain(4)


def test_a_plain_method_dispatches_from_code_without_an_event_loop(home: DuckDBHome) -> None:
    queue, kind = home.queue(), reports()
    queue.register_handler(kind, dispatch=True)
    with queue.sync() as sync:
        sync(queue.start_workers, "c", 1)
        sent = [of(kind().send(who)) for who in ("ada", "bob")]
        assert ["sent to ada by send", "sent to bob by send"] == [one.get(60) for one in sent]
        assert TaskStatus.SUCCESS is sync(sent[0].handle.status)
        assert sent[0].task_id in repr(sent[0])


async def test_a_plain_method_does_not_hold_an_event_loop_up(home: DuckDBHome) -> None:
    queue, kind = home.queue(), reports()
    handler = queue.register_handler(kind, dispatch=True)
    async with running(queue, c=1):
        with pytest.raises(TaskAsyncInvocationRequiredError, match=r"await handler\.task\("):
            kind().send("ada")
        sent = await handler.task(kind.send).enqueue("ada")
        assert "sent to ada by send" == await sent.result()
        value = await asyncio.to_thread(lambda: of(kind().plain(5)).get(60))
        assert 5 == value


async def test_who_calls_goes_along_and_is_checked_where_it_runs(home: DuckDBHome) -> None:
    queue, kind = home.queue(auth=auth_with()), reports()
    queue.register_handler(kind, dispatch=True)
    async with running(queue, c=1):
        with auth_context(ADA):
            assert "ada" == await of(await kind().whose()).get_async()
            assert "dropped" == await of(await kind().drop()).get_async()
        with auth_context(BOB):
            refused = of(await kind().drop())
        with pytest.raises(TaskFailedError, match="was not run"):
            await refused.get_async()
        with pytest.raises(AuthContextNotFoundError):
            await kind().whose()


async def test_what_runs_directly_is_not_dispatched(home: DuckDBHome) -> None:
    queue, kind = home.queue(), reports()
    queue.register_handler(kind, dispatch=True)
    executor = DirectTaskExecutor(queue)
    plain = DirectTaskInvocation(handler_type=kind, method_name="plain", args=(7,))
    assert 7 == executor.execute(plain)
    build = DirectTaskInvocation(handler_type=kind, method_name="build", args=(7,))
    assert "month 7 False" == await executor.execute_async(build)


def test_plain_calls_go_to_one_queue() -> None:
    kind = reports()
    TaskQueue(enabled=False).register_handler(kind, dispatch=True)
    with pytest.raises(DuplicateTaskError, match=r"Reports\.build go to another queue already"):
        TaskQueue(enabled=False).register_handler(kind, dispatch=True)
    TaskQueue(enabled=False).register_handler(kind)  # its tasks may be in another one
