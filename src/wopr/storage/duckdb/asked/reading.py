"""Run one text of people's: checked first, in a read-only transaction, with a bounded answer."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from wopr.domain.errors import QueryError
from wopr.domain.jsontext import safe_text, shown
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb.asked.functions import check_functions, scales
from wopr.storage.duckdb.asked.nested import bounded, is_nested
from wopr.storage.duckdb.asked.pivot import with_values
from wopr.storage.duckdb.asked.shape import shape_of
from wopr.storage.duckdb.asked.weight import NOTHING, Weight
from wopr.storage.duckdb.asked.whole import has_large_results, show_whole

_OPTION = r"\s*(?:analyze(?:\s+(?:true|false))?|format\s+'?\w+'?)\s*"
_EXPLAIN = re.compile(
    rf"\s*explain\b(?:\s+analyze\b|\s*\({_OPTION}(?:,{_OPTION})*\))?", re.IGNORECASE
)
_OPTIONS = re.compile(r"\s*\(\s*(?:format|analyze|verbose|codegen|statistics)\b", re.IGNORECASE)
_READS = re.compile(r"[\s(]*(?:select|with|from|pivot|pivot_wider)\b", re.IGNORECASE)
_FIRST_WORD = re.compile(r"\W*(\w+)")
_BATCH = 2_000
_VECTOR = 2_048
"""Rows that DuckDB makes at once."""
_VALUE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """A text that may be run."""

    simple: bool
    """Whether to plan it is cheap for sure."""
    endless: bool
    """Whether it has to run where it can be killed: it calls what DuckDB can't stop, or its tree
    is not that of all it does."""
    weight: Weight
    """What it makes of the values that are there: with long ones it has to run there, too."""


def check(cursor: duckdb.DuckDBPyConnection, sql: str) -> Checked:
    """Parse a text, if it is of a size that can be parsed, and look at what it would do.

    Raises:
        QueryError: it is none that people may run.
    """
    if not isinstance(sql, str) or "\x00" in sql:
        raise QueryError(f"A query is a text without NUL characters, not {shown(sql)}.")
    shape = shape_of(sql)
    tree, whole = parse(cursor, sql)
    endless = check_functions(cursor, tree) or not whole
    try:
        weight = scales(cursor).weigh(tree["statements"][0]["node"])
    except RecursionError:
        return Checked(shape.simple, endless=True, weight=NOTHING)
    return Checked(shape.simple, endless, weight)


def parse(cursor: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, bool]:
    """Return the tree of the one statement, and whether it is that of all it does.

    Other threads go on meanwhile.
    """
    explain = _EXPLAIN.match(sql)
    text = sql if explain is None else sql[explain.end() :]
    if explain is not None and _OPTIONS.match(text):
        raise QueryError(
            "EXPLAIN takes these options here: EXPLAIN (FORMAT json) SELECT …, also text, html, "
            "yaml, graphviz or mermaid, and EXPLAIN (ANALYZE, FORMAT json) SELECT …, which runs it "
            "and says how long each part took."
        )
    tree, whole = _tree(cursor, text), True
    if tree["error"] and tree["error_type"] != "not implemented":
        raise QueryError(f"The query can't be parsed: {tree['error_message']}")
    if tree["error"] and _READS.match(text) and (named := with_values(text)) is not None:
        tree, whole = _tree(cursor, named), False
        if tree["error"]:
            raise QueryError(
                "This PIVOT can't be checked, so it was not run. Name its values, PIVOT tasks ON "
                "status IN ('failed', 'success') USING count(*), or make what it is ON a column "
                "first: PIVOT (SELECT …) ON a_column USING count(*)."
            )
    if tree["error"]:
        word = _FIRST_WORD.match(text)
        raise QueryError(
            "Only SELECT and EXPLAIN can be run here, one statement at a time; this begins with "
            f"{word[1].upper()[:40] if word else shown(text)}. Tasks are changed with cancel_task, "
            "retry_task and cleanup_old_tasks."
        )
    if len(tree["statements"]) != 1:
        count = len(tree["statements"])
        raise QueryError(f"One statement at a time, please: this text has {count}.")
    return tree, whole


def _tree(cursor: duckdb.DuckDBPyConnection, text: str) -> Any:
    try:
        [(answer,)] = cursor.execute("select json_serialize_sql($1)", [text]).fetchall()
        return json.loads(answer)
    except duckdb.Error as error:
        raise QueryError(f"The query can't be parsed: {error}") from error
    except RecursionError as error:
        raise QueryError(
            "The query was not run, because its parts are nested too deeply, or it joins too many "
            "tables. Ask in several queries."
        ) from error


def run(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    params: Sequence[Any],
    limits: QueryLimits,
) -> QueryRows:
    """Run a text that was checked, over the tables and the archive.

    The read-only transaction is what protects the data, whatever the check thinks of it. What
    lacks memory is run once more, with large results in portions: that takes longer.

    Raises:
        QueryError: DuckDB refuses it, or was interrupted.
    """
    try:
        return _run(cursor, sql, params, limits, portioned=False)
    except QueryError as error:
        if limits.own or not isinstance(error.__cause__, duckdb.OutOfMemoryException):
            raise
        if not has_large_results(cursor):
            raise
    return _run(cursor, sql, params, limits, portioned=True)


def _run(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    params: Sequence[Any],
    limits: QueryLimits,
    *,
    portioned: bool,
) -> QueryRows:
    with _reading(cursor):
        if limits.whole or not limits.own:
            show_whole(cursor, limits.archive, limits.since, portioned=portioned)
        cursor.execute(sql, list(params))
        columns = tuple(column[0] for column in cursor.description or ())
        nested = is_nested(cursor.description) and not limits.own
        if nested:
            cursor.execute(bounded(cursor, sql), list(params))
        return _fetch(cursor, columns, limits, 1 if nested else _BATCH)


@contextlib.contextmanager
def reader(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any], archive: Path | None = None
) -> Iterator[Any]:
    """Give the answer to a text that was checked: Arrow batches, made as they are read.

    Raises:
        QueryError: DuckDB refuses it, or was interrupted.
    """
    with _reading(cursor):
        show_whole(cursor, archive, portioned=True)
        answer = cursor.sql(sql, params=list(params))
        try:
            yield answer.to_arrow_reader(_VECTOR)
        except (QueryError, MemoryError, duckdb.Error):
            raise
        except Exception as error:  # what Arrow makes of DuckDB's errors while it is read
            raise QueryError(f"The query failed: {safe_text(error)}") from error


@contextlib.contextmanager
def _reading(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have a transaction that only reads; what goes wrong in it is told as a QueryError."""
    try:
        _begin(cursor)
        try:
            yield
        finally:
            cursor.execute("rollback")
    except (QueryError, MemoryError):
        raise
    except duckdb.OutOfMemoryException as error:
        raise QueryError(
            f"The query failed for want of memory: {str(error).partition(chr(10))[0]}. Ask for "
            "less at once, or allow more with WOPR_TASKS_MEMORY_LIMIT: that of the owner of the "
            "file counts for queue.sql, and that of the process that asks for queue.typed_sql, "
            "wopr sql and limit=None."
        ) from error
    except duckdb.Error as error:
        raise QueryError(f"The query failed: {error}") from error
    except Exception as error:
        raise QueryError(f"The query's parameters can't be used: {safe_text(error)}") from error


