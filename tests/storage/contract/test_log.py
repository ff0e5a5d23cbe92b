"""Transitions on their way to the disk, in every storage: in order, all or none, and read back."""

from __future__ import annotations

import asyncio

from storage.conftest import add, claim, end, later, new_task, write
from support.queues import PATIENCE
from support.records import NOW
from wopr.domain import decide
from wopr.domain.status import TaskStatus
from wopr.domain.transition import added
from wopr.ports.storage import Storage, TaskFilter


async def test_a_record_shows_its_change_at_once_and_is_in_flight_until_it_is_on_disk(
    any_storage: Storage,
) -> None:
    record = new_task()
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    any_storage.submit([(record, added(record))], done.set_result)

    assert record.seq > 0
    assert record.version == record.seq
    assert any_storage.in_flight(record)
    async with asyncio.timeout(PATIENCE):
        assert await done is None
    assert not any_storage.in_flight(record)


async def test_changes_are_told_in_the_order_in_which_they_were_handed_over(
    any_storage: Storage,
) -> None:
    told: list[int] = []
    last: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(number: int, error: BaseException | None) -> None:
        assert error is None
        told.append(number)
        if number == 19:
            last.set_result(None)

    for number in range(20):
        record = new_task()
        any_storage.submit(
            [(record, added(record))], lambda error, number=number: tell(number, error)
        )
    async with asyncio.timeout(PATIENCE):
        await last
    assert list(range(20)) == told


async def test_several_changes_at_once_have_numbers_that_rise(any_storage: Storage) -> None:
    first, second = new_task(), new_task()
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    any_storage.submit([(first, added(first)), (second, added(second))], done.set_result)
    async with asyncio.timeout(PATIENCE):
        assert await done is None

    assert 0 < first.seq < second.seq
    assert {first.id, second.id} == set(await any_storage.get_many([first.id, second.id, "none"]))


async def test_a_task_is_read_back_as_it_was_written(any_storage: Storage) -> None:
    assert await any_storage.get("none") is None
    record = await add(any_storage, run_at=later(5))
    await claim(any_storage, record)
    await end(any_storage, record)
    await any_storage.flush()

    found = await any_storage.get(record.id)

    assert found is not None
    assert (record.name, record.category, record.priority) == ("step", "c", 2)
    read = found.status, found.attempt, found.worker, found.result, found.run_at
    assert (TaskStatus.SUCCESS, 1, record.worker, "1", later(5)) == read


async def test_tasks_are_found_newest_first_and_by_what_is_asked(any_storage: Storage) -> None:
    records = [await add(any_storage) for _ in range(3)]
    other = await add(any_storage, "another")
    await claim(any_storage, records[0])

    async def found(query: TaskFilter) -> list[str]:
        return [record.id for record in await any_storage.find(query)]

    newest = [record.id for record in reversed(records)]
    assert [other.id, *newest] == await found(TaskFilter())
    assert newest == await found(TaskFilter(category="c"))
    assert [records[0].id] == await found(TaskFilter(status=TaskStatus.STARTED))
    assert [] == await found(TaskFilter(name="another name"))
    assert newest[:1] == await found(TaskFilter(category="c", limit=1))
    assert newest[1:] == await found(TaskFilter(category="c", offset=1))
    assert newest[1:] == await found(TaskFilter(category="c", before_seq=records[2].seq))


async def test_a_cleanup_deletes_what_ended_before_and_nothing_else(any_storage: Storage) -> None:
    old, young, live = [await add(any_storage) for _ in range(3)]
    for record, at in ((old, NOW), (young, later(3_600))):
        await claim(any_storage, record, at)
        await write(any_storage, record, decide.move(record, decide.Move.CANCEL, at))

    assert 1 == await any_storage.cleanup(later(60), keep_history=False)
    assert 0 == await any_storage.cleanup(later(60), keep_history=False)

    left = await any_storage.get_many([old.id, young.id, live.id])
    assert {young.id, live.id} == set(left)
