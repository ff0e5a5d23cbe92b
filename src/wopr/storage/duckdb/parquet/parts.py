"""Rows of the tables as Parquet files, each of them a part that fits in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from wopr.storage.duckdb.failures import lacks_memory
from wopr.storage.duckdb.file.connecting import quoted
from wopr.storage.duckdb.parquet.layout import KINDS, Kind
from wopr.storage.duckdb.wide import Chunks

Connection = duckdb.DuckDBPyConnection

PART_ROWS = 100_000
_CHOSEN = "create or replace temp table chosen as select unnest(?::uuid[]) as id"
_WHOLE = """
select one.* replace (coalesce(one.result, apart.result) as result)
from (select * from tasks where {which}) as one
left join (select seq, result from results where {apart}) as apart on apart.seq = one.version
"""
_COPY = """
copy (select *, strftime({at}, '%Y-%m-%d') as day from ({rows})) to {folder}
(format parquet, compression zstd, partition_by (day), filename_pattern {name},
    overwrite_or_ignore true)
"""


def write(
    cursor: Connection, folder: Path, name: str, ids: Sequence[str] | None = None
) -> Mapping[str, int]:
    """Write the rows of some tasks, or all there are, and return how many, by folder.

    Args:
        cursor: of a database that does not change meanwhile, as far as these tasks go.
        folder: an empty directory of ours, which the connection can reach.
        name: what the names of the files begin with.
        ids: of the tasks.
    """
    if ids is not None:
        cursor.execute(_CHOSEN, [list(ids)]).fetchall()
    try:
        return {kind.folder: _Table(cursor, folder, name, kind, ids).write() for kind in KINDS}
    finally:
        if ids is not None:
            cursor.execute("drop table chosen").fetchall()


class _Table:
    """One table, which is written part by part."""

    def __init__(
        self, cursor: Connection, folder: Path, name: str, kind: Kind, ids: Sequence[str] | None
    ) -> None:
        self._cursor = cursor
        self._folder = folder / kind.folder
        self._name = name
        self._kind = kind
        self._some = "true" if ids is None else f"{kind.task} in (select id from chosen)"
        self._chunks = Chunks(PART_ROWS)
        self._after: Any = None

    def write(self) -> int:
        """Write all rows; return how many. Where memory does not suffice, in smaller parts."""
        total = number = 0
        while True:
            try:
                found = self._part()
                if found is None:
                    return total
                last, which = found
                number += 1
                total += self._copy(which, number)
            except duckdb.Error as error:
                if self._chunks.count == 1 or not lacks_memory(error):
                    raise
                self._chunks.failed()
                self._chunks = Chunks(self._chunks.count)
            else:
                self._after = last

    def _part(self) -> tuple[Any, str] | None:
        """Return the key of the last row of the next part, and which rows that are.

        A few rows are measured, then more of them, until there are as many as fit; fewer again
        if those that came now are larger.
        """
        kind, shrinks = self._kind, False
        where = self._some
        if self._after is not None:
            where += f" and {kind.key} > {_value(self._after)}"
        while True:
            count = self._chunks.count
            [(last, rows)] = self._cursor.execute(
                f"select max(key), count(*) from (select {kind.key} as key from {kind.table} "
                f"where {where} order by key limit {count})"
            ).fetchall()
            if not rows:
                return None
            which = f"{where} and {kind.key} <= {_value(last)}"
            if rows < count:
                return last, which
            self._chunks.read(rows, self._size(which))
            if self._chunks.count < count // 2:
                shrinks = True
            elif shrinks or self._chunks.count <= count:
                return last, which

    def _size(self, which: str) -> int:
        kind = self._kind
        texts = " + ".join(f"coalesce(strlen({one}), 0)" for one in kind.texts)
        size = self._number(f"select sum({texts}) from {kind.table} where {which}")
        if kind.table == "tasks":
            apart = self._apart(which)
            size += self._number(f"select sum(strlen(result)) from results where {apart}")
        return size

    def _apart(self, which: str) -> str:
        """Return where the large results of tasks are; in numbers, which DuckDB looks at first."""
        [(first, last)] = self._cursor.execute(
            f"select min(version), max(version) from tasks where {which}"
        ).fetchall()
        return f"seq between {first} and {last}"

    def _number(self, asked: str) -> int:
        [(found,)] = self._cursor.execute(asked).fetchall()
        return int(found or 0)

    def _copy(self, which: str, number: int) -> int:
        kind = self._kind
        rows = f"select * from {kind.table} where {which}"
        if kind.table == "tasks":
            rows = _WHOLE.format(which=which, apart=self._apart(which))
        copy = _COPY.format(
            at=kind.at,
            rows=rows,
            folder=quoted(self._folder),
            name=quoted(f"{self._name}-{number:04}-"),
        )
        [(count,)] = self._cursor.execute(copy).fetchall()
        return int(count)


def _value(key: Any) -> str:
    """Return a key, a number or an id, as it stands in SQL."""
    return str(key) if isinstance(key, int) else f"'{key}'::uuid"
