"""Plans of several triggers, of months, and with several runs at once, as a queue keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.programs import run
from support.queues import DuckDBHome, Gate, Home, SteppableClock, running
from wopr import InvalidCallError, Misfire, Monthly, Overlap, Settings, TaskQueue

HAND = Settings(scheduler=False)


def beating(home: Home, clock: SteppableClock) -> TaskQueue:
    """Return a queue with a task ``beat`` that has no schedule yet."""
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def beat() -> str:
        return "beat"

    return queue


WEEKLY: Any = [{"at": "13:00"}, {"cron": "0 13,14 * * SAT"}]


async def test_a_plan_of_several_triggers_outlives_the_process(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("any", "beat", any_of=WEEKLY, overlap=Overlap.ALLOW)
        await queue.schedules.add("all", "beat", all_of=WEEKLY, overlap=Overlap.ALLOW)
        await queue.schedules.add("months", "beat", monthly=Monthly(3, day="last"))
    clock.time = datetime(2030, 5, 18, 14, 0, tzinfo=UTC)  # a Saturday
    async with beating(durable_home, clock) as queue:
        await queue.schedules.tick()
        rows = await queue.sql(
            "select schedule, scheduled_for::varchar as planned from schedule_runs "
            "order by schedule, planned"
        )
        assert [("all", "2030-05-18 13:00:00"), ("any", "2030-05-18 14:00:00")] == [
            (row["schedule"], row["planned"]) for row in rows
        ]
        info = await queue.schedules.get("any")
        assert "any of (daily at 13:00 UTC; cron '0 13,14 * * SAT' UTC)" == info.description
        times = await queue.schedules.preview("months", 3)
        assert ["05-31", "08-31", "11-30"] == [f"{one:%m-%d}" for one in times]


async def test_the_same_code_goes_on_counting_months_and_intervals_from_where_they_began(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    def declared() -> TaskQueue:
        queue = beating(durable_home, clock)
        queue.schedule(any_of=[{"every": 5_000}, {"monthly": Monthly(4)}], name="s")(
            queue.task(name="other")(_nothing)
        )
        return queue

    async with declared() as queue:
        await queue.schedules.sync()
        before = (await queue.schedules.get("s")).trigger
    clock.advance(40 * 86_400)
    async with declared() as queue:
        await queue.schedules.sync()
        assert before == (await queue.schedules.get("s")).trigger


async def _nothing() -> None: ...


async def test_at_most_so_many_runs_of_a_schedule_go_on_at_once(
    home: Home, clock: SteppableClock
) -> None:
    gate = Gate()
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def slow() -> None:
        await gate.wait()

    async with running(queue, default=5):
        await queue.schedules.add("s", "slow", every=60, max_running=2)
        for expected in (1, 1, 0):
            clock.advance(60)
            assert expected == len(await queue.schedules.tick())
        await gate.arrivals(2)
        info = await queue.schedules.get("s")
        assert (2, 2, 1) == (info.max_running, len(info.live), info.skipped)
        changed = await queue.schedules.update("s", max_running=3)
        assert 3 == changed.max_running
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())
        await gate.arrivals(3)
        gate.open()


async def test_one_waits_behind_so_many_that_run(home: Home, clock: SteppableClock) -> None:
    gate = Gate()
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def slow() -> None:
        await gate.wait()

    async with running(queue, default=5):
        await queue.schedules.add("s", "slow", every=60, max_running=2, overlap=Overlap.QUEUE_ONE)
        ids: list[str] = []
        for _ in range(4):
            clock.advance(60)
            ids += await queue.schedules.tick()
        assert 3 == len(ids)
        await gate.arrivals(2)
        assert ids[2] not in queue.running_tasks
        gate.open()
        for one in ids:
            await queue.wait(one, timeout=60)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_running": 0}, "max_running must be"),
        ({"max_running": 2, "overlap": Overlap.ALLOW}, "any number at once"),
        ({"max_running": "2"}, "max_running must be"),
    ],
)
async def test_a_number_of_runs_that_can_not_be_meant_is_refused(
    home: Home, clock: SteppableClock, options: dict[str, Any], said: str
) -> None:
    async with beating(home, clock) as queue:
        with pytest.raises(InvalidCallError, match=said):
            await queue.schedules.add("s", "beat", every=60, **options)
        plan: Any = {"misfire": Misfire.RUN_ALL, "max_running": 4}
        made = await queue.schedules.add("s", "beat", every=60, **plan)
        assert Overlap.SKIP is made.overlap


async def test_what_was_missed_is_told_by_python_sql_and_the_command_line(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("s", "beat", cron="0 * * * *", misfire=Misfire.SKIP)
        database = queue.database
        clock.advance(3 * 3_600 + 1_800)
        assert [] == await queue.schedules.tick()

        noon = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
        missed = [noon + timedelta(hours=number) for number in (1, 2, 3)]
        info = await queue.schedules.get("s")
        assert (3, missed) == (info.missed, list(info.missed_times))
        rows = await queue.sql("select planned_at from missed_times where schedule = 's'")
        assert [one.replace(tzinfo=None) for one in missed] == [row["planned_at"] for row in rows]
    told = run(["wopr", "schedules", "show", "s", "--database", database], database.parent)
    assert "2030-05-17 13:00" in told.stdout, told.stderr
