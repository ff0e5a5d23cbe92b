"""``wopr.scheduler``: the registry as its users know it, without the defects they lived with."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from support.programs import clean_environment
from support.queues import PATIENCE, SteppableClock
from wopr import Settings, TaskQueue, scheduler
from wopr.scheduler import Task, TaskRegistry, TaskStatus, start_scheduler

HAND = Settings(scheduler=False)


class Registries:
    """Registries over one file, one after the other."""

    def __init__(self, path: Path, clock: SteppableClock) -> None:
        self.path = path
        self.clock = clock
        self._last: TaskRegistry | None = None

    def new(self, *, tz: str = "UTC") -> TaskRegistry:
        """Return a registry of a program that was just started."""
        self.stop()
        queue = TaskQueue(enabled=True, database=self.path, clock=self.clock, settings=HAND)
        self._last = TaskRegistry(queue, tz=tz)
        return self._last

    def stop(self) -> None:
        """End the program."""
        if self._last is not None:
            self._last.stop()


@pytest.fixture
def registries(tmp_path: Path, clock: SteppableClock) -> Iterator[Registries]:
    made = Registries(tmp_path / "tasks.duckdb", clock)
    yield made
    made.stop()


@pytest.fixture
def registry(registries: Registries) -> TaskRegistry:
    return registries.new()


def add(a: int, b: int) -> int:
    return a + b


# -- as its users know it -----------------------------------------------------


def test_a_task_has_an_id_of_32_letters_and_is_pending() -> None:
    task = Task(func=add)
    assert 32 == len(task.id)
    assert (TaskStatus.PENDING, None, None, None, None, []) == (
        task.status,
        task.last_run_at,
        task.last_success_at,
        task.result,
        task.error_message,
        task.history,
    )
    assert ((), {}, [], []) == (task.args, task.kwargs, task.depends_on, task.tags)


def test_the_states_are_the_texts_they_were() -> None:
    assert ["pending", "running", "success", "failed"] == [str(state) for state in TaskStatus]


@pytest.mark.parametrize("at", ["25:00", "noon", "14:60", ""])
def test_at_must_be_a_time(at: str) -> None:
    with pytest.raises(ValidationError, match="at field must be in HH:MM format"):
        Task(func=add, at=at)


def test_every_knows_its_keys() -> None:
    with pytest.raises(ValidationError, match=r"Invalid key 'years' in 'every' field. Allowed"):
        Task(func=add, every={"years": 1})
    with pytest.raises(ValidationError, match=r"'every' field cannot be an empty dictionary."):
        Task(func=add, every={})
    assert {"milliseconds": 5} == Task(func=add, every={"milliseconds": 5}).every


def test_the_model_takes_any_number_of_options_and_the_registry_one(
    registry: TaskRegistry,
) -> None:
    says = "Task must specify exactly one of every / at / run_at schedule options"
    for options in ({}, {"every": {"seconds": 1}, "at": "10:00"}):
        task = Task(func=add, **options)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=says):
            registry.register(task)
        assert {} == registry.store


def test_register_returns_the_task_and_refuses_its_id_the_second_time(
    registry: TaskRegistry,
) -> None:
    task = Task(func=add, args=(1, 2), every={"seconds": 5}, id="one")
    assert registry.register(task) is task
    assert {"one": task} == registry.store
    with pytest.raises(ValueError, match=r"Task with id 'one' already registered."):
        registry.register(Task(func=add, args=(1, 2), at="12:00", id="one"))


def test_a_tick_runs_what_is_due_and_returns_when_it_has_ended(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    task = registry.register(Task(func=add, args=(1,), kwargs={"b": 2}, every={"minutes": 5}))
    now = clock.now()
    registry.tick()
    assert (TaskStatus.SUCCESS, 3, None, now) == (
        task.status,
        task.result,
        task.error_message,
        task.last_run_at,
    )
    assert task.last_success_at is not None
    assert [{"run_at": now, "status": TaskStatus.SUCCESS, "result": "3", "error": None}] == (
        task.history
    )
    registry.tick()
    assert 1 == len(task.history)
    clock.advance(300)
    registry.tick()
    assert [now, now + timedelta(minutes=5)] == [run["run_at"] for run in task.history]


def test_what_is_not_due_does_not_run(registry: TaskRegistry, clock: SteppableClock) -> None:
    later = clock.now() + timedelta(seconds=10)
    task = registry.register(Task(func=add, args=(1, 2), run_at=later))
    registry.tick()
    assert (TaskStatus.PENDING, None) == (task.status, task.last_run_at)
    clock.advance(10)
    registry.tick()
    assert TaskStatus.SUCCESS is task.status
    clock.advance(10_000)
    registry.tick()
    assert 1 == len(task.history)


def test_a_failure_is_told(registry: TaskRegistry) -> None:
    task = registry.register(Task(func=MagicMock(side_effect=ValueError("no")), at="00:00"))
    registry._bridge()(registry.queue.schedules.sync)
    registry._bridge()(registry._open)
    handle = registry._bridge()(registry.queue.schedules.run_now, task.id)
    registry._bridge()(registry.queue.wait, handle.id, PATIENCE)
    assert (TaskStatus.FAILED, "ValueError: no", None) == (
        task.status,
        task.error_message,
        task.result,
    )
    assert ["ValueError: no"] == [run["error"] for run in task.history]


def test_a_dependent_runs_at_the_next_tick_with_the_result(registry: TaskRegistry) -> None:
    first = registry.register(
        Task(func=MagicMock(return_value="done"), every={"hours": 1}, id="dep1")
    )
    function = MagicMock(return_value=1)
    second = registry.register(Task(func=function, every={"hours": 1}, depends_on=["dep1"]))
    registry.tick()
    assert (TaskStatus.SUCCESS, TaskStatus.PENDING) == (first.status, second.status)
    function.assert_not_called()
    registry.tick()
    function.assert_called_once()
    assert "done" == function.call_args.kwargs["dep_dep1"]
    assert TaskStatus.SUCCESS is second.status


def test_update_replaces_the_definition_and_keeps_the_runs(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    registry.register(Task(func=add, args=(1, 2), every={"minutes": 1}, id="one"))
    registry.tick()
    changed = registry.update(Task(func=max, args=(5, 7), every={"minutes": 1}, id="one"))
    assert 1 == len(changed.history)
    clock.advance(60)
    registry.tick()
    assert ["3", "7"] == [run["result"] for run in changed.history]
    with pytest.raises(KeyError):
        registry.update(Task(func=add, every={"minutes": 1}, id="two"))


def test_an_update_reaches_the_object_that_was_registered(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    first = registry.register(Task(func=add, args=(1, 2), every={"minutes": 1}, id="one"))
    given = Task(func=max, args=(5, 7), every={"minutes": 2}, tags=["new"], id="one")
    assert registry.update(given) is given
    assert registry.store["one"] is first
    assert (max, (5, 7), {"minutes": 2}, ["new"]) == (
        first.func,
        first.args,
        first.every,
        first.tags,
    )
    clock.advance(120)
    registry.tick()
    assert (7, 7) == (first.result, given.result)
    first.every = {"minutes": 5}
    registry.update(first)
    assert {"minutes": 5} == registry.store["one"].every


@pytest.mark.parametrize("second", [0, 59])
def test_a_time_of_day_that_is_now_runs_now(
    registry: TaskRegistry, clock: SteppableClock, second: int
) -> None:
    clock.advance(second)
    noon = registry.register(Task(func=add, args=(1, 2), at="12:00"))
    past = registry.register(Task(func=add, args=(1, 2), at="11:59"))
    registry.tick()
    assert (TaskStatus.SUCCESS, clock.now()) == (noon.status, noon.last_run_at)
    assert (TaskStatus.PENDING, None) == (past.status, past.last_run_at)
    registry.tick()
    assert 1 == len(noon.history)
    clock.advance(86_400)
    registry.tick()
    assert (2, 1) == (len(noon.history), len(past.history))


def test_a_time_of_day_that_is_now_runs_once_though_the_program_restarts(
    registries: Registries,
) -> None:
    for _ in range(2):
        registry = registries.new()
        task = registry.register(Task(func=add, args=(1, 2), at="12:00", id="noon"))
        registry.tick()
        registries.clock.advance(10)
    assert 1 == len(task.history)


def test_a_state_that_is_given_is_shown_until_the_first_run(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    then = clock.now() - timedelta(hours=1)
    before = {"run_at": then, "status": TaskStatus.FAILED, "result": None, "error": "E: no"}
    state: dict[str, Any] = {
        "status": TaskStatus.FAILED,
        "last_run_at": then,
        "last_success_at": then,
        "result": None,
        "error_message": "E: no",
        "history": [before],
    }
    task = Task(func=add, args=(1, 2), every={"minutes": 1}, **state)
    assert state == {name: getattr(task, name) for name in state}
    registry.register(task)
    assert TaskStatus.FAILED is task.status
    registry.tick()
    assert (TaskStatus.SUCCESS, 3, None) == (task.status, task.result, task.error_message)
    assert [before["error"], None] == [run["error"] for run in task.history]
    plain = dict.fromkeys(state) | {"status": TaskStatus.PENDING, "history": []}
    fresh = Task(func=add, every={"minutes": 1}, **plain)  # type: ignore[arg-type]
    assert plain == {name: getattr(fresh, name) for name in plain}
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Task(func=add, state="done")  # type: ignore[call-arg]


def test_delete_is_silent(registry: TaskRegistry, clock: SteppableClock) -> None:
    registry.register(Task(func=add, args=(1, 2), every={"minutes": 1}, id="one"))
    registry.tick()
    registry.delete("one")
    registry.delete("one")
    clock.advance(60)
    registry.tick()
    assert {} == registry.store
    assert [] == registry._bridge()(registry.queue.schedules.list)


def test_start_gives_a_live_daemon_thread_until_it_is_stopped(registry: TaskRegistry) -> None:
    thread = registry.start(interval=0.01)
    assert thread.is_alive()
    assert thread.daemon
    registry.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    registry.stop()


def test_the_module_has_a_registry_and_starts_it(
    registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "registry", registry)
    ran = threading.Event()
    registry.register(Task(func=ran.set, every={"milliseconds": 5}))
    thread = start_scheduler(interval=0.01)
    assert isinstance(thread, threading.Thread)
    assert thread.is_alive()
    assert ran.wait(PATIENCE)
    blocked = threading.Thread(target=lambda: start_scheduler(blocking=True))
    blocked.start()
    while 2 > sum(one.name == thread.name for one in threading.enumerate()):
        blocked.join(0.01)  # until it waits, too
    assert blocked.is_alive()
    registry.stop()
    blocked.join(PATIENCE)
    thread.join(PATIENCE)
    assert not blocked.is_alive()


# -- without the defects ------------------------------------------------------


def test_a_function_that_takes_no_results_is_called_without_them(registry: TaskRegistry) -> None:
    first = registry.register(Task(func=add, args=(10, 20), every={"seconds": 5}))
    second = registry.register(
        Task(func=add, args=(7, 8), every={"seconds": 5}, depends_on=[first.id])
    )
    registry.tick()
    registry.tick()
    assert (TaskStatus.SUCCESS, 15) == (second.status, second.result)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul"])
def test_an_aware_moment_is_that_moment_and_a_naive_one_is_local(
    registries: Registries, zone: str
) -> None:
    registry = registries.new(tz="Asia/Seoul")
    local = registries.clock.now().astimezone(ZoneInfo("Asia/Seoul")) + timedelta(minutes=1)
    aware = registry.register(Task(func=add, args=(1, 2), run_at=local.astimezone(ZoneInfo(zone))))
    naive = registry.register(Task(func=add, args=(1, 2), run_at=local.replace(tzinfo=None)))
    registry.tick()
    assert aware.last_run_at is naive.last_run_at is None
    registries.clock.advance(60)
    registry.tick()
    assert TaskStatus.SUCCESS is aware.status is naive.status


@pytest.mark.parametrize("every", [{"seconds": 0}, {"seconds": -1}, {"minutes": 1, "seconds": -60}])
def test_an_interval_that_never_passes_is_refused(every: Any) -> None:
    with pytest.raises(ValidationError, match="longer than zero"):
        Task(func=add, every=every)


def test_a_time_of_day_that_is_past_waits_for_tomorrow_and_a_restart_repeats_nothing(
    registries: Registries,
) -> None:
    def program() -> tuple[TaskRegistry, Task]:
        registry = registries.new()
        return registry, registry.register(Task(func=add, args=(1, 2), at="11:00", id="daily"))

    registry, task = program()  # it is noon
    registry.tick()
    assert task.last_run_at is None
    registries.clock.advance(23 * 3_600)
    registry.tick()
    assert 1 == len(task.history)
    registry, task = program()
    registry.tick()
    assert 1 == len(task.history)


def test_an_interval_goes_on_after_a_restart_instead_of_running_at_once(
    registries: Registries,
) -> None:
    def program() -> tuple[TaskRegistry, Task]:
        registry = registries.new()
        return registry, registry.register(
            Task(func=add, args=(1, 2), every={"minutes": 10}, id="often")
        )

    registry, task = program()
    registry.tick()
    registries.clock.advance(300)
    registry, task = program()
    registry.tick()
    assert 1 == len(task.history)
    assert 3 == task.result  # of the run before the restart
    registries.clock.advance(300)
    registry.tick()
    assert 2 == len(task.history)


def test_an_id_of_its_own_is_the_same_in_the_next_process(tmp_path: Path) -> None:
    program = (
        "from wopr.scheduler import Task\n"
        "print(Task(func=max, args=(1, 2), every={'seconds': 5}).id)\n"
        "print(Task(func=max, args=(1, 2), every={'seconds': 5}).id)\n"
        "print(Task(func=min, args=(1, 2), every={'seconds': 5}).id)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert 3 == len(set(said[0]))


def test_a_failed_run_can_be_tried_again(tmp_path: Path) -> None:
    registry = TaskRegistry(TaskQueue(enabled=True, database=tmp_path / "real-time.duckdb"))
    outcomes = iter([ValueError("no"), 5])
    function = MagicMock(side_effect=lambda: _next(outcomes))
    task = registry.register(Task(func=function, run_at=datetime.now(UTC), max_retries=1))
    registry.tick()
    assert (TaskStatus.SUCCESS, 5) == (task.status, task.result)
    assert 2 == function.call_count
    registry.stop()


def _next(outcomes: Iterator[Any]) -> Any:
    value = next(outcomes)
    if isinstance(value, Exception):
        raise value
    return value


def test_no_old_result_stands_beside_a_failure(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    outcomes = iter([5, ValueError("no"), 6])
    task = registry.register(Task(func=MagicMock(side_effect=lambda: _next(outcomes)), at="13:00"))
    registry.tick()
    seen = []
    for _ in range(3):
        clock.advance(86_400)
        registry.tick()
        seen.append((task.status.value, task.result, task.error_message))
    assert [("success", 5, None), ("failed", None, "ValueError: no"), ("success", 6, None)] == seen


@pytest.mark.parametrize(
    "error", [SystemExit("bye"), KeyboardInterrupt(), asyncio.CancelledError()]
)
def test_whatever_a_function_raises_ends_its_run_and_nothing_else(
    registry: TaskRegistry, clock: SteppableClock, error: BaseException
) -> None:
    bad = registry.register(Task(func=MagicMock(side_effect=error), every={"minutes": 1}))
    registry.tick()
    assert TaskStatus.FAILED is bad.status
    good = registry.register(Task(func=add, args=(1, 2), every={"minutes": 1}))
    registry.tick()
    assert TaskStatus.SUCCESS is good.status


def test_nothing_waits_in_silence_for_what_never_comes(registry: TaskRegistry) -> None:
    with pytest.raises(ValueError, match="There is no schedule 'nobody'"):
        registry.register(Task(func=add, every={"seconds": 1}, depends_on=["nobody"], id="a"))
    registry.register(Task(func=add, args=(1, 2), every={"seconds": 1}, id="a"))
    registry.register(Task(func=add, args=(1, 2), every={"seconds": 1}, id="b", depends_on=["a"]))
    with pytest.raises(ValueError, match="wait for each other for ever"):
        registry.update(Task(func=add, args=(1, 2), every={"seconds": 1}, id="a", depends_on=["b"]))
    with pytest.raises(ValueError, match="'b' depends on 'a'"):
        registry.delete("a")
    assert {"a", "b"} == set(registry.store)


def test_tasks_run_beside_each_other(registry: TaskRegistry) -> None:
    barrier = threading.Barrier(2, timeout=PATIENCE)
    tasks = [
        registry.register(Task(func=lambda: barrier.wait() >= 0, every={"minutes": 1}, tags=[tag]))
        for tag in ("one", "two")
    ]
    registry.tick()
    assert [TaskStatus.SUCCESS] * 2 == [task.status for task in tasks]


def test_a_run_has_a_timeout(registry: TaskRegistry) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    task = registry.register(Task(func=hang, every={"minutes": 1}, timeout=0.05))
    registry.tick()
    assert TaskStatus.FAILED is task.status
    assert "TimeoutError" in str(task.error_message)


def test_the_history_shown_is_bounded(registry: TaskRegistry, clock: SteppableClock) -> None:
    numbers = iter(range(1_000))
    task = registry.register(Task(func=lambda: next(numbers), every={"seconds": 1}))
    for _ in range(103):
        registry.tick()
        clock.advance(1)
    assert [str(number) for number in range(3, 103)] == [run["result"] for run in task.history]


def test_daily_times_follow_the_wall_through_changes_of_the_clock(
    registries: Registries,
) -> None:
    registries.clock.time = datetime(2030, 3, 30, 12, tzinfo=UTC)  # the day before the change
    registry = registries.new(tz="Europe/Berlin")
    task = registry.register(Task(func=add, args=(1, 2), at="12:00"))
    for _ in range(5 * 24):
        registries.clock.advance(1_800)
        registry.tick()
    walls = [run["run_at"].astimezone(ZoneInfo("Europe/Berlin")).time() for run in task.history]
    assert [time(12)] * 2 == walls


def test_results_that_are_used_say_of_when_they_are(
    registry: TaskRegistry, clock: SteppableClock
) -> None:
    seen: list[Any] = []

    def report(dep_load: int, dep_load_at: datetime) -> None:
        seen.append((dep_load, dep_load_at))

    load = registry.register(Task(func=add, args=(1, 2), every={"hours": 1}, id="load"))
    registry.register(Task(func=report, every={"hours": 1}, depends_on=["load"]))
    registry.tick()
    registry.tick()
    assert [(3, load.last_success_at)] == seen
