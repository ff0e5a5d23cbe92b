"""Read the structure of DuckDB's write-ahead log, before DuckDB does.

DuckDB stops reading at the first record whose length leads past the end, and
says nothing: after a crash that is the commit that was under way, but a single
flipped bit in a length drops every commit behind it as quietly. So wopr walks the
log itself first, and can tell the one from the other.

Format, version 2: a header (a serialised record of fields 100 type = 98, 101
version, 102 id of the database, 103 checkpoint iteration), then frames of
``u64 length, u64 checksum, payload``. A payload is a record too; type 100 ends
a commit, type 99 a checkpoint.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from wopr.storage.duckdb.private import read_own

_END = b"\xff\xff"
_FRAME = struct.Struct("<QQ")
_COMMIT = b"\x64\x00\x64"
_CHECKPOINT = b"\x64\x00\x63"
_HEADER_START = b"\x64\x00\x62\x65\x00"
_MASK = 2**64 - 1
_VERSION = 2
_FIRST_COMMIT = 64
"""No log shorter than this holds a commit."""

Bytes = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class WalReport:
    """What a log holds.

    ``committed`` is the position behind the last whole commit before the first
    broken frame; ``header`` is ``"ok"``, ``"torn"`` (cut or zero from the start:
    never written), ``"damaged"``, or ``"unknown"`` (a format of another DuckDB:
    nothing else is judged).
    """

    size: int
    header: str
    committed: int = 0
    commits: int = 0
    damaged: bool = False
    """Whether what lies behind ``committed`` was once whole: not just cut off, but changed."""

    lost_commits: int = 0
    """How many ends of commits can be seen behind ``committed``."""

    zeros: bool = False
    """Whether everything behind ``committed`` is zero: blocks that never reached the disk."""

    @property
    def rest(self) -> int:
        """Return how many bytes belong to no commit."""
        return self.size - self.committed


def read_wal(path: Path) -> WalReport | None:
    """Return what the log holds, or ``None`` when there is none or it is empty."""
    try:
        with read_own(path) as file:
            size = file.seek(0, 2)
            if size == 0:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
                return _report(log, size)
    except FileNotFoundError:
        return None


def commits_before(path: Path, position: int) -> tuple[int, int]:
    """Return (end, number) of the whole commits that end at or before ``position``."""
    with read_own(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
        header = _header_end(log)
        assert header is not None, "DuckDB has just read this header"
        return _walk(log, header, position)


def commits_after(path: Path, position: int) -> int:
    """Return how many readable commits the log has behind ``position``."""
    with read_own(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
        return _commit_marks(log, position)


def _report(log: Bytes, size: int) -> WalReport:
    end = _header_end(log)
    if end is None:
        started = _HEADER_START.startswith(log[: len(_HEADER_START)])
        torn = _is_zero(log, 0) or (started and size < _FIRST_COMMIT)
        return WalReport(size, "torn" if torn else "damaged", lost_commits=_commit_marks(log, 0))
    if end < 0:
        return WalReport(size, "unknown")
    committed, commits = _walk(log, end, size)
    rest_is_zero = committed < size and _is_zero(log, committed)
    lost = _commit_marks(log, committed)
    damaged = lost > 0 or _has_changed_frame(log, committed)
    return WalReport(size, "ok", committed, commits, damaged, lost, rest_is_zero)


def _walk(log: Bytes, position: int, limit: int) -> tuple[int, int]:
    committed, commits = position, 0
    while position + _FRAME.size < limit:
        length, _ = _FRAME.unpack(log[position : position + _FRAME.size])
        payload = position + _FRAME.size
        position = payload + length
        if length < len(_COMMIT) + 2 or position > limit or log[position - 2 : position] != _END:
            break
        if log[payload : payload + 3] in (_COMMIT, _CHECKPOINT):
            committed, commits = position, commits + 1
    return committed, commits


def _commit_marks(log: Bytes, position: int) -> int:
    """Count the payloads that end a commit, wherever they begin."""
    count = 0
    found = log.find(_COMMIT + _END, position)
    while found >= 0:
        count += 1
        found = log.find(_COMMIT + _END, found + 1)
    return count


def _has_changed_frame(log: Bytes, position: int) -> bool:
    """Return whether a frame from here on is there in full length but not as it was written."""
    while position + _FRAME.size < len(log):
        length, expected = _FRAME.unpack(log[position : position + _FRAME.size])
        payload = position + _FRAME.size
        position = payload + length
        if length == 0 or position > len(log):
            return False  # the write stopped here
        if checksum(log[payload:position]) != expected:
            return True
    return False


def checksum(payload: bytes) -> int:
    """Return what DuckDB stores to recognise these bytes."""
    whole = len(payload) // 8 * 8
    result = 5381
    for (word,) in struct.iter_unpack("<Q", payload[:whole]):
        result ^= word * 0xBF58476D1CE4E5B9 & _MASK
    if whole < len(payload):
        result ^= _checksum_of_rest(payload[whole:])
    return result


def _checksum_of_rest(rest: bytes) -> int:
    factor = 0xC6A4A7935BD1E995
    value = (0xE17A1465 ^ (len(rest) * factor)) & _MASK
    value = (value ^ int.from_bytes(rest, "little")) * factor & _MASK
    value = (value ^ value >> 47) * factor & _MASK
    return value ^ value >> 47


def _is_zero(log: Bytes, position: int) -> bool:
    chunk = 1024 * 1024
    return all(not any(log[start : start + chunk]) for start in range(position, len(log), chunk))


def _header_end(log: Bytes) -> int | None:
    """Return where the frames begin; ``None`` if there is no header, -1 if it is of a new kind."""
    if log[: len(_HEADER_START)] != _HEADER_START:
        return None
    try:
        version, position = _varint(log, len(_HEADER_START))
        if version != _VERSION:
            return -1
        position = _field(log, position, b"\x66\x00")
        count, position = _varint(log, position)
        for _ in range(count):
            _, position = _varint(log, position)
        position = _field(log, position, b"\x67\x00")
        _, position = _varint(log, position)
        return _field(log, position, _END)
    except (IndexError, ValueError):
        return None


def _field(log: Bytes, position: int, expected: bytes) -> int:
    if log[position : position + 2] != expected:
        raise ValueError
    return position + 2


def _varint(log: Bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = log[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
