"""The blocks that a checkpoint may overwrite, as they are kept beside the file until it is over.

``<database>.blocks`` begins with magic, format, the number of blocks and a digest of
all that follows: the three headers of the database file, the ids of the blocks, and the
blocks. It belongs to one state of one database: the file whose headers are the saved
ones, but for the one that the checkpoint was going to write.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, SLOT_SIZE, Headers, read_headers

SUFFIX = ".blocks"
VOID = bytes(8)
"""Written over the first bytes when the checkpoint is over."""

_MAGIC = b"wopr-blk"
_FORMAT = 1
_HEADER = struct.Struct("<8sII32s")


@dataclass(frozen=True, slots=True)
class Saved:
    """The headers of a database file and some of its blocks."""

    content: bytes
    """The headers as they stand in the file."""

    headers: Headers
    blocks: dict[int, bytes]
    """What the blocks held, by their ids."""

    def pack(self) -> bytes:
        """Return the content of the file beside."""
        ids = struct.pack(f"<{len(self.blocks)}Q", *self.blocks)
        rest = b"".join((self.content, ids, *self.blocks.values()))
        return _HEADER.pack(_MAGIC, _FORMAT, len(self.blocks), _digest(rest)) + rest

    def belongs_to(self, content: bytes, headers: Headers) -> bool:
        """Return whether a file with these headers is in the state that was saved."""
        mine = self.headers
        slot = slice(mine.slot, mine.slot + SLOT_SIZE)
        return (
            (mine.database, mine.slot) == (headers.database, headers.slot)
            and self.content[:SLOT_SIZE] == content[:SLOT_SIZE]
            and self.content[slot] == content[slot]
        )


def unpack(content: bytes) -> Saved | None:
    """Return what was saved; ``None`` when it is void, or when saving it was cut short."""
    if len(content) < _HEADER.size + HEADERS_SIZE:
        return None
    magic, version, count, digest = _HEADER.unpack_from(content)
    if magic != _MAGIC or version != _FORMAT:
        return None
    start = _HEADER.size + HEADERS_SIZE
    headers = read_headers(content[_HEADER.size : start])
    if headers is None:
        return None
    blocks = start + 8 * count
    end = blocks + count * headers.block_size  # an earlier copy may have been longer
    if len(content) < end or digest != _digest(content[_HEADER.size : end]):
        return None
    ids = struct.unpack_from(f"<{count}Q", content, start)
    ends = range(blocks + headers.block_size, end + 1, headers.block_size)
    found = (content[position - headers.block_size : position] for position in ends)
    return Saved(content[_HEADER.size : start], headers, dict(zip(ids, found, strict=True)))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
