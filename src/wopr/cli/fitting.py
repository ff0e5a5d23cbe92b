"""How wide the columns of a table are on a terminal, and which of them are left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

GAP = 2
"""Blanks between two columns."""


class Kind(Enum):
    """What becomes of the values of a column where there is no room for them."""

    WHOLE = "whole"
    """They are shown whole, or not at all: numbers, times, statuses."""
    TEXT = "text"
    """They are cut at the end, which shows a … instead."""
    ID = "id"
    """Their beginnings are shown, as far as those are of one alone."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and how it makes room."""

    name: str
    kind: Kind = Kind.WHOLE
    least: int = 0
    """A text is cut to so many places and no further; its column is left out before that."""
    drops: int = 0
    """The column with the highest number is left out first; one with 0 never."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a command: its title, and its columns."""

    title: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """How wide each column is; ``None`` where it is left out."""

    widths: tuple[int | None, ...]
    left_out: tuple[str, ...]
    """The names of those that would have had something to show."""


def fit(
    columns: Sequence[Column],
    widths: Sequence[int],
    room: int | None,
    *,
    empty: Sequence[bool],
    prefix: int,
) -> Fit:
    """Return how a table fits into so many places; ``None`` has room for everything.

    Ids are shortened first, then texts; then columns are left out, the empty ones before others.

    Args:
        columns: as they are shown, from left to right.
        widths: the widest of each, with its name.
        room: of the terminal.
        empty: which of them have no value.
        prefix: so many places of an id are enough.
    """
    if room is None or _total(widths) <= room:
        return Fit(tuple(widths), ())
    least = [_least(*both, prefix) for both in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    dropped: list[int] = []
    order = sorted(kept, key=lambda at: (empty[at], columns[at].drops, at), reverse=True)
    for at in order:
        if _total([least[one] for one in kept]) <= room:
            break
        if len(kept) > 1 and (columns[at].drops or empty[at]):
            kept.remove(at)
            dropped.append(at)
    # An id is whole or a beginning, nothing between.
    most = [least[at] if columns[at].kind is Kind.ID else widths[at] for at in kept]
    found = dict(zip(kept, _shared([least[at] for at in kept], most, room), strict=True))
    return Fit(
        tuple(found.get(at) for at in range(len(columns))),
        tuple(columns[at].name for at in sorted(dropped) if not empty[at]),
    )


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _least(column: Column, width: int, prefix: int) -> int:
    narrow = {Kind.WHOLE: width, Kind.TEXT: column.least, Kind.ID: prefix}
    return min(width, narrow[column.kind])


def _shared(least: list[int], most: list[int], room: int) -> list[int]:
    """Return widths that use the room: what is left is shared alike between those in want."""
    found = list(least)
    left = room - _total(found)
    wanting = sorted(range(len(found)), key=lambda at: most[at] - least[at])
    for number, at in enumerate(wanting):
        more = max(0, min(most[at] - least[at], left // (len(wanting) - number)))
        found[at] += more
        left -= more
    while left < 0 and max(found) > 1:  # narrower than any table of ours: cut the widest
        widest = found.index(max(found))
        found[widest] -= 1
        left += 1
    return found
