"""What holds tasks back is told in the worker's log: at the start, and once when it appears."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from support.queues import SteppableClock
from support.workers import read_until, worker
from wopr import Reason, Severity, TaskQueue
from wopr.service.holds import FORGET_SECONDS, MOST_TOLD, Holds


def reason(name: str, tasks: int = 1, severity: Severity = Severity.HELD) -> Reason:
    return Reason(kind="k", severity=severity, text=name, tasks=tasks, about={"name": name})


def texts(reasons: list[Reason]) -> list[str]:
    return [one.text for one in reasons]


def test_a_reason_is_new_once_for_as_long_as_it_comes_and_goes() -> None:
    clock = SteppableClock()
    holds = Holds(TaskQueue(enabled=False), clock)
    assert ["a"] == texts(holds.new([reason("a")]))
    assert ["b"] == texts(holds.new([reason("a", 500), reason("b")]))
    assert [] == holds.new([])
    clock.advance(FORGET_SECONDS - 1)
    assert [] == holds.new([reason("a")])
    clock.advance(FORGET_SECONDS)
    assert ["a", "b"] == texts(holds.new([reason("a"), reason("b")]))


def test_what_holds_nothing_and_stops_nothing_is_not_told() -> None:
    holds = Holds(TaskQueue(enabled=False), SteppableClock())
    assert [] == holds.new([reason("a", 0, Severity.WARNING)])
    assert ["b", "c"] == texts(holds.new([reason("b", 0), reason("c", 1, Severity.WARNING)]))


LOGGER = "wopr.worker"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the looks said; a slow disk has others say something too."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


async def test_each_look_tells_what_is_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wopr.worker")
    async with TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb") as queue:

        @queue.task(category="mail")
        async def send() -> None: ...

        await queue.start_workers("default")
        holds = Holds(queue, SteppableClock())
        await holds.look()
        assert [] == told(caplog)
        await send.enqueue_many([(), ()])
        await holds.look()
        await holds.look()
        [message] = told(caplog)
        assert "Category 'mail' has no workers, and holds 2 due tasks" in message
        assert "wopr worker module:queue -c mail:4" in message
        [record] = [one for one in caplog.records if one.name == LOGGER]
        assert "no workers" == record.__dict__["reason"]


async def test_many_new_reasons_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wopr.worker")
    async with TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb") as queue:

        @queue.task
        async def work() -> None: ...

        await queue.start_workers("other")
        for number in range(MOST_TOLD + 2):
            queue.register_task(f"task {number}", f"category {number}")(lambda: None)
            await queue.enqueue(f"task {number}")
        await Holds(queue, SteppableClock()).look()
        assert MOST_TOLD + 1 == len(told(caplog))
        assert "And 2 more; all of them: wopr status" == told(caplog)[-1]


async def test_a_queue_that_is_closed_is_not_opened_by_a_look(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")
    await Holds(queue, SteppableClock()).look()
    assert [] == list(tmp_path.iterdir())


async def test_the_worker_tells_at_its_start_what_it_finds(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(
        "from wopr import TaskQueue\n"
        "queue = TaskQueue()\n"
        "@queue.task(category='mail')\n"
        "async def send(): ...\n"
    )
    async with TaskQueue(enabled=True, database=tmp_path / "wopr_tasks.duckdb") as queue:

        @queue.task(name="gone", category="mail")
        async def gone() -> None: ...

        await gone.enqueue()
    with worker(tmp_path) as process:
        told = read_until(process, "which no function of process")
        assert "Started application:queue" in told
        assert "1 due task of the name 'gone'" in told
        assert "wopr tasks list --name gone" in told
