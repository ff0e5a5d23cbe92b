"""NotificationQueueTask: every event reaches every handler, and none while it is suspended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from behaviour.background.services import Inbox, Notifications, some_time
from support.queues import PATIENCE
from wopr.background import (
    BackgroundPriority,
    NotificationQueueTask,
    TaskState,
)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def task(inbox: Inbox) -> AsyncIterator[NotificationQueueTask]:
    task = NotificationQueueTask(Notifications(inbox), poll_interval=0)
    yield task
    inbox.open.set()
    await task.stop()


def service_of(task: NotificationQueueTask) -> Notifications:
    service = task._service
    assert isinstance(service, Notifications)
    return service


async def test_it_is_a_low_service_that_is_idle_at_first(task: NotificationQueueTask) -> None:
    assert ("notification_queue", BackgroundPriority.LOW, TaskState.IDLE) == (
        task.task_name,
        task.priority,
        task.state,
    )


async def test_the_third_argument_is_the_logger(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(event: Any) -> None:
        raise ValueError(event)

    service = Notifications(fails, inbox)
    task = NotificationQueueTask(service, 0, logging.getLogger("mine"))
    await task.start()
    service.emit("boom")
    await inbox.has(1)
    await task.stop()
    assert {"mine"} == {record.name for record in caplog.records}


async def test_events_reach_all_handlers_in_order(inbox: Inbox) -> None:
    seen: list[tuple[str, int]] = []

    async def first(event: int) -> None:
        seen.append(("first", event))

    async def second(event: int) -> None:
        seen.append(("second", event))
        await inbox(event)

    service = Notifications(first, second)
    task = NotificationQueueTask(service, poll_interval=0)
    await task.start()
    service.emit(1, 2)
    await inbox.has(2)
    await task.stop()
    assert [("first", 1), ("second", 1), ("first", 2), ("second", 2)] == seen


async def test_progress_tells_whether_it_runs_and_what_waits(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    assert {"running": False, "queued_events": 0} == task.get_progress()
    await task.start()
    await task.suspend()
    service_of(task).emit(1, 2)
    assert {"running": False, "queued_events": 2} == task.get_progress()
    await task.resume()
    await inbox.has(2)
    assert {"running": True, "queued_events": 0} == task.get_progress()


async def test_it_waits_on_the_queue_and_rests_between_events(inbox: Inbox) -> None:
    service = Notifications(inbox)
    task = NotificationQueueTask(service, poll_interval=3_600)
    await task.start()
    await some_time()
    service.emit(1, 2)
    assert [1] == await inbox.has(1)  # at once, after a wait without events
    await some_time()
    assert [1] == inbox.events  # the second one after an hour of rest
    await task.stop()  # which is not waited for
    assert 1 == service.external_handler_queue.qsize()


# -- states -----------------------------------------------------------------------


async def test_suspend_and_resume_do_nothing_in_the_wrong_state(
    task: NotificationQueueTask,
) -> None:
    await task.suspend()
    await task.resume()
    assert TaskState.IDLE is task.state
    await task.start()
    await task.resume()
    assert TaskState.RUNNING is task.state
    await task.stop()
    await task.suspend()
    await task.resume()
    assert TaskState.STOPPED is task.state


async def test_stop_without_start_is_stopped(task: NotificationQueueTask) -> None:
    await task.stop()
    await task.stop()
    assert TaskState.STOPPED is task.state


async def test_it_starts_again_after_a_stop(task: NotificationQueueTask, inbox: Inbox) -> None:
    for number in (1, 2):
        await task.start()
        service_of(task).emit(number)
        await inbox.has(number)
        await task.stop()
    assert [1, 2] == inbox.events


async def test_a_start_during_a_stop_runs_in_the_end(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    stopping = asyncio.create_task(task.stop())
    await some_time()
    starting = asyncio.create_task(task.start())
    await some_time()
    inbox.open.set()
    await asyncio.gather(stopping, starting)
    service_of(task).emit(2)
    assert [1, 2] == await inbox.has(2)


async def test_a_stop_after_a_start_during_a_stop_is_the_last_word(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    calls = []
    for call in (task.stop, task.start, task.stop):
        calls.append(asyncio.create_task(call()))
        await some_time()
    inbox.open.set()
    await asyncio.gather(*calls)
    assert TaskState.STOPPED is task.state


async def test_starting_while_suspended_makes_no_second_loop(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    await task.start()
    await task.suspend()
    await task.start()
    assert TaskState.RUNNING is task.state
    inbox.open.clear()
    service_of(task).emit(1, 2)
    await inbox.has_begun(1)
    await some_time()
    assert [1] == inbox.begun  # one event at a time: one loop
    inbox.open.set()
    await inbox.has(2)


async def test_starting_twice_makes_one_loop(task: NotificationQueueTask, inbox: Inbox) -> None:
    inbox.open.clear()
    await asyncio.gather(task.start(), task.start())
    service_of(task).emit(1, 2)
    await inbox.has_begun(1)
    await some_time()
    assert [1] == inbox.begun


# -- nothing is delivered while it is suspended --------------------------------------


async def test_an_event_that_comes_after_suspend_waits_for_resume(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    await task.start()
    await some_time()  # it waits on the queue
    await task.suspend()
    service_of(task).emit(1)
    await some_time()
    assert [] == inbox.begun
    await task.resume()
    assert [1] == await inbox.has(1)


async def test_an_event_in_the_very_moment_of_suspend_is_delivered_before_or_after_it(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    for turns in range(12):  # suspend comes so many turns of the loop after the event
        await task.start()
        await some_time()
        service_of(task).emit(turns)
        for _ in range(turns):
            await asyncio.sleep(0)
        await task.suspend()
        at_suspend = list(inbox.begun)
        await some_time()
        assert at_suspend == inbox.begun == inbox.events
        await task.resume()
        await inbox.has(turns + 1)
    assert list(range(12)) == inbox.events


async def test_suspend_returns_when_the_delivery_under_way_is_over(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    late = Inbox()
    service_of(task).external_handlers.append(late)
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    suspending = asyncio.create_task(task.suspend())
    await some_time()
    assert not suspending.done()
    assert TaskState.SUSPENDED is task.state
    inbox.open.set()
    await suspending
    await some_time()
    assert ([1], []) == (inbox.events, late.begun)  # the next handler's turn is after resume
    await task.resume()
    await late.has(1)
    assert ([1], [1]) == (inbox.events, late.events)


async def test_a_resume_before_suspend_has_ended_goes_on(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    suspending = asyncio.create_task(task.suspend())
    await some_time()
    await task.resume()
    inbox.open.set()
    await suspending
    service_of(task).emit(2)
    assert [1, 2] == await inbox.has(2)


# -- nothing is lost by stop ------------------------------------------------------------


async def test_stop_during_a_delivery_lets_it_finish(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    late = Inbox()
    service_of(task).external_handlers.append(late)
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    stopping = asyncio.create_task(task.stop())
    await some_time()
    inbox.open.set()
    await stopping
    assert ([1], [1]) == (inbox.events, late.events)
    await asyncio.wait_for(service_of(task).external_handler_queue.join(), PATIENCE)


async def test_an_event_whose_delivery_stop_cuts_off_is_back_in_the_queue(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    stopping = asyncio.create_task(task.stop())
    await some_time()
    stopping.cancel()  # the caller's patience has ended
    await asyncio.wait([stopping])
    assert TaskState.STOPPED is task.state
    assert 1 == service_of(task).external_handler_queue.qsize()
    inbox.open.set()
    successor = NotificationQueueTask(service_of(task), poll_interval=0)
    await successor.start()
    assert [1] == await inbox.has(1)
    await asyncio.wait_for(service_of(task).external_handler_queue.join(), PATIENCE)
    await successor.stop()


async def test_a_handler_that_stop_has_waited_for_in_vain_gets_the_event_again() -> None:
    hanging = Inbox()
    hanging.open.clear()
    service = Notifications(hanging)
    task = NotificationQueueTask(service, poll_interval=0, handler_timeout=0.01)
    await task.start()
    service.emit(1)
    await hanging.has_begun(1)
    await task.stop()
    assert 1 == service.external_handler_queue.qsize()


async def test_an_event_that_was_suspended_half_way_is_not_lost_by_stop(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    late = Inbox()
    service_of(task).external_handlers.append(late)
    inbox.open.clear()
    await task.start()
    service_of(task).emit(1)
    await inbox.has_begun(1)
    suspending = asyncio.create_task(task.suspend())
    await some_time()
    inbox.open.set()
    await suspending
    await task.stop()
    assert 1 == service_of(task).external_handler_queue.qsize()


async def test_an_event_that_finds_the_queue_full_stays_for_the_next_start(
    inbox: Inbox,
) -> None:
    service = Notifications(inbox, maxsize=1)
    task = NotificationQueueTask(service, poll_interval=0)
    inbox.open.clear()
    await task.start()
    service.emit(1)
    await inbox.has_begun(1)
    service.emit(2)
    stopping = asyncio.create_task(task.stop())
    await some_time()
    stopping.cancel()
    await asyncio.wait([stopping])
    inbox.open.set()
    await task.start()
    assert [1, 2] == await inbox.has(2)
    await asyncio.wait_for(service.external_handler_queue.join(), PATIENCE)
    await task.stop()


async def test_join_returns_once_all_is_delivered(
    task: NotificationQueueTask, inbox: Inbox
) -> None:
    await task.start()
    service_of(task).emit(1, 2, 3)
    await asyncio.wait_for(service_of(task).external_handler_queue.join(), PATIENCE)
    assert [1, 2, 3] == inbox.events


# -- a bad handler harms nobody else ------------------------------------------------------


async def test_a_handler_that_fails_is_logged_and_the_others_get_the_event(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(event: Any) -> None:
        raise RuntimeError("no such chat")

    service = Notifications(broken, inbox)
    task = NotificationQueueTask(service, poll_interval=0)
    await task.start()
    service.emit(1, 2)
    await inbox.has(2)
    await task.stop()
    assert ["1: no such chat", "2: no such chat"] == [
        record.getMessage().removeprefix("The handler broken failed for ")
        for record in caplog.records
    ]


async def test_a_handler_that_hangs_is_cut_off_and_the_others_get_the_event(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = Inbox()
    hanging.open.clear()
    service = Notifications(hanging, inbox)
    task = NotificationQueueTask(service, poll_interval=0, handler_timeout=0.01)
    await task.start()
    service.emit(1)
    assert [1] == await inbox.has(1)
    assert "longer than 0.01 s" in caplog.text
    await task.stop()


async def test_a_handler_that_cancels_itself_ends_nothing(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def gives_up(event: Any) -> None:
        raise asyncio.CancelledError

    service = Notifications(gives_up, inbox)
    task = NotificationQueueTask(service, poll_interval=0)
    await task.start()
    service.emit(1, 2)
    assert [1, 2] == await inbox.has(2)
    assert "cancelled itself" in caplog.text
    await task.stop()


async def test_a_handler_may_stop_the_task_it_is_called_by(inbox: Inbox) -> None:
    async def last(event: Any) -> None:
        await task.stop()
        await inbox(event)

    service = Notifications(last)
    task = NotificationQueueTask(service, poll_interval=0)
    await task.start()
    service.emit(1, 2)
    assert [1] == await inbox.has(1)
    await some_time()
    assert [1] == inbox.events
    assert TaskState.STOPPED is task.state
