"""The tables that move, and the sums by which two homes are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from wopr.domain.errors import StorageError
from wopr.domain.spoken import counted

Columns = Mapping[str, str]
"""Of one table: names, and their types as DuckDB calls them."""

TABLES = ("tasks", "transitions", "task_logs", "acts", "rules", "schedules", "refused_records")
"""Those that move. ``results`` are a part of ``tasks`` on the way, and ``meta`` is of a home."""
WHOLE = ("acts", "rules", "schedules", "refused_records")
"""Those that are small, and written anew each time."""
TIME = {"tasks": "created_at", "transitions": "occurred_at", "task_logs": "logged_at"}
"""What says to which day a row belongs; the rows of other tables belong to none."""

NUMBER_BITS = 16
"""Rows of tasks, or transitions, are counted together whose numbers differ in these bits only."""
ABSENT = "chr(1)"
"""What stands for NULL in a sum."""

SUMS = {
    "duckdb": "cast('0x' || md5({row})[1:8] as bigint)",
    "postgres": "('x' || left(md5({row}), 8))::bit(32)::bigint",
}
"""A row as a number of 32 bits, in both dialects."""
_MICROSECONDS = {
    "duckdb": "cast(epoch_us({0}) as varchar)",
    "postgres": "(extract(epoch from {0}) * 1000000)::bigint::text",
}


@dataclass(slots=True)
class Sums:
    """How many rows there are of each day, and the sums of what is in them."""

    by_day: dict[tuple[str, date | None], tuple[int, int]] = field(default_factory=dict)

    def add(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add the answer to :func:`sums`."""
        for day, count, total in rows:
            before = self.by_day.get((table, day), (0, 0))
            self.by_day[table, day] = before[0] + int(count), before[1] + int(total)

    def add_all(self, other: Sums) -> None:
        """Add those of other rows."""
        for (table, day), (count, total) in other.by_day.items():
            self.add(table, [(day, count, total)])

    @property
    def rows(self) -> Counter[str]:
        """How many rows there are, by table."""
        found: Counter[str] = Counter()
        for (table, _), (count, _) in self.by_day.items():
            found[table] += count
        return found


def compare(there: Sums, here: Sums) -> None:
    """Raise unless two homes have the same rows.

    Raises:
        StorageError: they have not; it says of which table and day.
    """
    for key in sorted(there.by_day.keys() | here.by_day.keys(), key=str):
        left, right = there.by_day.get(key, (0, 0)), here.by_day.get(key, (0, 0))
        if left != right:
            table, day = key
            of = table if day is None else f"{table} of {day}"
            raise StorageError(
                f"What arrived of {of} is not what was sent: {counted(left[0], 'row')} with the "
                f"sum {left[1]} left, and {right[0]:,} with {right[1]} are there. The queue stays "
                "where it is. Was a backup restored since the move began? Else check both disks. "
                "Then move it again, to an empty home."
            )


def sums(dialect: str, table: str, columns: Columns, source: str) -> str:
    """Return the question for the rows of a source, by day: the day, how many, and their sum."""
    row = f"concat_ws(chr(2), {', '.join(_texts(dialect, columns))})"
    total = SUMS[dialect].format(row=row)
    at = TIME.get(table)
    day = "cast(null as date)" if at is None else f"cast({at} as date)"
    return f"select {day} as day, count(*), sum({total}) from {source} as moved group by 1"


def _texts(dialect: str, columns: Columns) -> list[str]:
    return [f"coalesce({_text(dialect, *column)}, {ABSENT})" for column in columns.items()]


def _text(dialect: str, name: str, kind: str) -> str:
    match kind:
        case "TIMESTAMP":
            return _MICROSECONDS[dialect].format(name)
        case "DOUBLE":  # the homes write them differently, so as millionths
            whole = f"cast(cast(floor({name} * 1000000) as bigint) as varchar)"
            return f"case when abs({name}) < 1e12 then {whole} else 'large' end"
        case "BOOLEAN":
            return f"case when {name} then 'true' when not {name} then 'false' end"
        case _:
            return f"cast({name} as varchar)"


def counts(table: str, where: str = "true") -> str:
    """Return the question how many rows have numbers near each other: their place, how many."""
    return f"select seq >> {NUMBER_BITS}, count(*) from {table} where {where} group by 1"


def differing(left: Mapping[int, int], right: Mapping[int, int]) -> list[int]:
    """Return the places of which two homes have not the same number of rows."""
    return sorted(one for one in left.keys() | right.keys() if left.get(one) != right.get(one))


Tell = Callable[[str, int, int], None]
"""Is told what is done, how much of it, and how much there is of it; 0 if that is not known."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
