"""Verbs over a selection: seen before they are done, done in bulk, told of, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from support.queues import PATIENCE, Gate, Home, SteppableClock, ended, running
from wopr import (
    InvalidCallError,
    QueryError,
    TaskNotFoundError,
    TaskPriority,
    TaskQueue,
    TaskStatus,
)
from wopr.domain.act import ActProgress
from wopr.domain.errors import ActError
from wopr.engine import again, changing

PENDING, SUCCESS, FAILED = TaskStatus.PENDING, TaskStatus.SUCCESS, TaskStatus.FAILED
CANCELLED = TaskStatus.CANCELLED
UNKNOWN = "01890000-0000-7000-8000-000000000000"


def with_tasks(queue: TaskQueue) -> list[int]:
    """Declare one that works, ``work``, and one that fails, ``break``."""
    ran: list[int] = []

    @queue.register_task("work")
    async def work(number: int = 0) -> int:
        ran.append(number)
        return number

    @queue.register_task("break")
    async def broken(number: int = 0) -> None:
        raise ValueError(f"host 10.0.0.{number} is down")

    return ran


async def statuses(queue: TaskQueue) -> dict[str, int]:
    """Count the tasks by status."""
    found: dict[str, int] = (await queue.get_task_stats())["by_status"]
    return found


async def interrupted(
    work: Coroutine[Any, Any, Any], part: type[Any], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give work up when it has taken two steps."""
    own = getattr(part, step)
    taken = 0
    stands = asyncio.Event()

    async def stop_at_the_third(*given: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == 3:
            stands.set()
            await asyncio.Event().wait()
        await own(*given)

    with monkeypatch.context() as patched:
        patched.setattr(part, step, stop_at_the_third)
        doing = asyncio.ensure_future(work)
        await asyncio.wait_for(stands.wait(), PATIENCE)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing


async def test_a_dry_run_counts_by_name_and_status_and_changes_nothing(home: Home) -> None:
    queue = home.queue()
    with_tasks(queue)
    async with running(queue, default=1):
        await ended(queue, await queue.add_task("work"))
        waiting = [await queue.enqueue("work", (n,), category="later") for n in range(12)]
        preview = await queue.tasks.where(name=["work", "break"]).cancel(dry_run=True)
        assert [("work", PENDING, 12, 12), ("work", SUCCESS, 1, 0)] == [
            (one.name, one.status, one.count, one.changes) for one in preview.counts
        ]
        assert (13, 12) == (preview.selected, preview.changes)
        assert [one.id for one in waiting[:10]] == [info.id for info in preview.examples]
        assert {"pending": 12, "success": 1} == await statuses(queue)
        assert [] == await queue.acts()


async def test_each_way_to_select_finds_its_tasks(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    with_tasks(queue)
    async with running(queue, default=1):
        old = await queue.enqueue("work", (1,), tags=["red", "blue"], category="later")
        clock.advance(3600)
        new = await queue.enqueue("work", (2,), category="later", tags=["red"])
        broken = await queue.enqueue("break", (7,))
        await ended(queue, broken.id)
        wanted: dict[str, tuple[dict[str, Any], list[str]]] = {
            "name": ({"name": "break"}, [broken.id]),
            "category": ({"category": ["later", "none"]}, [old.id, new.id]),
            "status": ({"status": "failed"}, [broken.id]),
            "since": ({"since": 60}, [new.id, broken.id]),
            "until": ({"until": clock.now() - timedelta(minutes=1)}, [old.id]),
            "tag": ({"tag": "blue"}, [old.id]),
            "error": ({"error": "ValueError: host <n>.<n>.<n>.<n> is down"}, [broken.id]),
            "the text of an error": ({"error": "ValueError: host 1.2.3.4 is down"}, [broken.id]),
            "ids": ({"ids": [new.id, UNKNOWN]}, [new.id]),
            "two of them": ({"tag": "red", "since": 60.0}, [new.id]),
            "schedule": ({"schedule": "nightly"}, []),
            "flow": ({"flow": UNKNOWN}, []),
        }
        for what, (given, ids) in wanted.items():
            tasks = queue.tasks.where(**given)
            assert ids == await tasks.ids(), what
            assert len(ids) == await tasks.count(), what
            assert ids[::-1] == [info.id for info in (await tasks.page()).tasks], what


async def test_pages_are_newest_first_and_go_on_after_the_last_task(home: Home) -> None:
    async with home.queue() as queue:
        with_tasks(queue)
        ids = [await queue.add_task("work") for _ in range(5)]
        tasks = queue.tasks.where(name="work")
        first = await tasks.page(2)
        assert ids[:2:-1] == [info.id for info in first.tasks]
        ids.append(await queue.add_task("work"))  # moves nothing of what comes
        second = await tasks.page(2, first.next)
        assert ids[2:0:-1] == [info.id for info in second.tasks]
        last = await tasks.page(2, second.next)
        assert (ids[:1], None) == ([info.id for info in last.tasks], last.next)
        assert ids[::-1] == [info.id for info in (await queue.tasks.where().page()).tasks]
        with pytest.raises(TaskNotFoundError, match="is no task of this queue"):
            await tasks.page(2, UNKNOWN)


@pytest.mark.parametrize("given", [{}, {"ids": None}])
async def test_a_verb_over_everything_is_refused_unless_it_is_meant(
    home: Home, given: dict[str, Any]
) -> None:
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError, match="Say which"):
            await queue.tasks.where(**given).cancel()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"status": "waiting"}, "status must be one of"),
        ({"name": []}, "takes one value, or a list of 1 to"),
        ({"name": "x" * 201}, "1 to 200 characters"),
        ({"since": -1}, "since must be a number of seconds"),
        ({"since": 60, "until": 3600}, "is not before until"),
        ({"ids": ["a"] * 10_001}, "a list of 1 to 10,000"),
    ],
)
async def test_a_selection_that_can_be_none_is_refused(
    home: Home, given: dict[str, Any], said: str
) -> None:
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError, match=said):
            queue.tasks.where(**given)


