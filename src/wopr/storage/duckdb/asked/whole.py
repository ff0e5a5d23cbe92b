"""What people ask, in place of the tables: large results where they belong, and the archive.

Views of their names, for one transaction; the views of the file, such as ``latency``, are then
made of them too.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb

from wopr.storage.duckdb.asked.portioned import in_portions
from wopr.storage.duckdb.parquet import again
from wopr.storage.duckdb.parquet.archived import source
from wopr.storage.duckdb.parquet.layout import KINDS, Kind, days

_WITH_RESULTS = """
select one.* replace (coalesce(one.result, apart.result) as result)
from {database}.main.tasks as one
left join {database}.main.results as apart on apart.seq = one.version
"""
_VIEW = "create temp view {table} as {rows}"
_AND_ARCHIVED = """
union all
select {columns}
from {archived} as old
anti join {database}.main.tasks as new on new.id = old.{task}
"""
"""A task that is in both, for a moment or because a backup was put back, is the one of the file."""
_NOT_AGAIN = "anti join {again} as twice on twice.id = old.{task}\n"
_AND_ONCE = """
union all
select {columns}
from ({once} from {archived} where {task} in (select id from {again}) {last}) as old
anti join {database}.main.tasks as new on new.id = old.{task}
"""
"""What was archived twice is told once: a task as it ended last, and each row of its history."""
_LAST = "qualify row_number() over (partition by id order by version desc) = 1"


def show_whole(
    cursor: duckdb.DuckDBPyConnection,
    archive: Path | None,
    since: date | None = None,
    *,
    portioned: bool,
) -> None:
    """Let the tables have all that belongs to them until the transaction ends.

    Only if there is more: DuckDB reads a table with fewer columns, and rows, than a join. Of the
    archive all rows count, or those from a day on.
    """
    apart = has_large_results(cursor)
    [(name,)] = cursor.execute("select current_database()").fetchall()
    database = '"' + name.replace('"', '""') + '"'
    views = []
    for kind in KINDS:
        rows = f"select * from {database}.main.{kind.table}"
        joined = apart and kind.table == "tasks"
        if joined and portioned:
            rows = in_portions(cursor, database)
        elif joined:
            rows = _WITH_RESULTS.format(database=database)
        archived = None if archive is None else _archived(cursor, archive, since, kind, database)
        if archived is not None or joined:
            views.append(_VIEW.format(table=kind.table, rows=rows + (archived or "")))
    for view in views:
        cursor.execute(view).fetchall()


def has_large_results(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether some results lie apart from their tasks."""
    return bool(cursor.execute("select 1 from results limit 1").fetchall())


def _archived(
    cursor: duckdb.DuckDBPyConnection, archive: Path, since: date | None, kind: Kind, database: str
) -> str | None:
    table = f"{database}.main.{kind.table}"
    only = None if since is None else [one for one in days(archive, kind) if one >= str(since)]
    found = source(archive, kind, only, table)
    if found is None:
        return None
    cursor.execute(f"from {table} limit 0")
    columns = ", ".join(f"old.{column[0]}" for column in cursor.description or ())
    words = {"columns": columns, "archived": found, "database": database, "task": kind.task}
    rows = _AND_ARCHIVED.format(**words)
    twice = again.source(archive)
    if twice is None:
        return rows
    last = _LAST if kind.table == "tasks" else ""
    once = "select *" if last else "select distinct *"
    return rows + (_NOT_AGAIN + _AND_ONCE).format(**words, again=twice, once=once, last=last)
