"""Read the headers of DuckDB's main file, and tell whole blocks from torn ones.

The file begins with three headers of 4,096 bytes. The first is written once: magic,
version, flags, the id of the database. The other two are written in turn, one by each
checkpoint: its number (the *iteration*), where the catalog and the list of free blocks
begin, how many blocks there are and how large they are. The one with the higher
iteration counts; DuckDB refuses the file when either is torn. Then come the blocks.
Headers and blocks begin with the checksum of the rest of them.

A file of another format is not guessed at: :func:`read_headers` says ``None``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from wopr.storage.duckdb.file.wal import checksum

HEADERS_SIZE = 3 * 4096
"""How many bytes of the file :func:`read_headers` wants; the first block comes behind them."""

SLOT_SIZE = 4096
SLOTS = (4096, 8192)
"""Where the two headers are that checkpoints write."""

_MAIN = struct.Struct("<8x4sQ4Q")
_DATABASE_ID = slice(124, 140)
_SLOT = struct.Struct("<8xQ8x8xQQ")
_CHECKSUM = struct.Struct("<Q")
_VERSIONS = frozenset({64, 65, 66, 67, 68, 999})
"""DuckDB 0.9 to 1.5 count up; 2.0 writes 999."""
_LEAST_BLOCK, _LARGEST_BLOCK = 16 * 1024, 256 * 1024


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of a file say."""

    database: bytes
    """The id that DuckDB gave the database; zeros in files of DuckDB before 1.4."""

    slot: int
    """Where the header is that counts."""

    iteration: int
    """The number of the last checkpoint that is complete."""

    block_count: int
    block_size: int

    torn: int | None = None
    """Where the other header is, when it is not whole: a checkpoint was just writing it."""

    def offset(self, block: int) -> int:
        """Return where a block begins."""
        return HEADERS_SIZE + block * self.block_size


def read_headers(content: bytes) -> Headers | None:
    """Return what the first bytes of a file say, ``None`` when they are of an unknown format."""
    if len(content) < HEADERS_SIZE or not is_whole(content[:SLOT_SIZE]):
        return None
    magic, version, *flags = _MAIN.unpack_from(content)
    if magic != b"DUCK" or version not in _VERSIONS or any(flags):
        return None  # a flag says that the file is encrypted
    first, second = (_read_slot(content, offset) for offset in SLOTS)
    best = first if second is None or (first is not None and first[0] > second[0]) else second
    if best is None:
        return None
    iteration, block_count, block_size = best
    if not _is_block_size(block_size):
        return None
    slot, other = SLOTS if best is first else SLOTS[::-1]
    torn = other if None in (first, second) else None
    return Headers(content[_DATABASE_ID], slot, iteration, block_count, block_size, torn)


def is_whole(block: bytes) -> bool:
    """Return whether a block or header is as it was written; takes up to 4 ms for 256 KiB."""
    if len(block) <= _CHECKSUM.size:
        return False
    (stored,) = _CHECKSUM.unpack_from(block)
    end = -(-len(block.rstrip(b"\0")) // 8) * 8  # words of zeros change no checksum
    return bool(stored == checksum(block[_CHECKSUM.size : end]))


def _read_slot(content: bytes, offset: int) -> tuple[int, int, int] | None:
    header = content[offset : offset + SLOT_SIZE]
    if not is_whole(header):
        return None
    iteration, block_count, block_size = _SLOT.unpack_from(header)
    return iteration, block_count, block_size


def _is_block_size(size: int) -> bool:
    return _LEAST_BLOCK <= size <= _LARGEST_BLOCK and size & (size - 1) == 0
