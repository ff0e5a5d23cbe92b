"""How long the stored values are that a query makes others of: DuckDB knows it of each column."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from wopr.storage.duckdb.asked.harmless import words
from wopr.storage.duckdb.asked.weight import FLAT_BYTES, VECTOR, Size, Weight

MOST_BYTES = 64 * 1024 * 1024
"""So much the values may take that a query makes in this process, beside DuckDB's memory limit."""
SHORT = 40
"""So long is what is no text, as text."""
FOREIGN = 4_096
"""So long are the texts of what stands as a table and is none."""
ARCHIVED = 1_024
"""So long a name in the archive may be; how long the other texts in it are, nobody knows."""
_ROW = "select {stats} from {table} where rowid in (select rowid from {table} limit 1)"
"""The answer is the same for each row, and one is read for it. A view has no rowid."""
_STATS = "stats({column}).max_string_length"
_NAMES = words("category error_type from_status name schedule status to_status unique_key worker")
KEPT = frozenset({"results", "tasks", "transitions"})
"""Tables that hold nothing but what the journal has written."""
_BEHIND = ("tasks", "transitions", "results")
"""What the views of wopr are made of."""
Lengths = dict[str, float | None]
"""How long the values of each column are; ``None``: that was not asked yet."""
VIEWS: Mapping[str, tuple[int, frozenset[str]]] = {
    "failures": (12, frozenset({"data", "error"})),
    "history": (4, frozenset({"data"})),
    "dependencies": (4, frozenset({"depends_on", "options"})),
    **dict.fromkeys(
        ("backlog", "flows", "latency", "missed_times", "schedule_runs", "task_times"),
        (0, frozenset()),
    ),
}
"""The views of wopr: how many values each makes of which columns."""
_FLAT = re.compile(
    r"(?:u?(?:tiny|small|big|huge)?int(?:eger)?|bool(?:ean)?|float|double|date|time.*|uuid|interval"
    r"|decimal.*)"
).fullmatch


class Sizes:
    """Weighs queries with what the tables hold; keeps what it asked until something is written."""

    def __init__(self) -> None:
        self.weights: dict[str, Weight] = {}
        """Of texts that may be run in this process, the oldest first."""
        self._kept: tuple[int, dict[str, Lengths]] = (-1, {})

    def is_heavy(
        self,
        cursor: duckdb.DuckDBPyConnection,
        weight: Weight,
        params: Sequence[Any],
        *,
        archived: bool,
        written: int,
    ) -> bool:
        """Whether the values that a query makes may take more than they may in this process.

        Args:
            cursor: any of the database's.
            weight: of its text.
            params: what it is given.
            archived: whether it spans an archive.
            written: how many writes the tables show, at least.
        """
        weight = _with_views(weight)
        if weight.nothing:
            return False
        longest = max(
            self._longest(cursor, weight, written, archived=archived),
            weight.literal,
            _size(list(params)),
            FOREIGN if weight.foreign else SHORT,
        )
        long = longest * weight.growth
        made = (1 if weight.one_row else VECTOR) * (weight.made.flat + weight.made.long * long)
        if made <= MOST_BYTES and weight.made.all:
            rows = math.prod((_rows(cursor, name) for name in weight.tables), start=weight.rows)
            made += weight.made.all * long * rows
        return made > MOST_BYTES

    def _longest(
        self, cursor: duckdb.DuckDBPyConnection, weight: Weight, written: int, *, archived: bool
    ) -> float:
        """Return how long the values may be that a query makes others of."""
        tables = _behind(set(weight.tables))
        columns = {table: self._lengths(cursor, table, written) for table in tables}
        wanted = weight.columns
        if wanted is not None and not wanted - weight.given <= set().union(*columns.values()):
            wanted = None
        found = []
        for table, lengths in columns.items():
            named = [one for one in lengths if wanted is None or one in wanted]
            _measure(cursor, table, lengths, [one for one in named if lengths[one] is None])
            found += [_at_most(one, lengths[one] or 0, archived=archived) for one in named]
        return sum(found) if wanted is None else max(found, default=0)

    def _lengths(self, cursor: duckdb.DuckDBPyConnection, table: str, written: int) -> Lengths:
        if table not in KEPT:
            return _columns(cursor, table)
        if self._kept[0] != written:
            self._kept = (written, {})
        kept = self._kept[1]
        if table not in kept:
            kept[table] = _columns(cursor, table)
        return kept[table]


def _with_views(weight: Weight) -> Weight:
    """Count what the views make of their tables too."""
    made, columns = weight.made, weight.columns
    for name in weight.tables:
        makes, of = VIEWS.get(name, (0, frozenset()))
        made += Size(0, makes)
        columns = None if columns is None else columns | of
    return replace(weight, made=made, columns=columns)


def _behind(named: set[str]) -> set[str]:
    """Return the tables that are read, with those that are read for them."""
    found = named - set(VIEWS)
    if found != named:
        found |= set(_BEHIND)
    return found | {"results"} if "tasks" in found else found


def _at_most(column: str, longest: float, *, archived: bool) -> float:
    """Return how long a value is, if older ones are in the archive too."""
    if not archived or longest == SHORT:
        return longest
    return max(longest, ARCHIVED) if column in _NAMES else math.inf


def _columns(cursor: duckdb.DuckDBPyConnection, table: str) -> Lengths:
    """Return the columns of a table, as far as their type says how long they are."""
    try:
        columns = cursor.execute(f"from {_quoted(table)} limit 0").description or ()
    except duckdb.Error:  # the query will say so
        return {}
    types = {column[0].lower(): str(column[1]).lower() for column in columns}
    return {
        name: None if kind == "varchar" else SHORT if _FLAT(kind) else math.inf
        for name, kind in types.items()
    }


def _measure(
    cursor: duckdb.DuckDBPyConnection, table: str, lengths: Lengths, columns: list[str]
) -> None:
    """Note how long the texts are in some columns."""
    if not columns:
        return
    stats = ", ".join(_STATS.format(column=_quoted(column)) for column in columns)
    try:
        rows = cursor.execute(_ROW.format(stats=stats, table=_quoted(table))).fetchall()
    except duckdb.Error:  # it is a view
        rows = [(None,) * len(columns)]
    for column, longest in zip(columns, rows[0] if rows else (0,) * len(columns), strict=True):
        lengths[column] = math.inf if longest is None else longest


def _rows(cursor: duckdb.DuckDBPyConnection, table: str) -> float:
    """Return how many rows a table, or a view of wopr, may have."""
    names = ("tasks", "transitions") if table in VIEWS else (table,)
    text = " union all ".join(f"select count(*) from {_quoted(name)}" for name in names)
    try:
        return float(max(1, sum(count for (count,) in cursor.execute(text).fetchall())))
    except duckdb.Error:
        return math.inf


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _size(value: Any) -> int:
    """Return about how long a parameter is."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return _size([*value, *value.values()])
    if isinstance(value, list | tuple):
        return sum(map(_size, value)) + FLAT_BYTES * len(value)
    return FLAT_BYTES
