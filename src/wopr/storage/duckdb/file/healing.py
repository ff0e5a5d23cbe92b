"""Put blocks back that a checkpoint was overwriting when it was cut short.

Nothing is written before the file as it was found has been copied aside.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from wopr.domain.clock import Clock
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.disk import beside, sync, sync_directory, write_all
from wopr.storage.duckdb.file.blocks import (
    HEADERS_SIZE,
    SLOT_SIZE,
    Headers,
    is_whole,
    read_headers,
)
from wopr.storage.duckdb.file.files import copy_database, free_name
from wopr.storage.duckdb.file.saved import SUFFIX, Saved, unpack
from wopr.storage.duckdb.private import create_own, open_as_is, read_own

log = logging.getLogger(__name__)


def heal(path: Path, clock: Clock) -> bool:
    """Repair what a checkpoint that was cut short tore; return whether there was anything.

    Our lock must be held, and nobody may have the file open: the file is opened and closed.
    May itself be cut short, and called again.

    Raises:
        StorageFileError: It can't be repaired, because there is no room to set a copy aside.
        OSError: The file can't be read or written.

    """
    saved = _read_saved(path)
    if saved is None:
        return False
    try:
        descriptor = open_as_is(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        content = os.pread(descriptor, HEADERS_SIZE, 0)
        headers = read_headers(content)
        if headers is None or not saved.belongs_to(content, headers):
            return False  # the checkpoint was completed, or it is the copy of another file
        torn = _torn_blocks(descriptor, saved)
        if not torn and headers.torn is None:
            return False
        copy = _set_aside(path, descriptor, saved, clock)
        _put_back(descriptor, saved, headers)
    finally:
        os.close(descriptor)
    _report(path, saved, torn, headers, copy)
    return True


def _read_saved(path: Path) -> Saved | None:
    try:
        with read_own(beside(path, SUFFIX)) as file:
            saved = unpack(file.read())
    except FileNotFoundError:
        return None
    if saved is not None and all(map(is_whole, saved.blocks.values())):
        return saved
    return None


def _torn_blocks(descriptor: int, saved: Saved) -> list[int]:
    """Return the blocks that are neither as they were nor wholly written anew."""
    headers = saved.headers
    torn = []
    for block, before in saved.blocks.items():
        found = os.pread(descriptor, headers.block_size, headers.offset(block))
        if found != before and (len(found) < headers.block_size or not is_whole(found)):
            torn.append(block)
    return torn


def _put_back(descriptor: int, saved: Saved, headers: Headers) -> None:
    """Bring the file into the state that was saved, durably: one block may need the others."""
    for block, before in saved.blocks.items():
        write_all(descriptor, before, saved.headers.offset(block))
    if headers.torn is not None:
        before = saved.content[headers.torn : headers.torn + SLOT_SIZE]
        write_all(descriptor, before, headers.torn)
    sync(descriptor)


def _set_aside(path: Path, descriptor: int, saved: Saved, clock: Clock) -> Path:
    """Copy the file as it was found; only what will be overwritten when there is no room for it."""
    name = f"{path.name}.quarantine-{clock.now():%Y%m%dT%H%M%SZ}"
    try:
        return copy_database(path, name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
    target = free_name(path.with_name(name + SUFFIX))
    try:
        _keep(target, _as_found(descriptor, saved))
    except OSError as error:
        raise StorageFileError(
            f"{path} was being written when its process or the machine stopped, and has to be "
            f"repaired from {path.name}{SUFFIX}. There is no room for a copy of what would be "
            f"overwritten: {error}. Nothing was changed. Free some space on the disk, then start "
            f"again."
        ) from error
    return target


def _as_found(descriptor: int, saved: Saved) -> bytes:
    headers = saved.headers
    size = headers.block_size
    blocks = {
        block: os.pread(descriptor, size, headers.offset(block)).ljust(size, b"\0")
        for block in saved.blocks
    }
    return Saved(os.pread(descriptor, HEADERS_SIZE, 0), headers, blocks).pack()


def _keep(target: Path, content: bytes) -> None:
    descriptor = create_own(target)
    try:
        write_all(descriptor, content, 0)
        sync(descriptor)
    except BaseException:
        target.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_directory(target.parent)


def _report(path: Path, saved: Saved, torn: list[int], headers: Headers, copy: Path) -> None:
    parts = [f"block {block}" for block in torn]
    if headers.torn is not None:
        parts.append(f"the header at byte {headers.torn}")
    log.warning(
        "A checkpoint of %s was cut short while it wrote %s, as it happens when a process is "
        "killed or the power goes; DuckDB would not open the file. It was put back to where it "
        "stood before, checkpoint %d, from %s; nothing is lost, the log has the rest. As it was "
        "found: %s; delete that when all is well.",
        path,
        " and ".join(parts),
        saved.headers.iteration,
        beside(path, SUFFIX).name,
        copy,
    )
