"""Read the segments that an earlier process left, and judge what is off about them."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.journal.format import (
    GROUP_MAGIC,
    START,
    BadHeaderError,
    Group,
    Header,
    is_begun,
    unpack_group,
    unpack_header,
)
from wopr.storage.duckdb.private import read_own

SUFFIX = ".journal-"
MOST_LOOKED_AT = 10_000
"""Names in a directory, when the original of a copy is looked for there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A segment as it was found."""

    path: Path
    size: int
    header: Header | None
    """``None`` if it is blank: prepared and never used."""
    end: int = START
    """Behind the last group that is whole."""
    last: int = 0
    """Position of the last record there."""
    torn: bool = False
    """Whether a group begins at ``end`` that is not whole."""
    later: bool = False
    """Whether a whole group lies behind it: then what is between them was damaged."""


def segments(database: Path) -> list[Path]:
    """Return the files of the journal of a database, in the order of their names."""
    pattern = re.compile(re.escape(database.name + SUFFIX) + r"([1-9][0-9]*)")
    found = (pattern.fullmatch(entry.name) for entry in os.scandir(database.parent))
    numbers = sorted(int(match[1]) for match in found if match)
    return [database.with_name(f"{database.name}{SUFFIX}{number}") for number in numbers]


def journal_elsewhere(database: Path, identity: bytes) -> tuple[Path, int] | None:
    """Return whose journal in the same directory is that of a copy, and its last record.

    The original of a copy that was made without its log may lie beside it.
    """
    pattern = re.compile(r"(.+)" + re.escape(SUFFIX) + r"[1-9][0-9]*")
    found: tuple[Path, int] | None = None
    for entry in sorted(database.parent.iterdir())[:MOST_LOOKED_AT]:
        name = pattern.fullmatch(entry.name)
        if name is None or name[1] == database.name:
            continue
        with contextlib.suppress(StorageFileError, OSError):
            one = examine(entry)
            header = one.header
            if header is not None and header.database == identity:
                last = max(one.last, header.first - 1)
                if found is None or last > found[1]:
                    found = database.with_name(name[1]), last
    return found


def examine(path: Path) -> Found:
    """Read all of a segment.

    Raises:
        StorageFileError: Its header is damaged or of a newer wopr, its end was cut off, or it is
            no file of this user.
    """
    with read_own(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return Found(path, 0, None)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                header = unpack_header(content[:START])
            except BadHeaderError as error:
                if error.blank:
                    return Found(path, size, None)
                raise _bad_header(path, str(error)) from error
            if size < header.size:
                raise _bad_header(path, f"it was cut from {header.size} to {size} bytes")
            end, last = START, header.first - 1
            for _, end, last in _walk(content, header):  # noqa: B007 - the last one counts
                pass
            later = any(group.first > last for group in _behind(content, header, end))
            torn = later or is_begun(header, content, end)
            return Found(path, size, header, end, last, torn, later)


def groups(found: Found, limit: int) -> Iterator[Group]:
    """Give the groups of a segment in order, up to the byte ``limit``."""
    if found.header is None or found.size == 0:
        return
    with (
        read_own(found.path) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for group, end, _ in _walk(content, found.header):
            if end > limit:
                return
            yield group


def _walk(content: mmap.mmap, header: Header) -> Iterator[tuple[Group, int, int]]:
    """Give each group that follows the one before, where it ends, and its last position."""
    at, first, checksum = START, header.first, 0
    while True:
        found = unpack_group(header, content, at)
        if found is None:
            return
        group, own, before, at = found
        if group.first != first or before != checksum:
            return
        first, checksum = group.last + 1, own
        yield group, at, group.last


def _behind(content: mmap.mmap, header: Header, start: int) -> Iterator[Group]:
    """Give every whole group that begins anywhere behind ``start``."""
    at = content.find(GROUP_MAGIC, start)
    while at >= 0:
        found = unpack_group(header, content, at)
        if found is not None:
            yield found[0]
        at = content.find(GROUP_MAGIC, at + 1)


def _bad_header(path: Path, why: str) -> StorageFileError:
    database = path.with_name(path.name.rsplit(SUFFIX, 1)[0])
    return StorageFileError(
        f"The journal {path} can't be read: {why}. It may hold changes of tasks that "
        f"{database.name} does not have yet, so nothing was opened and nothing was changed. If a "
        f"newer wopr wrote it, start that one. If the disk damaged it, restore a backup; to go on "
        f"without what only this file holds: wopr db accept -d {shlex.quote(str(database))}"
    )
