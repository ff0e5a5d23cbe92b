"""Alerts over a real queue: each condition, from what happens to what is emitted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from behaviour.notifications.conftest import Inbox
from support.queues import (
    PATIENCE,
    DuckDBHome,
    Gate,
    MemoryStorage,
    SteppableClock,
    ended,
    until,
    until_status,
)
from wopr import Settings, StorageError, TaskQueue, TaskStatus, current_task
from wopr.domain.events import TaskFailed
from wopr.domain.spoken import local
from wopr.notifications import (
    CATEGORY,
    AlertBook,
    AlertRule,
    NotificationEvent,
    NotificationService,
)
from wopr.queue.queue import inside


class Watched:
    """A queue with tasks that fail as they are told, and the alerts that were emitted."""

    def __init__(self, queue: TaskQueue, clock: SteppableClock) -> None:
        self.queue = queue
        self.clock = clock
        self.service = NotificationService(queue, clock=clock, retry=wait_none())
        self.inbox = Inbox()
        self.service.route(self.inbox, categories=["alerts"])
        self.gate = Gate()
        self.tasks: dict[str, Any] = {}
        for name, category in (("mail.send", "mail"), ("mail.sort", "mail"), ("report", "reports")):
            self.tasks[name] = queue.task(
                name=name, category=category, max_retries=1, retry=wait_none()
            )(self._work)
        self.blocked = queue.task(name="blocked", category="reports")(self._wait)

    async def _work(self, failures: int) -> None:
        attempt = current_task().attempt
        if attempt <= failures:
            raise ValueError(f"attempt {attempt} fails")

    async def _wait(self) -> None:
        await self.gate.wait()

    async def run(self, name: str, failures: int = 0) -> str:
        """Run a task that fails so often; return its id."""
        handle = await self.tasks[name].enqueue(failures)
        await ended(self.queue, handle.id)
        return str(handle.id)

    async def told(self, count: int) -> list[NotificationEvent]:
        """Return the alerts so far, which have to be so many."""
        await self.service.look()
        await self.inbox.wait(count)
        await _all_delivered(self.queue)
        assert count == len(self.inbox.events), self.inbox.titles
        return self.inbox.events


async def _all_delivered(queue: TaskQueue) -> None:
    live = {TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY}
    await until(
        lambda: queue.get_tasks(category=CATEGORY),
        lambda infos: not any(info.status in live for info in infos),
    )


@pytest.fixture
async def watched(queue: TaskQueue, clock: SteppableClock) -> AsyncIterator[Watched]:
    made = Watched(queue, clock)
    async with queue, made.service:
        await queue.start_workers("mail", 1)
        await queue.start_workers("reports", 2)
        yield made
        made.gate.open()


# -- conditions -------------------------------------------------------------------


async def test_each_failed_attempt(watched: Watched) -> None:
    await watched.service.add_alert("a", when="failure", every=1)
    task_id = await watched.run("mail.send", failures=1)
    (event,) = await watched.told(1)
    assert ("alerts", "warning", "mail.send failed") == (event.category, event.level, event.title)
    assert "ValueError: attempt 1 fails" in event.message
    assert f"wopr tasks show {task_id}" in event.message
    assert ("a", "mail.send", "mail", task_id, 1) == tuple(
        event.metadata[key] for key in ("alert", "task", "category", "task_id", "attempt")
    )
    watched.clock.advance(2)
    await watched.run("mail.send", failures=1)
    await watched.told(2)


async def test_a_final_failure_and_only_that(watched: Watched) -> None:
    await watched.service.add_alert("a", when="final_failure", emits="alerts", level="critical")
    await watched.run("mail.send", failures=1)
    await watched.run("mail.sort", failures=2)
    (event,) = await watched.told(1)
    assert ("mail.sort failed for good", "critical") == (event.title, event.level)
    assert "attempt 2 fails" in event.message


async def test_secrets_in_errors_are_not_told(watched: Watched) -> None:
    @watched.queue.task(name="mail.login", category="mail")
    async def login() -> None:
        raise ValueError(f"{'x' * 1_972} smtp://u:hunter2@mail.example.org")

    await watched.service.add_alert("a", when="final_failure", task="mail.*")
    handle = await login.enqueue()
    await ended(watched.queue, handle.id)
    (event,) = await watched.told(1)
    assert "hunter" not in event.message  # nor the part that is left after a cut
    info = await handle.info()
    assert "smtp://u:***@mail" in str(info.error)  # nor are they stored


async def test_secrets_in_names_are_not_told(watched: Watched) -> None:
    task = watched.queue.task(name="sync x://u:hunter2@h", category="mail")(watched._work)
    await watched.service.add_alert("a", when="final_failure")
    await ended(watched.queue, (await task.enqueue(1)).id)
    (event,) = await watched.told(1)
    assert "sync x://u:***@h failed for good" == event.title


async def test_a_recovery_after_enough_failures(watched: Watched) -> None:
    await watched.service.add_alert("a", when="recovery", threshold=3, task="mail.send")
    await watched.run("mail.send", failures=1)  # one failed attempt, then success
    await watched.run("mail.send", failures=2)
    await watched.run("mail.send", failures=1)
    (event,) = await watched.told(1)
    assert ("mail.send works again", "info") == (event.title, event.level)
    assert "after 3 failed attempts" in event.message
    await watched.run("mail.send")
    await watched.told(1)


async def test_a_slow_run_when_it_has_ended(watched: Watched) -> None:
    await watched.service.add_alert("a", when="slow", threshold=30)
    handle = await watched.blocked.enqueue()
    await watched.gate.arrivals(1)
    watched.clock.advance(31)
    watched.gate.open()
    await ended(watched.queue, handle.id)
    (event,) = await watched.told(1)
    assert "blocked is slow" == event.title
    assert "ran 31 s, more than 30 s" in event.message


async def test_a_slow_run_while_it_runs_and_not_once_more_at_its_end(watched: Watched) -> None:
    await watched.service.add_alert("a", when="slow", threshold=30, every=1)
    handle = await watched.blocked.enqueue()
    await watched.gate.arrivals(1)
    watched.clock.advance(30)
    await watched.told(0)
    watched.clock.advance(1)
    (event,) = await watched.told(1)
    assert "has been running for 31 s" in event.message
    watched.clock.advance(60)
    await watched.told(1)
    watched.gate.open()
    await ended(watched.queue, handle.id)
    await watched.told(1)


async def test_an_old_backlog(watched: Watched) -> None:
    await watched.service.add_alert("a", when="backlog_age", threshold=60, category="mail")
    await watched.queue.pause("mail")
    await watched.queue.pause("reports")
    for name in ("mail.send", "report"):
        await watched.tasks[name].enqueue(0)
        await watched.tasks[name].options(delay=3_600).enqueue(0)  # not due, so no backlog
    watched.clock.advance(60)
    await watched.told(0)
    watched.clock.advance(1)
    (event,) = await watched.told(1)
    assert ("Backlog in mail", "warning", 1, 61.0) == (
        event.title,
        event.level,
        event.metadata["tasks"],
        event.metadata["age"],
    )
    watched.clock.advance(299)
    await watched.told(1)
    watched.clock.advance(1)  # it lasts: told again, and nothing was left out
    (_, again) = await watched.told(2)
    assert "more since" not in again.message
    await watched.queue.resume("mail")
    await until(watched.queue.get_task_stats, lambda stats: stats["by_status"].get("success", 0))
    watched.clock.advance(300)
    await watched.told(2)


async def test_a_long_backlog(watched: Watched) -> None:
    await watched.service.add_alert("a", when="backlog_size", threshold=2)
    await watched.queue.pause("mail")
    parent = await watched.blocked.enqueue()
    child = watched.tasks["mail.send"].options(depends_on=[parent])
    await child.enqueue(0)  # waits for its parent, not for a worker
    for _ in range(2):
        await watched.tasks["mail.send"].enqueue(0)
    await watched.told(0)
    await watched.tasks["mail.sort"].enqueue(0)
    (event,) = await watched.told(1)
    assert "3 due tasks in category mail; the oldest waits for" in event.message


async def test_a_schedule_that_missed(watched: Watched) -> None:
    queue, clock = watched.queue, watched.clock
    for name, task in (("hourly", "mail.send"), ("other", "report")):
        await queue.schedules.add(name, task, args=(0,), every={"hours": 1}, misfire_grace=60)
    clock.advance(2.5 * 3600)
    await queue.schedules.tick()
    missed = (await queue.schedules.get("hourly")).missed
    assert missed
    await watched.service.add_alert("a", when="schedule_missed", task="mail.*", every=1)
    await watched.told(0)  # it was missed before the alert was there
    clock.advance(3 * 3600)
    await queue.schedules.tick()
    more = (await queue.schedules.get("hourly")).missed - missed
    (event,) = await watched.told(1)
    assert f"Schedule hourly missed {more}" == event.title
    clock.advance(10)
    await watched.told(1)
    (rule,) = await watched.service.alerts()
    assert missed + more == rule.seen["hourly"]


async def test_what_a_schedule_missed_while_nobody_was_there_is_told_at_the_next_start(
    watched: Watched, clock: SteppableClock
) -> None:
    queue = watched.queue
    await queue.schedules.add("hourly", "report", args=(0,), every={"hours": 1})
    await watched.service.add_alert("a", when="schedule_missed")
    await watched.service.stop()
    await queue.shutdown(0)
    clock.advance(5.5 * 3600)
    again = TaskQueue(
        enabled=True, database=queue.database, settings=Settings(scheduler=False), clock=clock
    )
    successor = Watched(again, clock)
    async with again, successor.service:
        await again.schedules.tick()
        (event,) = await successor.told(1)
        assert event.title.startswith("Schedule hourly missed")


# -- filters and windows ------------------------------------------------------------


async def test_an_alert_is_about_its_names_and_its_category(watched: Watched) -> None:
    await watched.service.add_alert("names", when="final_failure", task="*.so?t")
    await watched.service.add_alert("category", when="final_failure", category="reports")
    await watched.service.add_alert("both", when="final_failure", category="reports", task="mail*")
    for name in ("mail.send", "mail.sort", "report"):
        await watched.run(name, failures=2)
    events = await watched.told(2)
    assert {("names", "mail.sort"), ("category", "report")} == {
        (event.metadata["alert"], event.metadata["task"]) for event in events
    }


async def test_what_repeats_is_counted_and_told_when_the_time_is_over(watched: Watched) -> None:
    await watched.service.add_alert("a", when="final_failure", every=60)
    for _ in range(4):
        await watched.run("mail.send", failures=2)
    await watched.run("report", failures=2)
    events = await watched.told(2)
    assert {"mail.send failed for good", "report failed for good"} == {
        event.title for event in events
    }
    watched.clock.advance(59)
    await watched.told(2)
    watched.clock.advance(1)
    told = (await watched.told(3))[-1]
    assert "mail.send failed for good" == told.title
    assert f"And 2 more since {local(datetime(2030, 5, 17, 12))}." in told.message
    assert 2 == told.metadata["left_out"]
    await watched.run("mail.send", failures=2)
    await watched.told(3)
    watched.clock.advance(60)
    assert "more since" not in (await watched.told(4))[-1].message
    watched.clock.advance(60)
    await watched.told(4)


async def test_what_was_left_out_is_told_with_the_next(watched: Watched) -> None:
    await watched.service.add_alert("a", when="final_failure", every=1.5)
    await watched.run("mail.send", failures=2)
    await watched.run("mail.send", failures=2)
    watched.clock.advance(2)
    await watched.run("mail.send", failures=2)
    assert "And 1 more since" in (await watched.told(2))[-1].message


async def test_alerts_change_while_the_service_runs(watched: Watched) -> None:
    await watched.run("mail.send", failures=2)
    await watched.service.add_alert("a", when="final_failure", task="report")
    await watched.run("mail.send", failures=2)
    await watched.told(0)
    await watched.service.add_alert("a", when="final_failure", task="mail.send")
    await watched.run("mail.send", failures=2)
    await watched.told(1)
    assert await watched.service.remove_alert("a")
    watched.clock.advance(1_000)
    await watched.run("mail.send", failures=2)
    await watched.told(1)


async def test_without_an_alert_about_events_none_is_heard(watched: Watched) -> None:
    heard = inside(watched.queue).access.events._handlers
    await watched.service.add_alert("a", when="backlog_age", threshold=1)
    assert not any(heard.values())
    await watched.service.add_alert("b", when="failure")
    assert any(heard.values())
    await watched.service.remove_alert("b")
    assert not any(heard.values())


async def test_successes_are_heard_only_where_they_matter(watched: Watched) -> None:
    heard = inside(watched.queue).access.events._handlers
    await watched.service.add_alert("a", when="final_failure")
    assert not heard.get("task.succeeded")
    await watched.service.add_alert("b", when="slow", threshold=60)
    assert heard["task.succeeded"]
    await watched.service.remove_alert("b")
    assert not heard["task.succeeded"]
    assert heard["task.failed"]


async def test_a_recovery_counts_no_failures_from_before_it_was_added(watched: Watched) -> None:
    await watched.service.add_alert("a", when="failure", task="report")
    await watched.run("mail.send", failures=2)
    await watched.service.add_alert("b", when="recovery")
    await watched.run("mail.sort", failures=1)
    await watched.run("mail.send")
    (event,) = await watched.told(1)
    assert "mail.sort works again" == event.title


# -- no loops -----------------------------------------------------------------------


async def test_deliveries_are_nobodys_alert(watched: Watched) -> None:
    for name, options in {
        "failure": {},
        "final": {"when": "final_failure"},
        "named": {"task": "wopr.notify"},
        "category": {"category": CATEGORY},
        "slow": {"when": "slow", "threshold": 0},
        "recovery": {"when": "recovery"},
        "age": {"when": "backlog_age", "threshold": 0},
        "size": {"when": "backlog_size", "threshold": 0},
    }.items():
        await watched.service.add_alert(name, **{"when": "failure", "every": 1, **options})  # type: ignore[typeddict-item]
    watched.inbox.failures = 3
    watched.service.route(watched.gate.wait, name="slow", categories=["alerts"])
    await watched.service.emit("alerts", "error", "this one fails three times")
    await watched.service.emit("alerts", "error", "and this waits")
    await watched.gate.arrivals(1)
    for _ in range(3):
        watched.clock.advance(100)
        await watched.service.look()
    watched.gate.open()
    events = await watched.told(2)
    assert {"this one fails three times", "and this waits"} == {event.title for event in events}
    assert 5 == watched.inbox.attempts


# -- the watch itself ----------------------------------------------------------------


async def test_stop_emits_what_was_seen(queue: TaskQueue, clock: SteppableClock) -> None:
    watched = Watched(queue, clock)
    async with queue:
        await queue.start_workers("mail", 1)
        async with watched.service:
            await watched.service.add_alert("a", when="final_failure")
            await watched.run("mail.send", failures=2)
        await watched.inbox.wait(1)
        await watched.service.stop()


async def test_stop_tells_what_was_left_out_before_its_time_is_over(
    queue: TaskQueue, clock: SteppableClock
) -> None:
    watched = Watched(queue, clock)
    async with queue:
        await queue.start_workers("mail", 1)
        async with watched.service:
            await watched.service.add_alert("a", when="final_failure")
            for _ in range(3):
                await watched.run("mail.send", failures=2)
        events = await watched.inbox.wait(2)
        assert "And 1 more since" in events[1].message


async def test_what_recovery_fails_for_good_is_told(tmp_path: Path, clock: SteppableClock) -> None:
    settings = Settings(scheduler=False, max_crashes=1)
    home = DuckDBHome(tmp_path / "tasks.duckdb")
    queue = TaskQueue(enabled=True, database=home.path, settings=settings, clock=clock)
    watched = Watched(queue, clock)
    async with queue, watched.service:
        await watched.service.add_alert("a", when="final_failure")
        await queue.start_workers("reports", 1)
        await watched.blocked.enqueue()
        await watched.gate.arrivals(1)
        image = await home.crash_image(queue)
        watched.gate.open()
    again = TaskQueue(enabled=True, database=image.path, settings=settings, clock=clock)
    watched = Watched(again, clock)
    async with again:
        assert {"failed": 1} == (await again.get_task_stats())["by_status"]
        async with watched.service:
            (event,) = await watched.inbox.wait(1)
    assert "blocked failed for good" == event.title


async def test_alerts_that_can_not_be_read_at_the_start_are_read_later(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.service.add_alert("a", when="final_failure")
    await watched.service.stop()
    failures = iter([StorageError("disk")])
    read = type(watched.service._watch._book).all

    async def broken(book: AlertBook) -> list[AlertRule]:
        for error in failures:
            raise error
        return await read(book)

    monkeypatch.setattr(type(watched.service._watch._book), "all", broken)
    await watched.service.start()
    await watched.run("mail.send", failures=2)
    await watched.told(1)


async def test_it_emits_by_itself(watched: Watched) -> None:
    await watched.service.add_alert("a", when="final_failure")
    await watched.run("mail.send", failures=2)
    await watched.inbox.wait(1)


async def test_it_looks_by_itself(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    await watched.service.stop()
    monkeypatch.setattr("wopr.notifications.watch.LOOK_SECONDS", 0.01)
    await watched.service.start()
    await watched.queue.pause("mail")
    await watched.tasks["mail.send"].enqueue(0)
    await watched.service.add_alert("a", when="backlog_age", threshold=60)
    watched.clock.advance(61)
    await watched.inbox.wait(1)


async def test_a_look_that_fails_is_logged_and_tried_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await watched.service.add_alert("a", when="schedule_missed")
    await watched.service.stop()
    monkeypatch.setattr("wopr.notifications.watch.LOOK_SECONDS", 0.01)
    failures = iter([OSError("disk"), ZeroDivisionError("a bug")])
    looked = asyncio.Event()
    all_schedules = watched.queue.schedules.list

    async def broken(*_: Any) -> Any:
        for error in failures:
            raise error
        looked.set()
        return await all_schedules()

    monkeypatch.setattr(type(watched.queue.schedules), "list", broken)
    await watched.service.start()
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
    lines = [(record.levelno, bool(record.exc_info)) for record in caplog.records]
    assert [(logging.WARNING, False), (logging.WARNING, True)] == lines
    assert "could not be looked at, and will be in 0.01 s: disk" in caplog.text


async def test_the_shutdown_of_its_queue_stops_it_and_opens_nothing(
    queue: TaskQueue, clock: SteppableClock
) -> None:
    watched = Watched(queue, clock)
    await queue.start_workers("reports", 1)  # starts it too
    await watched.service.add_alert("a", when="final_failure")
    assert watched.service._watch._task is not None
    await queue.shutdown()
    assert watched.service._watch._task is None
    await watched.service.stop()
    assert {} == queue.workers
    assert not queue.storage.is_open


async def _nothing() -> None: ...


def _failed_event() -> TaskFailed:
    now = datetime.now(UTC)
    return TaskFailed(
        task_id="1",
        name="report",
        category="reports",
        priority=2,
        status=TaskStatus.FAILED,
        attempt=1,
        occurred_at=now,
        created_at=now,
    )


async def test_on_a_storage_without_sql_backlogs_are_not_watched_and_that_is_said(
    clock: SteppableClock, caplog: pytest.LogCaptureFixture
) -> None:
    queue = TaskQueue(
        enabled=True,
        storage_factory=MemoryStorage,
        settings=Settings(scheduler=False),
        clock=clock,
    )
    watched = Watched(queue, clock)
    async with queue, watched.service:
        await queue.start_workers("mail", 1)
        await watched.service.add_alert("a", when="backlog_age", threshold=0)
        await watched.service.add_alert("b", when="final_failure")
        await watched.service.look()
        assert "No alert about backlogs: this storage answers no SQL." in caplog.text
        handle = await watched.tasks["mail.send"].enqueue(2)
        await until_status(queue, handle.id, TaskStatus.FAILED)
        await watched.inbox.wait(1)


async def test_the_age_of_a_delayed_task_counts_from_when_it_is_due(watched: Watched) -> None:
    await watched.service.add_alert("a", when="backlog_age", threshold=60)
    await watched.queue.pause("mail")
    await watched.tasks["mail.send"].options(delay=timedelta(seconds=100)).enqueue(0)
    watched.clock.advance(160)
    await watched.told(0)
    watched.clock.advance(1)
    await watched.told(1)
