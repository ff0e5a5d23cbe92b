"""Events go to handlers as tasks of the queue: durable, retried, each by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed, wait_none

from behaviour.notifications.conftest import Inbox
from support.queues import NOON, DuckDBHome, SteppableClock, ended, until_status
from wopr import (
    DeliveryFailedError,
    DeliveryRefusedError,
    InvalidCallError,
    PayloadTooLargeError,
    RetryPolicy,
    Settings,
    TaskPriority,
    TaskQueue,
    TaskStatus,
)
from wopr.notifications import (
    CATEGORY,
    NotificationEvent,
    NotificationService,
    QuietHours,
    RateLimit,
)


@pytest.fixture
def service(queue: TaskQueue, clock: SteppableClock) -> NotificationService:
    return NotificationService(queue, clock=clock, retry=wait_none())


async def deliveries(queue: TaskQueue) -> list[Any]:
    return [
        (info.args[0], info.args[1].title, info.status, info.run_at)
        for info in reversed(await queue.get_tasks(category=CATEGORY))
    ]


async def test_a_handler_gets_the_event_that_was_emitted(
    queue: TaskQueue, service: NotificationService, inbox: Inbox
) -> None:
    service.route(inbox)
    async with queue, service:
        event = await service.emit("billing", "error", "Card", "refused", {"order": [17, None]})
        assert [event] == await inbox.wait()
        (info,) = await queue.get_tasks(name="wopr.notify")
    assert (CATEGORY, TaskPriority.LOW, 60.0) == (info.category, info.priority, 60.0)
    assert {"inbox": {"sent": 1, "deferred": 0, "held": 0, "repeated": 0, "quiet": 0}} == (
        service.counts()
    )


async def test_when_emit_returns_its_deliveries_are_on_disk(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, tmp_path: Any
) -> None:
    other = Inbox("other")
    service.route(inbox)
    service.route(other, level="warning")
    async with queue:
        await service.emit("a", "info", "first")
        await service.emit("a", "error", "second")
        image = await DuckDBHome(queue.database).crash_image(queue)
    async with image.queue() as found:
        rows = await found.sql(
            "select args ->> 0 as handler, args -> 1 ->> 'title' as title from tasks order by seq"
        )
        assert [("inbox", "first"), ("inbox", "second"), ("other", "second")] == [
            (row["handler"], row["title"]) for row in rows
        ]


async def test_a_restart_delivers_what_waits(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    service.route(inbox)
    async with queue:
        event = await service.emit("a", "info", "before")
    again = TaskQueue(
        enabled=True, database=queue.database, settings=Settings(scheduler=False), clock=clock
    )
    successor = NotificationService(again, clock=clock)
    successor.route(inbox)
    async with again, successor:
        assert [event] == await inbox.wait()


async def test_a_failing_handler_is_retried_and_holds_nobody_back(
    queue: TaskQueue, service: NotificationService, inbox: Inbox
) -> None:
    broken = Inbox("broken", failures=3)
    stuck = asyncio.Event()
    waiting: list[str] = []

    async def slow(event: NotificationEvent) -> None:
        waiting.append(event.title)
        await stuck.wait()

    service.route(slow)
    service.route(broken)
    service.route(inbox)
    async with queue, service:
        await service.emit("a", "error", "t")
        await inbox.wait()
        await broken.wait()
        assert (4, ["t"]) == (broken.attempts, waiting)
        stuck.set()
        infos = {info.args[0]: info for info in await queue.get_tasks(category=CATEGORY)}
        assert 4 == (await ended(queue, infos["broken"].id))[0].attempt
        assert [1, 1] == [
            info.attempt for info in await ended(queue, infos["slow"].id, infos["inbox"].id)
        ]


async def test_a_refusal_is_final(queue: TaskQueue, clock: SteppableClock) -> None:
    async def refusing(event: NotificationEvent) -> None:
        raise DeliveryRefusedError("not this one")

    policy = RetryPolicy(wait=wait_none(), dont_retry=(KeyError,))
    service = NotificationService(queue, clock=clock, retry=policy)
    service.route(refusing)
    async with queue, service:
        await service.emit("a", "error", "t")
        (info,) = await queue.get_tasks(category=CATEGORY)
        (info,) = await ended(queue, info.id)
    assert (TaskStatus.FAILED, 1, "wopr.domain.errors.DeliveryRefusedError") == (
        info.status,
        info.attempt,
        info.error_type,
    )


async def test_deliveries_are_retried_for_a_day_by_default(
    queue: TaskQueue, clock: SteppableClock
) -> None:
    broken = Inbox("broken", failures=1_000)
    service = NotificationService(queue, clock=clock)
    service.route(broken)
    waits: list[int] = []
    async with queue, service:
        await service.emit("a", "error", "t")
        (first,) = await queue.get_tasks(category=CATEGORY)
        for attempt in range(1, 12):
            await broken.tried(attempt)
            info = await until_status(queue, first.id, TaskStatus.RETRY)
            assert info.run_at is not None
            seconds = (info.run_at - clock.now()).total_seconds()
            waits.append(int(seconds))
            clock.advance(seconds, queue)
        await broken.tried(12)
        await until_status(queue, first.id, TaskStatus.RETRY)
        clock.advance(86_400 - (clock.now() - NOON).total_seconds(), queue)
        (info,) = await ended(queue, first.id)
    assert [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] == waits
    assert (TaskStatus.FAILED, 13) == (info.status, info.attempt)


async def test_a_stop_of_the_own_policy_ends_it(queue: TaskQueue, clock: SteppableClock) -> None:
    broken = Inbox("broken", failures=1_000)
    service = NotificationService(queue, clock=clock, retry=[wait_none(), stop_after_attempt(3)])
    service.route(broken)
    async with queue, service:
        await service.emit("a", "error", "t")
        (info,) = await queue.get_tasks(category=CATEGORY)
        (info,) = await ended(queue, info.id)
    assert (TaskStatus.FAILED, 3) == (info.status, info.attempt)


async def test_a_handler_that_this_process_does_not_know_is_tried_again(
    queue: TaskQueue, clock: SteppableClock, inbox: Inbox
) -> None:
    service = NotificationService(queue, clock=clock, retry=wait_fixed(10))
    service.route(inbox, name="old")
    async with queue:
        await service.emit("a", "error", "t")
    again = TaskQueue(
        enabled=True, database=queue.database, settings=Settings(scheduler=False), clock=clock
    )
    successor = NotificationService(again, clock=clock, retry=wait_fixed(10))
    async with again, successor:
        (info,) = await again.get_tasks(category=CATEGORY)
        info = await until_status(again, info.id, TaskStatus.RETRY)
        assert "No handler 'old' is routed in this process; there are: none." in (info.error or "")
        assert info.error_type == f"{DeliveryFailedError.__module__}.DeliveryFailedError"
        successor.route(inbox, name="old")
        clock.advance(10, again)
        await inbox.wait()


# -- routes ---------------------------------------------------------------------


async def test_an_event_goes_where_its_category_and_level_say(
    queue: TaskQueue, service: NotificationService
) -> None:
    money, all_bad, everything = Inbox("money"), Inbox("bad"), Inbox("everything")
    service.route(money, categories=["billing"])
    service.route(all_bad, level="error")
    service.route(everything)
    async with queue, service:
        await service.emit("billing", "info", "paid")
        await service.emit("billing", "critical", "bank gone")
        await service.emit("shop", "warning", "slow")
        await service.emit("shop", "info", "forced", metadata={"force_external": True})
        await everything.wait(4)
        await money.wait(3)
        await all_bad.wait(2)
        assert [] == [row for row in await deliveries(queue) if row[2] is TaskStatus.PENDING]
    assert ["bank gone", "forced", "paid"] == sorted(money.titles)
    assert ["bank gone", "forced"] == sorted(all_bad.titles)


async def test_several_routes_of_a_handler_deliver_an_event_once(
    queue: TaskQueue, service: NotificationService, inbox: Inbox
) -> None:
    night = QuietHours("00:00", "23:59", drop=True)
    service.route(inbox, categories=["a"], quiet=night)
    service.route(inbox, level="warning")
    service.route(inbox, level="error")
    async with queue:
        await service.emit("a", "error", "the first drops, the second takes, the third has it")
        await service.emit("a", "info", "only the first takes it, and drops it")
        assert 1 == len(await deliveries(queue))
    assert (1, 2) == (service.counts()["inbox"]["sent"], service.counts()["inbox"]["quiet"])


async def test_repeats_are_not_delivered(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    service.route(inbox, dedup=60)
    async with queue:
        for seconds in (0, 59, 1, 59):
            clock.advance(seconds)
            await service.emit("a", "error", "same")
        assert 2 == len(await deliveries(queue))
    assert 4 == len(service.get_recent())
    assert (2, 2) == (service.counts()["inbox"]["sent"], service.counts()["inbox"]["repeated"])


async def test_what_comes_at_night_is_delivered_in_the_morning(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    clock.time = datetime(
        2030, 3, 30, 21, 0, tzinfo=UTC
    )  # 22:00 in Berlin; 2 h later clocks change
    service.route(inbox, quiet=QuietHours("22:00", "07:00", tz="Europe/Berlin"))
    async with queue, service:
        await service.emit("a", "error", "later")
        await service.emit("a", "critical", "now")
        assert ["now"] == [event.title for event in await inbox.wait()]
        assert datetime(2030, 3, 31, 5, 0, tzinfo=UTC) == (await deliveries(queue))[0][3]
        clock.advance(8 * 3600 - 1, queue)
        await service.emit("a", "critical", "still night")
        await inbox.wait(2)
        clock.advance(1, queue)
        await inbox.wait(3)
    assert ["now", "still night", "later"] == inbox.titles


async def test_what_exceeds_the_rate_becomes_one_summary(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    service.route(inbox, rate=RateLimit(2, 60))
    async with queue, service:
        for number in range(10):
            await service.emit("a", "warning" if number < 9 else "error", f"number {number}")
        await inbox.wait(2)
        waiting = [row for row in await deliveries(queue) if row[2] is TaskStatus.PENDING]
        assert [NOON + timedelta(seconds=60)] == [row[3] for row in waiting]
        clock.advance(60, queue)
        (*_, told) = await inbox.wait(3)
        assert ("Held back by the rate limit: 8 more", "error") == (told.title, told.level)
        assert "1 × number 2" in told.message
        await service.emit("a", "warning", "after")
        await inbox.wait(4)
    assert ["number 0", "number 1", told.title, "after"] == inbox.titles
    assert (3, 8) == (service.counts()["inbox"]["sent"], service.counts()["inbox"]["held"])


async def test_events_held_at_the_same_time_make_one_summary_that_counts_all(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    service.route(inbox, rate=RateLimit(1, 60))
    async with queue, service:
        await asyncio.gather(*(service.emit("a", "error", f"{number}") for number in range(50)))
        clock.advance(60, queue)
        assert "Held back by the rate limit: 49 more" == (await inbox.wait(2))[1].title
        statuses = [row[2] for row in await deliveries(queue)]
        assert 0 == statuses.count(TaskStatus.PENDING)
        assert 48 == statuses.count(TaskStatus.CANCELLED)


async def test_a_summary_outlives_a_crash(
    queue: TaskQueue, service: NotificationService, inbox: Inbox, clock: SteppableClock
) -> None:
    service.route(inbox, rate=RateLimit(1, 60))
    async with queue:
        for number in range(4):
            await service.emit("a", "error", f"{number}")
        image = await DuckDBHome(queue.database).crash_image(queue)
    clock.advance(60)
    again = image.queue(clock=clock, settings=Settings(scheduler=False))
    successor = NotificationService(again, clock=clock)
    successor.route(inbox)
    async with again, successor:
        await inbox.wait(2)
    assert ["0", "Held back by the rate limit: 3 more"] == sorted(inbox.titles)


# -- mistakes -------------------------------------------------------------------


async def test_an_event_that_could_not_be_enqueued_may_be_emitted_again(
    queue: TaskQueue, service: NotificationService, inbox: Inbox
) -> None:
    service.route(inbox)
    async with queue:
        with pytest.raises(PayloadTooLargeError):
            await service.emit("a", "error", "t", "x" * 300_000)
        assert [] == service.get_recent()
        await service.emit("a", "error", "t")
        assert 1 == len(await deliveries(queue))
    assert 1 == service.counts()["inbox"]["sent"]


def test_what_can_not_be_a_route_is_refused(service: NotificationService, inbox: Inbox) -> None:
    async def one(event: NotificationEvent) -> None: ...

    nameless = Inbox()
    del nameless.name
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (print, {}, "A handler is a coroutine function"),
        (nameless, {}, r"has no name of its own.*name='ops'"),
        (one, {"name": ""}, "name of a handler must have 1 to 100 characters"),
        (one, {"categories": "billing"}, r"categories must be a list.*\[name\]"),
        (one, {"categories": [7]}, "category must be a str"),
        (one, {"level": "loud"}, "level must be one of"),
        (one, {"dedup": -1}, "dedup must be a number of seconds"),
        (one, {"quiet": "22:00"}, r"Give a QuietHours\(…\)"),
        (one, {"rate": 5}, r"Give a RateLimit\(…\)"),
    ]
    for handler, options, said in wrong:
        if options.get("name") == "":
            options["name"] = " "
        with pytest.raises(InvalidCallError, match=said):
            service.route(handler, **options)
    service.route(one)
    with pytest.raises(InvalidCallError, match="Another handler is named 'one'"):
        service.route(inbox, name="one")
    assert {"one"} == service.counts().keys()


def test_a_queue_has_one_service(queue: TaskQueue, service: NotificationService) -> None:
    with pytest.raises(InvalidCallError, match="has a NotificationService already"):
        NotificationService(queue)


async def test_start_starts_workers_once(queue: TaskQueue, service: NotificationService) -> None:
    async with queue:
        await queue.start_workers(CATEGORY, 1)
        async with service:
            await service.start()
            assert 1 == len(queue.workers[CATEGORY])
