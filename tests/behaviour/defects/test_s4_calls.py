"""Defects of the first version (Gobstopper's TaskQueue) in what a caller sees, by number."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from support.programs import BIN, run_ok
from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    SteppableClock,
    ended,
    running,
    until_status,
)
from wopr import (
    DuplicateTaskError,
    InvalidCallError,
    NoopStorage,
    OnConflict,
    PayloadError,
    TaskFailedError,
    TaskPriority,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    current_task,
)


async def test_s4_01_the_queue_works_with_its_own_storage(home: DuckDBHome) -> None:
    """``asdict() should be called on dataclass instances`` at the first add_task."""
    queue = home.queue()
    queue.register_task("double", "c")(lambda n: 2 * n)
    async with running(queue, c=1):
        task_id = await queue.add_task("double", "c", TaskPriority.HIGH, 1, 21)
        assert 42 == await queue.handle(task_id).result(timeout=PATIENCE)


async def test_s4_02_no_argument_collides_with_an_option(home: DuckDBHome) -> None:
    """add_task("f", 1, 2) made category=1; kwargs called name or category could not be passed."""
    queue = home.queue()
    queue.register_task("f", "c")(lambda *args, **kwargs: [list(args), kwargs])
    async with running(queue, c=1):
        with pytest.raises(InvalidCallError, match="category must be a str, not int 1"):
            await queue.add_task("f", 1, 2)  # type: ignore[arg-type]
        taken = {"name": "n", "category": 1, "priority": 2, "max_retries": 3, "args": 4}
        handle = await queue.enqueue("f", (1, 2), taken)
        assert [[1, 2], taken] == await handle.result(timeout=PATIENCE)


async def test_s4_13_arguments_of_python_s_types_are_kept_and_others_refused(
    home: DuckDBHome,
) -> None:
    """A datetime or bytes argument: raw TypeError from the storage."""
    queue = home.queue()
    seen: list[object] = []

    @queue.register_task("keep", "c")
    def keep(value: Any) -> None:
        seen.append(value)

    values = [
        datetime(2030, 1, 2, tzinfo=UTC),
        timedelta(days=-1, microseconds=3),
        b"\x00\xff",
        {1, 2},
        Decimal("1.10"),
        UUID(int=7),
        float("inf"),
    ]
    async with running(queue, c=1):
        await ended(queue, *[await queue.add_task("keep", value=value) for value in values])
        with pytest.raises(
            PayloadError, match=r"'value' of task 'keep' \(object\) can't be stored"
        ):
            await queue.add_task("keep", value=object())
        assert len(values) == (await queue.get_task_stats())["total"]
    assert values == seen
    assert [type(value) for value in values] == [type(value) for value in seen]


async def test_s4_14_arguments_are_the_same_after_a_restart(home: DuckDBHome) -> None:
    """Tuples became lists and int keys strings once the row had been read back."""
    seen: list[object] = []
    value = {"t": (1, (2,)), "d": {1: "one", "1": "other"}, "s": frozenset({3})}
    for start in (False, True):
        queue = home.queue()

        @queue.register_task("keep", "c")
        def keep(value: Any) -> None:
            seen.append(value)

        async with running(queue):
            first = await queue.add_task("keep", value=value)
            if start:
                await queue.start_workers("c")
                await ended(queue, first)
    assert [value, value] == seen
    assert [tuple, tuple] == [type(one["t"]) for one in seen]  # type: ignore[index]


def test_s4_15_the_switch_is_read_when_the_queue_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read once at import, and "TRUE", "on", "Yes" counted as off."""
    answers = []
    for value in ("1", "TRUE", "on", "Yes", "0"):
        monkeypatch.setenv("WOPR_TASKS_ENABLED", value)
        answers.append(TaskQueue().enabled)
    assert [True, True, True, True, False] == answers


async def test_s4_16_the_registered_category_is_the_default(home: DuckDBHome) -> None:
    """add_task without category went to "default" and waited for ever."""
    queue = home.queue()
    queue.register_task("mail", "post")(lambda: "sent")
    async with running(queue, post=1):
        handle = queue.handle(await queue.add_task("mail"))
        assert "sent" == await handle.result(timeout=PATIENCE)