async def test_cancel_changes_each_task_with_a_transition_of_its_own(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "SLICE", 3)
    queue = home.queue()
    gate = Gate()

    @queue.register_task("hold")
    async def hold() -> None:
        await gate.wait()

    async with running(queue, default=1):
        ids = [await queue.add_task("hold") for _ in range(10)]
        await gate.arrivals()
        answer = await queue.tasks.where(name="hold").cancel(reason="wrong price")
        assert (10, 0, True) == (answer.act.changed, answer.left, answer.act.finished)
        assert {"cancelled": 10} == await statuses(queue)
        for task_id in ids:
            last = (await queue.get_history(task_id))[-1]
            assert ("wrong price", answer.act.number) == (last.reason, last.act)
        assert [10] == [act.changed for act in await queue.acts()]


async def test_what_can_not_be_changed_is_named_with_the_reason(home: Home) -> None:
    queue = home.queue()
    with_tasks(queue)
    async with running(queue, default=1):
        done = await queue.add_task("work")
        await ended(queue, done)
        waiting = await queue.enqueue("work", category="later")
        answer = await queue.tasks.where(ids=[done, waiting.id, UNKNOWN, "nobody"]).cancel()
        assert 1 == answer.act.changed
        assert {UNKNOWN: "there is no such task", "nobody": "there is no such task"} | {
            done: "it is success"
        } == {one.id: one.why for one in answer.unchanged}


async def test_an_id_may_be_shortened_as_long_as_it_is_of_one_task(home: Home) -> None:
    async with home.queue() as queue:
        with_tasks(queue)
        one, other = [(await queue.enqueue("work")).id for _ in range(2)]
        common = next(n for n in range(36) if one[n] != other[n])
        answer = await queue.tasks.where(ids=[one[: common + 1], one[:common]]).cancel()
        assert (1, 1) == (answer.act.changed, answer.left)
        assert "several tasks begin so" in answer.unchanged[0].why
        assert one in answer.unchanged[0].why


async def test_retry_takes_failed_tasks_and_keeps_unique_keys_unique(home: Home) -> None:
    queue = home.queue()
    with_tasks(queue)
    async with running(queue, default=1):
        twice = []
        for _ in range(2):
            twice.append((await queue.enqueue("break", unique_key="k")).id)
            await ended(queue, twice[-1])
        await queue.pause("default")
        answer = await queue.tasks.where(status="failed").retry()
        assert (1, 1) == (answer.act.changed, answer.left)
        assert "unique key 'k'" in answer.unchanged[0].why
        assert {"failed": 1, "pending": 1} == await statuses(queue)


async def test_run_again_makes_new_tasks_that_point_at_the_old_ones(home: Home) -> None:
    queue = home.queue()
    ran = with_tasks(queue)
    async with running(queue, default=1):
        done = await queue.enqueue("work", (5,), tags=["red"], priority=TaskPriority.HIGH)
        gone = await queue.enqueue("work", (6,), category="later")
        failed = await queue.enqueue("break")
        await ended(queue, done.id, failed.id)
        await queue.cancel_task(gone.id)
        answer = await queue.tasks.where(name=["work", "break"]).run_again()
        assert 2 == answer.act.changed
        found = {info.options.get("again_of"): info for info in await queue.get_tasks()}
        new = found[done.id]
        await ended(queue, new.id)
        assert (5, ("red",), TaskPriority.HIGH) == (new.args[0], new.tags, new.priority)
        assert {done.id, gone.id, None} == found.keys()
        assert [5, 5] == ran
        assert SUCCESS is (await done.info()).status


