"""Queued runs of protected handlers: the marks of the method and of its class count."""

from __future__ import annotations

import pytest

from support.identities import ADA, BOB, auth_with
from support.queues import PATIENCE, DuckDBHome, ended, running
from wopr import (
    AuthContextNotFoundError,
    ConflictingAuthMetadataError,
    InvalidCallError,
    TaskQueue,
    TaskStatus,
)
from wopr.auth import (
    auth_context,
    protected,
    public_access,
    require_auth_context,
    require_role,
    requirements_of,
)
from wopr.handlers import TaskHandler, task


@TaskHandler(category="c")
@require_role("admin")
class Accounts:
    """What only an admin may run."""

    def __init__(self) -> None:
        """Have run for nobody."""
        self.ran_for: list[str] = []

    @task
    def close(self) -> None:
        """Be protected by the class."""
        self.ran_for.append(require_auth_context().subject.id)


async def test_who_may_run_it_runs_it_and_others_don_t(home: DuckDBHome) -> None:
    accounts = Accounts()
    queue = home.queue(auth=auth_with())
    close = queue.register_handler(Accounts, lambda: accounts).task(Accounts.close)
    async with running(queue, c=1):
        with auth_context(ADA):
            allowed = await close.enqueue()
        with auth_context(BOB):
            denied = await close.enqueue()
        with pytest.raises(AuthContextNotFoundError):
            await close.enqueue()
        await allowed.result(PATIENCE)
        (info,) = await ended(queue, denied.id)
        reason = (await queue.get_history(denied.id))[-1].reason
    assert (TaskStatus.FAILED, "auth deny: insufficient_role") == (info.status, reason)
    assert accounts.ran_for == ["ada"]


async def test_a_protected_task_calls_others_of_its_handler_as_methods(home: DuckDBHome) -> None:
    @TaskHandler(category="c")
    class Steps:
        @task
        @protected
        async def outer(self) -> str:
            return await self.inner()

        @task
        @require_role("nobody has it")
        async def inner(self) -> str:
            return require_auth_context().subject.id

    queue = home.queue(auth=auth_with())
    handler = queue.register_handler(Steps)
    async with running(queue, c=1):
        with auth_context(ADA):
            handle = await handler.task(Steps.outer).enqueue()
        assert "ada" == await handle.result(PATIENCE)


def test_marks_may_stand_above_and_below_the_task_decorator() -> None:
    class Both:
        @require_role("above")
        @task
        @require_role("below")
        def run(self) -> None: ...

    queue = TaskQueue(enabled=False)
    handler = queue.register_handler(TaskHandler()(Both))
    found = requirements_of(handler.tasks["run"].function)
    assert {"above", "below"} == {requirement.ref for requirement in found.requirements}


def test_a_mark_after_the_registration_is_refused() -> None:
    @TaskHandler()
    class Late:
        @task
        def run(self) -> None: ...

    TaskQueue(enabled=False).register_handler(Late)
    for target in (Late, Late.run):
        with pytest.raises(InvalidCallError, match="registered as a task already"):
            protected(target)


def test_public_and_protected_at_once_is_refused() -> None:
    @TaskHandler()
    @require_role("admin")
    class Torn:
        @task
        @public_access
        def run(self) -> None: ...

    with pytest.raises(ConflictingAuthMetadataError, match=r"Torn\.run is marked @public_access"):
        TaskQueue(enabled=False).register_handler(Torn)
