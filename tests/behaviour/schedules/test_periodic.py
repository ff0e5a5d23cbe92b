"""``wopr.periodic``: handlers at intervals, as its users know them, without the defects."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE, Gate, until
from wopr import DuplicateTaskError, InvalidCallError, TaskQueue, TaskStatus
from wopr.periodic import BaseTask, TaskScheduler


class Client:
    """What handlers are given."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


@pytest.fixture
async def scheduler(database: Path) -> AsyncIterator[TaskScheduler[Client]]:
    made = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
    yield made
    await made.stop(timeout=0)


def passing() -> Gate:
    gate = Gate()
    gate.open()
    return gate


async def planned(scheduler: TaskScheduler[Client], name: str) -> list[Any]:
    return [
        task.scheduled_for
        for task in reversed(await scheduler.queue.get_tasks(name=name, limit=1_000))
    ]


async def test_a_handler_gets_the_client_at_each_interval(
    scheduler: TaskScheduler[Client],
) -> None:
    gate = passing()
    scheduler.register_task("beat", gate.wait, 0.02)
    await scheduler.start()
    assert [scheduler.api_client] * 3 == (await gate.arrivals(3))[:3]


async def test_a_class_is_a_handler_with_its_settings(scheduler: TaskScheduler[Client]) -> None:
    gate = passing()

    class Cleanup(BaseTask[Client]):
        name = "cleanup"
        interval_seconds = 3_600
        run_on_start = True

        async def execute(self, api_client: Client) -> None:
            await gate.wait(api_client)

    task = Cleanup()
    scheduler.register_task(task.name, task, task.interval_seconds, task.run_on_start)
    await scheduler.start()
    assert [scheduler.api_client] == await gate.arrivals(1)


def test_the_class_has_the_defaults_it_had() -> None:
    assert ("base_task", 60, False) == (
        BaseTask.name,
        BaseTask.interval_seconds,
        BaseTask.run_on_start,
    )
    with pytest.raises(TypeError, match="abstract"):
        BaseTask()  # type: ignore[abstract]


class Api:
    """The API that the template's sample tasks call."""

    def __init__(self) -> None:
        self.sent = Gate()
        self.sent.open()

    async def cleanup_expired(self) -> dict[str, Any]:
        return {"deleted": 3}

    async def get_pending_notifications(self) -> dict[str, Any]:
        return {"items": [{"id": "a"}, {"id": "b"}]}

    async def send_notification(self, notification_id: str) -> dict[str, Any]:
        await self.sent.wait(notification_id)
        return {"status": "sent"}


class CleanupTask(BaseTask[Api]):
    name = "cleanup"
    interval_seconds = 3_600
    run_on_start = True

    async def execute(self, api_client: Api) -> None:
        result = await api_client.cleanup_expired()
        self.logger.info("Records cleaned: %s", result.get("deleted", 0))


class NotificationTask(BaseTask[Api]):
    name = "notifications"
    interval_seconds = 300
    run_on_start = True

    def __init__(self) -> None:
        super().__init__()
        self.logger = logging.getLogger("own")

    async def execute(self, api_client: Api) -> None:
        pending = await api_client.get_pending_notifications()
        for notification in pending.get("items", []):
            await api_client.send_notification(notification["id"])
            self.logger.info("Notification sent: %s", notification["id"])


async def test_tasks_of_the_template_log_by_their_own_logger_and_succeed(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = TaskScheduler(Api(), TaskQueue(enabled=True, database=database))
    for task in (CleanupTask(), NotificationTask()):
        scheduler.register_task(
            name=task.name,
            handler=task,
            interval_seconds=task.interval_seconds,
            run_on_start=task.run_on_start,
        )
    with caplog.at_level(logging.INFO):
        await scheduler.start()
        await until(
            lambda: scheduler.queue.get_tasks(status="success"), lambda found: len(found) == 2
        )
    await scheduler.stop()
    assert ["a", "b"] == (await scheduler.api_client.sent.arrivals(2))[:2]
    assert ("CleanupTask", logging.INFO, "Records cleaned: 3") in caplog.record_tuples
    assert ("own", logging.INFO, "Notification sent: b") in caplog.record_tuples


async def test_a_scheduler_tells_its_tasks_and_has_a_logger(
    scheduler: TaskScheduler[Client],
) -> None:
    gate = passing()
    scheduler.register_task("beat", gate.wait, 3_600, run_on_start=True)
    expected = {"handler": gate.wait, "interval": 3_600, "run_on_start": True, "last_run": None}
    assert {"beat": expected} == scheduler.tasks
    assert "wopr.periodic" == scheduler.logger.name
    before = datetime.now(UTC)
    await scheduler.start()
    await gate.arrivals(1)
    assert before <= scheduler.tasks["beat"]["last_run"] <= datetime.now(UTC)


async def test_without_run_on_start_the_first_run_is_after_one_interval(
    scheduler: TaskScheduler[Client],
) -> None:
    scheduler.register_task("hourly", passing().wait, 3_600)
    await scheduler.start()
    assert [] == await scheduler.queue.get_tasks()
    assert "every 1 h" == (await scheduler.queue.schedules.get("hourly")).description


async def test_stop_lets_a_running_handler_finish(scheduler: TaskScheduler[Client]) -> None:
    gate = Gate()
    ended = []

    async def handler(client: Client) -> None:
        await gate.wait()
        ended.append(client)

    scheduler.register_task("hold", handler, 3_600, run_on_start=True)
    await scheduler.start()
    await gate.arrivals()
    stopping = asyncio.ensure_future(scheduler.stop(timeout=PATIENCE))
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.open()
    await stopping
    assert [scheduler.api_client] == ended


async def test_stop_may_come_twice_or_without_a_start(scheduler: TaskScheduler[Client]) -> None:
    await scheduler.stop()
    scheduler.register_task("beat", passing().wait, 60)
    await scheduler.start()
    await asyncio.gather(scheduler.stop(), scheduler.stop())
    await scheduler.stop()


async def test_a_second_start_doubles_nothing(scheduler: TaskScheduler[Client]) -> None:
    gate = passing()
    scheduler.register_task("beat", gate.wait, 0.02, run_on_start=True)
    await asyncio.gather(scheduler.start(), scheduler.start())
    await scheduler.start()
    await gate.arrivals(4)
    times = await planned(scheduler, "beat")
    assert len(times) == len(set(times))
    assert 10 == sum(map(len, scheduler.queue.workers.values()))


async def test_what_is_registered_after_the_start_runs(scheduler: TaskScheduler[Client]) -> None:
    gate = passing()
    await scheduler.start()
    scheduler.register_task("late", gate.wait, 3_600, run_on_start=True)
    await gate.arrivals(1)


async def test_the_period_is_from_plan_to_plan_however_long_a_run_takes(
    scheduler: TaskScheduler[Client],
) -> None:
    gate = passing()

    async def slow(client: Client) -> None:
        await asyncio.sleep(0.03)
        await gate.wait(client)

    scheduler.register_task("slow", slow, 0.02)
    await scheduler.start()
    await gate.arrivals(5)
    times = await planned(scheduler, "slow")
    steps = {
        (after - before) % timedelta(seconds=0.02) for before, after in itertools.pairwise(times)
    }
    assert {timedelta(0)} == steps


async def test_a_handler_never_overlaps_itself(scheduler: TaskScheduler[Client]) -> None:
    running: list[int] = []
    most: list[int] = []
    gate = passing()

    async def handler(client: Client) -> None:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.03)
        running.pop()
        await gate.wait()

    scheduler.register_task("slow", handler, 0.01)
    await scheduler.start()
    await gate.arrivals(4)
    assert {1} == set(most)
    assert (await scheduler.queue.schedules.get("slow")).skipped > 0


