"""Transitions as lines of the journal; that nothing is lost in them is shown with the fold."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest

from support.records import NOW, claimed, record, succeeded
from wopr.domain.errors import StorageError
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added
from wopr.storage.duckdb.journal import records
from wopr.storage.duckdb.journal.records import read_record, transition_record

ID = "0197a3c4-0000-7000-8000-000000000001"


def new(**columns: Any) -> TaskRecord:
    one = TaskRecord(ID, "mail", "default", 2, 3, "[1]", "{}", NOW)
    for column, value in columns.items():
        setattr(one, column, value)
    return one


def add_line(**columns: Any) -> str:
    one = new(**columns)
    return transition_record(one, added(one))


def save_line(**columns: Any) -> str:
    """Return the line of a task that somebody saved."""
    one = new(**columns)
    saved = Transition(ID, Move.SAVE, TaskStatus.PENDING, one.status, one.attempt, NOW)
    return transition_record(one, saved)


def test_a_line_begins_with_its_seq() -> None:
    one = record(seq=12)
    transition = added(one)
    transition.seq = 12
    assert "12" == transition_record(one, transition).split("\x1f", maxsplit=1)[0]


def test_what_happens_most_takes_few_fields() -> None:
    success = Transition(ID, Move.SUCCEED, TaskStatus.STARTED, TaskStatus.SUCCESS, 1, NOW, "w")
    success.data = {"result": "42"}
    claim = Transition(ID, Move.CLAIM, TaskStatus.PENDING, TaskStatus.STARTED, 1, NOW, "w")
    lines = [
        add_line(),
        transition_record(claimed(), claim),
        transition_record(succeeded(), success),
    ]
    assert [("a", 15), ("c", 9), ("s", 11)] == [
        (line.split("\x1f")[1], line.count("\x1f") + 1) for line in lines
    ]


@pytest.mark.parametrize("column", ["name", "category", "args", "kwargs", "options", "schedule"])
def test_a_line_has_no_end_within(column: str) -> None:
    line = add_line(**{column: "a\nb\x1fc\x1ed"})
    assert "\n" not in line
    assert "a\x1e1b\x1e2c\x1e0d" in line.split("\x1f")


def test_an_empty_text_is_not_none() -> None:
    for text in ("", None):
        state = read_record(save_line(worker=text, error=text, result=text)).state
        assert [text] * 3 == [state[9], state[11], state[10]]


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 10**400, 1.5, "3"])
@pytest.mark.parametrize("column", ["priority", "max_retries", "retry_count", "crashes", "attempt"])
def test_a_number_that_its_column_can_t_hold_is_refused(column: str, number: Any) -> None:
    line = add_line if column in {"priority", "max_retries"} else save_line
    for _ in range(2):
        with pytest.raises(StorageError, match="whole numbers from -2147483648 to 2147483647"):
            line(**{column: number})


@pytest.mark.parametrize("number", [10**400, "half", b""])
@pytest.mark.parametrize("column", ["progress", "elapsed_seconds"])
def test_what_is_no_number_is_refused(column: str, number: Any) -> None:
    with pytest.raises(StorageError, match="give a number"):
        save_line(**{column: number})


@pytest.mark.parametrize("number", [True, 1, 1.0])
def test_a_number_is_written_as_its_column_has_it(number: Any) -> None:
    assert "1" == add_line(priority=number).split("\x1f")[11]
    assert "1.0" == save_line(progress=number).split("\x1f")[21]


def test_a_time_with_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        add_line(run_at=NOW.replace(tzinfo=UTC))


def test_texts_that_come_once_are_not_kept_for_ever() -> None:
    for number in range(20_000):
        add_line(name=f"name-{number}")
        save_line(attempt=number)
    assert "y" * 10_000 in add_line(name="y" * 10_000)
    assert 5_000 > len(records._TEXTS)
    assert 5_000 > len(records._NUMBERS)
    assert 250 > max(map(len, records._TEXTS.values()))


@pytest.mark.parametrize("line", ["", "x", "1\x1fc", "1\x1fs\x1fid\x1f0\x1f1\x1fa\x1fb\x1fw\x1fr"])
def test_what_is_no_record_is_not_read(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_record(line)


def test_a_success_that_took_days_is_told_in_full() -> None:
    one = claimed()
    end = NOW + timedelta(days=2)
    success = Transition(one.id, Move.SUCCEED, one.status, TaskStatus.SUCCESS, 1, end, "w")
    success.data = {"result": "1"}
    one.result = "1"
    assert "f" == transition_record(one, success).split("\x1f")[1]
