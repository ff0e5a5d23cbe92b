"""Bits that flip, ends that are cut off, zeros: in every region of every file of a queue.

What comes of it is an error that says so, or all that was acknowledged: never silence, never a
process that dies or hangs. Damage in the very last group of the journal may look as if it had
never been written whole: then exactly that group is missing, if nothing else knows of it. What
only DuckDB's log holds, as in a file of an older wopr, may be missing from where the damage is,
and that is told.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.torture.reading import Content, Reader, Seen
from support.paths import ROOT
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE
from wopr.storage.duckdb.journal.format import HEADER_SIZE, START
from wopr.storage.duckdb.journal.scan import Found, examine, groups, segments

pytestmark = pytest.mark.crash

SEED = int(os.environ.get("WOPR_TEST_SEED", "0"))
PER_REGION = 2
"""So many of each kind of damage in each region."""

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from wopr import TaskQueue
from wopr.storage.duckdb import checkpoints, folding
from wopr.storage.duckdb.journal import segments
folding.QUIET_SECONDS = 1000.0
folding.FOLD_SECONDS = 1000.0
segments.FIRST_BYTES = segments.SEGMENT_BYTES = 8192
queue = TaskQueue(enabled=True, database=sys.argv[1])
@queue.task(name="keep", category="c")
async def keep(text: str) -> int:
    return len(text)
async def enqueue(count):
    for number in range(count):
        await keep.enqueue(f"{number}" * (1 + number % 300))
def checkpoint(_):
    inside = queue.storage._folding
    assert inside._checkpoints.make(inside.pending.position)
async def main():
    async with queue:
        await enqueue(20)
        await asyncio.wrap_future(queue.storage.in_writer(checkpoint))
        await queue.set_limit("c", concurrency=7)
        await enqueue(20)
        await asyncio.wrap_future(queue.storage.in_writer(checkpoint))
        await enqueue(30)
        await queue.get_task_stats()
        await enqueue(30)
        if sys.argv[2] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
def log():
    from wopr.storage.duckdb.start import open_settled
    opened = open_settled(Path(sys.argv[1]))
    opened.log.create()
    for number in range(30):
        opened.connection.execute(
            "insert into task_logs values (uuid(), 1, ?, now(), 'INFO', 'log', ?)",
            [number, f"{number}" * 100],
        ).fetchall()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
if sys.argv[2] == "log":
    log()
"""

BLOCK_SIZE = 262_144


@dataclass(frozen=True)
class Region:
    """Bytes of a file."""

    name: str
    file: str
    start: int
    end: int


