"""How a wopr file is connected to: with which settings, and none of the user's."""

from __future__ import annotations

from pathlib import Path

import duckdb

from wopr.storage.duckdb.disk import beside

Settings = dict[str, str | bool | int | float | list[str]]
"""What ``duckdb.connect`` takes as its configuration."""


def settings(path: Path, memory_limit: str) -> Settings:
    """Return the configuration of every connection to a wopr file.

    One DuckDB instance has one configuration, so all of it is given here. There
    are no threads of its own: the embedding process has its own use for the
    cores, and threads do not survive a fork.
    """
    return {
        "threads": 1,
        "async_threads": 0,
        "memory_limit": memory_limit,
        "temp_directory": str(beside(path, ".tmp")),
        "wal_autocheckpoint": "16GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
    }


def connect(path: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Connect with wopr's settings; closing the connection never writes by itself."""
    connection = duckdb.connect(str(path), config=settings(path, memory_limit))
    try:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        # Not in the configuration: DuckDB applies that in no fixed order, and then refuses
        # temp_directory about every second time.
        connection.execute("SET enable_external_access = false")
        # Strings of more than 4 kB would be compressed with it, and reading one of them back
        # takes the memory of the 2,048 around it: with payloads of 100 kB more than the limit.
        # Where it is noted with roaring bitmaps which values are missing, no row can be read
        # without those either.
        connection.execute("SET disabled_compression_methods = 'zstd,roaring'")
        # A checkpoint would merge the rows that came last with those before them, again and
        # again: of 64 MB that were added it wrote up to 719, and ran out of memory over large
        # payloads. Without it one writes what was added. Row groups are given free when all
        # their rows are deleted; what is left of the others is wopr compact's.
        connection.execute("SET max_vacuum_tasks = 0")
        # Times in the file are UTC without a zone. With the zone of the machine, now() and aware
        # parameters of a query would be compared with them off by that zone.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    except BaseException:
        connection.close()  # else the error's traceback keeps a broken database alive
        raise
    return connection
