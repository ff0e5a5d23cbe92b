"""The journal on disk: what was synced is read again, whatever happens to what is behind it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb import disk
from wopr.storage.duckdb.journal import scan
from wopr.storage.duckdb.journal import segments as module
from wopr.storage.duckdb.journal.chain import Chain, State, plan
from wopr.storage.duckdb.journal.format import GROUP_SIZE, START, Group
from wopr.storage.duckdb.journal.segments import Segments

IDENTITY = bytes(range(16))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


@pytest.fixture
def journal(database: Path) -> Iterator[Segments]:
    made = new(database)
    yield made
    made.close(remove=False)


def new(database: Path, position: int = 0, generation: int = 0) -> Segments:
    made = Segments(database, IDENTITY, [], [], generation, position, synced=True)
    made.begin()
    return made


def write(journal: Segments, content: bytes, count: int = 1) -> Group:
    group = Group(journal.position + 1, count, content)
    journal.append(group)
    return group


def found(database: Path, position: int = 0, *, generation: int = 1, remembered: int = 0) -> Chain:
    """Return what an opening would replay."""
    state = State(IDENTITY, position, generation, remembered)
    return plan(database, state, [scan.examine(path) for path in scan.segments(database)])


def contents(database: Path, position: int = 0) -> list[bytes]:
    return [group.content for group in found(database, position).groups()]


def space_is_made(journal: Segments) -> None:
    """Wait for the thread that makes space for the next segment."""
    thread = journal._preparing
    if thread is not None:
        thread.join()


def flip(path: Path, at: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


# -- reading again -----------------------------------------------------------------


def test_what_was_appended_is_read_again_in_order(journal: Segments, database: Path) -> None:
    written = [write(journal, f"record {number}".encode()) for number in range(50)]
    assert written == list(found(database).groups())
    assert 50 == found(database).last


def test_groups_that_the_tables_have_are_left_out(journal: Segments, database: Path) -> None:
    write(journal, b"a\nb\nc", 3)
    second = write(journal, b"d\ne", 2)
    assert [second] == list(found(database, 3).groups())
    assert [second] == list(found(database, 4).groups()), "it has a record that they lack"
    assert [] == list(found(database, 5).groups())


def test_segments_follow_each_other(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BYTES", 2048)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 8192)
    journal = new(database)
    written = [write(journal, random.Random(number).randbytes(300)) for number in range(200)]
    assert len(scan.segments(database)) > 5
    assert written == list(found(database).groups())
    journal.close(remove=False)


def test_a_group_larger_than_a_segment_gets_one_of_its_own(
    journal: Segments, database: Path
) -> None:
    write(journal, b"small")
    large = write(journal, b"x" * (module.FIRST_BYTES * 3))
    write(journal, b"small again")
    assert large == list(found(database).groups())[1]


def test_closing_for_good_leaves_nothing(journal: Segments, database: Path) -> None:
    write(journal, b"a")
    journal.close(remove=True)
    assert [] == os.listdir(database.parent)


def test_the_files_are_for_their_owner_only(journal: Segments, database: Path) -> None:
    assert {0o600} == {path.stat().st_mode & 0o777 for path in scan.segments(database)}


# -- forgetting ----------------------------------------------------------------------


def test_a_segment_is_forgotten_when_all_its_records_are(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BYTES", 2048)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 2048)
    journal = new(database)
    for number in range(60):
        write(journal, bytes(100) + bytes([number]))
    journal.forget(30)
    space_is_made(journal)
    assert [group.last for group in found(database, 30).groups()] == list(range(31, 61))
    for number in range(60, 120):
        write(journal, bytes(100) + bytes([number]))
    space_is_made(journal)
    assert [group.last for group in found(database, 30).groups()] == list(range(31, 121)), (
        "what was used again is read as what it is now"
    )
    journal.close(remove=False)


# -- torn and damaged ------------------------------------------------------------------


def test_a_torn_last_group_is_cut_off(journal: Segments, database: Path) -> None:
    kept = write(journal, b"kept" * 100)
    [path] = scan.segments(database)
    end = scan.examine(path).end
    write(journal, b"torn" * 100)
    with path.open("r+b") as file:
        file.seek(end + GROUP_SIZE + 200)
        file.write(bytes(200))
    assert [kept] == list(found(database).groups())
    assert found(database).torn is not None


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_an_error_or_harmless(
    journal: Segments, database: Path, seed: int
) -> None:
    rng = random.Random(seed)
    written = [write(journal, rng.randbytes(rng.randrange(1, 900))) for _ in range(12)]
    [path] = scan.segments(database)
    end = scan.examine(path).end
    last = end - GROUP_SIZE - len(written[-1].content)
    flip(path, rng.randrange(START, last), rng.randrange(8))
    with pytest.raises(StorageFileError, match="wopr db accept"):
        found(database)


def test_a_flip_in_the_last_group_cuts_it_off_unless_it_is_known_to_be_acknowledged(
    journal: Segments, database: Path
) -> None:
    write(journal, b"first")
    write(journal, b"last")
    [path] = scan.segments(database)
    flip(path, scan.examine(path).end - 1)
    assert [b"first"] == contents(database)
    with pytest.raises(StorageFileError, match="record 2 was acknowledged"):
        found(database, remembered=2)


@pytest.mark.parametrize("at", [0, 9, 100, 511, 512, 600, 1023])
def test_one_of_the_two_headers_is_enough(journal: Segments, database: Path, at: int) -> None:
    write(journal, b"record")
    [path] = scan.segments(database)
    flip(path, at)
    assert [b"record"] == contents(database)


def test_two_damaged_headers_are_refused_by_name(journal: Segments, database: Path) -> None:
    write(journal, b"record")
    [path] = scan.segments(database)
    flip(path, 20)
    flip(path, 532)
    with pytest.raises(StorageFileError, match=r"journal-1 .*damaged"):
        found(database)


# -- missing and foreign -----------------------------------------------------------------


def test_a_missing_journal_is_refused(journal: Segments, database: Path) -> None:
    write(journal, b"record")
    for path in scan.segments(database):
        path.unlink()
    with pytest.raises(StorageFileError, match=r"journal of .* is missing"):
        found(database)


@pytest.mark.parametrize("which", [0, 1, 2, -1])
def test_a_missing_segment_is_refused(
    database: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    monkeypatch.setattr(module, "FIRST_BYTES", 2048)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 2048)
    journal = new(database)
    for number in range(60):
        write(journal, bytes(100) + bytes([number]))
    journal.close(remove=False)
    begun = [one for one in map(scan.examine, scan.segments(database)) if one.header is not None]
    begun.sort(key=lambda one: one.header.generation if one.header else 0)
    begun[which].path.unlink()
    if which == -1:  # nothing but what was noted elsewhere says that there was one
        with pytest.raises(StorageFileError, match="record 60 was acknowledged"):
            found(database, remembered=60)
    else:
        with pytest.raises(StorageFileError, match=r"missing"):
            found(database)


def test_a_backup_that_was_put_back_is_refused(journal: Segments, database: Path) -> None:
    write(journal, b"record")
    with pytest.raises(StorageFileError, match="older copy"):
        found(database, generation=0)


def test_the_journal_of_another_database_is_refused(journal: Segments, database: Path) -> None:
    write(journal, b"record")
    state = State(bytes(16), 0, 1, 0)
    with pytest.raises(StorageFileError, match="another database"):
        plan(database, state, [scan.examine(path) for path in scan.segments(database)])


# -- a disk that fails ---------------------------------------------------------------------


class Disk:
    """Lets some writes fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = 0
        self._write = disk.writer
        monkeypatch.setattr(disk, "writer", self.write)

    def write(self, descriptor: int, content: bytes, offset: int) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError(5, "Input/output error")
        self._write(descriptor, content, offset)


