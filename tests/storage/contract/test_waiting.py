"""What waits, in every storage: pages of it, lanes, orphans, keys, and where a task stands."""

from __future__ import annotations

from storage.conftest import add, claim, end, fail, later, new_task, write
from support.records import NOW
from wopr.domain import decide
from wopr.domain.place import FIRST
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.ports.storage import LaneCount, Storage

NORMAL = 2


def ids(found: list[TaskRecord]) -> list[str]:
    return [record.id for record in found]


async def ready(storage: Storage, *, after: int = 0, skip: tuple[str, ...] = ()) -> list[str]:
    return ids(await storage.ready("c", NORMAL, after, NOW, skip, 100))


async def test_what_is_due_comes_in_the_order_in_which_it_was_enqueued(
    any_storage: Storage,
) -> None:
    first, second = await add(any_storage), await add(any_storage)
    await add(any_storage, run_at=later(1))
    await add(any_storage, "another")
    third = await add(any_storage, run_at=NOW)

    assert ids([first, second, third]) == await ready(any_storage)
    assert [third.id] == await ready(any_storage, after=second.seq)
    assert [] == await ready(any_storage, skip=("step",))
    assert [first.id] == ids(await any_storage.ready("c", NORMAL, 0, NOW, (), 1))
    assert [] == await any_storage.ready("c", NORMAL + 1, 0, NOW, (), 100)


async def test_what_runs_or_has_ended_waits_no_more_and_what_is_retried_does(
    any_storage: Storage,
) -> None:
    running, done, again = [await add(any_storage) for _ in range(3)]
    for record in (running, done, again):
        await claim(any_storage, record)
    await end(any_storage, done)
    await fail(any_storage, again)

    assert [] == await ready(any_storage)
    due = await any_storage.ready("c", NORMAL, 0, later(1), (), 100)  # when its attempt had failed
    assert [again.id] == ids(due)
    assert [running.id] == ids(await any_storage.orphans(0, 100))


async def test_what_is_due_later_comes_with_the_earliest_first(any_storage: Storage) -> None:
    late = await add(any_storage, run_at=later(20))
    soon = await add(any_storage, run_at=later(10))
    await add(any_storage)

    assert ids([soon, late]) == ids(await any_storage.delayed("c", NOW, (), 100))
    assert [late.id] == ids(await any_storage.delayed("c", later(20), (), 100))
    assert [soon.id] == ids(await any_storage.delayed("c", NOW, (), 1))
    assert [] == await any_storage.delayed("c", NOW, ("step",), 100)


async def test_lanes_are_counted_by_category_and_by_what_is_due(any_storage: Storage) -> None:
    for _ in range(2):
        await add(any_storage)
    await add(any_storage, run_at=later(60))
    await add(any_storage, "another")
    await claim(any_storage, await add(any_storage, "running"))

    found = sorted(await any_storage.lanes(NOW), key=lambda lane: lane.category)

    assert [LaneCount("another", NORMAL, 1, 0), LaneCount("c", NORMAL, 2, 1)] == found


async def test_a_key_is_known_as_long_as_its_task_lives(any_storage: Storage) -> None:
    assert {} == await any_storage.unique_keys()
    record = new_task()
    record.unique_key = "only one"
    await write(any_storage, record, added(record))
    assert {"only one": record.id} == await any_storage.unique_keys()

    await claim(any_storage, record)
    assert {"only one": record.id} == await any_storage.unique_keys()
    await end(any_storage, record)
    assert {} == await any_storage.unique_keys()


async def test_a_task_that_waits_for_another_is_not_ready(any_storage: Storage) -> None:
    parent = await add(any_storage)
    child = new_task()
    child.depends_on, child.waiting = f'["{parent.id}"]', True
    await write(any_storage, child, added(child))

    assert [parent.id] == await ready(any_storage)
    assert [child.id] == ids(await any_storage.waiting(0, 100))
    assert [] == await any_storage.waiting(child.seq, 100)

    await write(any_storage, child, decide.release(child, NOW, None))
    assert ids([parent, child]) == await ready(any_storage)
    assert [] == await any_storage.waiting(0, 100)


async def test_a_place_in_line_is_the_number_of_those_before(any_storage: Storage) -> None:
    records = [await add(any_storage) for _ in range(3)]
    await claim(any_storage, records[0])

    assert 1 == await any_storage.position(records[2], NOW)
    assert 0 == await any_storage.position(records[1], NOW)


async def test_counts_and_a_backlog_are_exact(any_storage: Storage) -> None:
    running, waiting, later_on = [await add(any_storage) for _ in range(3)]
    await claim(any_storage, running)
    await add(any_storage, "another")

    counts = await any_storage.counts()

    assert {"pending": 3, "started": 1} == dict(counts.by_status)
    assert {"another": 1, "c": 3} == dict(counts.by_category)
    assert 2 == await any_storage.backlog("c")
    await write(any_storage, waiting, decide.move(waiting, Move.CANCEL, NOW))
    assert 1 == await any_storage.backlog("c")
    assert {later_on.id: TaskStatus.PENDING, waiting.id: TaskStatus.CANCELLED} == (
        await any_storage.statuses([later_on.id, waiting.id, "unknown"])
    )


async def test_what_goes_to_the_front_comes_by_itself_and_the_newest_first(
    any_storage: Storage,
) -> None:
    plain = await add(any_storage)
    named = new_task()
    named.options = '{"tags": ["\\"at_front\\": true"], "results": {"kwargs": {"at_front": 0}}}'
    fronts = [new_task(), new_task()]
    for record in fronts:
        record.options = '{"tags": ["x"], "at_front": true}'
    for record in (named, *fronts):
        await write(any_storage, record, added(record))
    older, newer = fronts

    async def pages(after: int, *, at_front: bool | None) -> list[str]:
        found = await any_storage.ready("c", NORMAL, after, NOW, (), 100, at_front=at_front)
        return ids(found)

    assert ids([plain, named, older, newer]) == await pages(0, at_front=None)
    assert ids([plain, named]) == await pages(0, at_front=False)
    assert ids([newer, older]) == await pages(FIRST, at_front=True)
    assert [older.id] == await pages(-newer.seq, at_front=True)
    assert [0, 1, 2, 3] == [
        await any_storage.position(record, NOW) for record in (newer, older, plain, named)
    ]
    assert [LaneCount("c", NORMAL, 4, 0, 2)] == await any_storage.lanes(NOW)
