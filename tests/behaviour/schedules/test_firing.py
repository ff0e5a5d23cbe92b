"""Schedules fire once per planned time, whatever goes on around them."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from support.queues import DuckDBHome, Gate, Home, SteppableClock, ended, running, until
from wopr import InvalidCallError, Settings, StorageError, TaskQueue, TaskStatus
from wopr.domain.misfire import Misfire, Overlap
from wopr.queue.queue import inside

HAND = Settings(scheduler=False)
"""Nothing fires unless the test says so."""


def beating(home: Home, clock: SteppableClock, **options: Any) -> TaskQueue:
    """Return a queue with a task ``beat`` that has no schedule yet."""
    queue = home.queue(clock=clock, settings=HAND, **options)

    @queue.task
    async def beat() -> str:
        return "beat"

    return queue


async def planned(queue: TaskQueue, name: str = "s") -> list[datetime]:
    """Return the planned times that were enqueued, in order."""
    found = [info for info in await queue.get_tasks(limit=10_000) if info.schedule == name]
    return [info.scheduled_for for info in reversed(found) if info.scheduled_for is not None]


async def test_a_schedule_fires_at_its_time_and_not_before(
    home: Home, clock: SteppableClock
) -> None:
    async with beating(home, clock) as queue:
        added = await queue.schedules.add("s", "beat", every={"minutes": 5}, tags=["daily"])
        assert clock.now() + timedelta(minutes=5) == added.next_fire_at
        clock.advance(299.9)
        assert [] == await queue.schedules.tick()
        clock.advance(0.1)
        [task_id] = await queue.schedules.tick()
        task = await queue.require_task_info(task_id)
        assert ("beat", "s", added.next_fire_at) == (task.name, task.schedule, task.scheduled_for)
        assert ("daily",) == task.tags
        assert [] == await queue.schedules.tick()
        info = await queue.schedules.get("s")
        assert (added.next_fire_at, task_id) == (info.last_fire_at, info.last_task_id)
        assert clock.now() + timedelta(minutes=5) == info.next_fire_at
        assert (task_id,) == info.live


async def test_what_is_enqueued_runs(home: Home, clock: SteppableClock) -> None:
    async with running(beating(home, clock), default=1) as queue:
        await queue.schedules.add("s", "beat", every=60)
        clock.advance(60)
        [task_id] = await queue.schedules.tick()
        [task] = await ended(queue, task_id)
        assert (TaskStatus.SUCCESS, "beat") == (task.status, task.result)
        assert () == (await queue.schedules.get("s")).live


async def test_a_late_tick_shifts_nothing(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock) as queue:
        first = (await queue.schedules.add("s", "beat", every=60, overlap=Overlap.ALLOW)).created_at
        assert first is not None
        for late in (61, 65, 59, 55):
            clock.advance(late)
            await queue.schedules.tick()
        assert [first + timedelta(minutes=n) for n in (1, 2, 3, 4)] == await planned(queue)


async def test_a_thousand_due_together_are_all_enqueued(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock) as queue:
        for number in range(1_100):
            await queue.schedules.add(f"s{number}", "beat", every=60)
        clock.advance(60)
        ids = await queue.schedules.tick()
        assert 1_100 == len(set(ids))
        found = {info.schedule for info in await queue.get_tasks(limit=2_000)}
        assert {f"s{number}" for number in range(1_100)} == found


async def test_overlap_skip_waits_for_the_end_of_the_earlier_run(
    home: Home, clock: SteppableClock
) -> None:
    gate = Gate()
    queue = home.queue(clock=clock, settings=HAND)
    queue.register_task("hold")(gate.wait)
    async with running(queue, default=2):
        await queue.schedules.add("s", "hold", every=60)
        clock.advance(60)
        [first] = await queue.schedules.tick()
        await gate.arrivals()
        clock.advance(60)
        assert [] == await queue.schedules.tick()
        info = await queue.schedules.get("s")
        assert ("no scheduler", 1, (first,)) == (info.reason, info.skipped, info.live)
        gate.open()
        await ended(queue, first)
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())


async def test_overlap_queue_one_lets_one_wait_and_runs_it_whatever_came_of_the_first(
    home: Home, clock: SteppableClock
) -> None:
    gate = Gate()
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def fail() -> None:
        await gate.wait()
        raise ValueError("no")

    async with running(queue, default=2):
        await queue.schedules.add("s", fail, every=60, overlap=Overlap.QUEUE_ONE)
        ids = []
        for _ in range(3):
            clock.advance(60)
            ids += await queue.schedules.tick()
        first, second = ids
        assert (first,) == (await queue.require_task_info(second)).depends_on
        assert 1 == (await queue.schedules.get("s")).skipped
        await gate.arrivals()
        gate.open()
        both = await ended(queue, first, second)
        assert [TaskStatus.FAILED] * 2 == [info.status for info in both]
        assert 2 == len(gate.arrived)


async def test_overlap_queue_one_takes_occurrences_that_are_due_together_one_by_one(
    home: Home, clock: SteppableClock
) -> None:
    async with beating(home, clock) as queue:
        await queue.schedules.add("s", "beat", every=1, overlap=Overlap.QUEUE_ONE)
        clock.advance(5)
        first, second = await queue.schedules.tick()
        assert (first,) == (await queue.require_task_info(second)).depends_on
        assert 3 == (await queue.schedules.get("s")).skipped


async def test_overlap_cancel_running_makes_room(home: Home, clock: SteppableClock) -> None:
    gate = Gate()
    queue = home.queue(clock=clock, settings=HAND)
    queue.register_task("hold")(gate.wait)
    async with running(queue, default=1):
        await queue.schedules.add("s", "hold", every=60, overlap=Overlap.CANCEL_RUNNING)
        clock.advance(60)
        [first] = await queue.schedules.tick()
        await gate.arrivals()
        clock.advance(60)
        [second] = await queue.schedules.tick()
        assert TaskStatus.CANCELLED is (await queue.require_task_info(first)).status
        await gate.arrivals(2)
        assert (second,) == (await queue.schedules.get("s")).live
        gate.open()
        await ended(queue, second)


async def test_a_failed_run_that_is_retried_by_hand_is_live_again(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock, settings=HAND)

    @queue.task
    async def fail() -> None:
        raise ValueError("no")

    async with queue:
        await queue.schedules.add("s", fail, every=60, category="elsewhere")
        clock.advance(60)
        [first] = await queue.schedules.tick()
        await queue.start_workers("elsewhere", 1)
        await ended(queue, first)
        assert () == (await queue.schedules.get("s")).live
        inside(queue).access.pools["elsewhere"].accepting = False
        assert await queue.retry_task(first)
        assert (first,) == (await queue.schedules.get("s")).live
        clock.advance(60)
        assert [] == await queue.schedules.tick()
        inside(queue).access.pools["elsewhere"].accepting = True


async def test_jitter_delays_the_task_and_not_the_plan(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock, rng=random.Random(7)) as queue:
        await queue.schedules.add("s", "beat", every=60, jitter=30, overlap=Overlap.ALLOW)
        seen = set()
        for _ in range(5):
            clock.advance(60)
            [task_id] = await queue.schedules.tick()
            task = await queue.require_task_info(task_id)
            assert task.scheduled_for == clock.now()
            assert task.run_at is not None
            wait = (task.run_at - clock.now()).total_seconds()
            assert 0 <= wait <= 30
            seen.add(wait)
        assert 5 == len(seen)


@pytest.mark.parametrize(
    ("misfire", "fired"), [(Misfire.SKIP, 0), (Misfire.RUN_ONCE, 1), (Misfire.RUN_ALL, 24)]
)
async def test_what_a_day_off_missed_is_decided_by_the_policy(
    durable_home: DuckDBHome, clock: SteppableClock, misfire: Misfire, fired: int
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("s", "beat", cron="0 * * * *", misfire=misfire)
    clock.advance(86_400 + 1_800)
    async with beating(durable_home, clock) as queue:
        assert fired == len(await queue.schedules.tick())
        info = await queue.schedules.get("s")
        assert 24 - fired == info.missed == len(info.missed_times)
        assert info.missed_times == tuple(one for one in info.missed_times if one.minute == 0)
        times = await planned(queue)
        assert fired == len(set(times))
        assert all(time.minute == 0 for time in times)


async def test_run_now_is_no_occurrence(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock) as queue:
        before = await queue.schedules.add("s", "beat", every=60)
        handle = await queue.schedules.run_now("s")
        task = await handle.info()
        assert ("s", None) == (task.schedule, task.scheduled_for)
        after = await queue.schedules.get("s")
        assert (handle.id,) == after.live
        assert (before.next_fire_at, None) == (after.next_fire_at, after.last_fire_at)


async def test_a_dependent_waits_for_the_first_success_and_gets_the_newest_result(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock, settings=HAND)
    numbers = iter(range(1, 10))

    @queue.task
    async def load() -> int:
        return next(numbers)

    @queue.task
    async def report(factor: int, dep_load: int, dep_load_at: datetime) -> list[Any]:
        return [factor * dep_load, dep_load_at]

    async with running(queue, default=1):
        await queue.schedules.add("load", load, every=100)
        await queue.schedules.add("report", report, every=60, args=(10,), depends_on=["load"])
        clock.advance(60)
        assert [] == await queue.schedules.tick()
        with pytest.raises(InvalidCallError, match="needs the results of 'load'"):
            await queue.schedules.run_now("report")
        clock.advance(40)
        [loaded] = await queue.schedules.tick()
        [parent] = await ended(queue, loaded)
        [reported] = await queue.schedules.tick()
        [task] = await ended(queue, reported)
        assert (loaded,) == task.depends_on
        assert parent.completed_at is not None
        assert [10, parent.completed_at] == task.result
        clock.advance(100)
        fired = await queue.schedules.tick()
        results = {info.name: info.result for info in await ended(queue, *fired)}
        assert 2 == results["load"]
        assert results["report"][0] in {10, 20}
        clock.advance(60)
        [again] = await queue.schedules.tick()
        [task] = await ended(queue, again)
        assert 20 == task.result[0]


async def test_a_cleanup_leaves_the_result_that_a_dependent_needs_next(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = durable_home.queue(clock=clock, settings=HAND)

    @queue.task
    async def load() -> int:
        return 1

    @queue.task
    async def report(dep_load: int) -> int:
        return dep_load

    async with running(queue, default=1):
        await queue.schedules.add("load", load, every=1_000)
        await queue.schedules.add("report", report, every=60, depends_on=["load"])
        for _ in range(2):
            await ended(queue, (await queue.schedules.run_now("load")).id)
            clock.advance(1)
        clock.advance(60)
        await ended(queue, *await queue.schedules.tick())
        clock.advance(60)
        assert 2 == await queue.cleanup_old_tasks(days=0)
        [again] = await queue.schedules.tick()
        [task] = await ended(queue, again)
        assert 1 == task.result


async def test_a_dependent_whose_parents_result_was_cleaned_up_waits_for_the_next(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = durable_home.queue(clock=clock, settings=HAND)

    @queue.task
    async def load() -> int:
        return 1

    @queue.task
    async def report(dep_load: int) -> int:
        return dep_load

    async with running(queue, default=1):
        await queue.schedules.add("load", load, every=1_000)
        await ended(queue, (await queue.schedules.run_now("load")).id)
        assert 1 == await queue.cleanup_old_tasks(days=0)  # nobody depends on it yet
        await queue.schedules.add("report", report, every=60, depends_on=["load"])
        clock.advance(60)
        assert [] == await queue.schedules.tick()
        await ended(queue, (await queue.schedules.run_now("load")).id)
        assert 1 == len(await queue.schedules.tick())


async def test_a_failed_commit_fires_at_the_next_tick_and_nothing_twice(
    durable_home: DuckDBHome, clock: SteppableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("a", "beat", every=60)
        await queue.schedules.add("b", "beat", every=60)
        clock.advance(60)
        storage = queue.storage
        submit = storage.submit

        def landed_but_said_no(entries: Any, done: Any, **more: Any) -> None:
            submit(entries, lambda _: done(StorageError("the disk says no")), **more)

        monkeypatch.setattr(storage, "submit", landed_but_said_no)
        with pytest.raises(StorageError, match="the disk says no"):
            await queue.schedules.tick()
        monkeypatch.undo()
        assert [] == await queue.schedules.tick()  # both are on disk, whatever was said
        assert 2 == len(await queue.get_tasks())
        clock.advance(60)
        assert 0 == len(await queue.schedules.tick())  # overlap: both are live


async def test_rows_that_can_not_be_saved_are_saved_with_the_next_tick(
    durable_home: DuckDBHome, clock: SteppableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60, overlap=Overlap.ALLOW)

        async def refuse(rows: Any) -> None:
            raise StorageError("full")

        monkeypatch.setattr(queue.storage, "save_schedules", refuse)
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())
        monkeypatch.undo()
        stored = "select next_fire_at from schedules"
        before = (await queue.sql(stored)).scalar()
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())
        after = (await queue.sql(stored)).scalar()
        assert timedelta(minutes=2) == after - before
        assert 2 == len(set(await planned(queue)))


async def test_a_crash_between_the_tasks_and_the_rows_fires_nothing_twice(
    durable_home: DuckDBHome, clock: SteppableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60, overlap=Overlap.ALLOW)

        async def lost(rows: Any) -> None:
            """Be killed before the rows are written."""

        monkeypatch.setattr(queue.storage, "save_schedules", lost)
        clock.advance(60)
        [task_id] = await queue.schedules.tick()
        image = await durable_home.crash_image(queue)
    async with beating(image, clock) as queue:
        assert [] == await queue.schedules.tick()
        info = await queue.schedules.get("s")
        assert (task_id, (task_id,)) == (info.last_task_id, info.live)
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())
        assert 2 == len(set(await planned(queue)))


async def test_a_restart_knows_what_is_live_and_what_succeeded(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with running(beating(durable_home, clock), default=1) as queue:
        await queue.schedules.add("done", "beat", every=60)
        await queue.schedules.add("open", "beat", every=60, category="nobody")
        await queue.schedules.add("child", "beat", every=60, depends_on=["done"])
        await queue.schedules.add("orphan", "beat", every=60, depends_on=["open"])
        clock.advance(60)
        await queue.schedules.tick()  # only once: another look might see ``done`` ended
        done, live = [(await queue.schedules.get(name)).last_task_id for name in ("done", "open")]
        assert done is not None
        await ended(queue, done)
    async with beating(durable_home, clock) as queue:
        assert (live,) == (await queue.schedules.get("open")).live
        [child] = await queue.schedules.tick()
        assert (done,) == (await queue.require_task_info(child)).depends_on


async def test_a_paused_schedule_fires_nothing_and_goes_on_after_now(
    home: Home, clock: SteppableClock
) -> None:
    async with beating(home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60)
        await queue.schedules.pause("s", "maintenance")
        clock.advance(600)
        assert [] == await queue.schedules.tick()
        resumed = await queue.schedules.resume("s")
        assert clock.now() + timedelta(seconds=60) == resumed.next_fire_at
        assert [] == await queue.schedules.tick()
        clock.advance(60)
        assert 1 == len(await queue.schedules.tick())


async def test_two_ticks_at_once_fire_once(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60)
        clock.advance(60)
        both = await asyncio.gather(queue.schedules.tick(), queue.schedules.tick())
        assert 1 == sum(map(len, both))


async def test_a_tick_goes_on_when_its_caller_gives_up(home: Home, clock: SteppableClock) -> None:
    async with beating(home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60)
        clock.advance(60)
        tick = asyncio.ensure_future(queue.schedules.tick())
        await asyncio.sleep(0)
        tick.cancel()
        await asyncio.gather(tick, return_exceptions=True)
        found = await until(queue.get_tasks, lambda tasks: len(tasks) == 1)
        assert "s" == found[0].schedule
        assert [] == await queue.schedules.tick()


async def test_firing_needs_no_function(durable_home: DuckDBHome, clock: SteppableClock) -> None:
    async with beating(durable_home, clock) as queue:
        await queue.schedules.add("s", "beat", every=60)
    clock.advance(60)
    async with durable_home.queue(clock=clock, settings=HAND) as queue:
        [task_id] = await queue.schedules.tick()
        assert "beat" == (await queue.require_task_info(task_id)).name


async def test_a_schedule_that_was_removed_and_added_again_starts_afresh(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    once = clock.now() - timedelta(minutes=1)
    for _ in range(2):
        async with beating(durable_home, clock) as queue:
            await queue.schedules.add("s", "beat", run_at=once, overlap=Overlap.ALLOW)
            assert 1 == len(await queue.schedules.tick())
            await queue.schedules.remove("s")
        clock.advance(1)
    async with beating(durable_home, clock) as queue:
        assert 2 == len(await planned(queue))
        await queue.schedules.add("s", "beat", run_at=once, overlap=Overlap.ALLOW)
    async with beating(durable_home, clock) as queue:
        assert 1 == len(await queue.schedules.tick())
