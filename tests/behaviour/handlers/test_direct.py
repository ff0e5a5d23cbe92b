"""Direct runs: in the caller's context, and only of what is decorated and allowed."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import pytest

from support.identities import ADA, BOB
from support.queues import DuckDBHome
from wopr import (
    AuthRequirementDeniedError,
    InvalidCallError,
    TaskApplicationContextNotFoundError,
    TaskAsyncInvocationRequiredError,
    TaskNotFoundError,
    TaskQueue,
)
from wopr.auth import (
    Auth,
    AuthContext,
    AuthorizationDecision,
    DecisionKind,
    ReasonCode,
    Requirement,
    auth_context,
    current_auth_context,
    public_access,
    require_permission,
    require_role,
)
from wopr.handlers import DirectTaskExecutor, DirectTaskInvocation, TaskHandler, task

request: ContextVar[str] = ContextVar("request")


@TaskHandler()
class Reports:
    """What is run directly."""

    def __init__(self, base: int = 40) -> None:
        """Count from ``base``."""
        self.base = base
        self.ran: list[object] = []

    @task
    def add(self, n: int, *, twice: bool = False) -> int:
        """Be a plain task."""
        return self.base + n * (2 if twice else 1)

    @task
    async def add_async(self, n: int) -> int:
        """Be a coroutine task."""
        return self.base + n

    @task
    def look(self) -> tuple[int, str, AuthContext | None]:
        """Return what a context has."""
        seen = (threading.get_ident(), request.get("nothing"), current_auth_context())
        request.set("set by the task")
        return seen

    def ordinary(self) -> None:
        """Be no task."""
        self.ran.append("ordinary")


@TaskHandler()
@require_role("admin")
class Protected:
    """What only some may run."""

    ran: list[str]

    def __init__(self) -> None:
        """Have run nothing."""
        self.ran = []

    @task
    def wipe(self, n: int) -> None:
        """Be protected by the class."""
        self.ran.append("wipe")

    @task
    @require_permission("wipe")
    async def wipe_async(self, n: int) -> None:
        """Be protected by the class and by itself."""
        self.ran.append("wipe_async")


def call(name: str, *args: Any, of: type = Reports, **kwargs: Any) -> DirectTaskInvocation:
    """Return an invocation."""
    return DirectTaskInvocation(handler_type=of, method_name=name, args=args, kwargs=kwargs)


@pytest.fixture
def queue() -> TaskQueue:
    """Return a queue that is off: direct runs need none that is open."""
    queue = TaskQueue(enabled=False)
    queue.register_handler(Reports)
    return queue


@pytest.fixture
def executor(queue: TaskQueue) -> DirectTaskExecutor:
    """Return an executor with its queue."""
    return DirectTaskExecutor(queue)


async def test_both_kinds_of_methods_run_directly(executor: DirectTaskExecutor) -> None:
    assert 44 == executor.execute(call("add", 2, twice=True))
    assert 42 == await executor.execute_async(call("add", 2))
    assert 43 == await executor.execute_async(call("add_async", n=3))


def test_an_invocation_is_a_value() -> None:
    one = DirectTaskInvocation(handler_type=Reports, method_name="add")
    assert one == DirectTaskInvocation(handler_type=Reports, method_name="add", args=(), kwargs={})
    with pytest.raises(AttributeError):
        one.method_name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        DirectTaskInvocation(Reports, "add")  # type: ignore[call-arg,misc]


def test_a_plain_call_of_a_coroutine_method_is_refused(executor: DirectTaskExecutor) -> None:
    with pytest.raises(TaskAsyncInvocationRequiredError, match=r"add_async' .*execute_async\("):
        executor.execute(call("add_async", 1))


async def test_without_a_queue_nothing_runs(queue: TaskQueue) -> None:
    executor = DirectTaskExecutor()
    with pytest.raises(TaskApplicationContextNotFoundError, match=r"DirectTaskExecutor\(queue\)"):
        executor.execute(call("add", 1))
    with pytest.raises(TaskApplicationContextNotFoundError):
        await executor.execute_async(call("add", 1))
    executor.set_application_context(queue)
    assert 41 == executor.execute(call("add", 1))


@pytest.mark.parametrize("name", ["ordinary", "missing", "__init__", "base"])
async def test_what_is_not_decorated_is_not_found(executor: DirectTaskExecutor, name: str) -> None:
    with pytest.raises(TaskNotFoundError, match=f"Reports has no task '{name}'"):
        executor.execute(call(name))
    with pytest.raises(TaskNotFoundError):
        await executor.execute_async(call(name))


def test_a_class_that_is_not_registered_is_not_found(executor: DirectTaskExecutor) -> None:
    with pytest.raises(TaskNotFoundError, match=r"queue\.register_handler\(Protected\) first"):
        executor.execute(call("wipe", 1, of=Protected))


@pytest.mark.parametrize(
    "wrong",
    [call("add"), call("add", 1, 2), call("add", "one"), call("add", 1, thrice=True)],
    ids=["missing", "too many", "wrong type", "unknown"],
)
def test_arguments_are_checked_as_at_enqueue(
    executor: DirectTaskExecutor, wrong: DirectTaskInvocation
) -> None:
    with pytest.raises(InvalidCallError, match=r"Reports\.add'"):
        executor.execute(wrong)


async def test_the_caller_s_thread_context_and_identity_are_kept(
    executor: DirectTaskExecutor,
) -> None:
    for run in (executor.execute, executor.execute_async):
        request.set("of the caller")
        with auth_context(ADA):
            seen = run(call("look"))
            if not isinstance(seen, tuple):
                seen = await seen
            assert current_auth_context() is ADA
        assert (threading.get_ident(), "of the caller", ADA) == seen
        assert "set by the task" == request.get()


async def test_direct_and_queued_runs_share_the_instance(home: DuckDBHome) -> None:
    made: list[Reports] = []

    def factory() -> Reports:
        made.append(Reports(100))
        return made[-1]

    queue = home.queue()
    handler = queue.register_handler(Reports, factory)
    async with queue:
        await queue.start_workers()
        assert 101 == await (await handler.task(Reports.add).enqueue(1)).result()
        assert 102 == DirectTaskExecutor(queue).execute(call("add", 2))
    assert len(made) == 1


# -- protected ---------------------------------------------------------------


def deciding(decision: AuthorizationDecision) -> Auth:
    """Return a configuration in which roles and permissions get this answer."""

    def decide(requirement: Requirement, who: AuthContext) -> AuthorizationDecision:
        return decision

    return Auth(decide=decide)


def guarded(auth: Auth | None) -> tuple[DirectTaskExecutor, Protected]:
    """Return an executor, and the handler that it must not reach."""
    queue = TaskQueue(enabled=False, auth=auth)
    protected = Protected()
    queue.register_handler(Protected, lambda: protected)
    return DirectTaskExecutor(queue), protected


async def test_who_may_run_it_runs_it() -> None:
    executor, protected = guarded(deciding(AuthorizationDecision.allow()))
    with auth_context(ADA):
        executor.execute(call("wipe", 1, of=Protected))
        await executor.execute_async(call("wipe_async", 1, of=Protected))
    assert protected.ran == ["wipe", "wipe_async"]


async def test_nobody_runs_nothing() -> None:
    executor, protected = guarded(deciding(AuthorizationDecision.allow()))
    with pytest.raises(AuthRequirementDeniedError) as challenged:
        executor.execute(call("wipe", 1, of=Protected))
    assert challenged.value.decision.kind is DecisionKind.CHALLENGE
    with pytest.raises(AuthRequirementDeniedError):
        await executor.execute_async(call("wipe", 1, of=Protected))
    assert protected.ran == []


async def test_the_marks_of_the_class_count() -> None:
    executor, protected = guarded(deciding(AuthorizationDecision.allow()))
    with auth_context(BOB):  # has the permission, and no role
        with pytest.raises(AuthRequirementDeniedError, match="insufficient_role"):
            executor.execute(call("wipe", 1, of=Protected))
        with pytest.raises(AuthRequirementDeniedError, match="insufficient_role"):
            await executor.execute_async(call("wipe_async", 1, of=Protected))
    assert protected.ran == []


@pytest.mark.parametrize(
    "decision",
    [
        AuthorizationDecision.challenge(ReasonCode.EXPIRED_CREDENTIAL),
        AuthorizationDecision.deny(),
        AuthorizationDecision.error(),
    ],
    ids=lambda decision: decision.kind.value,
)
async def test_no_other_answer_than_allow_calls_it(decision: AuthorizationDecision) -> None:
    executor, protected = guarded(deciding(decision))
    with auth_context(ADA), pytest.raises(AuthRequirementDeniedError) as refused:
        await executor.execute_async(call("wipe_async", 1, of=Protected))
    assert refused.value.decision == decision
    assert protected.ran == []


async def test_a_queue_without_auth_runs_nothing_protected() -> None:
    executor, protected = guarded(None)
    with auth_context(ADA), pytest.raises(AuthRequirementDeniedError, match=r"auth=Auth\("):
        executor.execute(call("wipe", 1, of=Protected))
    assert protected.ran == []


def test_who_may_not_run_it_learns_nothing_of_its_arguments() -> None:
    executor, _ = guarded(None)
    with pytest.raises(AuthRequirementDeniedError):
        executor.execute(call("wipe", "wrong", "call", of=Protected))


def test_what_is_public_needs_nobody() -> None:
    @TaskHandler()
    class Open:
        @task
        @public_access
        def ping(self) -> str:
            return "pong"

    queue = TaskQueue(enabled=False)
    queue.register_handler(Open)
    assert "pong" == DirectTaskExecutor(queue).execute(call("ping", of=Open))
