"""Defects of the handlers' first version (spakky-task, spakky-celery), each by its description."""

from __future__ import annotations

import asyncio

import pytest
from tenacity import wait_none

from support.identities import ADA, auth_with
from support.queues import PATIENCE, DuckDBHome, Gate, ended, running
from wopr import (
    ConflictingAuthMetadataError,
    DuplicateTaskError,
    TaskCancelledError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
)
from wopr.auth import (
    AuthContext,
    AuthorizationDecision,
    Requirement,
    auth_context,
    protected,
    public_access,
    require_permission,
)
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.handlers import (
    DirectTaskExecutor,
    DirectTaskInvocation,
    TaskHandler,
    schedule,
    task,
)


def test_only_decorated_methods_can_be_run() -> None:
    """DirectTaskExecutor ran any callable method, whatever its documentation said."""

    @TaskHandler()
    class Handler:
        def __init__(self) -> None:
            self.dropped = False

        @task
        def run(self) -> None: ...

        def drop_everything(self) -> None:
            self.dropped = True

    made = Handler()
    queue = TaskQueue(enabled=False)
    queue.register_handler(Handler, lambda: made)
    with pytest.raises(TaskNotFoundError, match="Handler has no task 'drop_everything'"):
        DirectTaskExecutor(queue).execute(
            DirectTaskInvocation(handler_type=Handler, method_name="drop_everything")
        )
    assert not made.dropped


def test_two_tasks_of_one_name_are_noticed() -> None:
    """DuplicateTaskError was defined and never raised: the second one won."""

    @TaskHandler()
    class One:
        @task(name="same")
        def run(self) -> None: ...

    @TaskHandler()
    class Two:
        @task(name="same")
        def run(self) -> None: ...

    queue = TaskQueue(enabled=False)
    queue.register_handler(One)
    with pytest.raises(DuplicateTaskError):
        queue.register_handler(Two)


async def test_waiting_for_a_result_ends_and_the_task_can_be_asked_and_stopped(
    home: DuckDBHome,
) -> None:
    """get_async blocked a thread for ever: no timeout, no status, no cancel, no retry."""
    gate = Gate()

    @TaskHandler(category="c")
    class Handler:
        @task
        async def run(self) -> None:
            await gate.wait()

    queue = home.queue()
    handler = queue.register_handler(Handler)
    async with running(queue, c=1):
        handle = await handler.task(Handler.run).enqueue()
        await gate.arrivals()
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0)
        assert await handle.status() is TaskStatus.STARTED
        assert await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await asyncio.wait_for(handle.result(), PATIENCE)


def test_marks_that_contradict_each_other_are_refused_at_registration() -> None:
    """Collecting the metadata ignored a public and protected method; only the check refused it."""

    @TaskHandler()
    @public_access
    class Handler:
        @task
        @protected
        def run(self) -> None: ...

    with pytest.raises(ConflictingAuthMetadataError, match=r"Handler\.run"):
        TaskQueue(enabled=False).register_handler(Handler)


async def test_how_an_unanswered_question_is_retried_can_be_said(home: DuckDBHome) -> None:
    """ERROR was retried by Celery's defaults, nothing of it configurable."""
    asked: list[str] = []

    async def permitted(requirement: Requirement, who: AuthContext) -> AuthorizationDecision:
        asked.append(requirement.ref)
        if len(asked) < 3:
            raise OSError("the policy service is away")
        return AuthorizationDecision.allow()

    @TaskHandler(category="c", retry=wait_none())
    class Handler:
        @task(max_retries=2)
        @require_permission("close")
        def run(self) -> str:
            return "closed"

    queue = home.queue(auth=auth_with(decide=permitted))
    handler = queue.register_handler(Handler)
    async with running(queue, c=1):
        with auth_context(ADA):
            handle = await handler.task(Handler.run).enqueue()
        (info,) = await ended(queue, handle.id)
    assert ("closed", 3, 2) == (info.result, info.attempt, info.retry_count)


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_interval_that_does_not_advance_is_refused_where_it_is_written(seconds: int) -> None:
    """An interval of zero or less was accepted."""
    with pytest.raises(InvalidScheduleSpecificationError):
        schedule(interval=seconds)