@dataclass(frozen=True)
class Left:
    """What a queue left, and what is in it."""

    folder: Path
    regions: list[Region]
    whole: Content
    without_last: Content
    last: tuple[str, int, int]
    """The last group of its journal: its file, where it begins and ends."""


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Give who opens the databases."""
    reader = Reader()
    yield reader
    reader.close()


def read(reader: Reader, path: Path) -> Content:
    seen = reader.read(path)
    assert seen.content, seen
    return seen.content


@pytest.fixture(scope="module", params=["killed", "closed", "log"])
def left(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, reader: Reader
) -> Left:
    """Return the files of a queue that was killed, or shut down; or a file and its log alone."""
    folder = tmp_path_factory.mktemp("flips")
    disk = folder / "disk"
    disk.mkdir()
    path = disk / "tasks.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), request.param],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0 if request.param == "closed" else -9) == done.returncode, done.stderr
    beside(path, ".sock").unlink(missing_ok=True)
    found = [examine(one) for one in segments(path)]
    assert bool(found) == (request.param == "killed")
    assert beside(path, ".wal").exists() == (request.param != "closed")
    whole = read(reader, copied(disk, folder / "whole"))
    regions = [*regions_of_journal(found), *regions_of_duckdb(path)]
    if not found:
        return Left(disk, regions, whole, whole, ("", 0, 0))
    newest = max((one for one in found if one.header), key=lambda one: one.last)
    begin = last_group(newest)
    short = copied(disk, folder / "short")
    damage(short.with_name(newest.path.name), begin, bytes(newest.end - begin))
    beside(short, ".lock").unlink()  # nothing else knows of it
    last = newest.path.name, begin, newest.end
    return Left(disk, regions, whole, read(reader, short), last)


def copied(disk: Path, target: Path) -> Path:
    """Copy the files; return the path of the database."""
    shutil.copytree(disk, target)
    return target / "tasks.duckdb"


def damage(file: Path, at: int, content: bytes) -> None:
    """Write over a part of a file."""
    with file.open("r+b") as handle:
        handle.seek(at)
        handle.write(content)


def last_group(found: Found) -> int:
    """Return where the last group of a segment begins."""
    content = found.path.read_bytes()
    last = list(groups(found, found.end))[-1]
    return content.rindex(last.content, 0, found.end) - 40


def regions_of_journal(found: list[Found]) -> Iterator[Region]:
    for number, one in enumerate(one for one in found if one.header is not None):
        name, last = one.path.name, last_group(one)
        middle = (START + last) // 2
        yield Region(f"header of segment {number}", name, 0, HEADER_SIZE)
        yield Region(f"second header of segment {number}", name, HEADER_SIZE, START)
        yield Region(f"first groups of segment {number}", name, START, middle)
        yield Region(f"later groups of segment {number}", name, middle, last)
        yield Region(f"last group of segment {number}", name, last, one.end)
        yield Region(f"rest of segment {number}", name, one.end, one.size)


def regions_of_duckdb(path: Path) -> Iterator[Region]:
    for at, name in ((0, "main header"), (4096, "first header"), (8192, "second header")):
        yield Region(name, path.name, at, at + 128)
    size = path.stat().st_size
    yield Region("checksum of the first block", path.name, HEADERS_SIZE, HEADERS_SIZE + 8)
    yield Region("first block", path.name, HEADERS_SIZE + 8, HEADERS_SIZE + BLOCK_SIZE)
    yield Region("other blocks", path.name, HEADERS_SIZE + BLOCK_SIZE, size)
    log, lock = beside(path, ".wal"), beside(path, ".lock")
    if log.exists():
        size = log.stat().st_size
        yield Region("header of the log", log.name, 0, 64)
        yield Region("first half of the log", log.name, 64, size // 2)
        yield Region("second half of the log", log.name, size // 2, size)
    if size := lock.stat().st_size:
        yield Region("lock", lock.name, 0, size)


def flip(file: Path, region: Region, chance: random.Random) -> int:
    at = chance.randrange(region.start, region.end)
    old = file.read_bytes()[at]
    damage(file, at, bytes([old ^ 1 << chance.randrange(8)]))
    return at


def zero(file: Path, region: Region, chance: random.Random) -> int:
    at = chance.randrange(region.start, region.end)
    damage(file, at, bytes(min(chance.choice([8, 512, 4096]), region.end - at)))
    return at


def cut(file: Path, region: Region, chance: random.Random) -> int:
    at = chance.randrange(max(region.start, 1), region.end)
    os.truncate(file, at)
    return at


def verdict(left: Left, region: Region, at: int, seen: Seen) -> str:
    """Say what came of damage to a byte of a file."""
    name, begin, end = left.last
    if seen.content is None:
        logged = region.file.endswith(".wal") and name  # the journal has what was in it
        return "wrong" if seen.wrong or logged else "refused"
    if seen.content == left.whole:
        return "right"
    if region.file == name and begin <= at < end and seen.content == left.without_last:
        return "without the last group"
    if not name and region.file.endswith(".wal") and seen.told:
        kept = len(seen.content["task_logs"])
        if seen.content == left.whole | {"task_logs": newest_gone(left.whole["task_logs"], kept)}:
            return "told"
    return "wrong"


def newest_gone(rows: list[list[object]], kept: int) -> list[list[object]]:
    """Return the rows without those that were written last."""
    return [row for row in rows if isinstance(row[2], int) and row[2] < kept]


@pytest.mark.parametrize("harm", [flip, zero, cut])
def test_damage_is_named_or_does_no_harm(
    left: Left,
    reader: Reader,
    harm: Callable[[Path, Region, random.Random], int],
    tmp_path: Path,
) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for region in left.regions:
        for turn in range(PER_REGION):
            chance = random.Random(f"{SEED} {region.name} {turn}")
            path = copied(left.folder, tmp_path / f"{region.name} {turn}")
            at = harm(path.with_name(region.file), region, chance)
            seen = reader.read(path)
            counts[found := verdict(left, region, at, seen)] += 1
            if found == "wrong":
                why = seen.wrong or seen.refused or "other content, and not a word"
                wrong.append(f"{harm.__name__} at {at} of {region.file} ({region.name}): {why}")
            shutil.rmtree(path.parent)
    print(f"{harm.__name__}: {dict(counts)}")
    assert wrong == []
    assert counts["refused"]
    assert counts["right"] or not left.last[0]  # each byte of a closed file may be needed
