"""Pages in every storage: bounded in tasks and in bytes, and together they are everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from storage.conftest import claim, later, new_task, write
from support.records import NOW
from wopr.domain.task import TaskRecord
from wopr.domain.transition import added
from wopr.ports.storage import Storage, weight

LARGE = '["' + "x" * 5_000 + '"]'
NORMAL = 2

Read = Callable[[Storage, int, int], Awaitable[list[TaskRecord]]]
"""Read a page after a seq, of at most so many bytes."""


async def fill(
    storage: Storage, kind: str, args: list[str], *, run_at: datetime | None = None
) -> list[str]:
    """Commit tasks of one kind with these arguments; return their ids."""
    ids = []
    for text in args:
        record = new_task(run_at=run_at)
        record.args = text
        if kind == "waiting":
            record.depends_on, record.waiting = f'["{record.id}"]', True
        await write(storage, record, added(record))
        if kind in {"orphans", "starts"}:
            await claim(storage, record)
        ids.append(record.id)
    return ids


async def ready(storage: Storage, after: int, most_bytes: int) -> list[TaskRecord]:
    return await storage.ready("c", NORMAL, after, NOW, (), 100, most_bytes=most_bytes)


async def waiting(storage: Storage, after: int, most_bytes: int) -> list[TaskRecord]:
    return await storage.waiting(after, 100, most_bytes=most_bytes)


async def orphans(storage: Storage, after: int, most_bytes: int) -> list[TaskRecord]:
    return await storage.orphans(after, 100, most_bytes=most_bytes)


BY_SEQ = {"ready": ready, "waiting": waiting, "orphans": orphans}


@pytest.mark.parametrize("kind", BY_SEQ)
async def test_a_page_ends_with_the_task_that_makes_it_large_enough(
    any_storage: Storage, kind: str
) -> None:
    ids = await fill(any_storage, kind, ["[1]", LARGE, "[1]", LARGE, LARGE])
    read = BY_SEQ[kind]

    sizes = [weight(record) for record in await read(any_storage, 0, 1_000_000)]
    assert 5 == len(sizes)

    async def page(after: int, most_bytes: int) -> list[str]:
        return [record.id for record in await read(any_storage, after, most_bytes)]

    assert ids == await page(0, sum(sizes) + 1)
    assert ids[:1] == await page(0, 1)
    assert ids[:2] == await page(0, sizes[0] + 1)
    assert ids[:2] == await page(0, sum(sizes[:2]))
    assert ids[:3] == await page(0, sum(sizes[:2]) + 1)


@pytest.mark.parametrize("kind", BY_SEQ)
@pytest.mark.parametrize("most_bytes", [1, 6_000, 12_000])
async def test_pages_one_after_the_other_until_one_is_empty_are_everything(
    any_storage: Storage, kind: str, most_bytes: int
) -> None:
    ids = await fill(any_storage, kind, [LARGE, "[1]", "[1]", LARGE, LARGE, "[1]", LARGE])
    found: list[str] = []
    after = 0
    while page := await BY_SEQ[kind](any_storage, after, most_bytes):
        found += [record.id for record in page]
        after = page[-1].seq
    assert ids == found


async def test_a_page_of_delayed_tasks_ends_as_well(any_storage: Storage) -> None:
    late = await fill(any_storage, "delayed", [LARGE], run_at=later(20))
    soon = await fill(any_storage, "delayed", [LARGE, "[1]"], run_at=later(10))

    async def page(most_bytes: int) -> list[str]:
        found = await any_storage.delayed("c", NOW, (), 100, most_bytes=most_bytes)
        return [record.id for record in found]

    assert soon[:1] == await page(1)
    assert soon == await page(5_300)
    assert soon + late == await page(1_000_000)


async def test_a_page_without_a_bound_has_more_than_one_large_task(any_storage: Storage) -> None:
    await fill(any_storage, "ready", [LARGE] * 3)
    assert 3 == len(await any_storage.ready("c", NORMAL, 0, NOW, (), 100))


@pytest.mark.parametrize("most_bytes", [1, 6_000, 1_000_000])
async def test_starts_page_by_page_are_all_starts(any_storage: Storage, most_bytes: int) -> None:
    ids = await fill(any_storage, "starts", [LARGE, "[1]", LARGE, LARGE])
    found: list[str] = []
    while page := await any_storage.starts("c", NOW, skip=len(found), most_bytes=most_bytes):
        found += [record.id for _, record in page]
    assert ids == found


async def test_who_asks_for_many_gets_them_all(any_storage: Storage) -> None:
    ids = await fill(any_storage, "ready", [LARGE, "[1]", LARGE])
    found = await any_storage.get_many([*ids, "no task"])
    assert {ids[0]: LARGE, ids[1]: "[1]", ids[2]: LARGE} == {
        task_id: record.args for task_id, record in found.items()
    }
