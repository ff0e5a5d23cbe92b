"""Mend a block that a checkpoint tore when nothing of it was saved: in a file of an older wopr.

A checkpoint changes only room in a block that the durable header does not need, so what
is needed of a torn block is right, and only its checksum is not. That is believed only
when DuckDB's log ends with the note that a checkpoint was under way, when the block is one
with metadata and free room, and when a copy of the file with the new checksum can be read
from end to end and is found in order. A bit that flipped without a checkpoint stays an error.
"""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import duckdb

from wopr.domain.clock import Clock
from wopr.storage.duckdb.disk import beside, sync, write_all
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, Headers, read_headers
from wopr.storage.duckdb.file.catalogue import refuse_code
from wopr.storage.duckdb.file.checkpoint import overwritten
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import LOG_SUFFIXES, copy_database, copy_private, workshop
from wopr.storage.duckdb.private import open_own, read_own

log = logging.getLogger(__name__)

_TORN = re.compile(
    r"computed checksum (\d+) does not match stored checksum \d+ in block at location (\d+)"
)
_UNDER_WAY = re.compile(rb"\x64\x00\x63\x65\x00.{0,60}\x64\x00\x64\xff\xff\Z", re.DOTALL)
_MOST = 64
"""A file with more torn blocks has another illness."""


def is_torn(error: duckdb.Error) -> bool:
    """Return whether DuckDB refused a file because of the checksum of a block."""
    return _TORN.search(str(error)) is not None


def mend(path: Path, clock: Clock, accept: Callable[[Path], bool]) -> bool:
    """Give torn blocks the checksum of what they hold, if that makes all of the file readable.

    Our lock must be held, and nobody may have the file open. Needs room for two copies.

    Args:
        path: the file, which DuckDB refuses.
        clock: names the copy that is kept of it.
        accept: examines a mended copy, which can be opened; it may write to it.

    Returns:
        Whether the file was mended. Otherwise it is as it was.

    Raises:
        OSError: There is no room for the copies, or the file can't be read or written.
    """
    if not _checkpoint_was_under_way(beside(path, ".wal")):
        return False
    with workshop(path) as copy:
        for suffix in ("", *LOG_SUFFIXES):
            if beside(path, suffix).exists():
                copy_private(beside(path, suffix), beside(copy, suffix))
        patches = _patched(copy)
        if not patches or not accept(copy):
            return False
    kept = copy_database(path, f"{path.name}.quarantine-{clock.now():%Y%m%dT%H%M%SZ}")
    _write(path, patches)
    log.warning(
        "A checkpoint of %s was cut short while it wrote (at byte %s), as it happens when a "
        "process is killed or the power goes, and the wopr that made it had saved no copy. Only "
        "the checksum there was wrong: with the right one, all of a copy could be read and is in "
        "order, so it was written into the file. As it was found: %s; delete that when all is "
        "well.",
        path,
        ", ".join(map(str, patches)),
        kept,
    )
    return True


def _checkpoint_was_under_way(wal: Path) -> bool:
    try:
        with read_own(wal) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 128))
            return _UNDER_WAY.search(file.read()) is not None
    except FileNotFoundError:
        return False


def _patched(copy: Path) -> dict[int, bytes]:
    """Patch a copy until all of it can be read; return what was written where, or nothing."""
    with read_own(copy) as file:
        headers = read_headers(file.read(HEADERS_SIZE))
    if headers is None or headers.torn is not None:
        return {}
    patches: dict[int, bytes] = {}
    while len(patches) < _MOST:
        try:
            with_room = _read_everything(copy)
        except duckdb.Error as error:
            found = _TORN.search(str(error))
            if found is None or int(found[2]) in patches or not _begins_block(headers, found[2]):
                return {}
            patches[int(found[2])] = struct.pack("<Q", int(found[1]))
            _write(copy, patches)
        else:
            starts = set(map(headers.offset, with_room))
            return patches if patches.keys() <= starts else {}
    return {}


def _begins_block(headers: Headers, position: str) -> bool:
    distance = int(position) - HEADERS_SIZE
    return distance >= 0 and distance % headers.block_size == 0


def _read_everything(copy: Path) -> list[int]:
    """Read each value of each table; return the blocks that a checkpoint may overwrite."""
    with connect(copy, read_only=True) as connection:
        refuse_code(connection, copy)
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        for (table,) in tables:
            connection.execute(f'SELECT sum(hash(t)) FROM "{table}" t').fetchall()
        return overwritten(connection)


def _write(path: Path, patches: dict[int, bytes]) -> None:
    descriptor = open_own(path, os.O_RDWR)
    try:
        for position, checksum in patches.items():
            write_all(descriptor, checksum, position)
        sync(descriptor)
    finally:
        os.close(descriptor)