async def test_a_higher_priority_starts_before_what_was_before_it(home: Home) -> None:
    queue = home.queue()
    ran = with_tasks(queue)
    async with running(queue) as queue:
        first, second, third = [(await queue.enqueue("work", (n,))).id for n in range(3)]
        answer = await queue.tasks.where(ids=[third]).set_priority(TaskPriority.CRITICAL)
        assert 1 == answer.act.changed
        await queue.start_workers("default", 1)
        await ended(queue, first, second, third)
        assert [2, 0, 1] == ran


async def test_a_moved_task_runs_where_it_was_moved_to_and_only_once(home: Home) -> None:
    queue = home.queue()
    ran = with_tasks(queue)
    async with running(queue):
        ids = [(await queue.enqueue("work", (n,))).id for n in range(5)]
        await queue.tasks.where(category="default").move("other")
        await queue.start_workers("default", 2)
        await queue.start_workers("other", 1)
        await ended(queue, *ids)
        assert [0, 1, 2, 3, 4] == ran
        assert {"other": 5} == (await queue.get_task_stats())["by_category"]


async def test_a_delayed_task_waits_and_one_that_waits_no_longer_does_not(
    home: Home, clock: SteppableClock
) -> None:
    queue = home.queue(clock=clock)
    ran = with_tasks(queue)
    async with running(queue, default=1):
        await queue.pause("default")
        soon, late = [(await queue.enqueue("work", (n,), delay=n * 600)).id for n in range(2)]
        await queue.tasks.where(ids=[soon]).delay(timedelta(hours=1))
        await queue.tasks.where(ids=[late]).delay(0)
        await queue.resume("default")
        await ended(queue, late)
        assert [1] == ran
        clock.advance(3601, queue)
        await ended(queue, soon)
        assert [1, 0] == ran


async def test_a_waiting_child_stays_a_child_when_it_is_changed(home: Home) -> None:
    queue = home.queue()
    ran = with_tasks(queue)
    async with running(queue):
        parent = await queue.enqueue("work", (1,))
        child = await queue.enqueue("work", (2,), depends_on=[parent], category="other")
        await queue.tasks.where(ids=[child.id]).set_priority(TaskPriority.HIGH)
        await queue.tasks.where(ids=[child.id]).move("default")
        assert (await child.info()).waiting
        await queue.start_workers("default", 1)
        await ended(queue, child.id)
        assert [1, 2] == ran


async def test_undo_takes_back_a_cancel_and_they_run(home: Home) -> None:
    queue = home.queue()
    ran = with_tasks(queue)
    async with running(queue):
        ids = [(await queue.enqueue("work", (n,))).id for n in range(5)]
        cancelled = await queue.tasks.where(name="work").cancel()
        answer = await queue.undo(cancelled.act.number)
        assert (5, cancelled.act.number) == (answer.act.changed, answer.act.undoes)
        last = (await queue.get_history(ids[0]))[-1]
        assert (CANCELLED, PENDING) == (last.from_status, last.to_status)
        assert f"act {cancelled.act.number} undone" == last.reason
        await queue.start_workers("default", 1)
        await ended(queue, *ids)
        assert [0, 1, 2, 3, 4] == ran


async def test_undo_gives_back_priority_place_and_time(home: Home, clock: SteppableClock) -> None:
    queue = home.queue(clock=clock)
    with_tasks(queue)
    async with queue:
        task = await queue.enqueue("work", delay=60)
        before = await task.info()
        tasks = queue.tasks.where(name="work")
        done = [
            await tasks.set_priority(TaskPriority.LOW),
            await tasks.move("other"),
            await tasks.delay(3600),
        ]
        changed = await task.info()
        assert (TaskPriority.LOW, "other") == (changed.priority, changed.category)
        for answer in done:
            assert 1 == (await queue.undo(answer.act.number)).act.changed
        after = await task.info()
        assert (before.priority, before.category, before.run_at) == (
            after.priority,
            after.category,
            after.run_at,
        )


