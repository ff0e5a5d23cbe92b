"""Ids by their beginnings in every storage: any number of them is one question."""

from __future__ import annotations

from storage.conftest import add
from wopr.domain.selection import bounds
from wopr.ports.storage import Storage


async def test_each_beginning_has_the_ids_that_begin_so(any_storage: Storage) -> None:
    ids = sorted([(await add(any_storage)).id for _ in range(6)])
    nobodys = "f" * 36
    given = [ids[0], ids[3], ids[0][:2], ids[0].replace("-", ""), ids[5][:-1], nobodys, "no id", ""]
    found = await any_storage.beginnings(given, 4)
    expected = {
        one: [task_id for task_id in ids if task_id.startswith(one) and one][:4] for one in given
    }
    assert expected | {ids[0].replace("-", ""): [ids[0]]} == found
    assert 4 == len(found[ids[0][:2]])


async def test_beginnings_of_a_thousand_tasks_are_told_apart(any_storage: Storage) -> None:
    ids = [(await add(any_storage)).id for _ in range(1_000)]
    short = [one[:23] for one in ids]
    found = await any_storage.beginnings(short, 5)
    assert {one: [task_id for task_id in ids if task_id[:23] == one] for one in short} == {
        one: sorted(ids) for one, ids in found.items()
    }


async def test_nothing_is_asked_for(any_storage: Storage) -> None:
    assert {} == await any_storage.beginnings([], 5)
    assert bounds("") is None