def test_s4_17_a_second_function_of_the_same_name_is_refused(home: DuckDBHome) -> None:
    """A duplicate task name silently replaced the first."""
    queue = home.queue()
    first = queue.register_task("mail")(lambda: 1)
    with pytest.raises(DuplicateTaskError, match="Task name 'mail' is taken"):
        queue.register_task("mail")(lambda: 2)
    assert first is queue.task_functions["mail"]


async def test_s4_19_errors_have_a_type_and_a_success_has_none(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """str(ValueError()) is "", and the error of an earlier try stayed on a SUCCESS row."""
    queue = home.queue(clock=clock)
    errors: list[Exception | None] = [ValueError(), None]

    @queue.register_task("flaky", "c")
    def flaky() -> None:
        error = errors.pop(0)
        if error:
            raise error

    async with running(queue, c=1):
        task_id = await queue.add_task("flaky", max_retries=1)
        failed = await until_status(queue, task_id, TaskStatus.RETRY)
        assert ("ValueError", "ValueError") == (failed.error, failed.error_type)
        clock.advance(2, queue)
        [done] = await ended(queue, task_id)
        assert (TaskStatus.SUCCESS, None, None) == (done.status, done.error, done.error_type)
        [step] = [step for step in await queue.get_history(task_id) if step.error]
    assert step.traceback is not None
    assert "raise error" in step.traceback


async def test_s4_20_a_retry_by_hand_renews_the_budget(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    """retry_count was kept: no automatic retries afterwards, and the count passed its maximum."""
    queue = home.queue(clock=clock)
    queue.register_task("fail", "c")(lambda: 1 / 0)
    async with running(queue, c=1):
        task_id = await queue.add_task("fail", max_retries=1)
        for _ in range(2):
            info = await until_status(queue, task_id, TaskStatus.RETRY)
            assert (1, 1) == (info.retry_count, info.max_retries)
            clock.advance(60, queue)
            info = (await ended(queue, task_id))[0]
            assert (TaskStatus.FAILED, 1) == (info.status, info.retry_count)
            assert await queue.retry_task(task_id)


async def test_s4_21_what_get_task_info_gave_never_changes(home: DuckDBHome) -> None:
    """The live mutable object while running, a copy otherwise."""
    queue = home.queue()
    gate = Gate()

    @queue.register_task("work", "c")
    async def work() -> None:
        await gate.wait()
        current_task().progress(70)

    async with running(queue, c=1):
        task_id = await queue.add_task("work")
        await gate.arrivals()
        info = await queue.get_task_info(task_id)
        shown = queue.running_tasks[task_id]
        gate.open()
        await ended(queue, task_id)
    assert info is not None
    assert (TaskStatus.STARTED, 0.0) == (info.status, info.progress)
    assert (TaskStatus.STARTED, 0.0) == (shown.status, shown.progress)
    with pytest.raises(AttributeError):
        info.progress = 1.0  # type: ignore[misc]


async def test_s4_22_stats_are_plain_and_exact(home: DuckDBHome) -> None:
    """by_status and by_category were leaked defaultdicts, and the total ended at 1000."""
    queue = home.queue()

    @queue.task(name="one", category="c")
    def one() -> None: ...

    async with running(queue):
        await one.enqueue_many([()] * 1_001)
        stats = await queue.get_task_stats()
    assert (1_001, {"pending": 1_001}) == (stats["total"], stats["by_status"])
    with pytest.raises(KeyError):
        stats["by_category"]["new"]
    assert stats == json.loads(json.dumps(stats))


async def test_s4_24_cleanup_counts_right_and_takes_zero_days(home: DuckDBHome) -> None:
    """The count was -1, and days=0 was ignored."""
    queue = home.queue()
    queue.register_task("one", "c")(lambda: 1)
    async with running(queue, c=1):
        await ended(queue, *[await queue.add_task("one") for _ in range(3)])
        assert 0 == await queue.cleanup_old_tasks(days=1)
        assert 3 == await queue.cleanup_old_tasks(days=0)
        assert 0 == await queue.cleanup_old_tasks(days=0)


async def test_s4_31_a_unique_key_is_about_live_tasks_of_any_name(home: DuckDBHome) -> None:
    """The old id came back even if that row was CANCELLED, and there was no guard against two."""
    queue = home.queue()
    queue.register_task("one", "c")(lambda: 1)
    async with running(queue):
        first = await queue.enqueue("one", unique_key="k")
        assert first.id == (await queue.enqueue("one", unique_key="k")).id
        with pytest.raises(UniqueKeyConflictError):
            await queue.enqueue("one", unique_key="k", on_conflict=OnConflict.RAISE)
        await first.cancel()
        second = await queue.enqueue("one", unique_key="k")
        assert first.id != second.id
        assert TaskStatus.PENDING is await second.status()


def test_s4_32_enabled_without_duckdb_is_an_error_and_not_a_silent_loss(
    home: DuckDBHome,
) -> None:
    """Enabled without duckdb: add_task returned an id, the task was never run."""
    program = """
import asyncio, sys
sys.modules["duckdb"] = None
from wopr import TaskQueue
queue = TaskQueue(enabled=True, database="x.duckdb")
queue.register_task("one")(lambda: 1)
try:
    print("id", asyncio.run(queue.add_task("one")))
except ImportError as error:
    print("ImportError", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home.path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("ImportError"), done.stdout
    assert not isinstance(home.queue().storage, NoopStorage)


async def test_s4_33_the_fifth_positional_value_reaches_the_function(home: DuckDBHome) -> None:
    """It was swallowed as skip_worker_check or run_at, and new keywords became reserved."""
    queue = home.queue()
    queue.register_task("f", "c")(lambda *args, **kwargs: [list(args), sorted(kwargs)])
    reserved = {"run_at": 1, "delay_seconds": 2, "idempotency_key": 3, "skip_worker_check": 4}
    async with running(queue, c=1):
        task_id = await queue.add_task("f", "c", TaskPriority.LOW, 0, "fifth", "sixth", **reserved)
        result = await queue.handle(task_id).result(timeout=PATIENCE)
    assert [["fifth", "sixth"], sorted(reserved)] == result


async def test_s4_35_the_commands_do_what_they_say(home: DuckDBHome) -> None:
    """run-tasks started nothing, cleanup had no database path, docs named what does not exist."""
    queue = home.queue()
    queue.register_task("one", "c")(lambda: 1)
    async with running(queue, c=1):
        await ended(queue, await queue.add_task("one"))
        waiting = await queue.add_task("one", "later")
    database = ["--database", home.path]
    folder = home.path.parent
    (folder / "jobs.py").write_text(
        "from wopr import TaskQueue\n"
        f"queue = TaskQueue(enabled=True, database={str(home.path)!r})\n"
        "@queue.task(name='one', category='c')\n"
        "def one() -> int:\n"
        "    print('ran', flush=True)\n"
        "    queue_stop()\n"
        "    return 2\n"
        "def queue_stop() -> None:\n"
        "    import os, signal\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    printed = run_ok([BIN / "wopr", "worker", "jobs:queue", "-c", "later:1"], folder)
    assert "ran" in printed
    shown = json.loads(
        run_ok([BIN / "wopr", "tasks", "show", waiting, "--json", *database], folder)
    )
    assert "success" == shown["status"]
    run_ok([BIN / "wopr", "cleanup", "--days", "0", "--json", *database], folder)
    async with running(home.queue()) as later:
        assert 0 == (await later.get_task_stats())["total"]
    assert {"LOW", "NORMAL", "HIGH", "CRITICAL"} == set(TaskPriority.__members__)


async def test_s4_36_a_function_knows_its_id_and_reports_progress(home: DuckDBHome) -> None:
    """Functions had no handle to report progress or learn their id."""
    queue = home.queue()
    gate = Gate()

    @queue.register_task("work", "c")
    async def work() -> str:
        current_task().progress(30, "reading")
        await gate.wait()
        return current_task().id

    async with running(queue, c=1):
        handle = await queue.enqueue("work")
        await gate.arrivals()
        info = await handle.info()
        assert (30.0, "reading") == (info.progress, info.progress_message)
        gate.open()
        assert handle.id == await handle.result(timeout=PATIENCE)


async def test_s4_12_a_result_that_is_no_json_fails_the_task(home: DuckDBHome) -> None:
    """An exception in ``finally``: the row stayed STARTED for ever, the id leaked as running."""
    queue = home.queue()
    queue.register_task("odd", "c")(object)
    queue.register_task("good", "c")(lambda: "ran")
    async with running(queue, c=1):
        with pytest.raises(TaskFailedError, match="The result of task 'odd'"):
            await (await queue.enqueue("odd")).result(timeout=PATIENCE)
        assert {} == queue.running_tasks
        assert "ran" == await (await queue.enqueue("good")).result(timeout=PATIENCE)
