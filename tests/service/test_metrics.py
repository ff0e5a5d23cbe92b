"""The numbers of a queue: exact, also after a restart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tenacity import wait_none

from support.paths import ROOT
from support.queues import (
    PATIENCE,
    AsyncMemoryStorage,
    DuckDBHome,
    Gate,
    SeedHome,
    SteppableClock,
    ended,
    run_out_of_time,
    running,
    until,
    until_status,
)
from wopr import Misfire, TaskQueue, TaskStatus, WoprError
from wopr.queue.queue import inside
from wopr.service import counts, metrics
from wopr.service.metrics import METRICS, Metrics, NotCountedError
from wopr.service.reach import workings_of
from wopr.storage.duckdb import folding

Numbers = dict[str, float]
"""Sample with its labels, as Prometheus writes it -> value."""


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    return DuckDBHome(tmp_path / "tasks.duckdb")


@pytest.fixture
def clock() -> SteppableClock:
    return SteppableClock()


async def scraped(found: Metrics) -> Numbers:
    return parsed(await found.text())


LABELS = ("version", "python", "kind", "name", "schedule", "category", "task", "event", "le")


def parsed(text: bytes) -> Numbers:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = [f"{one}={sample.labels[one]}" for one in LABELS if one in sample.labels]
            found[f"{sample.name}{{{','.join(labels)}}}"] = sample.value
    return found


def lasting(numbers: Numbers) -> Numbers:
    """Return those that only ever grow, and have; whatever the process."""
    lasting = ("wopr_task_events", "wopr_failed", "wopr_run", "wopr_wait", "wopr_schedule")
    return {
        name: pytest.approx(value, abs=1e-6)
        for name, value in numbers.items()
        if name.startswith(lasting) and value
    }


def events(numbers: Numbers, category: str, task: str) -> dict[str, int]:
    """Return event -> how often, without the zeros."""
    found = {}
    for event in counts.EVENTS:
        key = f"wopr_task_events_total{{category={category},task={task},event={event}}}"
        if numbers.get(key):
            found[event] = int(numbers[key])
    return found


def with_tasks(queue: TaskQueue) -> TaskQueue:
    """Register tasks that do everything a task can do."""

    @queue.task(name="double", category="a")
    async def double(n: int) -> int:
        return n * 2

    @queue.task(name="fail", category="a", max_retries=2, retry=wait_none())
    def fail() -> None:
        raise ValueError

    @queue.task(name="long", category="b")
    async def long() -> None:
        await asyncio.Event().wait()

    return queue


async def a_busy_day(queue: TaskQueue) -> None:
    """Let everything happen that can happen to a task."""
    doubles = [await queue.enqueue("double", (n,)) for n in range(5)]
    await queue.enqueue("double", (9,), delay=3_600)
    failed = await queue.enqueue("fail")
    await ended(queue, failed.id, *(handle.id for handle in doubles))
    child = await queue.enqueue("double", (1,), depends_on=[doubles[0].id])
    lost = await queue.enqueue("double", (1,), depends_on=[failed.id])
    assert await queue.retry_task(failed.id)
    await ended(queue, failed.id, child.id, lost.id)
    stopped = await queue.enqueue("long")
    await until_status(queue, stopped.id, TaskStatus.STARTED)
    await stopped.cancel()
    interrupted = await queue.enqueue("long")
    await until_status(queue, interrupted.id, TaskStatus.STARTED)


DAY = {
    "double": {"enqueued": 8, "started": 6, "succeeded": 6, "cancelled": 1},
    "fail": {"enqueued": 1, "started": 6, "retrying": 4, "failed": 2, "renewed": 1},
    "long": {"enqueued": 2, "started": 2, "cancelled": 1},
}


async def test_each_event_is_counted_once(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with running(queue, a=2, b=1):
        found.attach()
        await a_busy_day(queue)
        numbers = await scraped(found)
        await found.stop()

    for task, expected in DAY.items():
        assert expected == events(numbers, "b" if task == "long" else "a", task)
    labels = "{category=a,task=fail}"
    assert 6 == numbers[f"wopr_failed_attempts_total{labels}"]
    assert 6 == numbers[f"wopr_run_seconds_count{labels}"]
    assert 1 == numbers[f"wopr_wait_seconds_count{labels}"]
    labels = "{category=a,task=double}"
    assert 0 == numbers[f"wopr_failed_attempts_total{labels}"]
    assert 5 == numbers[f"wopr_wait_seconds_count{labels}"]  # the child waited for its parent
    assert 1 == numbers["wopr_run_seconds_count{category=b,task=long}"]


async def test_a_restart_changes_no_number(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    first, whole = Metrics(queue), Metrics(queue)
    async with running(queue, a=2, b=1):
        first.attach()
        await a_busy_day(queue)
        told = lasting(await scraped(first))
        read = lasting(await scraped(whole))  # the same again, from the history alone
        await first.stop()
        await whole.stop()
    assert told == read

    queue = with_tasks(home.queue())
    after = Metrics(queue)
    async with queue:
        numbers = await scraped(after)
        await after.stop()
    labels = "{category=b,task=long,event=interrupted}"
    assert 1 == numbers.pop(f"wopr_task_events_total{labels}")  # by the shutdown
    assert told == lasting(numbers)
    assert 1 == numbers["wopr_history_counted{}"]


async def test_a_crash_counts_as_a_recovery(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    async with running(queue, b=1):
        handle = await queue.enqueue("long")
        await until_status(queue, handle.id, TaskStatus.STARTED)
        image = await home.crash_image(queue)

    queue = with_tasks(image.queue())
    found = Metrics(queue)
    async with queue:
        numbers = await scraped(found)
        await found.stop()
    assert {"enqueued": 1, "started": 1, "recovered": 1} == events(numbers, "b", "long")
    assert 0 == numbers["wopr_run_seconds_count{category=b,task=long}"]


async def test_a_crash_loop_is_a_failure_that_ran_no_time(home: DuckDBHome) -> None:
    for _ in range(3):
        queue = with_tasks(home.queue())
        async with running(queue, b=1):
            if not await queue.get_tasks():
                await queue.enqueue("long")
            [info] = await queue.get_tasks()
            await until_status(queue, info.id, TaskStatus.STARTED)
            home = await home.crash_image(queue)

    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with queue:
        numbers = await scraped(found)
        await found.stop()
    expected = {"enqueued": 1, "started": 3, "recovered": 2, "failed": 1}
    assert expected == events(numbers, "b", "long")
    assert 1 == numbers["wopr_failed_attempts_total{category=b,task=long}"]
    assert 0 == numbers["wopr_run_seconds_count{category=b,task=long}"]


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
async def test_a_history_is_counted_in_slices(
    home: DuckDBHome, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = with_tasks(home.queue())
    found, sliced = Metrics(queue), Metrics(queue)
    async with running(queue, a=2, b=1):
        await a_busy_day(queue)
        whole = lasting(await scraped(found))
        monkeypatch.setattr(counts, "_SLICE", size)
        assert whole == lasting(await scraped(sliced))
        await found.stop()
        await sliced.stop()


async def test_work_that_goes_on_while_the_history_is_read_is_counted_once(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "_SLICE", 50)
    queue = with_tasks(home.queue())
    found: list[Metrics] = []
    async with running(queue, a=8):
        ids = await queue.enqueue_ids("double", [(n,) for n in range(300)], {})
        for _ in range(20):
            pair = await asyncio.gather(*(queue.enqueue("double", (n,)) for n in range(2)))
            ids += [handle.id for handle in pair]
            found.append(Metrics(queue))  # each begins at another moment
            found[-1].attach()
        await ended(queue, *ids)
        for one in found:
            numbers = await scraped(one)
            each = dict.fromkeys(("enqueued", "started", "succeeded"), 340)
            assert each == events(numbers, "a", "double")
            assert 340 == numbers["wopr_run_seconds_count{category=a,task=double}"]
            await one.stop()


async def test_what_is_told_after_the_history_had_it_is_counted_once(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    told: list[tuple[Any, Any]] = []
    found = Metrics(queue)
    async with queue:
        inside(queue).access._engine.shared.observers.append(lambda *one: told.append(one))
        await queue.enqueue("double", (1,))
        before = await scraped(found)
        for record, transition in told:  # its commit was read before its news came
            found._counts.observe(record, transition)
        assert {"enqueued": 1} == events(before, "a", "double")
        assert lasting(before) == lasting(await scraped(found))
        await found.stop()


async def test_what_a_cleanup_leaves_in_the_history_is_still_counted(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    before, kept, gone = Metrics(queue), Metrics(queue), Metrics(queue)
    async with running(queue, a=2, b=1):
        await a_busy_day(queue)
        whole = lasting(await scraped(before))
        assert await queue.cleanup_old_tasks(days=0, keep_history=True)
        assert whole == lasting(await scraped(kept))

        await ended(queue, (await queue.enqueue("double", (1,))).id)
        assert 1 == await queue.cleanup_old_tasks(days=0)
        assert {"enqueued": 9, "started": 7, "succeeded": 7, "cancelled": 1} == events(
            await scraped(before), "a", "double"
        )
        assert whole == lasting(await scraped(gone))  # a file that forgot is a smaller number
        for one in (before, kept, gone):
            await one.stop()


async def test_waits_and_runs_are_measured_from_due_to_start_to_end(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    gate = Gate()
    queue = home.queue(clock=clock)
    queue.task(name="wait", category="a")(gate.wait)
    told, read = Metrics(queue), Metrics(queue)
    async with running(queue):
        told.attach()
        handle = await queue.enqueue("wait", delay=60)
        clock.advance(90)  # so it waits for half a minute
        await queue.start_workers("a", 1)
        await gate.arrivals()
        clock.advance(7)
        gate.open()
        await ended(queue, handle.id)
        for one in (told, read):
            numbers = await scraped(one)
            labels = "{category=a,task=wait}"
            assert 30 == numbers[f"wopr_wait_seconds_sum{labels}"]
            assert 7 == numbers[f"wopr_run_seconds_sum{labels}"]
            buckets = [
                numbers[f"wopr_run_seconds_bucket{{category=a,task=wait,le={le}}}"]
                for le in ("2.5", "5.0", "10.0", "3600.0", "+Inf")
            ]
            assert [0, 0, 1, 1, 1] == buckets
            bucket = "wopr_wait_seconds_bucket{category=a,task=wait,le=%s}"
            assert (0, 1) == (numbers[bucket % "10.0"], numbers[bucket % "30.0"])
            await one.stop()


async def test_a_clock_that_steps_back_gives_no_negative_time(
    home: DuckDBHome, clock: SteppableClock
) -> None:
    queue = with_tasks(home.queue(clock=clock))
    told, read = Metrics(queue), Metrics(queue)
    async with running(queue):
        told.attach()
        handle = await queue.enqueue("double", (1,))
        clock.advance(-3_600)
        await queue.start_workers("a", 1)
        await ended(queue, handle.id)
        for one in (told, read):
            numbers = await scraped(one)
            assert 1 == numbers["wopr_wait_seconds_count{category=a,task=double}"]
            assert 0 == numbers["wopr_wait_seconds_sum{category=a,task=double}"]
            await one.stop()


# -- gauges -----------------------------------------------------------------------


async def test_gauges_show_what_is_there_now(home: DuckDBHome, clock: SteppableClock) -> None:
    gate = Gate()
    queue = with_tasks(home.queue(clock=clock))
    queue.task(name="wait", category="c")(gate.wait)
    found = Metrics(queue)
    async with running(queue, c=3):
        handles = [await queue.enqueue("wait") for _ in range(2)]
        await gate.arrivals(2)
        first = await queue.enqueue("double", (1,))
        clock.advance(10)
        await queue.enqueue("double", (1,))
        await queue.enqueue("double", (1,), delay=60)
        await queue.enqueue("double", (1,), depends_on=[first.id])
        clock.advance(5)
        numbers = await scraped(found)
        gate.open()
        await ended(queue, *(handle.id for handle in handles))
        await found.stop()

    assert {
        "wopr_tasks_waiting{category=a}": 4,
        "wopr_tasks_due{category=a}": 2,
        "wopr_tasks_running{category=a}": 0,
        "wopr_oldest_due_seconds{category=a}": 15,
        "wopr_tasks_waiting{category=b}": 0,
        "wopr_tasks_due{category=b}": 0,
        "wopr_tasks_running{category=b}": 0,
        "wopr_oldest_due_seconds{category=b}": 0,
        "wopr_tasks_waiting{category=c}": 0,
        "wopr_tasks_due{category=c}": 0,
        "wopr_tasks_running{category=c}": 2,
        "wopr_oldest_due_seconds{category=c}": 0,
        "wopr_workers{category=c}": 3,
        "wopr_workers_busy{category=c}": 2,
        "wopr_functions_abandoned{}": 0,
    } == {
        name: value
        for name, value in numbers.items()
        if name.startswith(("wopr_tasks", "wopr_oldest", "wopr_workers", "wopr_functions"))
    }


async def test_what_is_paused_is_shown(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with queue:
        await queue.pause("a")
        await queue.pause(task="long")
        numbers = await scraped(found)
        assert 1 == numbers["wopr_paused{kind=category,name=a}"]
        assert 1 == numbers["wopr_paused{kind=task,name=long}"]

        await queue.resume("a")
        assert "wopr_paused{kind=category,name=a}" not in await scraped(found)
        await found.stop()


async def test_a_function_that_outlives_its_attempt_is_shown(home: DuckDBHome) -> None:
    begun, go_on = threading.Event(), threading.Event()
    queue = home.queue()

    @queue.task(name="deaf", category="a", timeout=3_600)
    def deaf() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    found = Metrics(queue)
    async with running(queue, a=1):
        handle = await queue.enqueue("deaf")
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        run_out_of_time(queue, handle.id)
        await ended(queue, handle.id)
        assert 1 == (await scraped(found))["wopr_functions_abandoned{}"]
        go_on.set()
        await until(look(found, "wopr_functions_abandoned{}"), lambda number: number == 0)
        await found.stop()


def look(found: Metrics, name: str) -> Callable[[], Awaitable[float]]:
    async def now() -> float:
        return (await scraped(found))[name]

    return now


async def test_what_a_schedule_missed_is_shown(home: DuckDBHome, clock: SteppableClock) -> None:
    queue = with_tasks(home.queue(clock=clock))
    found = Metrics(queue)
    async with queue:
        await queue.schedules.add(
            "nightly", task="long", every=60, misfire=Misfire.SKIP, misfire_grace=1
        )
        clock.advance(3_600)
        await queue.schedules.tick()
        assert 0 < (await scraped(found))["wopr_schedule_missed_total{schedule=nightly}"]
        await found.stop()


async def test_while_the_storage_does_not_answer_there_are_gaps_instead_of_old_numbers(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with running(queue, a=1):
        await ended(queue, (await queue.enqueue("double", (1,))).id)
        assert "wopr_tasks_waiting{category=a}" in await scraped(found)
        go_on = threading.Event()
        held = queue.storage.in_writer(lambda connection: go_on.wait(PATIENCE))
        monkeypatch.setattr(metrics, "PATIENCE", 0.01)

        numbers = await scraped(found)
        go_on.set()
        await asyncio.wrap_future(held)
        await found.stop()
    assert "wopr_tasks_waiting{category=a}" not in numbers
    assert 1 == numbers["wopr_workers{category=a}"]
    assert 1 == events(numbers, "a", "double")["succeeded"]


# -- edges ------------------------------------------------------------------------


async def test_too_many_names_share_their_numbers(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "MOST_SERIES", 3)
    monkeypatch.setattr(metrics, "MOST_SERIES", 3)
    queue = home.queue()
    for number in range(8):

        @queue.task(name=f"task {number}", category=f"category {number % 5}")
        async def nothing() -> None: ...

    told, read = Metrics(queue), Metrics(queue)
    async with queue:
        told.attach()
        for number in range(8):
            await queue.enqueue(f"task {number}")
        for one in (told, read):
            numbers = await scraped(one)
            enqueued = {
                name.removeprefix("wopr_task_events_total"): value
                for name, value in numbers.items()
                if "event=enqueued" in name
            }
            assert {
                "{category=category 0,task=task 0,event=enqueued}": 1,
                "{category=category 1,task=task 1,event=enqueued}": 1,
                "{category=category 2,task=task 2,event=enqueued}": 1,
                "{category=category 0,task=other,event=enqueued}": 1,
                "{category=category 1,task=other,event=enqueued}": 1,
                "{category=category 2,task=other,event=enqueued}": 1,
                "{category=other,task=other,event=enqueued}": 2,
            } == enqueued
            waiting = {
                name: value
                for name, value in numbers.items()
                if name.startswith("wopr_tasks_waiting")
            }
            assert 8 == sum(waiting.values())
            assert 2 == waiting["wopr_tasks_waiting{category=other}"]
            await one.stop()


async def test_names_are_told_as_they_are(home: DuckDBHome) -> None:
    queue, name = home.queue(), 'odd "name" \\ of\nörder'
    queue.task(name=name, category="ctg")(int)
    found = Metrics(queue)
    async with queue:
        await queue.enqueue(name)
        assert {"enqueued": 1} == events(await scraped(found), "ctg", name)
        await found.stop()


async def test_a_registered_task_that_never_ran_has_zeros(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with queue:
        numbers = await scraped(found)
        await found.stop()
    assert 0 == numbers["wopr_task_events_total{category=a,task=double,event=failed}"]


async def test_a_storage_without_history_is_counted_from_the_start_of_the_process() -> None:
    queue = with_tasks(SeedHome(AsyncMemoryStorage()).queue())
    found = Metrics(queue)
    async with running(queue, a=1):
        found.attach()
        await ended(queue, (await queue.enqueue("double", (1,))).id)
        numbers = await scraped(found)
        await found.stop()
    assert 0 == numbers["wopr_history_counted{}"]
    assert {"enqueued": 1, "started": 1, "succeeded": 1} == events(numbers, "a", "double")


async def test_there_are_no_numbers_before_the_history_is_counted(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.0)
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    with pytest.raises(NotCountedError, match="not open"):
        await found.text()
    async with queue:
        with pytest.raises(NotCountedError, match="still being counted"):
            await found.text()
        await found.stop()


async def test_a_queue_that_is_opened_again_is_counted_again(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    for round_number in (1, 2):
        async with running(queue, a=1):
            found.attach()
            await ended(queue, (await queue.enqueue("double", (1,))).id)
            each = dict.fromkeys(("enqueued", "started", "succeeded"), round_number)
            assert each == events(await scraped(found), "a", "double")
    await found.stop()


async def test_the_queue_pays_nothing_after_the_last_count(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with queue:
        observers = inside(queue).access._engine.shared.observers
        before = list(observers)
        found.attach()
        found.attach()
        assert len(before) + 1 == len(observers)
        await found.stop()
        await found.stop()
        assert before == observers


async def test_nothing_else_is_served(home: DuckDBHome) -> None:
    queue = with_tasks(home.queue())
    found = Metrics(queue)
    async with queue:
        text = await found.text()
        await found.stop()
    families = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in text_string_to_metric_families(text.decode())
    }
    assert {(name, kind) for name, (kind, _, _) in METRICS.items()} == families


def test_prometheus_client_is_named_when_it_is_missing(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    with pytest.raises(WoprError, match=r"pip install 'wopr\[service\]'"):
        Metrics(home.queue())


def test_the_guide_lists_every_metric_as_it_is() -> None:
    page = (ROOT / "docs" / "guides" / "monitoring.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `wopr_")]
    listed = [tuple(cell.strip() for cell in row[1:-1].split("|")) for row in rows]
    assert listed == [
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), meaning)
        for name, (kind, labels, meaning) in METRICS.items()
    ]


async def test_how_far_the_tables_are_behind_is_shown(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "QUIET_SECONDS", PATIENCE)
    monkeypatch.setattr(folding, "FOLD_SECONDS", PATIENCE)
    async with home.queue() as queue:
        queue.register_task("noted", category="a")(lambda: None)
        await queue.enqueue("noted")
        workings = workings_of(queue)
        assert workings is not None
        state = workings.storage.journal
        assert state is not None
        assert (1, True) == (state.rows, state.synced)
        assert state.bytes > 0
        await queue.get_task_stats()
        state = workings.storage.journal
        assert state is not None
        assert (0, 0, 0.0) == (state.rows, state.bytes, state.seconds)
