"""How a DuckDB file is connected to: the only place where that happens.

Whoever wrote the file is not trusted with what its SQL does: nothing outside of the database
can be read, written or loaded, and no setting changes that, before its first byte is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.file.files import LOG_SUFFIXES

Settings = dict[str, str | bool | int | float | list[str]]
"""What ``duckdb.connect`` takes as its configuration."""

_SETTINGS = (
    # Strings of more than 4 kB would be compressed with it, and reading one of them back
    # takes the memory of the 2,048 around it: with payloads of 100 kB more than the limit.
    # Where it is noted with roaring bitmaps which values are missing, no row can be read
    # without those either.
    "SET disabled_compression_methods = 'zstd,roaring'",
    # A checkpoint would merge the rows that came last with those before them, again and
    # again: of 64 MB that were added it wrote up to 719, and ran out of memory over large
    # payloads. Without it one writes what was added. Row groups are given free when all
    # their rows are deleted; what is left of the others is wopr compact's.
    "SET max_vacuum_tasks = 0",
    # Times in the file are UTC without a zone. With the zone of the machine, now() and aware
    # parameters of a query would be compared with them off by that zone.
    "SET GLOBAL TimeZone = 'UTC'",
    "SET lock_configuration = true",
)


def settings(memory_limit: str | None) -> Settings:
    """Return the configuration of every connection, without what keeps it in its file.

    One DuckDB instance has one configuration, so all of it is given here. There
    are no threads of its own: the embedding process has its own use for the
    cores, and threads do not survive a fork.
    """
    found: Settings = {
        "threads": 1,
        "async_threads": 0,
        "wal_autocheckpoint": "16GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
    }
    return found if memory_limit is None else found | {"memory_limit": memory_limit}


def connect(
    path: Path,
    memory_limit: str | None = None,
    *,
    read_only: bool = False,
    reach: Sequence[Path] = (),
) -> duckdb.DuckDBPyConnection:
    """Connect to one file; closing the connection never writes by itself.

    What needs more memory than allowed is spilled to ``<file>.tmp``, as DuckDB does by itself.

    Args:
        path: the file, made if it is missing.
        memory_limit: DuckDB's; ``None`` leaves it most of the machine's.
        read_only: whether nothing may be written.
        reach: directories whose files can be read and written too. Only for a file that was
            opened without them before, and whose content was looked at.
    """
    config = settings(memory_limit)
    first = "PRAGMA disable_checkpoint_on_shutdown"
    if reach:  # can't be said before the file is open
        first = f"{_fence(reach)}; {first}"
    else:
        config["enable_external_access"] = "false"
    return _connected(str(path), config, first, read_only=read_only)


def _fence(directories: Sequence[Path]) -> str:
    found = ", ".join(map(quoted, directories))
    return f"SET allowed_directories = [{found}]; SET enable_external_access = false"


def connect_to_copy(old: Path, new: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Connect to no file yet; ``old`` and what lies in the folder of ``new`` can be attached."""
    config = settings(memory_limit) | {"temp_directory": str(beside(new, ".tmp"))}
    files = ", ".join(quoted(beside(old, suffix)) for suffix in ("", *LOG_SUFFIXES))
    fence = f"SET allowed_paths = [{files}]; {_fence([new.parent])}"
    return _connected(":memory:", config, fence)


def quoted(text: str | Path) -> str:
    """Return a text as a value in SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def _connected(
    database: str, config: Settings, first: str, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(database, read_only=read_only, config=config)
    try:
        connection.execute("; ".join((first, *_SETTINGS)))
    except BaseException:
        connection.close()  # else the error's traceback keeps a broken database alive
        raise
    return connection