async def test_undo_says_what_it_can_not_take_back(home: Home) -> None:
    queue = home.queue()
    with_tasks(queue)
    async with running(queue, default=1):
        ran, changed, again = [(await queue.enqueue("work", category="b")).id for _ in range(3)]
        moved = await queue.tasks.where(ids=[ran, changed, again]).move("c")
        await queue.tasks.where(ids=[changed]).move("d")
        await queue.tasks.where(ids=[ran]).move("default")
        await ended(queue, ran)
        answer = await queue.undo(moved.act.number)
        assert 1 == answer.act.changed
        assert {ran: "it has run since", changed: "its category was changed again"} == {
            one.id: one.why for one in answer.unchanged
        }
        with pytest.raises(ActError, match="There is no act 99"):
            await queue.undo(99)
        retried = await queue.tasks.where(status="failed").retry()
        with pytest.raises(ActError, match="which can't be taken back"):
            await queue.undo(retried.act.number)


async def test_a_task_that_was_retried_and_cancelled_is_not_restored(home: Home) -> None:
    async with home.queue() as queue:
        with_tasks(queue)
        task = await queue.enqueue("work")
        first = await queue.tasks.where(name="work").cancel()
        await queue.undo(first.act.number)
        await queue.cancel_task(task.id)
        assert 0 == (await queue.undo(first.act.number)).act.changed
        assert CANCELLED is (await task.info()).status


async def test_an_interrupted_act_says_how_far_it_came_and_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "SLICE", 2)
    async with home.queue() as queue:
        with_tasks(queue)
        for n in range(20):
            await queue.enqueue("work", (n,))
        tasks = queue.tasks.where(name="work")
        await interrupted(tasks.cancel(reason="stop"), changing.Changing, "_write", monkeypatch)
        [act] = await queue.acts()
        assert not act.finished
        assert (await statuses(queue))["cancelled"] == act.changed == 4
        answer = await tasks.cancel(reason="stop")
        assert (act.number, 20) == (answer.act.number, answer.act.changed)
        assert {"cancelled": 20} == await statuses(queue)
        assert 20 == (await queue.undo(act.number)).act.changed


async def test_running_again_goes_on_without_running_any_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.engine.again.SLICE", 2)
    async with home.queue() as queue:
        with_tasks(queue)
        for n in range(10):
            await queue.enqueue("work", (n,))
        await queue.tasks.where(name="work").cancel()
        tasks = queue.tasks.where(status="cancelled")
        await interrupted(tasks.run_again(), again.Again, "_add", monkeypatch)
        assert 4 == (await queue.acts())[0].changed
        assert 10 == (await tasks.run_again()).act.changed
        assert {"cancelled": 10, "pending": 10} == await statuses(queue)
        assert 10 == (await tasks.run_again()).act.changed  # and on purpose once more


async def test_who_is_told_hears_how_far_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wopr.core.tasks.LOOK_SECONDS", 0.0)
    heard: list[ActProgress] = []
    async with home.queue() as queue:
        with_tasks(queue)
        for n in range(600):
            await queue.enqueue("work", (n,))
        answer = await queue.tasks.where(name="work").cancel(on_progress=heard.append)
        assert 600 == answer.act.changed
        assert heard
        assert {600} == {one.total for one in heard}
        assert sorted(one.done for one in heard) == [one.done for one in heard]


async def test_acts_say_who_did_what_and_why_newest_first(home: Home) -> None:
    async with home.queue() as queue:
        with_tasks(queue)
        await queue.enqueue("work")
        await queue.tasks.where(name="work").move("other", reason="the other is idle")
        await queue.tasks.where(name="work").cancel()
        newest, first = await queue.acts()
        assert ["cancel", "move"] == [newest.verb, first.verb]
        assert ('{"name": "work"}', '{"category": "other"}', "the other is idle", 1) == (
            first.selection,
            first.detail,
            first.reason,
            first.changed,
        )
        assert first.who
        assert "pid" in first.origin
        assert [first] == await queue.acts(before=newest.number)


async def test_a_condition_in_sql_is_one_or_is_refused(home: Home) -> None:
    async with home.queue() as queue:
        with_tasks(queue)
        for n in range(4):
            await queue.enqueue("work", (n,))
        condition = "try_cast(args ->> '$[0]' as int) >= 2 -- the new ones"
        if not home.has_sql:
            with pytest.raises(QueryError, match="no SQL"):
                await queue.tasks.where(condition).count()
            return
        assert 2 == await queue.tasks.where(condition).count()
        assert 2 == (await queue.tasks.where(condition, name="work").cancel()).act.changed
        for wrong in (
            "true) or (true",
            "true; delete from tasks",
            "true limit 1",
            "true union select 1",
            "nonsense = 1",
            "(delete from tasks)",
            "read_text('/etc/passwd') = ''",
            "1 = 1 /*",
        ):
            with pytest.raises(QueryError):
                await queue.tasks.where(wrong).cancel()
        assert {"pending": 2, "cancelled": 2} == await statuses(queue)
