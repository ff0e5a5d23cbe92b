"""What a file may hold, so that nothing runs in it but what wopr means to run.

A view in the place of a table, a macro in that of a function, a trigger, a default that is an
expression: all of them are code of whoever wrote the file. They are looked for before anything
else is asked, with functions that are named in full, for which nothing in the file can stand in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb

from wopr.domain.errors import SchemaError
from wopr.domain.jsontext import shown

TABLES = (
    "tasks",
    "transitions",
    "results",
    "schedules",
    "rules",
    "task_logs",
    "refused_records",
    "meta",
)
VERSION_TABLE = "alembic_version"

_NAME = re.compile(r"\w{1,60}")
_CALL = re.compile(r'(\w+)"?\s*\(')
_MOST = 5
_HARMLESS = {"json_each", "json_tree", "unnest"}
"""Tables made of a value."""
_CONSTANT = re.compile(
    r"""NULL|true|false|-?[0-9.]+|'([^']|'')*'|CAST\('([^']|'')*' AS "?\w+"?\)""", re.IGNORECASE
)

_TELLING = {
    *("current_connection_id", "current_query", "current_query_id", "current_transaction_id"),
    *("currval", "error", "gen_random_uuid", "random", "stats", "uuid", "uuidv4", "uuidv7"),
    "vector_type",
}
"""Functions whose answer differs from call to call, and that change nothing by it."""

_acting: set[str] = set()
"""Functions of DuckDB that read, write or set something: they only give tables, or are called
volatile."""

Column = tuple[str, str, str | None]
"""Its name, its type and its default, or how it is generated."""


def refuse_code(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise if the file holds something that runs when its tables are used, or its views.

    Raises:
        SchemaError: It does: what has to be a table is a view, for example.

    """
    found = sorted({*_code_of_functions_and_views(connection), *_code_of_tables(connection)})
    if found:
        more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise SchemaError(
            f"{path} is not opened: it holds {', '.join(found[:_MOST])}{more}. wopr makes no such "
            f"thing, and it would run as soon as the file is used. Nothing of it was run, and "
            f"nothing was changed. Who wrote this file? If you made that yourself, drop it with "
            f"the duckdb command line; else set WOPR_TASKS_DATABASE to another file."
        )


def _code_of_functions_and_views(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for name in _functions(connection):
        yield f"the function {plain(name)}"
    for name, sql in _views(connection):
        if name in TABLES or name == VERSION_TABLE:
            yield f"a view in the place of the table {name}"
        for function in {*_CALL.findall(sql)} & (_acting - _HARMLESS):
            yield f"{function}() in the view {plain(name)}"


def _functions(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the functions that the file holds.

    DuckDB tells them with its own 3,000 only, which takes 15 ms: the first time, both are taken.
    """
    known = "WHERE NOT internal" if _acting else ""
    rows = connection.execute(
        "SELECT function_name, function_type, internal, stability = 'VOLATILE' OR has_side_effects "
        f"FROM system.main.duckdb_functions() {known}"
    ).fetchall()
    if not _acting:  # they are the same for every file
        kinds: dict[str, set[str]] = defaultdict(set)
        for name, kind, internal, _ in rows:
            if internal:
                kinds[name].add(kind)
        _acting.update(name for name, found in kinds.items() if found == {"table"})
        acting = {name for name, kind, internal, acts in rows if internal and acts}
        _acting.update(acting - _TELLING)
    return [name for name, _, internal, _ in rows if not internal]


def _code_of_tables(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    ask = connection.execute
    for (name,) in ask("SELECT trigger_name FROM system.main.duckdb_triggers()").fetchall():
        yield f"the trigger {plain(name)}"
    for name, of in ask(
        "SELECT index_name, expressions FROM system.main.duckdb_indexes()"
    ).fetchall():
        if "'(" in of:
            yield f"an expression in the index {plain(name)}"
    for name, kind in ask(
        "SELECT table_name, constraint_type FROM system.main.duckdb_constraints()"
    ).fetchall():
        if kind == "CHECK":
            yield f"a check in the table {plain(name)}"
    for table, columns in _columns(connection):
        for name, _, default in columns:
            if default is not None and not _CONSTANT.fullmatch(default):
                yield f"an expression for {plain(table)}.{plain(name)}"


def plain(name: str) -> str:
    """Return a name that stands in the file as it can be shown: somebody else chose it."""
    return name if _NAME.fullmatch(name) else shown(name)


def tables(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the columns of each table and their types, in order; a view has none."""
    found: dict[str, dict[str, str]] = {name: {} for name, _ in _views(connection)}
    for table, columns in _columns(connection):
        found[table] = {name: kind for name, kind, _ in columns}
    found.pop(VERSION_TABLE, None)
    return dict(sorted(found.items()))


def shape(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return what a file of wopr consists of: its columns, indexes and views, and what each is."""
    found = {f"view {plain(name)}": "a view" for name, _ in _views(connection)}
    for schema, table in _tables(connection):
        for name, kind, must, default, key in connection.execute(
            'SELECT name, type, "notnull", dflt_value, pk FROM system.main.pragma_table_info(?)',
            [_quoted(schema, table)],
        ).fetchall():
            words = [kind, *["NOT NULL"] * must, *["PRIMARY KEY"] * key]
            words += [] if default is None else ["DEFAULT", default]
            found[f"column {plain(table)}.{plain(name)}"] = " ".join(words)
    for name, of in connection.execute(
        "SELECT index_name, expressions FROM system.main.duckdb_indexes()"
    ).fetchall():
        found[f"index {plain(name)}"] = str(of)
    return found


def _views(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    rows = connection.execute(
        "SELECT view_name, sql FROM system.main.duckdb_views() WHERE NOT internal"
    ).fetchall()
    return [(name, sql) for name, sql in rows]


def _columns(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, list[Column]]]:
    """Give each table with its columns.

    Not from ``duckdb_columns()``: it looks into the views too, which runs a part of them.
    """
    for schema, table in _tables(connection):
        columns = connection.execute(
            "SELECT name, type, dflt_value FROM system.main.pragma_table_info(?)",
            [_quoted(schema, table)],
        ).fetchall()
        yield table if schema == "main" else f"{schema}.{table}", columns


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT schema_name, table_name FROM system.main.duckdb_tables()"
    ).fetchall()


def _quoted(schema: str, table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
