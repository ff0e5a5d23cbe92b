"""Protected tasks through a real queue: allowed ones run, others never reach their function."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tenacity import wait_fixed

from support.identities import ADA, BOB, CREDENTIAL, OTHER_SECRET, SECRET, auth_with
from support.queues import (
    PATIENCE,
    DuckDBHome,
    SteppableClock,
    ended,
    running,
    until_status,
)
from wopr import (
    AuthContextNotFoundError,
    AuthSnapshotUnavailableError,
    ConflictingAuthMetadataError,
    InvalidCallError,
    TaskQueue,
    TaskStatus,
)
from wopr.auth import (
    Auth,
    AuthContext,
    AuthorizationDecision,
    Requirement,
    SigningKey,
    auth_context,
    current_auth_context,
    protected,
    public_access,
    require_auth_context,
    require_permission,
    require_role,
)

FAILED, SUCCESS, RETRY = TaskStatus.FAILED, TaskStatus.SUCCESS, TaskStatus.RETRY


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    return DuckDBHome(tmp_path / "tasks.duckdb")


class Calls:
    """Counts who got as far as the function of a task."""

    def __init__(self) -> None:
        """Start at none."""
        self.seen: list[tuple[str, AuthContext | None]] = []

    def register(self, queue: TaskQueue, *marks: Callable[[Any], Any], **options: Any) -> None:
        """Register the task ``export`` with marks."""

        async def export(what: str) -> str:
            self.seen.append((what, current_auth_context()))
            return what

        for mark in reversed(marks):
            mark(export)
        queue.register_task("export", "c", **options)(export)


@pytest.fixture
def calls() -> Calls:
    return Calls()


async def enqueued(queue: TaskQueue, context: AuthContext = ADA, what: str = "q3") -> str:
    with auth_context(context):
        return (await queue.enqueue("export", (what,))).id


async def refused(queue: TaskQueue, task_id: str) -> tuple[str | None, int]:
    """Return the reason of the last transition of a task that ended FAILED, and its attempts."""
    (info,) = await ended(queue, task_id)
    assert info.status is FAILED
    assert info.error_type == "wopr.domain.errors.TaskRefusedError"
    return (await queue.get_history(task_id))[-1].reason, info.attempt


def edit(home: DuckDBHome, statement: str) -> None:
    """Change the closed file, as somebody might who can write it."""
    with duckdb.connect(str(home.path)) as connection:
        connection.execute(statement)


async def test_an_allowed_task_runs_as_who_enqueued_it(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue(auth=auth_with())
    calls.register(queue, require_role("admin"))
    async with running(queue, c=1):
        (info,) = await ended(queue, await enqueued(queue))
    assert info.status is SUCCESS
    ((what, context),) = calls.seen
    assert what == "q3"
    assert context is not None
    assert context.subject == ADA.subject
    assert context.roles == ADA.roles


async def test_a_function_in_a_thread_sees_the_identity_too(home: DuckDBHome) -> None:
    queue = home.queue(auth=auth_with())

    @queue.task
    @protected
    def who() -> str:
        return require_auth_context().subject.id

    async with running(queue, default=1):
        with auth_context(ADA):
            handle = await who.enqueue()
        assert await handle.result(timeout=PATIENCE) == "ada"


async def test_each_of_many_calls_has_its_own_snapshot(home: DuckDBHome) -> None:
    queue = home.queue(auth=auth_with())

    @queue.task
    @protected
    async def who(number: int) -> str:
        return f"{require_auth_context().subject.id} {number}"

    async with running(queue, default=2):
        with auth_context(ADA):
            handles = await who.enqueue_many([(number,) for number in range(3)])
        with auth_context(BOB):
            handles.append(await who.options(tags=["x"]).enqueue(3))
        results = [await handle.result(timeout=PATIENCE) for handle in handles]
    assert results == ["ada 0", "ada 1", "ada 2", "bob 3"]


async def test_the_identity_of_the_caller_does_not_reach_tasks_that_are_not_protected(
    home: DuckDBHome, calls: Calls
) -> None:
    queue = home.queue(auth=auth_with())
    calls.register(queue)
    with auth_context(ADA):
        async with running(queue, c=1):
            await ended(queue, await enqueued(queue))
    assert calls.seen == [("q3", None)]


async def test_the_identity_of_one_run_does_not_reach_the_next(
    home: DuckDBHome, calls: Calls
) -> None:
    queue = home.queue(auth=auth_with())
    calls.register(queue)

    @queue.register_task("first", "c")
    @protected
    async def first() -> None: ...

    async with queue:
        with auth_context(ADA):
            await queue.enqueue("first")
        task_id = await enqueued(queue)
        await queue.start_workers("c", 1)
        await ended(queue, task_id)
    assert calls.seen == [("q3", None)]


async def test_no_credential_and_no_key_is_in_the_file(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue(auth=auth_with(claims=("email",)))
    calls.register(queue, protected)
    async with running(queue, c=1):
        await ended(queue, await enqueued(queue))
    stored = home.path.read_bytes()
    assert b"export" in stored
    assert CREDENTIAL.encode() not in stored
    assert SECRET.encode() not in stored


# -- refused where it is enqueued -------------------------------------------------


@pytest.mark.parametrize("auth", [None, Auth(), Auth(snapshots=True)], ids=["none", "off", "keys"])
async def test_without_snapshots_nothing_is_enqueued(
    home: DuckDBHome, calls: Calls, auth: Auth | None
) -> None:
    queue = home.queue(auth=auth)
    calls.register(queue, protected)
    async with queue:
        with pytest.raises(AuthSnapshotUnavailableError, match=r"Auth\(snapshots=True"):
            await enqueued(queue)
        assert await queue.get_tasks() == []


async def test_nobody_enqueues_nothing(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue(auth=auth_with())
    calls.register(queue, protected)
    async with queue:
        with pytest.raises(AuthContextNotFoundError):
            await queue.enqueue("export", ("q3",))
        assert await queue.get_tasks() == []


async def test_public_tasks_need_nobody(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue()
    calls.register(queue, public_access)
    async with running(queue, c=1):
        handle = await queue.enqueue("export", ("q3",))
        assert await handle.result(timeout=PATIENCE) == "q3"


async def test_work_that_nobody_asks_for_runs_as_a_service(home: DuckDBHome, calls: Calls) -> None:
    auth = auth_with(service_identities={"nightly": BOB})
    queue = home.queue(auth=auth)
    calls.register(queue, protected)
    async with running(queue, c=1):
        with auth.as_service("nightly"):
            handle = await queue.enqueue("export", ("q3",))
        await handle.result(timeout=PATIENCE)
    assert calls.seen == [("q3", BOB)]


# -- refused where it would run ---------------------------------------------------


async def test_who_may_not_ends_failed_without_a_retry(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue(auth=auth_with())
    calls.register(queue, require_role("admin"), max_retries=3)
    async with running(queue, c=1):
        task_id = await enqueued(queue, BOB)
        assert await refused(queue, task_id) == ("auth deny: insufficient_role", 1)
        info = await queue.require_task_info(task_id)
    assert "'bob'" in (info.error or "")
    assert calls.seen == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("update tasks set args = '[\"all\"]'", "snapshot_invalid"),
        ("update tasks set kwargs = '{\"what\":\"all\"}', args = '[]'", "snapshot_invalid"),
        ('update tasks set args = \'["q3" , "q4"]\'', "snapshot_invalid"),
        ("update tasks set name = 'erase'", "snapshot_invalid"),
        ("update tasks set options = NULL", "snapshot_missing"),
        ("update tasks set options = '{}'", "snapshot_missing"),
        ("update tasks set options = '{\"auth\":null}'", "snapshot_missing"),
        ('update tasks set options = \'{"auth":{"sub":"ada"}}\'', "snapshot_invalid"),
        (
            "update tasks set options = replace(options, 'eyJhbGci', 'eyJhbGcj')",
            "snapshot_invalid",
        ),
        ("update tasks set options = left(options, -3) || 'x\"}'", "snapshot_invalid"),
    ],
    ids=["args", "kwargs", "more", "name", "null", "empty", "none", "object", "head", "signature"],
)
async def test_a_row_that_was_edited_in_the_file_does_not_run(
    home: DuckDBHome, calls: Calls, statement: str, reason: str
) -> None:
    first = home.queue(auth=auth_with())
    calls.register(first, protected)
    async with first:
        task_id = await enqueued(first)
    edit(home, statement)

    queue = home.queue(auth=auth_with())
    calls.register(queue, protected, max_retries=3)

    @queue.register_task("erase", "c")
    @protected
    async def erase(what: str) -> None:
        calls.seen.append((what, None))

    async with running(queue, c=1):
        assert await refused(queue, task_id) == (f"auth challenge: {reason}", 1)
    assert calls.seen == []


async def test_a_row_that_was_not_edited_runs_after_a_restart(
    home: DuckDBHome, calls: Calls
) -> None:
    first = home.queue(auth=auth_with())
    calls.register(first, protected)
    async with first:
        task_id = await enqueued(first)
    edit(home, "update tasks set category = category")
    queue = home.queue(auth=auth_with())
    calls.register(queue, protected)
    async with running(queue, c=1):
        (info,) = await ended(queue, task_id)
    assert info.status is SUCCESS


AWKWARD = [
    "Zoë \U0001f600 \u2028 <&> \"'\\ \x00",
    1e22,
    1e-7,
    0.1,
    -0.0,
    10**30,
    {"b": [1.0], "a": None},
]


async def test_it_runs_after_a_crash_whatever_its_arguments_look_like(home: DuckDBHome) -> None:
    def register(queue: TaskQueue) -> None:
        @queue.register_task("echo", "c")
        @protected
        async def echo(*values: Any, **named: Any) -> str:
            return require_auth_context().subject.id

    queue = home.queue(auth=auth_with())
    register(queue)
    async with queue:
        with auth_context(ADA):
            handle = await queue.enqueue("echo", AWKWARD, {"ключ": AWKWARD})
        image = await home.crash_image(queue)
    after = image.queue(auth=auth_with())
    register(after)
    async with running(after, c=1):
        assert await after.handle(handle.id).result(timeout=PATIENCE) == "ada"


async def test_a_task_from_before_it_was_protected_does_not_run(
    home: DuckDBHome, calls: Calls
) -> None:
    first = home.queue()
    calls.register(first)
    async with first:
        task_id = await enqueued(first)
    queue = home.queue(auth=auth_with())
    calls.register(queue, protected)
    async with running(queue, c=1):
        assert await refused(queue, task_id) == ("auth challenge: snapshot_missing", 1)
    assert calls.seen == []


async def test_a_snapshot_may_expire_while_it_waits(home: DuckDBHome, calls: Calls) -> None:
    clock = SteppableClock()
    auth = auth_with(clock=clock, lifetime=timedelta(hours=1))
    queue = home.queue(auth=auth, clock=clock)
    calls.register(queue, protected, max_retries=3)
    async with queue:
        task_id = await enqueued(queue)
        clock.advance(3_700, queue)
        await queue.start_workers("c", 1)
        assert await refused(queue, task_id) == ("auth challenge: snapshot_expired", 1)
    assert calls.seen == []


async def test_another_key_of_the_same_id_is_not_ours(home: DuckDBHome, calls: Calls) -> None:
    first = home.queue(auth=auth_with(SigningKey("k1", OTHER_SECRET)))
    calls.register(first, protected)
    async with first:
        task_id = await enqueued(first)
    queue = home.queue(auth=auth_with())
    calls.register(queue, protected)
    async with running(queue, c=1):
        assert await refused(queue, task_id) == ("auth challenge: snapshot_invalid", 1)
    assert calls.seen == []


@pytest.mark.parametrize("auth", [None, Auth()], ids=["no auth", "no keys"])
async def test_a_worker_that_can_not_verify_tries_again_and_then_fails(
    home: DuckDBHome, calls: Calls, auth: Auth | None
) -> None:
    first = home.queue(auth=auth_with())
    calls.register(first, protected, max_retries=2, retry=wait_fixed(0))
    async with first:
        task_id = await enqueued(first)
    queue = home.queue(auth=auth)
    calls.register(queue, protected, max_retries=2, retry=wait_fixed(0))
    async with running(queue, c=1):
        (info,) = await ended(queue, task_id)
        reasons = [entry.reason for entry in await queue.get_history(task_id)]
    assert (FAILED, 3) == (info.status, info.attempt)
    assert "verification_provider_unavailable" in (info.error or "")
    assert "auth error: verification_provider_unavailable" in reasons
    assert calls.seen == []


async def test_a_provider_that_was_down_costs_a_retry_and_not_the_task(
    home: DuckDBHome, calls: Calls
) -> None:
    answers: list[Exception | AuthorizationDecision] = [
        OSError("directory is down"),
        AuthorizationDecision.allow(),
    ]

    async def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = SteppableClock()
    queue = home.queue(auth=auth_with(decide=decide, clock=clock), clock=clock)
    calls.register(queue, require_permission("read"), max_retries=1, retry=wait_fixed(60))
    async with running(queue, c=1):
        task_id = await enqueued(queue)
        info = await until_status(queue, task_id, RETRY)
        assert "directory is down" in (info.error or "")
        assert (await queue.get_history(task_id))[-1].reason == "auth error: internal_error"
        assert calls.seen == []
        clock.advance(60, queue)
        (info,) = await ended(queue, task_id)
    assert (SUCCESS, 2) == (info.status, info.attempt)
    assert len(calls.seen) == 1


async def test_each_attempt_is_checked_anew(home: DuckDBHome) -> None:
    queue = home.queue(
        auth=auth_with(
            decide=lambda *_: answers.pop(0) if answers else AuthorizationDecision.deny()
        )
    )
    answers = [AuthorizationDecision.allow()]
    attempts: list[int] = []

    @queue.task(max_retries=5, retry=wait_fixed(0))
    @require_permission("read")
    async def flaky() -> None:
        attempts.append(1)
        raise OSError("once")

    async with running(queue, default=1):
        with auth_context(ADA):
            handle = await flaky.enqueue()
        assert await refused(queue, handle.id) == ("auth deny: policy_denied", 2)
    assert attempts == [1]


# -- registration -----------------------------------------------------------------


def test_conflicting_marks_are_refused_at_registration(home: DuckDBHome, calls: Calls) -> None:
    queue = home.queue()
    with pytest.raises(ConflictingAuthMetadataError, match="public_access"):
        calls.register(queue, protected, public_access)
    assert queue.task_functions == {}


def test_a_mark_above_the_registration_is_refused_and_shows_the_order(home: DuckDBHome) -> None:
    queue = home.queue()
    with pytest.raises(InvalidCallError, match=r"(?s)@queue\.task\n.*@protected"):

        @protected
        @queue.task
        async def one() -> None: ...

    with pytest.raises(InvalidCallError, match="registered as a task already"):

        @require_role("admin")
        @queue.register_task("two")
        async def two() -> None: ...


async def test_a_call_of_the_function_itself_is_ones_own(home: DuckDBHome) -> None:
    queue = home.queue()

    @queue.task
    @protected
    async def own() -> str:
        return "done"

    assert await own() == "done"
