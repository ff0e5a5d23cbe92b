"""``queue.schedules``: add, look, change and remove; what is refused, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.queues import PATIENCE, Home, SteppableClock
from wopr import (
    DuplicateScheduleError,
    InvalidCallError,
    InvalidScheduleSpecificationError,
    PayloadError,
    QueueDisabledError,
    RetryPolicy,
    ScheduleNotFoundError,
    Settings,
    TaskNotRegisteredError,
    TaskPriority,
    TaskQueue,
)
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.resultof import ResultOf

HAND = Settings(scheduler=False)


def with_add(queue: TaskQueue) -> TaskQueue:
    @queue.task(category="math", priority=TaskPriority.HIGH, max_retries=2)
    async def add(a: int, b: int = 0) -> int:
        return a + b

    @queue.task
    async def beat() -> str:
        return "beat"

    return queue


async def test_a_schedule_is_what_it_was_told_to_be(home: Home, clock: SteppableClock) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        end = clock.now() + timedelta(days=365)
        told: dict[str, Any] = {
            "misfire": Misfire.SKIP,
            "misfire_grace": 5.0,
            "misfire_limit": 7,
            "overlap": Overlap.QUEUE_ONE,
            "jitter": 2.5,
            "start_at": clock.now(),
            "end_at": end,
            "run_on_start": True,
            "run_as": "robot",
        }
        await queue.schedules.add("parent", "beat", every=60)
        added = await queue.schedules.add(
            "s",
            "add",
            args=(1,),
            kwargs={"b": 2},
            at="14:30",
            tz="Europe/Berlin",
            depends_on=["parent"],
            tags=["x"],
            timeout=9,
            **told,
        )
        assert told == {key: getattr(added, key) for key in told}
        assert ("s", "add", "math", TaskPriority.HIGH, 2) == (
            added.name,
            added.task,
            added.category,
            added.priority,
            added.max_retries,
        )
        assert ((1,), {"b": 2}, ("parent",), ("x",)) == (
            added.args,
            added.kwargs,
            added.depends_on,
            added.tags,
        )
        assert "daily at 14:30 Europe/Berlin" == added.description
        assert datetime(2030, 5, 17, 12, 30, tzinfo=UTC) == added.next_fire_at
        assert ("call", False, None) == (added.origin, added.paused, added.paused_reason)
        again = await queue.schedules.get("s")
        assert added == again
        assert ["parent", "s"] == [info.name for info in await queue.schedules.list()]


async def test_schedules_outlive_the_process(durable_home: Home, clock: SteppableClock) -> None:
    async with with_add(durable_home.queue(clock=clock, settings=HAND)) as queue:
        added = await queue.schedules.add("s", "add", args=(1,), cron="*/5 * * * MON-FRI")
    async with with_add(durable_home.queue(clock=clock, settings=HAND)) as queue:
        assert [added] == await queue.schedules.list()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Exactly one of 'interval', 'at', or 'crontab' must be provided"),
        ({"every": 5, "at": "10:00"}, "got every and at"),
        ({"every": {}}, "cannot be an empty dictionary"),
        ({"every": {"seconds": 0}}, "longer than zero"),
        ({"every": -1}, "longer than zero"),
        ({"at": "25:00"}, "HH:MM format"),
        ({"cron": "61 * * * *"}, "minute field '61'"),
        ({"at": "10:00", "tz": "Mars/Base"}, "no time zone"),
        ({"every": 5, "start_at": datetime(2031, 1, 1), "end_at": datetime(2030, 1, 1)}, "ends"),
    ],
)
async def test_what_says_when_is_checked_before_anything_is_written(
    home: Home, clock: SteppableClock, options: Any, says: str
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        with pytest.raises(InvalidScheduleSpecificationError, match=says):
            await queue.schedules.add("s", "beat", **options)
        assert [] == await queue.schedules.list()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"misfire": "skip"}, "misfire must be one of Misfire.SKIP"),
        ({"overlap": "skip"}, "overlap must be one of Overlap.ALLOW"),
        ({"misfire_limit": 0}, "misfire_limit must be a whole number from 1"),
        ({"misfire_grace": -1}, "misfire_grace must be"),
        ({"jitter": float("nan")}, "jitter must be"),
        ({"run_on_start": 1}, "run_on_start must be True or False"),
        ({"depends_on": "parent"}, r"depends_on=\['name'\]"),
        ({"depends_on": ["nobody"]}, "There is no schedule 'nobody'"),
        ({"depends_on": ["s"]}, "wait for each other for ever"),
        ({"kwargs": [1]}, "kwargs must be a dict"),
        ({"args": 1}, "args must be a tuple"),
        ({"args": ("one",)}, "a"),
        ({"args": (1, 2, 3)}, "doesn't fit"),
        ({"args": (ResultOf("x"),)}, "depends_on=.*dep_name"),
        ({"unique_key": "k"}, "no option 'unique_key'.*overlap="),
        ({"start_at": "tomorrow"}, "start_at must be a datetime"),
        ({"tags": "x"}, "tags must be"),
        ({"run_as": ""}, "run_as must have"),
    ],
)
async def test_every_other_value_is_checked_too(
    home: Home, clock: SteppableClock, options: Any, says: str
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        with pytest.raises(InvalidCallError, match=says):
            await queue.schedules.add("s", "add", **{"args": (1,), "every": 60, **options})
        assert [] == await queue.schedules.list()


async def test_arguments_are_checked_against_the_function(
    home: Home, clock: SteppableClock
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        with pytest.raises(PayloadError):
            await queue.schedules.add("s", "add", args=("one",), every=60)
        with pytest.raises(TaskNotRegisteredError, match="Did you mean 'beat'"):
            await queue.schedules.add("s", "beet", every=60)


@pytest.mark.parametrize("name", ["", " ", "a\0b", "x" * 201, 7, None])
async def test_a_name_has_to_be_one(home: Home, clock: SteppableClock, name: Any) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        for call in (
            queue.schedules.add(name, "beat", every=60),
            queue.schedules.get(name),
            queue.schedules.remove(name),
        ):
            with pytest.raises(InvalidCallError, match="schedule's name must"):
                await call


async def test_names_are_unique(home: Home, clock: SteppableClock) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("s", "beat", every=60)
        with pytest.raises(DuplicateScheduleError, match="There is a schedule 's' already"):
            await queue.schedules.add("s", "beat", every=30)


async def test_an_unknown_name_is_said_with_a_near_one(home: Home, clock: SteppableClock) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("report", "beat", every=60)
        schedules = queue.schedules
        for call in (
            schedules.get("reprot"),
            schedules.update("reprot", every=5),
            schedules.pause("reprot"),
            schedules.resume("reprot"),
            schedules.run_now("reprot"),
            schedules.remove("reprot"),
            schedules.preview("reprot"),
        ):
            with pytest.raises(ScheduleNotFoundError, match=r"'reprot'. Did you mean 'report'"):
                await call
        assert 1 == len(await schedules.list())


async def test_update_changes_what_it_is_told_and_keeps_where_it_stands(
    home: Home, clock: SteppableClock
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("parent", "beat", every=60)
        await queue.schedules.add("s", "add", args=(1,), every=60, tags=["a"], timeout=5)
        clock.advance(60)
        await queue.schedules.tick()
        before = await queue.schedules.get("s")
        clock.advance(1)
        after = await queue.schedules.update(
            "s", kwargs={"a": 5}, priority=TaskPriority.LOW, max_retries=9, tags=["b"], jitter=1
        )
        assert ((), {"a": 5}, TaskPriority.LOW, 9, ("b",), 1.0) == (
            after.args,
            after.kwargs,
            after.priority,
            after.max_retries,
            after.tags,
            after.jitter,
        )
        assert (before.next_fire_at, before.last_task_id) == (
            after.next_fire_at,
            after.last_task_id,
        )
        assert clock.now() == after.updated_at
        moved = await queue.schedules.update("s", at=time(9), tz="Asia/Tokyo", end_at=None)
        assert datetime(2030, 5, 18, 0, tzinfo=UTC) == moved.next_fire_at
        assert before.last_task_id == moved.last_task_id
        with pytest.raises(InvalidCallError, match="'nobody'"):
            await queue.schedules.update("s", depends_on=["nobody"])
        with pytest.raises(InvalidScheduleSpecificationError, match="Exactly one"):
            await queue.schedules.update("s", tz="Asia/Tokyo")
        assert moved == await queue.schedules.get("s")


async def test_update_of_what_it_depends_on_changes_the_keywords(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def beat() -> int:
        return 1

    @queue.task
    async def report(a: int, dep_one: int = -1, dep_two: int = -2) -> list[int]:
        return [a, dep_one, dep_two]

    async with queue:
        for name in ("one", "two"):
            await queue.schedules.add(name, beat, every=60)
        await queue.schedules.add("s", report, every=60, args=(5,), depends_on=["one"])
        await queue.schedules.update("s", depends_on=["two"])
        await queue.start_workers("default", 1)
        for name in ("one", "two"):
            await (await queue.schedules.run_now(name)).result(timeout=PATIENCE)
        assert [5, -1, 1] == await (await queue.schedules.run_now("s")).result(timeout=PATIENCE)
        await queue.schedules.update("s", depends_on=[])
        assert [5, -1, -2] == await (await queue.schedules.run_now("s")).result(timeout=PATIENCE)


async def test_update_of_arguments_needs_the_function(
    durable_home: Home, clock: SteppableClock
) -> None:
    async with with_add(durable_home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("s", "add", args=(1,), every=60)
    async with durable_home.queue(clock=clock, settings=HAND) as queue:
        assert (1,) == (await queue.schedules.get("s")).args
        with pytest.raises(InvalidCallError, match="only where its task 'add' is registered"):
            await queue.schedules.update("s", args=(2,))
        updated = await queue.schedules.update("s", every=30)
        assert "every 30 s" == updated.description


async def test_a_retry_policy_and_a_timeout_go_along(home: Home, clock: SteppableClock) -> None:
    from tenacity import stop_after_attempt

    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        policy = RetryPolicy(stop=stop_after_attempt(4))
        await queue.schedules.add("s", "beat", every=60, retry=policy, timeout=timedelta(minutes=1))
        task = await (await queue.schedules.run_now("s")).info()
        assert 60.0 == task.timeout


async def test_pause_and_resume_may_be_repeated(home: Home, clock: SteppableClock) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        added = await queue.schedules.add("s", "beat", every=60)
        for _ in range(2):
            paused = await queue.schedules.pause("s", "audit")
            assert ("paused", "audit", True) == (paused.reason, paused.paused_reason, paused.paused)
            assert "wopr schedules resume s" in paused.text
        for _ in range(2):
            assert added.next_fire_at == (await queue.schedules.resume("s")).next_fire_at


async def test_a_schedule_that_others_depend_on_is_not_removed(
    home: Home, clock: SteppableClock
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("parent", "beat", every=60)
        await queue.schedules.add("child", "beat", every=60, depends_on=["parent"])
        with pytest.raises(InvalidCallError, match="'child' would wait for it for ever"):
            await queue.schedules.remove("parent")
        await queue.schedules.remove("child")
        await queue.schedules.remove("parent")
        assert [] == await queue.schedules.list()


async def test_a_preview_shows_the_plan(home: Home, clock: SteppableClock) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("s", "beat", cron="0 9 * * MON-FRI", tz="America/New_York")
        times = await queue.schedules.preview("s", 3)  # NOON is a Friday, 08:00 there
        there = [moment.astimezone(ZoneInfo("America/New_York")) for moment in times]
        assert [(17, 9), (20, 9), (21, 9)] == [(at.day, at.hour) for at in there]
        await queue.schedules.pause("s")
        assert times == await queue.schedules.preview("s", 3)
        with pytest.raises(InvalidCallError, match="n must be a whole number"):
            await queue.schedules.preview("s", -1)


async def test_naive_moments_are_wall_times_of_the_schedules_zone(
    home: Home, clock: SteppableClock
) -> None:
    async with with_add(home.queue(clock=clock, settings=HAND)) as queue:
        wall = datetime(2030, 6, 1, 12)
        berlin = await queue.schedules.add("b", "beat", run_at=wall, tz="Europe/Berlin")
        utc = await queue.schedules.add("u", "beat", run_at=wall)
        aware = await queue.schedules.add(
            "a", "beat", run_at=wall.replace(tzinfo=ZoneInfo("Asia/Tokyo"))
        )
        began = await queue.schedules.add("s", "beat", at="00:00", tz="Asia/Tokyo", start_at=wall)
        assert [10, 12, 3] == [
            info.next_fire_at.hour for info in (berlin, utc, aware) if info.next_fire_at
        ]
        assert datetime(2030, 6, 1, 3, tzinfo=UTC) == began.start_at
        assert datetime(2030, 6, 1, 15, tzinfo=UTC) == began.next_fire_at


async def test_a_queue_that_is_off_has_no_schedules(tmp_path: Path) -> None:
    queue = with_add(TaskQueue(enabled=False, database=tmp_path / "none.duckdb"))
    assert [] == await queue.schedules.list()
    assert [] == await queue.schedules.tick()
    with pytest.raises(ScheduleNotFoundError):
        await queue.schedules.get("s")
    with pytest.raises(QueueDisabledError):
        await queue.schedules.add("s", "beat", every=60)
    await queue.start_scheduler(blocking=True)
    assert not list(tmp_path.iterdir())


async def test_looking_makes_no_file(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    assert [] == await queue.schedules.list()
    with pytest.raises(ScheduleNotFoundError):
        await queue.schedules.get("s")
    assert not list(tmp_path.iterdir())


async def test_the_operator_is_told_why_it_does_not_fire(
    durable_home: Home, clock: SteppableClock
) -> None:
    def reasons(infos: Any) -> dict[str, str]:
        return {info.name: info.reason for info in infos}

    async with with_add(durable_home.queue(clock=clock, settings=HAND)) as queue:
        schedules = queue.schedules
        await schedules.add("plain", "beat", every=60)
        await schedules.add("over", "beat", run_at=clock.now(), overlap=Overlap.ALLOW)
        await schedules.add("paused", "beat", every=60)
        await schedules.pause("paused", "audit")
        await schedules.add("child", "beat", every=60, depends_on=["paused"])
        await schedules.tick()
        off = reasons(await schedules.list())
        assert {
            "plain": "no scheduler",
            "over": "ended",
            "paused": "paused",
            "child": "no scheduler",
        } == off
        await queue.start_scheduler()
        clock.advance(60)
        await schedules.tick()
        found = await schedules.list()
        assert {
            "plain": "overlap",
            "over": "ended",
            "paused": "paused",
            "child": "waiting",
        } == reasons(found)
        texts = {info.name: info.text for info in found}
        assert "'paused', which is paused (audit)" in texts["child"]
        assert "It is due since" in texts["child"]
        assert "wopr tasks explain" in texts["plain"]
        assert "never fires again" in texts["over"]
        assert str(found[0]) == f"{found[0].name}: {found[0].text}"


async def test_a_task_that_nobody_registered_is_said(
    durable_home: Home, clock: SteppableClock
) -> None:
    async with with_add(durable_home.queue(clock=clock, settings=HAND)) as queue:
        await queue.schedules.add("s", "beat", every=60)
    async with durable_home.queue(clock=clock, settings=HAND) as queue:
        await queue.start_scheduler()
        info = await queue.schedules.get("s")
        assert "unregistered" == info.reason
        assert "no function is registered under the name 'beat'" in info.text
