"""What ``simulate`` does for the tasks of an application."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tenacity import wait_fixed

from wopr import InvalidCallError, StorageError, TaskQueue, TaskStatus, current_task
from wopr.testing import Faults, SimulationError, simulate

NONE = Faults.none()


class Service:
    """Something that tasks share."""


def elsewhere() -> int:
    """Return which process this is."""
    return os.getpid()


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue(enabled=True, database="never-made.duckdb")


def test_a_day_passes_in_no_time(queue: TaskQueue) -> None:
    @queue.task(retry=wait_fixed(3_600), max_retries=5)
    async def report(day: int) -> int:
        await asyncio.sleep(60)
        if current_task().attempt < 3:
            raise OSError("the service is down")
        return day

    async def client(queue: TaskQueue) -> None:
        assert await (await report.enqueue(7)).result() == 7

    began = time.monotonic()
    came_to = simulate(queue, client, faults=NONE)

    assert came_to.seconds == pytest.approx(2 * 3_600 + 3 * 60, abs=2)
    assert time.monotonic() - began < 60
    assert came_to.lives == 1
    [task] = came_to.tasks
    assert (task.status, task.attempt, task.result) == (TaskStatus.SUCCESS, 3, 7)


def test_sync_functions_and_processes_run_too_and_take_their_time(queue: TaskQueue) -> None:
    ran: list[str] = []

    @queue.task(category="a")
    def here() -> None:
        ran.append("here")

    queue.register_task("elsewhere", "b", executor="process")(elsewhere)

    async def client(queue: TaskQueue) -> None:
        await here.enqueue()
        await queue.enqueue("elsewhere")

    durations = {"here": 30.0, "elsewhere": lambda rng: rng.uniform(50, 60)}
    came_to = simulate(queue, client, faults=NONE, durations=durations)

    assert ran == ["here"]
    assert os.getpid() == came_to.tasks[1].result
    assert 50 <= came_to.seconds <= 62


def test_clients_go_on_after_the_process_has_died(queue: TaskQueue) -> None:
    @queue.task
    async def step(number: int) -> int:
        await asyncio.sleep(1)
        return number

    unknown = []

    async def client(queue: TaskQueue) -> None:
        for number in range(200):
            await asyncio.sleep(2)
            while True:
                try:
                    await step.options(unique_key=str(number)).enqueue(number)
                    break
                except StorageError as error:
                    unknown.append(error)
                    await asyncio.sleep(0.5)

    came_to = simulate(queue, client, seed=3, faults=Faults(crash=0.005))

    assert came_to.lives > 3
    assert unknown
    assert {task.args[0] for task in came_to.tasks} == set(range(200))
    assert came_to.starts > 200, "what ran when the process died runs again"
    # the call whose answer was lost may have been carried out, and its key was free again then
    assert len(came_to.tasks) >= 200


def test_chance_and_time_are_those_of_the_seed_and_restored(queue: TaskQueue) -> None:
    seen: list[tuple[float, datetime]] = []

    @queue.task
    async def throw() -> None:
        seen.append((random.random(), current_now(queue)))

    async def client(queue: TaskQueue) -> None:
        await throw.enqueue()

    before = random.getstate()
    simulate(queue, client, seed=1)
    simulate(queue, client, seed=1)
    simulate(queue, client, seed=2)

    assert before == random.getstate()
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]
    assert abs(datetime.now(UTC) - current_now(queue)) < timedelta(minutes=1)


def current_now(queue: TaskQueue) -> datetime:
    """Return what the clock of the queue shows."""
    from wopr.queue.queue import inside

    return inside(queue).clock.now()


def test_what_never_ends_is_told_with_the_reason(queue: TaskQueue) -> None:
    @queue.task(category="served")
    async def served() -> None: ...

    @queue.task(category="forgotten")
    async def forgotten() -> None: ...

    async def client(queue: TaskQueue) -> None:
        await served.enqueue()
        await forgotten.enqueue()

    with pytest.raises(SimulationError, match=r"within 1 h.*1 task.*has no workers") as found:
        simulate(queue, client, faults=NONE, workers={"served": 1}, hours=1)
    assert "seed=0" in str(found.value)


def test_what_a_client_raises_gets_out(queue: TaskQueue) -> None:
    @queue.task
    async def step() -> int:
        return 1

    async def client(queue: TaskQueue) -> None:
        assert await (await step.enqueue()).result() == 2

    with pytest.raises(AssertionError, match="assert 1 == 2"):
        simulate(queue, client, faults=NONE)


def test_schedules_fire_once_for_each_time_whatever_happens(queue: TaskQueue) -> None:
    @queue.schedule(every=600, name="often")
    async def often() -> None:
        await asyncio.sleep(5)

    async def client(queue: TaskQueue) -> None:
        await asyncio.sleep(5 * 3_600 + 1)

    came_to = simulate(queue, client, seed=1, faults=Faults(crash=0.001, clock_set=0))

    assert came_to.lives > 2
    times = [task.scheduled_for for task in came_to.tasks]
    assert len(times) == len(set(times))
    assert 28 <= len(times) <= 31


def test_resources_are_opened_anew_in_each_life(queue: TaskQueue) -> None:
    opened: list[str] = []

    @queue.resource
    async def service() -> AsyncIterator[Service]:
        opened.append("service")
        yield Service()

    @queue.task
    async def use(service: Service) -> None:
        await asyncio.sleep(10)

    async def client(queue: TaskQueue) -> None:
        for number in range(30):
            await asyncio.sleep(10)
            try:
                await use.options(unique_key=str(number)).enqueue()
            except StorageError:
                continue

    came_to = simulate(queue, client, seed=2, faults=Faults(crash=0.003))
    assert 1 < len(opened) <= came_to.lives


async def test_it_has_an_event_loop_of_its_own(queue: TaskQueue) -> None:
    with pytest.raises(InvalidCallError, match=r"await asyncio\.to_thread"):
        simulate(queue)


async def test_an_open_queue_is_refused_and_a_closed_one_goes_on_afterwards(
    queue: TaskQueue, tmp_path: object
) -> None:
    queue.database = tmp_path / "real.duckdb"  # type: ignore[operator]

    @queue.task
    async def step() -> int:
        return 1

    async def client(queue: TaskQueue) -> None:
        await step.enqueue()

    async with queue:
        with pytest.raises(InvalidCallError, match="is open"):
            await asyncio.to_thread(simulate, queue, client)
    came_to = await asyncio.to_thread(simulate, queue, client, faults=Faults(crash=0.01), seed=4)
    assert len(came_to.tasks) == 1
    async with queue:
        assert (await queue.get_task_stats())["total"] == 0


@pytest.mark.parametrize("wrong", [{"crash": 1.5}, {"read_fails": "often"}, {"until": -1}])
def test_faults_are_chances_and_seconds(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidCallError, match=next(iter(wrong))):
        Faults(**wrong)  # type: ignore[arg-type]
