"""ForegroundScheduler: the background yields while anybody is in the foreground, no longer."""

from __future__ import annotations

import asyncio

import pytest

from behaviour.background.services import Inbox, Notifications, Service, some_time
from wopr.background import (
    BackgroundScheduler,
    ForegroundScheduler,
    NotificationQueueTask,
    TaskState,
)

RUNNING, SUSPENDED = TaskState.RUNNING, TaskState.SUSPENDED


class Background:
    """Notes its calls; may wait in one, or fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.fails = False

    async def suspend_all(self) -> None:
        await self._called("suspend")

    async def resume_all(self) -> None:
        await self._called("resume")

    async def _called(self, call: str) -> None:
        self.calls.append(call)
        self.entered.set()
        await self.gate.wait()
        if self.fails:
            self.fails = False
            raise OSError("no network")


@pytest.fixture
def background() -> Background:
    return Background()


@pytest.fixture
def foreground(background: Background) -> ForegroundScheduler:
    return ForegroundScheduler(background)


async def running(service: Service) -> ForegroundScheduler:
    scheduler = BackgroundScheduler()
    scheduler.register(service)
    await scheduler.start_all()
    return ForegroundScheduler(scheduler)


async def test_the_background_is_suspended_inside_and_resumed_after() -> None:
    service = Service()
    foreground = await running(service)
    async with foreground.context():
        assert (SUSPENDED, 1, True) == (
            service.state,
            foreground.active_count,
            foreground.is_active,
        )
    assert (RUNNING, 0, False) == (service.state, foreground.active_count, foreground.is_active)


async def test_nested_contexts_suspend_once_and_resume_once(
    background: Background, foreground: ForegroundScheduler
) -> None:
    async with foreground.context():
        async with foreground.context():
            assert 2 == foreground.active_count
        assert ["suspend"] == background.calls
    assert ["suspend", "resume"] == background.calls


async def test_contexts_that_overlap_resume_with_the_last(
    background: Background, foreground: ForegroundScheduler
) -> None:
    leave = [asyncio.Event() for _ in range(3)]

    async def work(number: int) -> None:
        async with foreground.context():
            await leave[number].wait()

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    await some_time()
    for number in (1, 0):
        leave[number].set()
        await tasks[number]
    assert ["suspend"] == background.calls
    leave[2].set()
    await tasks[2]
    assert ["suspend", "resume"] == background.calls


async def test_the_background_is_resumed_after_an_error(
    background: Background, foreground: ForegroundScheduler
) -> None:
    with pytest.raises(ValueError, match="bad order"):
        async with foreground.context():
            raise ValueError("bad order")
    assert ["suspend", "resume"] == background.calls


async def test_execute_returns_what_the_work_returns(
    background: Background, foreground: ForegroundScheduler
) -> None:
    async def work() -> str:
        assert foreground.is_active
        return "done"

    assert "done" == await foreground.execute(work())
    assert ["suspend", "resume"] == background.calls


async def test_execute_raises_what_the_work_raises(
    background: Background, foreground: ForegroundScheduler
) -> None:
    async def work() -> None:
        raise ValueError("bad order")

    with pytest.raises(ValueError, match="bad order"):
        await foreground.execute(work())
    assert ["suspend", "resume"] == background.calls


async def test_execute_awaits_any_awaitable(foreground: ForegroundScheduler) -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert 7 == await foreground.execute(future)


# -- cancelled at any moment ------------------------------------------------------------


async def test_a_request_cancelled_while_the_background_is_being_suspended_leaves_no_trace() -> (
    None
):
    service = Service()
    service.gates["suspend"] = asyncio.Event()
    foreground = await running(service)
    request = asyncio.create_task(foreground.execute(asyncio.sleep(0)))
    await service.entered.wait()
    request.cancel()
    await some_time()
    assert 0 == foreground.active_count
    service.gates["suspend"].set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert RUNNING is service.state


async def test_a_request_cancelled_twice_leaves_no_trace() -> None:
    service = Service()
    service.gates["suspend"] = asyncio.Event()
    foreground = await running(service)
    request = asyncio.create_task(foreground.execute(asyncio.sleep(0)))
    await service.entered.wait()
    for _ in range(2):
        request.cancel()
        await some_time()
    assert request.cancelled()
    service.gates["suspend"].set()
    await some_time()
    assert (0, RUNNING) == (foreground.active_count, service.state)


async def test_a_request_cancelled_while_the_background_is_being_resumed_resumes_it() -> None:
    service = Service()
    service.gates["resume"] = asyncio.Event()
    foreground = await running(service)
    request = asyncio.create_task(foreground.execute(asyncio.sleep(0)))
    await service.entered.wait()
    request.cancel()
    await asyncio.wait([request])
    service.gates["resume"].set()
    await some_time()
    assert (0, RUNNING) == (foreground.active_count, service.state)


async def test_a_request_that_comes_while_another_is_cancelled_still_has_the_foreground() -> None:
    service = Service()
    service.gates["suspend"] = asyncio.Event()
    foreground = await running(service)
    first = asyncio.create_task(foreground.execute(asyncio.sleep(0)))
    await service.entered.wait()

    async def look() -> TaskState:
        return service.state

    second = asyncio.create_task(foreground.execute(look()))
    await some_time()
    first.cancel()
    service.gates["suspend"].set()
    assert SUSPENDED is await second
    await asyncio.wait([first])
    assert RUNNING is service.state


async def test_a_request_that_comes_while_the_background_is_being_resumed_has_the_foreground() -> (
    None
):
    service = Service()
    foreground = await running(service)
    service.gates["resume"] = asyncio.Event()
    first = asyncio.create_task(foreground.execute(asyncio.sleep(0)))
    await service.entered.wait()

    async def look() -> TaskState:
        return service.state

    second = asyncio.create_task(foreground.execute(look()))
    await some_time()
    service.gates["resume"].set()
    assert SUSPENDED is await second
    await first
    assert RUNNING is service.state


async def test_a_background_that_can_not_be_suspended_is_resumed_and_holds_nobody(
    background: Background, foreground: ForegroundScheduler
) -> None:
    background.fails = True
    with pytest.raises(OSError, match="no network"):
        await foreground.execute(asyncio.sleep(0))
    assert (["suspend", "resume"], 0) == (background.calls, foreground.active_count)
    await foreground.execute(asyncio.sleep(0))
    assert ["suspend", "resume"] * 2 == background.calls


# -- with real services ---------------------------------------------------------------------


async def test_a_service_suspended_by_hand_in_the_foreground_stays_suspended() -> None:
    inbox = Inbox()
    task = NotificationQueueTask(Notifications(inbox))
    scheduler = BackgroundScheduler()
    scheduler.register(task)
    await scheduler.start_all()
    async with ForegroundScheduler(scheduler).context():
        await task.suspend()
    assert SUSPENDED is task.state
    await scheduler.shutdown()


async def test_a_service_that_starts_in_the_foreground_starts_after_it() -> None:
    inbox = Inbox()
    notifications = Notifications(inbox)
    notifications.emit(1)
    task = NotificationQueueTask(notifications)
    scheduler = BackgroundScheduler()
    async with ForegroundScheduler(scheduler).context():
        scheduler.register(task)
        await scheduler.start_all()
        await some_time()
        assert (SUSPENDED, []) == (task.state, inbox.begun)
    assert [1] == await inbox.has(1)
    await scheduler.shutdown()


async def test_nothing_is_delivered_in_the_foreground() -> None:
    inbox = Inbox()
    notifications = Notifications(inbox)
    task = NotificationQueueTask(notifications, poll_interval=0)
    scheduler = BackgroundScheduler()
    scheduler.register(task)
    await scheduler.start_all()
    foreground = ForegroundScheduler(scheduler)
    for number in range(5):
        async with foreground.context():
            notifications.emit(number)
            await some_time()
            assert number == len(inbox.begun)
        await inbox.has(number + 1)
    await scheduler.shutdown()
    assert list(range(5)) == inbox.events
