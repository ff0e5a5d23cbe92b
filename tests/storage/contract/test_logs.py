"""Log lines of tasks, in every storage: kept with the task, in order, gone with it."""

from __future__ import annotations

import pytest

from storage.conftest import IDS, add, claim, end, later, lines, numbers
from support.records import NOW
from wopr.domain.logline import LogLine
from wopr.ports.storage import Storage

ONE, TWO = IDS.new(NOW), IDS.new(NOW)


async def test_lines_come_back_by_attempt_and_number(any_storage: Storage) -> None:
    any_storage.save_logs(lines(ONE, 2, attempt=2))
    any_storage.save_logs(lines(TWO, 1))
    any_storage.save_logs(lines(ONE, 3, attempt=1))

    assert lines(ONE, 3, attempt=1) + lines(ONE, 2, attempt=2) == await any_storage.logs(ONE, 100)
    assert lines(TWO, 1) == await any_storage.logs(TWO, 100)


async def test_no_more_lines_come_back_than_were_asked_for(any_storage: Storage) -> None:
    any_storage.save_logs(lines(ONE, 10))

    assert [(1, 1), (1, 2), (1, 3)] == numbers(await any_storage.logs(ONE, 3))


@pytest.mark.parametrize("task_id", [TWO, "no id", ""])
async def test_a_task_that_logged_nothing_has_no_lines(any_storage: Storage, task_id: str) -> None:
    any_storage.save_logs(lines(ONE, 1))
    any_storage.save_logs([])

    assert [] == await any_storage.logs(task_id, 100)


async def test_a_line_keeps_all_its_parts(any_storage: Storage) -> None:
    line = LogLine(ONE, 3, 7, later(1.000001), "WARNING", "app.ünï", "two\nlines, 'quoted' ✓")

    any_storage.save_logs([line])

    assert [line] == await any_storage.logs(ONE, 100)


@pytest.mark.parametrize("keep_history", [False, True])
async def test_lines_go_with_their_task(any_storage: Storage, keep_history: bool) -> None:
    old, young, live = [await add(any_storage) for _ in range(3)]
    for record, moment in ((old, 1), (young, 100), (live, 1)):
        await claim(any_storage, record, later(moment))
        any_storage.save_logs(lines(record.id, 3))
    await end(any_storage, old)
    await end(any_storage, young)
    any_storage.save_logs(lines(old.id, 2, first=4))  # not written yet

    assert 1 == await any_storage.cleanup(later(50), keep_history=keep_history)

    assert [] == await any_storage.logs(old.id, 100)
    for record in (young, live):
        assert lines(record.id, 3) == await any_storage.logs(record.id, 100)
