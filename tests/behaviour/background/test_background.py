"""BackgroundScheduler: services start, pause and stop together, and none harms another."""

from __future__ import annotations

import asyncio
import logging

import pytest

from behaviour.background.services import Inbox, Notifications, Service, some_time
from wopr.background import (
    BackgroundPriority,
    BackgroundScheduler,
    NotificationQueueTask,
    TaskState,
)

IDLE, RUNNING, SUSPENDED, STOPPED = TaskState


def scheduler_of(*services: Service, call_timeout: float = 10.0) -> BackgroundScheduler:
    scheduler = BackgroundScheduler(call_timeout=call_timeout)
    for service in services:
        scheduler.register(service)
    return scheduler


def states(*services: Service) -> list[TaskState]:
    return [service.state for service in services]


# -- the register --------------------------------------------------------------------


def test_services_are_known_by_name() -> None:
    mail = Service("mail")
    scheduler = scheduler_of(mail)
    assert mail is scheduler.get_task("mail")
    assert scheduler.get_task("post") is None
    scheduler.unregister("mail")
    scheduler.unregister("mail")
    assert scheduler.get_task("mail") is None


def test_the_same_name_again_replaces_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    old, new = Service("mail"), Service("mail")
    scheduler = scheduler_of(old)
    assert caplog.text == ""
    scheduler.register(new)
    assert new is scheduler.get_task("mail")
    assert "'mail' is registered already" in caplog.text


async def test_the_status_is_name_state_and_priority() -> None:
    mail, scan = Service("mail", BackgroundPriority.LOW), Service("scan", 0)
    scheduler = scheduler_of(mail, scan)
    await scheduler.start_all()
    await scheduler.suspend("scan")
    assert [
        {"name": "mail", "state": "running", "priority": 100},
        {"name": "scan", "state": "suspended", "priority": 0},
    ] == scheduler.get_all_status()


