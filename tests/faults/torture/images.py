"""What a power cut leaves, from the record of what was done to the files.

A disk keeps what was synced. Of what was written since, it keeps any part: each page of 4 KiB
whole, or not at all, or some of its sectors of 512 bytes; an earlier write or a later one. Names
that were made, changed or removed since the last sync of the directory are there or are not,
each by itself or up to a moment.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
SECTOR = 512
SYNCS = "ASN"

_HEAD = struct.Struct("<QQQIIIc")


@dataclass(frozen=True)
class Operation:
    """One line of the record; see ``shim.c``."""

    kind: str
    """C create, W write, A append, S sync, N names, T size, R rename, U unlink, P printed."""
    file: int
    at: int
    size: int
    name: str
    other: str
    content: bytes = field(repr=False)


def read(trace: Path) -> Iterator[Operation]:
    """Read a record."""
    whole = trace.read_bytes()
    at = 0
    while at < len(whole):
        file, offset, size, *lengths, kind = _HEAD.unpack_from(whole, at)
        at += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(whole[at : at + length])
            at += length
        name, other = parts[0].decode().removesuffix(" (deleted)"), parts[1].decode()
        yield Operation(kind.decode(), file, offset, size, name, other, parts[2])


class File:
    """Content that is on disk, and what may be."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.pending: list[Operation] = []

    def sync(self) -> None:
        """Have everything on disk."""
        for one in self.pending:
            _apply(self.content, one)
        self.pending.clear()

    def append(self, one: Operation) -> None:
        """Have a write on disk, and what was written to its pages before."""
        first, last = one.at // PAGE * PAGE, -(-(one.at + one.size) // PAGE) * PAGE
        left: list[Operation] = []
        for earlier in self.pending:
            if earlier.kind == "T":
                left.append(earlier)
                continue
            for start, end in ((0, first), (first, last), (last, 1 << 62)):
                piece = _clipped(earlier, start, end)
                if piece is not None and start == first:
                    _apply(self.content, piece)
                elif piece is not None:
                    left.append(piece)
        self.pending = left
        _apply(self.content, one)

    def image(self, chance: random.Random, share: float) -> bytes:
        """Return what may be there; ``share`` of what was not synced."""
        content = bytearray(self.content)
        size = len(content)
        for one in self.pending:
            if one.kind == "T":
                if chance.random() < share:
                    _apply(content, one)
                continue
            for piece in _surviving(one, chance, share):
                _apply(content, piece)
            size = max(size, one.at + one.size)
        if size > len(content) and chance.random() < 0.5:  # it has its length, and holes
            content.extend(bytes(size - len(content)))
        return bytes(content)


def _clipped(one: Operation, start: int, end: int) -> Operation | None:
    first, last = max(one.at, start), min(one.at + one.size, end)
    if first >= last:
        return None
    content = one.content[first - one.at : last - one.at]
    return Operation("W", one.file, first, last - first, one.name, "", content)


def _surviving(one: Operation, chance: random.Random, share: float) -> Iterator[Operation]:
    """Give the pages, and parts of pages, of a write that reached the disk."""
    for page in range(one.at // PAGE * PAGE, one.at + one.size, PAGE):
        if share in {0.0, 1.0} or chance.random() < 0.7:
            sectors = [page, page + PAGE] if chance.random() < share else []
        else:
            sectors = [at for at in range(page, page + PAGE, SECTOR) if chance.random() < share]
        if len(sectors) == 2 and sectors[1] - sectors[0] == PAGE:
            pieces = [_clipped(one, page, page + PAGE)]
        else:
            pieces = [_clipped(one, at, at + SECTOR) for at in sectors]
        yield from (piece for piece in pieces if piece is not None)


def _apply(content: bytearray, one: Operation) -> None:
    end = one.size if one.kind == "T" else one.at + one.size
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if one.kind == "T":
        del content[end:]
    else:
        content[one.at : end] = one.content


class Disk:
    """A directory, as the process sees it and as it is on disk."""

    def __init__(self, folder: Path) -> None:
        found = [one for one in folder.iterdir() if one.is_file()]
        self._live = {one.name: File(one.read_bytes()) for one in found}
        self._names = dict(self._live)
        self._numbers: dict[int, File] = {}
        self._pending: list[tuple[Operation, File | None]] = []
        self.said = b""

    def do(self, one: Operation) -> None:
        """Let the process do something."""
        match one.kind:
            case "P":
                self.said += one.content
            case "C":
                self._numbers[one.file] = self._live[one.name] = File()
                self._pending.append((one, self._live[one.name]))
            case "R":
                self._live[one.other] = self._live.pop(one.name)
                self._pending.append((one, self._live[one.other]))
            case "U":
                self._pending.append((one, self._live.pop(one.name, None)))
            case "N":
                self._sync_names()
            case "S":
                self._file(one).sync()
            case "A":
                self._file(one).append(one)
            case _:
                self.begin(one)

    def begin(self, one: Operation) -> None:
        """Let a write be under way."""
        if one.kind in "AWT":
            self._file(one).pending.append(one)

    def _file(self, one: Operation) -> File:
        if one.file not in self._numbers:  # it was there before
            self._numbers[one.file] = self._live[one.name]
        return self._numbers[one.file]

    def _sync_names(self) -> None:
        left = []
        for one, file in self._pending:
            if "/" in (one.other or one.name):  # in a directory below, which is never synced
                left.append((one, file))
            else:
                _rename(self._names, one, file)
        self._pending = left

    def leave(self, folder: Path, chance: random.Random) -> None:
        """Write what a power cut leaves now."""
        names = dict(self._names)
        share = chance.choice([0.0, 1.0, 0.2, 0.5, 0.9])
        in_order = chance.random() < 0.5
        cut = chance.randint(0, len(self._pending))
        for number, (one, file) in enumerate(self._pending):
            if number < cut if in_order else chance.random() < 0.5:
                _rename(names, one, file)
        for name, file in names.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file.image(chance, share))


def _rename(names: dict[str, File], one: Operation, file: File | None) -> None:
    if one.kind != "C":
        names.pop(one.name, None)
    if one.kind != "U" and file is not None:
        names[one.other or one.name] = file


def sync_points(operations: list[Operation]) -> list[int]:
    """Return the numbers of the operations that put something on disk."""
    return [number for number, one in enumerate(operations) if one.kind in SYNCS]


def image(
    before: Path, operations: list[Operation], point: int, seed: int, folder: Path
) -> list[str]:
    """Write what is left when the power goes during an operation; return what was said."""
    disk = Disk(before)
    for one in operations[:point]:
        disk.do(one)
    if point < len(operations):
        disk.begin(operations[point])
    disk.leave(folder, random.Random(seed))
    return disk.said.decode().splitlines()
