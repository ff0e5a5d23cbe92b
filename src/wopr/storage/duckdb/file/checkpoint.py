"""Make checkpoints that can be cut short at any byte.

DuckDB writes blocks with metadata anew in place while the durable header of the file still
points to them: torn there, the file does not open. So the blocks that a checkpoint
may overwrite, which are those with metadata and free room, are first saved beside the
file and synced. :func:`wopr.storage.duckdb.file.healing.heal` puts them back.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.disk import beside, sync, sync_directory, write_all, write_synced
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, Headers, read_headers
from wopr.storage.duckdb.file.saved import SUFFIX, VOID, Saved
from wopr.storage.duckdb.file.wal import read_wal
from wopr.storage.duckdb.private import open_own

log = logging.getLogger(__name__)

_METADATA = "SELECT block_id, free_blocks FROM pragma_metadata_info()"


def checkpoint(connection: duckdb.DuckDBPyConnection, path: Path, descriptor: int) -> int | None:
    """Write everything committed into the file; return the iteration that is durable then.

    The iteration does not rise when there was nothing to write. ``None``: the file is of a
    format that wopr does not know, DuckDB reported success, and nothing else is known.

    Args:
        connection: the connection that writes, without an open transaction.
        path: the database file.
        descriptor: the file, open for reading for as long as DuckDB has it. Closing any
            descriptor of it drops DuckDB's lock, so it is not opened here.

    Raises:
        duckdb.Error: DuckDB could not make it. When that is fatal, :func:`heal` has to
            come before the file is opened again.
        StorageFileError: The blocks can't be saved, so that nothing was begun; or DuckDB
            reported success, but the file does not hold everything.

    """
    content = os.pread(descriptor, HEADERS_SIZE, 0)
    before = read_headers(content)
    if before is None:
        _warn(path)
        connection.execute("CHECKPOINT")
        return None
    saved = _read_blocks(connection, descriptor, content, before)
    with _kept(path, saved) as kept:
        connection.execute("CHECKPOINT")
        after = read_headers(os.pread(descriptor, HEADERS_SIZE, 0))
        if after is None or after.torn is not None or after.iteration <= before.iteration:
            _refuse_if_log_holds_commits(path, before, after)
        with suppress(OSError):  # the iteration says the same
            os.pwrite(kept, VOID, 0)
    return before.iteration if after is None else after.iteration


def overwritten(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Return the blocks that the next checkpoint may write anew in place."""
    return [block for block, free in connection.execute(_METADATA).fetchall() if free]


def forget(path: Path) -> None:
    """Remove what the last checkpoint saved; after a clean close nobody needs it."""
    with suppress(OSError):  # one that stays belongs to a checkpoint that is over
        beside(path, SUFFIX).unlink(missing_ok=True)


def _read_blocks(
    connection: duckdb.DuckDBPyConnection, descriptor: int, content: bytes, headers: Headers
) -> Saved:
    blocks: dict[int, bytes] = {}
    for block in overwritten(connection):
        found = os.pread(descriptor, headers.block_size, headers.offset(block))
        if len(found) == headers.block_size:  # else it is new, and not in the file yet
            blocks[block] = found
    return Saved(content, headers, blocks)


@contextmanager
def _kept(path: Path, saved: Saved) -> Iterator[int]:
    """Keep the blocks beside the file, durably; give the descriptor of what holds them."""
    name = beside(path, SUFFIX)
    try:
        descriptor = open_own(name, os.O_RDWR | os.O_CREAT)
        try:
            content, size = saved.pack(), os.fstat(descriptor).st_size
            if size == 0:
                sync_directory(path.parent)  # a file with content has its name on disk already
            if size < len(content):
                write_all(descriptor, content, 0)
                sync(descriptor)
            else:
                write_synced(descriptor, content, 0)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StorageFileError(
            f"No checkpoint of {path} was made: the {len(saved.blocks)} blocks that it would "
            f"overwrite can't be saved to {name}: {error}. Nothing is lost, the log keeps "
            f"everything until a checkpoint succeeds. Check the free space of the disk and the "
            f"permissions of that file."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_if_log_holds_commits(path: Path, before: Headers, after: Headers | None) -> None:
    """Raise unless there was nothing to write, the one reason for an iteration to stay."""
    wal = beside(path, ".wal")
    report = read_wal(wal)
    empty = report is None or (report.header == "ok" and not report.commits and not report.rest)
    if empty and after == before:
        return
    found = "can't be read any more" if after is None else f"has iteration {after.iteration}"
    raise StorageFileError(
        f"DuckDB reported a checkpoint of {path} as done, but it is not: the file had iteration "
        f"{before.iteration}, its header {found}, and the log {wal.name} has "
        f"{0 if report is None else report.size} bytes. Nothing was dropped. Check the disk, "
        f"then restart; the blocks that were overwritten are in {path.name}{SUFFIX}."
    )


def _warn(path: Path) -> None:
    log.warning(
        "%s has a format of DuckDB that this wopr does not know (duckdb %s): a checkpoint that is "
        "cut short by a kill or a power cut may leave a file that does not open. Upgrade wopr "
        "(pip install --upgrade wopr), or install the duckdb that it was made for.",
        path,
        duckdb.__version__,
    )
