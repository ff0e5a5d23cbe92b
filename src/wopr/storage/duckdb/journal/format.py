"""The bytes of a journal segment: a header, then groups of records. Pure functions.

A segment begins with a header of 512 bytes, which is there twice::

    magic, format, checksum            the checksum covers the rest
    database                           16 bytes: whose journal this is
    generation                         higher in each segment that is begun
    salt                               random; part of every checksum in the segment
    first                              position of its first record
    previous generation, end, position where the segment before it ends, which only this
                                       one says for sure: what lies behind was never synced
    size                               of the whole file: one that is shorter was cut

Then come groups, one behind the other, each written and synced at once::

    magic, checksum, length, count     the checksum covers generation, the rest, content
    salt                               of the header
    first                              position of its first record
    before                             the checksum of the group before it
    flags                              1: some of its records are operations
    content                            ``length`` bytes: records, a line each

A group is written only after the one before it was synced, and names that one. So what
an earlier use of the same file left behind never counts; and a broken group with a later
one behind it was whole once.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass

FORMAT = 1
HEADER_SIZE = 512
START = 2 * HEADER_SIZE
"""Where the groups begin."""
MAGIC = b"wopr-jnl"
GROUP_MAGIC = b"wgrp"
OPERATIONS = 1

_HEADER = struct.Struct("<8sII16sQQQQQQQ")
_GROUP = struct.Struct("<4sIIIQQII")
_COVERED = struct.Struct("<QIIQQII")
GROUP_SIZE = _GROUP.size


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a segment."""

    database: bytes
    generation: int
    salt: int
    first: int
    previous_generation: int = 0
    previous_end: int = 0
    """Where the previous segment ends, in bytes."""
    previous_position: int = 0
    """The position of the last record there that was acknowledged."""
    size: int = 0
    """Of the whole file, in bytes."""

    def pack(self) -> bytes:
        """Return the header's bytes."""
        packed = _HEADER.pack(
            MAGIC,
            FORMAT,
            0,
            self.database,
            self.generation,
            self.salt,
            self.first,
            self.previous_generation,
            self.previous_end,
            self.previous_position,
            self.size,
        )
        checksum = zlib.crc32(packed)
        packed = packed[:12] + checksum.to_bytes(4, "little") + packed[16:]
        return packed.ljust(HEADER_SIZE, b"\0") * 2


@dataclass(frozen=True, slots=True)
class Group:
    """Records that were written and synced together."""

    first: int
    """Position of the first one."""
    count: int
    content: bytes
    operations: bool = False
    """Whether some are no transitions."""

    @property
    def last(self) -> int:
        """Position of the last record."""
        return self.first + self.count - 1


class BadHeaderError(Exception):
    """A segment's first bytes are no header; ``blank`` if they were never written."""

    def __init__(self, text: str, *, blank: bool = False) -> None:
        super().__init__(text)
        self.blank = blank


def unpack_header(content: bytes) -> Header:
    """Return the header that ``content`` begins with: the first of the two that is whole.

    A crash while a file is used again can leave one old and one new header. Then no record
    was written under the new one, and those under the old one are known to the database.

    Raises:
        BadHeaderError: neither is whole, or of a format that is known.
    """
    start = bytes(content[:START])
    if not any(start):
        raise BadHeaderError("it is blank", blank=True)
    version = None
    for copy in (start[:HEADER_SIZE], start[HEADER_SIZE:]):
        if len(copy) < HEADER_SIZE:
            continue
        magic, version, checksum, *fields = _HEADER.unpack_from(copy)
        plain = copy[:12] + b"\0\0\0\0" + copy[16 : _HEADER.size]
        if magic == MAGIC and zlib.crc32(plain) == checksum and version == FORMAT:
            return Header(*fields)
    if content[: len(MAGIC)] == MAGIC and version not in (None, FORMAT):
        raise BadHeaderError(f"it has format {version}, and this wopr knows {FORMAT}")
    raise BadHeaderError("its first bytes are damaged")


def pack_group(header: Header, group: Group, before: int) -> tuple[bytes, int]:
    """Return the bytes of a group and its checksum, which the next one has to name."""
    flags = OPERATIONS if group.operations else 0
    length = len(group.content)
    covered = _COVERED.pack(
        header.salt, length, group.count, header.generation, group.first, before, flags
    )
    checksum = zlib.crc32(group.content, zlib.crc32(covered))
    start = _GROUP.pack(
        GROUP_MAGIC, checksum, length, group.count, header.salt, group.first, before, flags
    )
    return start + group.content, checksum


def unpack_group(
    header: Header, content: bytes | memoryview | mmap.mmap, at: int
) -> tuple[Group, int, int, int] | None:
    """Return (group, its checksum, the one it names, where it ends), ``None`` if none is there."""
    if at + GROUP_SIZE > len(content) or content[at : at + 4] != GROUP_MAGIC:
        return None
    _, checksum, length, count, salt, first, before, flags = _GROUP.unpack_from(content, at)
    end = at + GROUP_SIZE + length
    if salt != header.salt or end > len(content):
        return None
    covered = _COVERED.pack(salt, length, count, header.generation, first, before, flags)
    records = bytes(content[at + GROUP_SIZE : end])
    if zlib.crc32(records, zlib.crc32(covered)) != checksum:
        return None
    return Group(first, count, records, bool(flags & OPERATIONS)), checksum, before, end


def is_begun(header: Header, content: bytes | memoryview | mmap.mmap, at: int) -> bool:
    """Whether a group of this segment begins there, be it whole or not."""
    start = content[at : at + GROUP_SIZE]
    return len(start) == GROUP_SIZE and _GROUP.unpack(start)[4] == header.salt
