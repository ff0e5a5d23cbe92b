"""A database whose checkpoints are watched, and images of what a crash leaves of one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.databases import log_of
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE
from wopr.storage.duckdb.file.checkpoint import checkpoint, forget
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.file.saved import unpack

SECTOR = 512
"""So much is written whole by every disk, or not at all."""


def beside(path: Path) -> Path:
    """Return the file that holds what a checkpoint saved."""
    return path.with_name(path.name + ".blocks")


def numbers(connection: Any) -> list[int]:
    """Return the numbers of all lines of logs in order."""
    rows = connection.execute("SELECT number FROM task_logs ORDER BY number").fetchall()
    return [int(number) for (number,) in rows]


class Watched:
    """A connection that calls ``before`` when a checkpoint is asked for, and ``after`` it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.refuse: BaseException | None = None
        """Raised instead of the checkpoint."""
        self.skip = False
        """Report success without doing anything."""
        self.asked = 0

    def execute(self, sql: str, *more: Any) -> Any:
        """Do what DuckDB's connection does."""
        if sql != "CHECKPOINT":
            return self._connection.execute(sql, *more)
        self.asked += 1
        self.before()
        if self.refuse is not None:
            raise self.refuse
        result = None if self.skip else self._connection.execute(sql)
        self.after()
        return result


class Live:
    """A database that is open, with the descriptor that its owner keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: OpenedDatabase = open_database(path)
        self.descriptor = os.open(path, os.O_RDONLY)
        forget(path)  # what the checkpoint at opening left
        self.connection = Watched(self.opened.connection)
        self.last = max(self.rows(), default=0)

    def add(self, count: int, size: int = 100) -> None:
        """Commit so many lines of logs, each with so many bytes."""
        self.opened.connection.execute(
            "INSERT INTO task_logs SELECT uuid(), 1, range, TIMESTAMP '2026-01-01', 'INFO', 'x', "
            "repeat(md5(range::VARCHAR), ?) FROM range(?, ?)",
            [size // 32 + 1, self.last + 1, self.last + count + 1],
        )
        self.last += count

    def delete(self, every: int) -> None:
        """Delete every so-manyth line."""
        self.opened.connection.execute("DELETE FROM task_logs WHERE number % ? = 0", [every])

    def widen(self, tables: int) -> None:
        """Make tables of many columns: several blocks of metadata instead of one."""
        columns = ", ".join(f"c{number} VARCHAR" for number in range(60))
        for number in range(tables):
            self.opened.connection.execute(f"CREATE TABLE wide_{number} ({columns})")

    def narrow(self) -> None:
        """Drop half of those tables."""
        names = self.opened.connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'wide%' ORDER BY ALL"
        ).fetchall()
        for (name,) in names[::2]:
            self.opened.connection.execute(f"DROP TABLE {name}")

    def checkpoint(self) -> int | None:
        """Make a checkpoint."""
        return checkpoint(self.connection, self.path, self.descriptor)

    def content(self) -> bytes:
        """Return the file as it is, without opening it a second time."""
        size = os.fstat(self.descriptor).st_size
        return os.pread(self.descriptor, size, 0)

    def rows(self) -> list[int]:
        """Return what is in the database."""
        return numbers(self.opened.connection)

    def close(self) -> None:
        """Close it as an owner does."""
        self.opened.close()
        os.close(self.descriptor)
        forget(self.path)


@contextmanager
def live(path: Path) -> Iterator[Live]:
    """Open a database for a while."""
    path.parent.mkdir(exist_ok=True)
    database = Live(path)
    try:
        yield database
    finally:
        database.close()


@dataclass(frozen=True)
class Recorded:
    """One checkpoint: the files when it began, and when it was over."""

    name: str
    before: bytes
    after: bytes
    saved: bytes
    log: bytes
    """With DuckDB's own note that a checkpoint was under way."""
    rows: list[int] = field(repr=False)

    def changed(self) -> list[int]:
        """Return where the sectors are that the checkpoint wrote, without the headers."""
        size = max(len(self.before), len(self.after))
        old, new = (content.ljust(size, b"\0") for content in (self.before, self.after))
        sectors = range(HEADERS_SIZE, size, SECTOR)
        return [at for at in sectors if old[at : at + SECTOR] != new[at : at + SECTOR]]

    def checksums(self) -> list[int]:
        """Return where the blocks begin that were overwritten in place."""
        saved = unpack(self.saved)
        assert saved is not None
        starts = {saved.headers.offset(block) for block in saved.blocks}
        return [at for at in self.changed() if at in starts]

    def torn(self, kept: list[int], *, headers: bytes | None = None) -> bytes:
        """Return the main file with these of the sectors that were written."""
        image = bytearray(self.before.ljust(max(len(self.before), len(self.after)), b"\0"))
        for at in kept:
            image[at : at + SECTOR] = self.after[at : at + SECTOR]
        image[:HEADERS_SIZE] = headers or self.before[:HEADERS_SIZE]
        return bytes(image)

    def torn_somehow(self, chance: random.Random) -> bytes:
        """Return the main file with some of what was written, as a crash might have it."""
        changed = self.changed()
        match chance.randrange(3):
            case 0:  # in order, up to a point
                kept = changed[: chance.randrange(len(changed) + 1)]
            case 1:  # in any order
                share = chance.random()
                kept = [at for at in changed if chance.random() < share]
            case _:  # all but a little
                kept = list(changed)
                for _ in range(chance.randint(1, 3)):
                    kept.remove(chance.choice(kept))
        return self.torn(kept)

    def leave(self, path: Path, main: bytes, *, saved: bytes | None = None) -> None:
        """Write the files as a crash left them."""
        path.write_bytes(main)
        log_of(path).write_bytes(self.log)
        beside(path).write_bytes(self.saved if saved is None else saved)


def record(database: Live, name: str) -> Recorded:
    """Make a checkpoint and keep every state of its files."""
    path = database.path
    link = path.with_name("log")
    states: list[bytes] = []
    saved = b""

    def before() -> None:
        nonlocal saved
        states.append(database.content())
        saved = beside(path).read_bytes()
        os.link(log_of(path), link)  # DuckDB unlinks it

    database.connection.before = before
    database.connection.after = lambda: states.append(database.content())
    try:
        database.checkpoint()
    finally:
        database.connection.before = database.connection.after = lambda: None
    log = link.read_bytes()
    link.unlink()
    return Recorded(name, states[0], states[1], saved, log, database.rows())
