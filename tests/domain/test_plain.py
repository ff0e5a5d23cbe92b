"""A task that is plain at a glance is one of which a doctor finds nothing, whatever is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from wopr.domain import examination
from wopr.domain.examination import Examining, Report
from wopr.domain.plain import is_plain
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import encode_added
from wopr.domain.written import TRANSITION_COLUMNS
from wopr.storage.duckdb.moving.shape import shape

Row = tuple[Any, ...]

ID = UUID(int=7)
AT = datetime(2026, 11, 30, 12)
LOG_COLUMNS = TRANSITION_COLUMNS.split(", ")
VALUES: dict[str, tuple[Any, ...]] = {
    "VARCHAR": ("", "null", "[1]", "{}", "success", "pending", "add", "claim", '{"result":1}'),
    "INTEGER": (0, 1, 2, 7),
    "BIGINT": (0, 4, 5, 6, 7),
    "DOUBLE": (0.0, 2.0, 50.0, 100.0),
    "BOOLEAN": (True, False),
    "TIMESTAMP": (AT, AT + timedelta(seconds=1)),
    "UUID": (UUID(int=8),),
}
"""What a column may have been changed to, or to NULL."""


def values(table: str, name: str) -> tuple[Any, ...]:
    return (None, *VALUES[shape()[table][name]])


def waiting() -> tuple[Row, list[Row]]:
    record = TaskRecord(str(ID), "work", "default", 2, 3, "[1]", '{"a":2}', AT, options="{}")
    record.seq = record.version = 4
    record.unique_key = "key"
    added = (4, ID, 0, None, "pending", AT, None, "add", None, encode_added(record))
    return (ID, *record.row()[1:]), [added]


def done() -> tuple[Row, list[Row]]:
    row, log = waiting()
    started, ended = AT + timedelta(seconds=1), AT + timedelta(seconds=3)
    state = {"status": "success", "attempt": 1, "started_at": started, "completed_at": ended}
    state |= {"elapsed_seconds": 2.0, "worker": "w-1", "result": '"x"', "progress": 100.0}
    log.append((5, ID, 1, "pending", "started", started, "w-1", "claim", None, None))
    last = (6, ID, 1, "started", "success", ended, "w-1", "succeed", None, '{"result":"x"}')
    return changed(row, **state, version=6), [*log, last]


def changed(row: Row, **values: Any) -> Row:
    return tuple(values.get(name, value) for name, value in zip(COLUMNS, row, strict=True))


def changes() -> Iterator[tuple[Row, list[Row]]]:
    """Yield each of the two with one value that is another."""
    for row, log in (waiting(), done()):
        for name in COLUMNS[1:]:
            for value in values("tasks", name):
                yield changed(row, **{name: value}), log
        for number, entry in enumerate(log):
            for at in (0, *range(2, len(LOG_COLUMNS))):
                for value in values("transitions", LOG_COLUMNS[at]):
                    other = (*entry[:at], value, *entry[at + 1 :])
                    yield row, [*log[:number], other, *log[number + 1 :]]
        yield row, log[1:]
        yield row, log[:2]
        yield row, [*log, log[-1]]


def examined(row: Row, log: list[Row]) -> Report:
    found = Examining(100)
    found._merge(iter([row]), iter(log))
    return found.report


@pytest.mark.parametrize("task", [waiting(), done()], ids=["waiting", "done"])
def test_the_two_shapes_are_plain(task: tuple[Row, list[Row]]) -> None:
    assert is_plain(*task)
    report = examined(*task)
    assert ([], 1, len(task[1])) == (report.problems, report.tasks, report.transitions)


def test_a_change_is_found_as_it_would_be_by_folding(monkeypatch: pytest.MonkeyPatch) -> None:
    at_a_glance = [_or_error(*one) for one in changes()]
    monkeypatch.setattr(examination, "is_plain", lambda row, log: False)
    assert at_a_glance == [_or_error(*one) for one in changes()]
    assert 500 < sum(bool(one.problems) for one in at_a_glance if isinstance(one, Report))


def _or_error(row: Row, log: list[Row]) -> Report | str:
    try:
        return examined(row, log)
    except (TypeError, AttributeError) as error:  # the tables have no NULL there
        return type(error).__name__