async def test_a_name_is_taken_once(scheduler: TaskScheduler[Client]) -> None:
    scheduler.register_task("beat", passing().wait, 60)
    for other in (scheduler, TaskScheduler(Client(), scheduler.queue)):
        with pytest.raises(DuplicateTaskError, match="'beat' is registered already"):
            other.register_task("beat", passing().wait, 30)


@pytest.mark.parametrize("interval", [0, -1, "60", float("nan")])
def test_an_interval_has_to_be_more_than_nothing(database: Path, interval: Any) -> None:
    scheduler = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
    with pytest.raises(InvalidCallError):
        scheduler.register_task("beat", passing().wait, interval)


def test_a_handler_has_to_be_a_coroutine_function(database: Path) -> None:
    scheduler = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
    with pytest.raises(InvalidCallError, match="coroutine function of the API client"):
        scheduler.register_task("beat", lambda client: None, 60)  # type: ignore[arg-type,return-value]


async def test_a_run_that_fails_ends_nothing_and_is_kept(
    scheduler: TaskScheduler[Client], caplog: pytest.LogCaptureFixture
) -> None:
    gate = passing()

    async def fail(client: Client) -> None:
        await gate.wait()
        raise ValueError("the API says no")

    scheduler.register_task("fail", fail, 0.02)
    with caplog.at_level(logging.INFO, logger="wopr.periodic"):
        await scheduler.start()
        await gate.arrivals(3)
        failed = await until(
            lambda: scheduler.queue.get_tasks(status="failed"), lambda found: len(found) >= 2
        )
    assert "ValueError: the API says no" == failed[0].error
    assert "Task fail starts." in caplog.text
    assert "Task fail failed: ValueError: the API says no" in caplog.text


async def test_runs_are_logged_with_their_duration(
    scheduler: TaskScheduler[Client], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler.register_task("beat", passing().wait, 3_600, run_on_start=True)
    with caplog.at_level(logging.INFO, logger="wopr.periodic"):
        await scheduler.start()
        await until(
            lambda: scheduler.queue.get_tasks(status="success"), lambda found: len(found) == 1
        )
    assert "Task beat ended after" in caplog.text


async def test_a_run_can_be_retried_and_limited(scheduler: TaskScheduler[Client]) -> None:
    async def hang(client: Client) -> None:
        await asyncio.Event().wait()

    scheduler.register_task("hang", hang, 3_600, run_on_start=True, max_retries=2, timeout=0.01)
    await scheduler.start()
    [task] = await until(
        lambda: scheduler.queue.get_tasks(status="retry"), lambda found: len(found) == 1
    )
    assert 2 == task.max_retries
    assert "TimeoutError" in str(task.error)


async def test_a_restart_goes_on_with_the_plan(database: Path) -> None:
    next_at = []
    for _ in range(2):
        scheduler = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
        scheduler.register_task("hourly", passing().wait, 3_600)
        await scheduler.start()
        next_at.append((await scheduler.queue.schedules.get("hourly")).next_fire_at)
        await scheduler.stop()
    assert next_at[0] == next_at[1]


async def test_a_handler_that_was_interrupted_runs_again_after_the_next_start(
    database: Path,
) -> None:
    gate = Gate()
    first = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
    first.register_task("hold", gate.wait, 3_600, run_on_start=True)
    await first.start()
    await gate.arrivals()
    await first.stop(timeout=0)
    gate.open()
    second = TaskScheduler(Client(), TaskQueue(enabled=True, database=database))
    second.register_task("hold", gate.wait, 3_600)
    await second.start()
    await gate.arrivals(2)
    await until(second.queue.get_tasks, lambda found: found[0].status is TaskStatus.SUCCESS)
    await second.stop()
