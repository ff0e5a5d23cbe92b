"""Reads the tables of an open database file into pages that PostgreSQL takes as they are.

A page is a file in the text format of ``COPY``: DuckDB writes it and the server reads it, so that
nothing is done here for each row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from wopr.storage.duckdb.file.connecting import quoted
from wopr.storage.duckdb.largeresults import ENDED_SQL
from wopr.storage.duckdb.moving.shape import shape
from wopr.storage.moving.tables import NUMBER_BITS, TIME, Sums, counts, sums

PAGE_BYTES = 32 * 1024 * 1024
_FIRST = 2_000
_MOST = 250_000
_GROWTH = 8

_ESCAPED = (
    (r"'\'", r"'\\'"),
    ("chr(10)", r"'\n'"),
    ("chr(13)", r"'\r'"),
    ("chr(9)", r"'\t'"),
)
_NUL = "replace({0}, chr(0), '\ufffd')"
"""PostgreSQL has no NUL in its texts; see :mod:`wopr.storage.postgres.rows`."""
_JSON_NUL = r"regexp_replace({0}, '(^|[^\\])((?:\\\\)*)\\u0000', '\1\2\\ufffd', 'g')"
"""Nor in JSON that it looks into. Of two that follow each other it finds the first."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a table, in a file."""

    path: Path
    rows: int
    next: int
    """Where the rows behind them begin."""


class FileReader:
    """What an open file has.

    Args:
        connection: may write into the folder.
        folder: for pages, one at a time.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._path = folder / "page"

    @property
    def identity(self) -> str:
        """The identity of the database."""
        return str(self.meta()["database"])

    @property
    def seq(self) -> int:
        """The highest number that was ever given."""
        [(task,)] = self._ask("select coalesce(max(version), 0) from tasks")
        [(newest,)] = self._ask("select coalesce(max(seq), 0) from transitions")
        return max(int(task), int(newest), int(self.meta().get("seq") or 0))

    def meta(self) -> dict[str, str]:
        """Return the facts about the file."""
        return dict(self._ask("select key, value from meta"))

    def end(self, table: str) -> int:
        """Return the number of rows that there are at most, gaps included."""
        [(last,)] = self._ask(f"select coalesce(max(rowid) + 1, 0) from {table}")
        return int(last)

    def pages(self, table: str, where: str = "true", begin: int = 0) -> Iterator[Page]:
        """Write the rows of a table that meet a condition; each page ends the one before."""
        end, count = self.end(table), _FIRST
        while begin < end:
            bounds = f"rowid between {begin} and {begin + count - 1} and {where}"
            rows = self._write(table, bounds)
            begin += count
            if rows:
                yield Page(self._path, rows, begin)
            size = self._path.stat().st_size
            count = max(1, min(count * PAGE_BYTES // max(size, 1), count * _GROWTH, _MOST))
        self._path.unlink(missing_ok=True)

    def _write(self, table: str, where: str) -> int:
        texts = ", ".join(_escaped(name) for name in shape()[table])
        [(rows,)] = self._ask(
            f"copy (select {texts} from {self.source(table, where)} as moved) "
            f"to {quoted(self._path)} "
            "(format csv, header false, delimiter '\t', quote '', escape '')"
        )
        return int(rows)

    def source(self, table: str, where: str) -> str:
        """Return the rows as they are at their new home: without NUL, and results with tasks."""
        columns = ", ".join(_clean(table, *one) for one in shape()[table].items())
        if table != "tasks":
            return f"(select {columns} from {table} where {where})"
        lacking = f"{where} and result is null and status in {ENDED_SQL}"
        [(low, high)] = self._ask(f"select min(version), max(version) from tasks where {lacking}")
        if low is None:
            return f"(select {columns} from tasks where {where})"
        large = f"(select * from results where seq between {low} and {high})"
        whole = (
            "select tasks.* replace (coalesce(tasks.result, large.result) as result) "
            f"from (select * from tasks where {where}) as tasks left join {large} as large "
            f"on large.seq = tasks.version and large.task_id = tasks.id "
            f"and tasks.status in {ENDED_SQL}"
        )
        return f"(select {columns} from ({whole}))"

    def sums(self, table: str, where: str = "true") -> Sums:
        """Return the sums of the rows that meet a condition, as they are at their new home."""
        found = Sums()
        source = self.source(table, where)
        found.add(table, self._ask(sums("duckdb", table, shape()[table], source)))
        return found

    def counts(self, table: str) -> dict[int, int]:
        """Return how many rows have numbers near each other."""
        return dict(self._ask(counts(table)))

    def numbers(self, table: str, place: int) -> list[int]:
        """Return the numbers of the rows at one of those places."""
        return [seq for (seq,) in self._ask(f"select seq from {table} where {near(place)}")]

    def hours(self) -> dict[Any, int]:
        """Return how many lines were logged, by hour."""
        return dict(self._ask(hourly("task_logs")))

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def near(place: int) -> str:
    """Return the condition for the rows at a place of :func:`counts`."""
    return f"seq between {place << NUMBER_BITS} and {((place + 1) << NUMBER_BITS) - 1}"


def hour_of(table: str, hour: Any) -> str:
    """Return the condition for the rows of an hour, in both dialects."""
    at = TIME[table]
    return f"{at} >= timestamp '{hour}' and {at} < timestamp '{hour}' + interval '1 hour'"


def hourly(table: str) -> str:
    """Return the question how many rows a table has, by hour."""
    return f"select date_trunc('hour', {TIME[table]}), count(*) from {table} group by 1"


def _clean(table: str, name: str, kind: str) -> str:
    if kind != "VARCHAR":
        return name
    text = _NUL.format(name)
    if (table, name) == ("transitions", "data"):
        text = f"case when contains({name}, '\\u0000') then {readable(text)} else {text} end"
    return f"{text} as {name}"


def readable(text: str) -> str:
    """Return the expression for JSON without escaped NUL."""
    return _JSON_NUL.format(_JSON_NUL.format(text))


def _escaped(name: str) -> str:
    text = f"cast({name} as varchar)"
    for sign, escaped in _ESCAPED:
        text = f"replace({text}, {sign}, {escaped})"
    return rf"coalesce({text}, '\N')"
