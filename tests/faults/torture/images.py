"""What a power cut leaves, from the record of what was done to the files.

A disk keeps what was synced. Of what was written since, it keeps any part: each page of 4 KiB
whole, or not at all, or some of its sectors of 512 bytes; an earlier write or a later one. Names
that were made, changed or removed since the last sync of the directory are there or are not,
each by itself or up to a moment.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
SECTOR = 512
SYNCS = "ASN"

Left = dict[str, bytes]
"""The files that are left, by name."""

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

    def now(self) -> bytes:
        """Return what a process that reads it sees."""
        content = bytearray(self.content)
        for one in self.pending:
            _apply(content, one)
        return bytes(content)

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

    def killed(self, one: Operation | None = None, size: int = 0) -> Left:
        """Return what a process leaves that is killed now, or behind ``size`` bytes of a write."""
        left = {name: file.now() for name, file in self._live.items()}
        if one is not None and size and one.name in left:
            piece = _clipped(one, one.at, one.at + size)
            assert piece is not None
            content = bytearray(left[one.name])
            _apply(content, piece)
            left[one.name] = bytes(content)
        return left

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

    def cut_off(self, chance: random.Random) -> Left:
        """Return what a power cut leaves now."""
        names = dict(self._names)
        share = chance.choice([0.0, 1.0, 0.2, 0.5, 0.9])
        in_order = chance.random() < 0.5
        cut = chance.randint(0, len(self._pending))
        for number, (one, file) in enumerate(self._pending):
            if number < cut if in_order else chance.random() < 0.5:
                _rename(names, one, file)
        return {name: file.image(chance, share) for name, file in names.items()}


def _rename(names: dict[str, File], one: Operation, file: File | None) -> None:
    if one.kind != "C":
        names.pop(one.name, None)
    if one.kind != "U" and file is not None:
        names[one.other or one.name] = file


def stops(one: Operation, chance: random.Random, most: int) -> list[int]:
    """Return behind how many bytes of a write a process is killed: behind pages, and a sector.

    It is each page; or ``most`` of them, the first and the last among them.
    """
    if one.kind not in "AW":
        return []
    pages = list(range(PAGE - one.at % PAGE, one.size, PAGE))
    if len(pages) > most:
        pages = [pages[0], *chance.sample(pages[1:-1], most - 2), pages[-1]]
    sectors = [SECTOR - one.at % SECTOR + SECTOR * chance.randrange(1 + one.size // SECTOR)]
    return sorted({size for size in (*pages, *sectors) if 0 < size < one.size})


def played(before: Path, operations: list[Operation], count: int) -> Disk:
    """Return the disk behind so many operations."""
    disk = Disk(before)
    for one in operations[:count]:
        disk.do(one)
    return disk


def image(before: Path, operations: list[Operation], point: int, seed: int) -> tuple[Left, bytes]:
    """Return what is left when the power goes during an operation, and what was said."""
    disk = played(before, operations, point)
    disk.begin(operations[point])
    return disk.cut_off(random.Random(seed)), disk.said


def write(left: Left, folder: Path) -> None:
    """Write what is left into a directory that is made for it."""
    folder.mkdir(parents=True)
    for name, content in left.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def fingerprint(left: Left, said: Sequence[str]) -> bytes:
    """Return what is the same for what can't be told apart."""
    found = hashlib.blake2b("\n".join(said).encode(), digest_size=16)
    for name, content in sorted(left.items()):
        found.update(f"/{name}/{len(content)}/".encode())
        found.update(content)
    return found.digest()
