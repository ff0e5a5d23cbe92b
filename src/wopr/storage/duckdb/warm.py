"""A database file of rows that came from a server, to be asked once together with an archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wopr.storage.duckdb.failures import told
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.migrate import create_file
from wopr.storage.duckdb.moving.filling import rows_of


def made(path: Path, pages: Mapping[str, tuple[Path, int]], memory_limit: str) -> None:
    """Make the file in a folder that is the caller's; the pages are deleted.

    Args:
        path: of it.
        pages: by table: the rows as CSV, and the bytes of the longest.
        memory_limit: DuckDB's.

    Raises:
        StorageFileError: it can't be written.
    """
    create_file(path)
    with (
        told(f"{path} can't be written"),
        connect(path, memory_limit, reach=[path.parent]) as connection,
    ):
        for table, (page, longest) in pages.items():
            source = rows_of(table, page, longest)
            connection.execute(f"insert into {table} by name select * from {source}").fetchall()
            page.unlink()
        connection.execute("checkpoint")
