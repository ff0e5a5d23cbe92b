"""What waits between journal and tables: what is counted, and where it goes on after an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from wopr import StorageError
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.pending import Pending
from wopr.storage.duckdb.write import Write, nobody

SIZES = (1, 3, 1, 5, 2)


def groups(sizes: Sequence[int] = SIZES, first: int = 1) -> Iterator[Group]:
    """Give groups of so many records, each its position as text."""
    for size in sizes:
        lines = [f"record {position}" for position in range(first, first + size)]
        yield Group(first, size, "\n".join(lines).encode())
        first += size


def filled(chosen: Iterable[Group]) -> Pending:
    pending = Pending(0, 0)
    for group in chosen:
        pending.add([Write(group.content, group.count, nobody)], group)
    return pending


def taken(pending: Pending) -> list[str]:
    """Return the records that are next, until nothing is left."""
    records: list[str] = []
    while pending.rows:
        pieces, count = pending.next(1, 1_000_000)
        for piece in pieces:
            records += piece.content.decode().split("\n")
        pending.applied(count)
    return records


def records(after: int, last: int) -> list[str]:
    return [f"record {position}" for position in range(after + 1, last + 1)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a piece hold two records or so."""
    monkeypatch.setattr(applied, "PIECE_BYTES", 20)


def nothing(after: int) -> Iterator[Group]:
    raise AssertionError("all of it is in memory")


def test_all_that_was_added_comes_out_in_order_and_nothing_is_counted_then() -> None:
    pending = filled(groups())
    assert (12, 12) == (pending.rows, pending.last)
    assert sum(len(group.content) + 1 for group in groups()) == pending.bytes
    assert records(0, 12) == taken(pending)
    assert (0, 0, 12) == (pending.rows, pending.bytes, pending.position)


@pytest.mark.parametrize("position", range(13))
def test_it_goes_on_behind_what_the_tables_hold_although_nobody_said_so(position: int) -> None:
    pending = filled(groups())
    pending.restart(position, nothing)
    assert (12 - position, 12) == (pending.rows, pending.last)
    assert records(position, 12) == taken(pending)
    assert (0, 0, 12) == (pending.rows, pending.bytes, pending.rows_out)


@pytest.mark.parametrize("position", range(9))
@pytest.mark.parametrize("known", [9, 10, 12])
def test_what_the_tables_lost_is_read_from_the_journal(position: int, known: int) -> None:
    pending = filled(groups())
    pending.restart(known, nothing)
    before = pending.rows_out
    pending.restart(position, lambda after: (one for one in groups() if one.last > after))
    assert (12 - position, 12) == (pending.rows, pending.last)
    assert before - (known - position) == pending.rows_out
    assert records(position, 12) == taken(pending)
    assert (0, 0, 12) == (pending.rows, pending.bytes, pending.rows_out)


def test_what_the_journal_has_no_more_is_an_error_and_changes_nothing() -> None:
    pending = filled(groups())
    pending.restart(10, nothing)
    with pytest.raises(StorageError, match="lost the records 1 to 10"):
        pending.restart(0, lambda after: (one for one in groups() if one.first > 4))
    assert (2, 10) == (pending.rows, pending.position)
    assert records(10, 12) == taken(pending)


@pytest.mark.parametrize("position", [0, 2, 5, 12])
def test_what_waits_can_be_given_back_as_groups(position: int) -> None:
    pending = filled(groups())
    pending.restart(position, nothing)
    found = pending.groups()
    assert records(position, 12) == [
        record for group in found for record in group.content.decode().split("\n")
    ]
    for group in found:
        assert position + 1 == group.first
        position = group.last
    assert 12 == position