def test_the_logger_may_be_given(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = BackgroundScheduler(logging.getLogger("mine"))
    scheduler.register(Service("mail"))
    scheduler.register(Service("mail"))
    assert ["mine"] == [record.name for record in caplog.records]


# -- start and shutdown -----------------------------------------------------------------


async def test_the_most_important_starts_first_and_stops_last() -> None:
    calls: list[str] = []
    scheduler = scheduler_of(
        Service("sweep", BackgroundPriority.MAINTENANCE, calls),
        Service("pool", BackgroundPriority.CRITICAL, calls),
        Service("feed", BackgroundPriority.NORMAL, calls),
        Service("scan", BackgroundPriority.NORMAL, calls),
    )
    await scheduler.start_all()
    await scheduler.shutdown()
    started = ["pool.start", "feed.start", "scan.start", "sweep.start"]
    stopped = ["sweep.stop", "feed.stop", "scan.stop", "pool.stop"]
    assert [*started, *stopped] == calls


async def test_start_all_resumes_what_is_suspended_and_leaves_what_runs() -> None:
    idle, suspended, running = Service("idle"), Service("suspended"), Service("running")
    suspended.state, running.state = SUSPENDED, RUNNING
    await scheduler_of(idle, suspended, running).start_all()
    assert ["idle.start"] == idle.calls
    assert ["suspended.resume"] == suspended.calls
    assert [] == running.calls


async def test_start_all_again_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    scheduler = scheduler_of(service)
    await scheduler.start_all()
    await service.suspend()
    await scheduler.start_all()
    assert ["service.start", "service.suspend"] == service.calls
    assert "start_all() is done already: ignored" in caplog.text


async def test_start_all_at_the_same_time_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.gates["start"] = asyncio.Event()
    scheduler = scheduler_of(service)
    first = asyncio.create_task(scheduler.start_all())
    await service.entered.wait()
    await scheduler.start_all()
    assert "start_all() is under way already: ignored" in caplog.text
    service.gates["start"].set()
    await first
    assert ["service.start"] == service.calls


async def test_start_all_again_starts_what_was_registered_since() -> None:
    early, late = Service("early"), Service("late")
    scheduler = scheduler_of(early)
    await scheduler.start_all()
    scheduler.register(late)
    await scheduler.start_all()
    assert (["early.start"], ["late.start"]) == (early.calls, late.calls)


async def test_start_all_again_tries_what_did_not_start() -> None:
    service = Service()
    service.raises["start"] = OSError("no network")
    scheduler = scheduler_of(service)
    await scheduler.start_all()
    service.raises.clear()
    await scheduler.start_all()
    assert RUNNING is service.state


async def test_shutdown_stops_what_runs_or_is_suspended_and_nothing_else() -> None:
    idle, suspended, running, stopped = (Service(name) for name in "abcd")
    suspended.state, running.state, stopped.state = SUSPENDED, RUNNING, STOPPED
    await scheduler_of(idle, suspended, running, stopped).shutdown()
    assert [IDLE, STOPPED, STOPPED, STOPPED] == states(idle, suspended, running, stopped)
    assert [] == idle.calls + stopped.calls


async def test_shutdown_again_or_at_the_same_time_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.gates["stop"] = asyncio.Event()
    scheduler = scheduler_of(service)
    await scheduler.start_all()
    first = asyncio.create_task(scheduler.shutdown())
    await service.entered.wait()
    await scheduler.shutdown()
    assert "shutdown() is under way already: ignored" in caplog.text
    service.gates["stop"].set()
    await first
    await scheduler.shutdown()
    assert "shutdown() is done already: ignored" in caplog.text
    assert ["service.start", "service.stop"] == service.calls


async def test_all_start_again_after_a_shutdown() -> None:
    service = Service()
    scheduler = scheduler_of(service)
    for _ in range(2):
        await scheduler.start_all()
        await scheduler.shutdown()
    assert ["start", "stop"] * 2 == [call.partition(".")[2] for call in service.calls]


async def test_a_shutdown_during_the_start_comes_after_it() -> None:
    service = Service()
    service.gates["start"] = asyncio.Event()
    scheduler = scheduler_of(service)
    starting = asyncio.create_task(scheduler.start_all())
    await service.entered.wait()
    starting.cancel()
    await asyncio.wait([starting])
    stopping = asyncio.create_task(scheduler.shutdown())
    await some_time()
    service.gates["start"].set()
    await stopping
    assert ["service.start", "service.stop"] == service.calls


# -- suspend and resume ---------------------------------------------------------------------


async def test_suspend_all_and_resume_all_touch_what_runs() -> None:
    running, idle = Service("running"), Service("idle")
    running.state = RUNNING
    scheduler = scheduler_of(running, idle)
    await scheduler.suspend_all()
    await scheduler.suspend_all()
    assert [SUSPENDED, IDLE] == states(running, idle)
    await scheduler.resume_all()
    await scheduler.resume_all()
    assert ["running.suspend", "running.resume"] == running.calls
    assert [] == idle.calls


async def test_what_was_suspended_by_hand_before_is_not_resumed_with_all() -> None:
    by_hand, other = Service("by hand"), Service("other")
    scheduler = scheduler_of(by_hand, other)
    await scheduler.start_all()
    await by_hand.suspend()
    await scheduler.suspend_all()
    await scheduler.resume_all()
    assert [SUSPENDED, RUNNING] == states(by_hand, other)


async def test_what_is_suspended_by_hand_meanwhile_is_not_resumed_with_all() -> None:
    by_hand, other = Service("by hand"), Service("other")
    scheduler = scheduler_of(by_hand, other)
    await scheduler.start_all()
    await scheduler.suspend_all()
    await scheduler.suspend("by hand")
    await scheduler.resume_all()
    assert [SUSPENDED, RUNNING] == states(by_hand, other)
    await scheduler.resume("by hand")
    assert RUNNING is by_hand.state


async def test_a_background_task_itself_notices_that_it_is_suspended_by_hand_meanwhile() -> None:
    task = NotificationQueueTask(Notifications(Inbox()))
    scheduler = BackgroundScheduler()
    scheduler.register(task)
    await scheduler.start_all()
    await scheduler.suspend_all()
    await task.suspend()
    await scheduler.resume_all()
    assert SUSPENDED is task.state
    await task.resume()
    await scheduler.suspend_all()
    await scheduler.resume_all()
    assert RUNNING is task.state
    await scheduler.shutdown()


async def test_what_starts_while_all_are_suspended_starts_suspended() -> None:
    service = Service()
    scheduler = scheduler_of()
    await scheduler.suspend_all()
    scheduler.register(service)
    await scheduler.start_all()
    assert ["service.start", "service.suspend"] == service.calls
    await scheduler.resume_all()
    assert RUNNING is service.state


async def test_a_background_task_that_starts_suspended_delivers_nothing() -> None:
    inbox = Inbox()
    notifications = Notifications(inbox)
    notifications.emit("early")
    task = NotificationQueueTask(notifications)
    scheduler = BackgroundScheduler()
    await scheduler.suspend_all()
    scheduler.register(task)
    await scheduler.start_all()
    await some_time()
    assert (SUSPENDED, []) == (task.state, inbox.begun)
    await scheduler.resume_all()
    assert ["early"] == await inbox.has(1)
    await scheduler.shutdown()


async def test_what_is_suspended_by_hand_before_it_starts_suspended_goes_on_with_all() -> None:
    service = Service()
    service.state = SUSPENDED
    scheduler = scheduler_of(service)
    await scheduler.suspend_all()
    await scheduler.start_all()  # would resume it
    assert [] == service.calls
    await scheduler.resume_all()
    assert RUNNING is service.state


async def test_what_runs_and_is_registered_while_all_are_suspended_is_suspended() -> None:
    service = Service()
    service.state = RUNNING
    scheduler = scheduler_of()
    await scheduler.suspend_all()
    scheduler.register(service)
    await some_time()
    assert SUSPENDED is service.state
    await scheduler.resume_all()
    assert RUNNING is service.state


async def test_what_is_unregistered_while_all_are_suspended_goes_on_by_itself() -> None:
    service = Service()
    scheduler = scheduler_of(service)
    await scheduler.start_all()
    await scheduler.suspend_all()
    scheduler.unregister("service")
    await some_time()
    assert RUNNING is service.state


async def test_a_suspend_all_whose_caller_is_gone_is_carried_out_and_can_be_undone() -> None:
    slow, quick = Service("slow"), Service("quick")
    scheduler = scheduler_of(slow, quick)
    await scheduler.start_all()
    slow.gates["suspend"] = asyncio.Event()
    suspending = asyncio.create_task(scheduler.suspend_all())
    await slow.entered.wait()
    suspending.cancel()
    await asyncio.wait([suspending])
    resuming = asyncio.create_task(scheduler.resume_all())
    await some_time()
    slow.gates["suspend"].set()
    await resuming
    assert [RUNNING, RUNNING] == states(slow, quick)
    assert ["slow.start", "slow.suspend", "slow.resume"] == slow.calls


# -- a bad service harms nobody else ------------------------------------------------------------


@pytest.mark.parametrize("call", ["start", "suspend", "resume", "stop"])
async def test_a_service_that_fails_is_logged_and_the_others_go_on(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Service("bad"), Service("good", BackgroundPriority.LOW)
    bad.raises[call] = OSError("no network")
    scheduler = scheduler_of(bad, good)
    await scheduler.start_all()
    await scheduler.suspend_all()
    await scheduler.resume_all()
    await scheduler.shutdown()
    assert ["good.start", "good.suspend", "good.resume", "good.stop"] == good.calls
    assert f"'bad' did not {call}: no network" in caplog.text


@pytest.mark.parametrize("call", ["start", "suspend", "resume", "stop"])
async def test_a_service_that_hangs_is_cut_off_and_the_others_go_on(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Service("bad", BackgroundPriority.HIGH), Service("good")
    bad.gates[call] = asyncio.Event()
    scheduler = scheduler_of(bad, good, call_timeout=0.01)
    await scheduler.start_all()
    await scheduler.suspend_all()
    await scheduler.resume_all()
    await scheduler.shutdown()
    assert ["good.start", "good.suspend", "good.resume", "good.stop"] == good.calls
    assert f"'bad' did not {call} within 0.01 s" in caplog.text


async def test_a_service_that_is_cut_off_may_tidy_up() -> None:
    tidied: list[str] = []

    class Tidy(Service):
        async def stop(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await some_time()
                tidied.append("tidied")

    service = Tidy()
    scheduler = scheduler_of(service, call_timeout=0.01)
    await scheduler.start_all()
    await scheduler.shutdown()
    assert ["tidied"] == tidied


async def test_a_service_that_cancels_itself_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = Service("bad"), Service("good")
    bad.raises["start"] = asyncio.CancelledError()
    await scheduler_of(bad, good).start_all()
    assert RUNNING is good.state
    assert "'bad' cancelled its own start" in caplog.text


async def test_a_service_whose_suspend_failed_and_is_then_suspended_by_hand_stays_so() -> None:
    service = Service()
    scheduler = scheduler_of(service)
    await scheduler.start_all()
    service.raises["suspend"] = OSError("busy")
    await scheduler.suspend_all()
    service.raises.clear()
    await service.suspend()
    await scheduler.resume_all()
    assert SUSPENDED is service.state


async def test_a_delivery_that_holds_up_the_shutdown_is_cut_off_and_not_lost() -> None:
    hanging = Inbox()
    hanging.open.clear()
    notifications = Notifications(hanging)
    task = NotificationQueueTask(notifications)
    scheduler = BackgroundScheduler(call_timeout=0.01)
    scheduler.register(task)
    await scheduler.start_all()
    notifications.emit(1)
    await hanging.has_begun(1)
    await scheduler.shutdown()
    assert STOPPED is task.state
    assert 1 == notifications.external_handler_queue.qsize()
