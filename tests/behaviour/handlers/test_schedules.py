"""Methods with a schedule: alone, and together with @task."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import time, timedelta
from typing import Any

import pytest

from support.identities import ADA, auth_with
from support.queues import DuckDBHome, SteppableClock, ended, running
from wopr import InvalidCallError, TaskNotFoundError, TaskQueue, TaskStatus
from wopr.auth import require_auth_context, require_role
from wopr.domain.crontab import Crontab, Weekday
from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.handlers import (
    DirectTaskExecutor,
    DirectTaskInvocation,
    RegisteredHandler,
    TaskHandler,
    schedule,
    task,
)

tenant: ContextVar[str] = ContextVar("tenant")


@TaskHandler(category="c")
class Reports:
    """A method of each kind."""

    def __init__(self, owner: str) -> None:
        """Belong to somebody."""
        self.owner = owner

    @task
    @schedule(every={"minutes": 5}, kwargs={"who": "hourly"})
    def above(self, who: str) -> str:
        """Be both, with @task above."""
        return f"{self.owner} {who} {tenant.get('nobody')}"

    @schedule(interval=timedelta(minutes=10), args=("below",), name="ten")
    @task(name="reports.below")
    def below(self, who: str) -> str:
        """Be both, with @task below."""
        return f"{self.owner} {who}"

    @schedule(crontab=Crontab(weekday=Weekday.MONDAY, hour=9), tz="Europe/Berlin")
    async def alone(self) -> str:
        """Be enqueued by its schedule only."""
        return self.owner

    def ordinary(self) -> None:
        """Be no task."""


NAME = f"{__name__}.Reports"


def registered(queue: TaskQueue) -> RegisteredHandler[Reports]:
    """Register the handler."""
    return queue.register_handler(Reports, lambda: Reports("ada"))


async def test_schedules_are_declared_with_the_tasks(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    handler = registered(queue)
    async with running(queue, c=1):
        found = {one.name: (one.task, one.description) for one in await queue.schedules.list()}
    assert {
        f"{NAME}.above": f"{NAME}.above",
        "ten": "reports.below",
        f"{NAME}.alone": f"{NAME}.alone",
    } == {name: task_name for name, (task_name, _) in found.items()}
    assert "Europe/Berlin" in found[f"{NAME}.alone"][1]
    assert ["above", "below"] == list(handler.tasks)


async def test_a_due_schedule_runs_the_method_of_the_instance(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    queue.propagate(tenant)
    registered(queue)
    tenant.set("engines")  # of whoever starts the queue, not of the schedule
    async with running(queue, c=1):
        clock.advance(600, queue)
        await queue.schedules.tick()
        tasks = await queue.get_tasks(category="c")
        results = [info.result for info in await ended(queue, *(one.id for one in tasks))]
    assert {"ada hourly nobody", "ada below"} == set(results)


async def test_a_task_with_a_schedule_can_be_enqueued_and_run_directly(home: DuckDBHome) -> None:
    queue = home.queue()
    handler = registered(queue)
    call = DirectTaskInvocation(handler_type=Reports, method_name="above", args=("directly",))
    assert "ada directly nobody" == DirectTaskExecutor(queue).execute(call)
    async with running(queue, c=1):
        one = await handler.task(Reports.above).enqueue("now")
        two = await queue.schedules.run_now(f"{NAME}.alone")
        results = [info.result for info in await ended(queue, one.id, two.id)]
    assert ["ada now nobody", "ada"] == results


def test_a_method_with_a_schedule_only_is_no_task_of_its_handler() -> None:
    queue = TaskQueue(enabled=False)
    handler = registered(queue)
    with pytest.raises(TaskNotFoundError, match="Reports has no task 'alone'"):
        handler.task(Reports.alone)
    with pytest.raises(TaskNotFoundError, match="Reports has no task 'alone'"):
        DirectTaskExecutor(queue).execute(
            DirectTaskInvocation(handler_type=Reports, method_name="alone")
        )
    assert f"{NAME}.alone" in queue.task_functions


async def test_a_protected_task_runs_under_the_identity_of_its_schedule(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    @TaskHandler(category="c")
    @require_role("admin")
    class Nightly:
        @schedule(every=60, run_as="nightly", name="declared")
        def clean(self) -> str:
            return require_auth_context().subject.id

        @schedule(every=60, name="undeclared")
        def wipe(self) -> None: ...

    auth = auth_with(service_identities={"nightly": ADA}, clock=clock)
    queue = home.queue(auth=auth, clock=clock)
    queue.register_handler(Nightly)
    async with running(queue, c=1):
        clock.advance(60, queue)
        await queue.schedules.tick()
        infos = await ended(queue, *(one.id for one in await queue.get_tasks(category="c")))
    assert {
        "declared": (TaskStatus.SUCCESS, "ada"),
        "undeclared": (TaskStatus.FAILED, None),
    } == {str(info.schedule): (info.status, info.result) for info in infos}


@pytest.mark.parametrize(
    "options",
    [{}, {"every": 60, "at": "10:00"}, {"interval": 60, "crontab": "0 9 * * *", "run_at": None}],
    ids=["none", "two", "two of three"],
)
def test_exactly_one_form_is_given_at_decoration(options: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidScheduleSpecificationError,
        match="Exactly one of 'interval', 'at', or 'crontab' must be provided",
    ):
        schedule(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"interval": timedelta(0)},
        {"interval": -1},
        {"at": "25:00"},
        {"cron": "99 * * * *"},
        {"at": time(3), "tz": "Europe/Atlantis"},
        {"every": {}},
    ],
    ids=str,
)
def test_what_can_t_be_read_is_refused_at_decoration(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidScheduleSpecificationError):
        schedule(**options)


def test_a_schedule_without_parentheses_is_refused() -> None:
    with pytest.raises(InvalidScheduleSpecificationError, match="got none"):
        schedule(Reports.ordinary)


def test_an_unknown_option_is_refused_at_decoration() -> None:
    with pytest.raises(
        InvalidCallError, match="@schedule has no option 'evry'; there are all_of, any_of, args"
    ):
        schedule(evry=60)  # type: ignore[call-arg]


def test_another_wrong_option_is_refused_at_registration() -> None:
    @TaskHandler()
    class Wrong:
        @schedule(every=60, args=("too", "many"))
        def run(self) -> None: ...

    with pytest.raises(InvalidCallError, match=r"Wrong\.run' doesn't fit: too many positional"):
        TaskQueue(enabled=False).register_handler(Wrong)


def test_a_method_has_one_schedule() -> None:
    with pytest.raises(InvalidCallError, match="twice has @schedule already"):

        class Wrong:
            @schedule(every=60)
            @schedule(every=90)
            def twice(self) -> None: ...


def test_a_static_method_has_none() -> None:
    with pytest.raises(InvalidCallError, match="; @schedule is for methods of an instance"):
        schedule(every=60)(staticmethod(len))


def test_a_scheduled_method_is_the_method_itself() -> None:
    def method(self: object) -> int:
        return 1

    assert method is schedule(every=60)(method)
    assert 1 == method(None)