def test_after_a_failed_sync_all_goes_on_in_a_new_segment(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Disk(monkeypatch)
    journal = new(database)
    written = [write(journal, b"one"), write(journal, b"two")]
    faulty.fails = 1
    with pytest.raises(OSError, match="Input/output"):
        write(journal, b"lost")
    written.append(write(journal, b"three"))
    assert written == list(found(database).groups())
    assert 1 == len([path for path in scan.segments(database) if scan.examine(path).header])
    journal.close(remove=False)


def test_what_failed_is_not_there_after_a_crash(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Disk(monkeypatch)
    journal = new(database)
    write(journal, b"one")

    def written_and_failed(descriptor: int, content: bytes, offset: int) -> None:
        disk.write_all(descriptor, content, offset)
        if not any(content):
            return  # it is made unreadable
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "writer", written_and_failed)
    with pytest.raises(OSError, match="Input/output"):
        write(journal, b"lost")
    assert [b"one"] == contents(database)
    monkeypatch.setattr(disk, "writer", faulty.write)
    journal.close(remove=False)


def test_a_deleted_segment_is_written_anew(journal: Segments, database: Path) -> None:
    written = [write(journal, b"one"), write(journal, b"two")]
    scan.segments(database)[0].unlink()
    assert journal.trouble() is not None
    journal.rescue()
    assert journal.trouble() is None
    written.append(write(journal, b"three"))
    assert written == list(found(database).groups())


def test_a_group_that_was_withdrawn_is_not_read_again(journal: Segments, database: Path) -> None:
    kept = write(journal, b"kept")
    journal.withdraw(write(journal, b"withdrawn"))
    assert [kept] == list(found(database).groups())
    after = write(journal, b"after")
    assert [kept, after] == list(found(database).groups())


def test_what_cannot_be_read_again_is_not_given_up(journal: Segments, database: Path) -> None:
    write(journal, b"one")
    write(journal, b"two")
    [path] = scan.segments(database)
    flip(path, scan.examine(path).end - 1)
    with pytest.raises(OSError, match="behind position 1"):
        journal.rescue()
    journal.forget(2)  # now the database has it
    journal.rescue()
    write(journal, b"three")
    assert [b"three"] == contents(database, 2)
