"""Bits that flip, ends that are cut off, zeros: in every region of every file of a killed queue.

What comes of it is an error that says so, or all that was acknowledged. Damage in the very last
group of the journal may look as if it had never been written whole: then exactly that group is
missing, if nothing else knows of it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from support.paths import ROOT
from wopr.domain.errors import SchemaError, StorageError
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE
from wopr.storage.duckdb.journal.format import HEADER_SIZE, START
from wopr.storage.duckdb.journal.scan import Found, examine, groups, segments
from wopr.storage.duckdb.start import open_settled

pytestmark = pytest.mark.crash

SEED = int(os.environ.get("WOPR_TEST_SEED", "0"))
PER_REGION = 3
"""So many of each kind of damage in each region."""

PROGRAM = """
import asyncio, os, signal, sys
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
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""

BLOCK_SIZE = 262_144

Content = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True)
class Region:
    """Bytes of a file."""

    name: str
    file: str
    start: int
    end: int


@dataclass(frozen=True)
class Killed:
    """What a killed queue left, and what is in it."""

    folder: Path
    regions: list[Region]
    whole: Content
    without_last: Content
    last: tuple[str, int, int]
    """The last group: its file, where it begins and ends."""


def read(path: Path) -> Content:
    """Open the database as every tool does; return all that it holds."""
    opened = open_settled(path)
    try:
        ask = opened.connection.execute
        tables = ("tasks", "transitions", "rules", "schedules", "refused_records")
        found = {table: ask(f"select * from {table} order by all").fetchall() for table in tables}
        found["meta"] = ask("select * from meta where key <> 'journal' order by all").fetchall()
    finally:
        opened.close()
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Return the files of a queue that was killed, and their regions."""
    folder = tmp_path_factory.mktemp("flips")
    disk = folder / "disk"
    disk.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(disk / "tasks.duckdb")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert -9 == done.returncode, done.stderr
    (disk / "tasks.duckdb.sock").unlink(missing_ok=True)
    path = disk / "tasks.duckdb"
    found = [examine(one) for one in segments(path)]
    newest = max((one for one in found if one.header), key=lambda one: one.last)
    begin = last_group(newest)
    whole = read(copied(disk, folder / "whole"))
    short = copied(disk, folder / "short")
    damage(short.with_name(newest.path.name), begin, bytes(newest.end - begin))
    beside(short, ".lock").unlink()  # nothing else knows of it
    return Killed(
        disk,
        [*regions_of_journal(found), *regions_of_duckdb(path)],
        whole,
        read(short),
        (newest.path.name, begin, newest.end),
    )


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
    log = beside(path, ".wal")
    size = log.stat().st_size
    yield Region("header of the log", log.name, 0, 64)
    yield Region("log", log.name, 64, size)


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


@pytest.mark.parametrize("harm", [flip, zero, cut])
def test_damage_is_named_or_does_no_harm(
    killed: Killed, harm: Callable[[Path, Region, random.Random], int], tmp_path: Path
) -> None:
    wrong: list[str] = []
    refused = right = shorter = 0
    for region in killed.regions:
        for turn in range(PER_REGION):
            chance = random.Random(f"{SEED} {region.name} {turn}")
            path = copied(killed.folder, tmp_path / f"{region.name} {turn}")
            at = harm(path.with_name(region.file), region, chance)
            try:
                found = read(path)
            except (StorageError, SchemaError, duckdb.Error) as error:
                refused += 1
                if region.file.endswith(".wal"):  # the journal has what was in it
                    wrong.append(f"{harm.__name__} at {at} of {region.file}: {error}")
            else:
                name, begin, end = killed.last
                inside = region.file == name and begin <= at < end
                if found == killed.whole:
                    right += 1
                elif inside and found == killed.without_last:
                    shorter += 1
                else:
                    wrong.append(f"{harm.__name__} at {at} of {region.file} ({region.name})")
            shutil.rmtree(path.parent)
    print(f"{harm.__name__}: {refused} refused, {right} right, {shorter} without the last group")
    assert wrong == []
    assert refused
    assert right