def _begin(cursor: duckdb.DuckDBPyConnection) -> None:
    """Begin a transaction, also where the rollback of the last one found no memory."""
    try:
        cursor.execute("begin transaction read only")
    except duckdb.TransactionException:
        cursor.execute("rollback")
        cursor.execute("begin transaction read only")


def _fetch(
    cursor: duckdb.DuckDBPyConnection, columns: tuple[str, ...], limits: QueryLimits, most: int
) -> QueryRows:
    """Return the rows up to the limits, and one of any size: fetched by as many as will fit."""
    if cursor.description is None:
        return QueryRows((), [])
    rows: list[tuple[Any, ...]] = []
    size, batch = 0, 1
    while len(rows) <= limits.rows:
        some = cursor.fetchmany(min(batch, limits.rows + 1 - len(rows)))
        if not some:
            return QueryRows(columns, rows)
        for row in some:
            size += sum(map(_weight, row))
            if size > limits.bytes and rows:
                return QueryRows(columns, rows, Cut.BYTES)
            rows.append(row)
        batch = min(max(1, (limits.bytes - size) * len(rows) // (size + 1)), 2 * batch, most)
    return QueryRows(columns, rows[: limits.rows], Cut.ROWS)


def _weight(value: Any) -> int:
    """Return about how many bytes a value takes."""
    if isinstance(value, str | bytes):
        return _VALUE_BYTES + len(value)
    if isinstance(value, list | tuple):
        return _VALUE_BYTES + sum(map(_weight, value))
    if isinstance(value, dict):
        return _VALUE_BYTES + sum(map(_weight, value.keys())) + sum(map(_weight, value.values()))
    return _VALUE_BYTES
