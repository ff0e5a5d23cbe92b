"""Compaction with little memory and little disk: it says what it needs, and needs no more."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from support.wide import LITTLE, WIDE, fill
from wopr.domain.errors import StorageFileError
from wopr.ports.storage import TaskFilter
from wopr.storage.duckdb import compact as module
from wopr.storage.duckdb import doctor, reads
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file.opening import open_database

COUNT = 240
"""So many wide tasks are 60 MB, and their histories are as large again."""


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` answers."""

    total: int
    used: int
    free: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


def needed(sentence: str) -> int:
    """Return the number of bytes that the first sentence of a compaction names."""
    found = re.search(r"takes up to ([\d,]+) bytes", sentence)
    assert found is not None
    return int(found[1].replace(",", ""))


def answer_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, free))


def test_a_file_larger_than_memory_is_compacted_and_every_row_can_be_read(path: Path) -> None:
    ids = fill(path, [WIDE, 10, WIDE] * (COUNT // 2))

    compact(path, memory_limit=LITTLE)

    opened = open_database(path, memory_limit=LITTLE)
    found = reads.find(opened.cursor(), TaskFilter(limit=10_000))
    assert ids[::-1] == [record.id for record in found]
    opened.close()
    assert [] == doctor.check(path, memory_limit=LITTLE).problems


def test_it_needs_no_more_of_the_disk_than_it_says(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, [WIDE] * COUNT, f"delete from tasks where seq > {COUNT // 2}")
    used: list[int] = []
    adapt = module._Filling._adapt

    def measured(self: module._Filling, rows: int, size: int) -> None:
        adapt(self, rows, size)
        beside = path.parent.rglob(f"{path.name}.new-*/*")
        used.append(sum(file.stat().st_size for file in beside))

    monkeypatch.setattr(module._Filling, "_adapt", measured)
    said: list[str] = []
    before, after = compact(path, said.append, memory_limit=LITTLE)

    assert max(used) <= needed(said[0])
    assert after < before
    assert max(used) <= after + 20_000_000  # not as much again for the log of the new file


def test_without_room_on_the_disk_it_is_refused_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, [10])
    before = path.read_bytes()
    said: list[str] = []
    answer_free(monkeypatch, 1_000)

    with pytest.raises(StorageFileError) as caught:
        compact(path, said.append)

    text = str(caught.value)
    assert 1 == len(said)
    assert f"{needed(said[0]):,} bytes" in text
    assert "1,000 free" in text
    assert f"Free {needed(said[0]) - 1_000:,} bytes" in text
    assert before == path.read_bytes()
    assert [path.name, f"{path.name}.lock"] == sorted(one.name for one in path.parent.iterdir())


def test_room_for_just_what_it_needs_is_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, [10])
    said: list[str] = []
    compact(path, said.append)
    answer_free(monkeypatch, needed(said[0]))
    compact(path)
    assert [] == doctor.check(path).problems


def test_what_is_compressed_counts_as_large_as_it_will_be(path: Path) -> None:
    fill(path, [10])
    text = "abcdefgh" * 5_000
    with duckdb.connect(str(path)) as connection:  # without the settings of wopr
        connection.execute(
            f"insert into task_logs select uuid(), 1, 1, now(), 'INFO', '', '{text}' || range "
            "from range(1000)"
        ).fetchall()
    assert path.stat().st_size < 100 * len(text)
    said: list[str] = []
    _, after = compact(path, said.append)
    assert 1_000 * len(text) < after <= needed(said[0])


def test_rows_that_can_not_be_read_with_so_little_are_read_with_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(path, [WIDE] * 4)
    tried: list[str] = []
    copy = module._copy

    def forgetful(path: Path, new: Path, memory_limit: str) -> None:
        tried.append(memory_limit)
        copy(path, new, memory_limit)
        if len(tried) < 3:
            cause = duckdb.OutOfMemoryException("Out of Memory Error: no room")
            raise StorageFileError("no room") from cause

    monkeypatch.setattr(module, "_copy", forgetful)
    said: list[str] = []
    compact(path, said.append)
    assert ["200MB", "400MB", "800MB"] == tried
    assert "200MB of memory are too little for DuckDB to copy it; trying 400MB." == said[1]
    assert len(ids) == doctor.check(path).tasks


def test_with_all_memory_too_little_it_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, [10])
    before = path.read_bytes()

    def forgetful(path: Path, new: Path, memory_limit: str) -> None:
        cause = duckdb.OutOfMemoryException("Out of Memory Error: no room")
        raise StorageFileError(f"no room in {memory_limit}") from cause

    monkeypatch.setattr(module, "_copy", forgetful)
    monkeypatch.setattr(module, "physical", lambda: 1_000_000_000)
    with pytest.raises(StorageFileError, match="no room in 800MB"):
        compact(path)
    assert before == path.read_bytes()


def test_a_file_that_never_had_a_journal_is_compacted(path: Path) -> None:
    open_database(path).close()
    compact(path)
    assert [] == doctor.check(path).problems


@pytest.mark.parametrize("missing", [1, 3, COUNT - 2])
def test_a_row_is_read_without_those_around_it_wherever_values_are_missing(
    path: Path, missing: int
) -> None:
    fill(path, [10] * COUNT, f"update tasks set result = args where seq > {missing}")
    with duckdb.connect(str(path)) as connection:  # as an older wopr compressed it
        text = f"repeat('x', {WIDE}) || seq"
        connection.execute(f"update tasks set result = {text} where result is not null").fetchall()
    compact(path)
    opened = open_database(path, memory_limit="20MB")
    [found] = reads.find(opened.cursor(), TaskFilter(limit=1))
    assert "x" * WIDE + str(COUNT) == found.result
    opened.close()
