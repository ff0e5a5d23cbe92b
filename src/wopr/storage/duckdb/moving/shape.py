"""Which columns the tables have that move."""

from __future__ import annotations

from functools import cache

from wopr.storage.duckdb.file import layout, migrate
from wopr.storage.moving.tables import TABLES, Columns


@cache
def shape() -> dict[str, Columns]:
    """Return the columns of each table that moves, as the newest schema has them."""
    script = (migrate.directory() / "head.sql").read_text(encoding="utf-8")
    found = layout.columns(script)
    return {table: found[table] for table in TABLES}
