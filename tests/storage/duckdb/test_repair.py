"""A log as crashes, power cuts and bad disks leave it: opened with all that can be had.

Commit n of the log wrote the transition n, so what came back is a prefix 1..k,
and k tells what was lost.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import stat
import struct
from pathlib import Path

import pytest

from support.databases import (
    bytes_of,
    child_ok,
    crashed_file,
    killed,
    log_of,
    names_beside,
    seqs,
)
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file.files import copy_database
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.file.wal import checksum, read_wal

COMMITS = 12


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave a file whose commits are all in its log; to be copied, not opened."""
    path = tmp_path_factory.mktemp("crashed") / "queue.duckdb"
    crashed_file(path, COMMITS)
    return path


@pytest.fixture
def path(crashed: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "queue.duckdb"
    shutil.copy(crashed, copy)
    shutil.copy(log_of(crashed), log_of(copy))
    return copy


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="wopr")
    return caplog


def opened_seqs(path: Path) -> list[int]:
    """Open the file, write one more commit, and return what a next opening finds of the rest."""
    database = open_database(path)
    found = seqs(database.connection)
    database.connection.execute(
        "INSERT INTO transitions (seq, task_id, attempt, to_status, occurred_at, reason) "
        "VALUES (1000, uuid(), 0, 'pending', TIMESTAMP '2026-01-01', 'add')"
    )
    database.close(checkpoint=False)
    database = open_database(path)
    again = seqs(database.connection)
    database.close()
    assert [*found, 1000] == again, "what was opened once must stay, and be written to"
    return found


def prefix(length: int) -> list[int]:
    return list(range(1, length + 1))


def commit_ends(log: bytes) -> list[int]:
    """Return where each commit ends, found by its end mark."""
    mark = (5).to_bytes(8, "little")
    ends = []
    position = log.find(mark)
    while position >= 0:
        if log[position + 16 : position + 21] == b"\x64\x00\x64\xff\xff":
            ends.append(position + 21)
        position = log.find(mark, position + 1)
    return ends


def header_length(log: bytes) -> int:
    """Return where the first frame begins; no number in so young a header contains its end."""
    return log.index(b"\xff\xff") + 2


# --- reading the structure ---


def test_the_structure_of_a_whole_log_is_understood(path: Path) -> None:
    report = read_wal(log_of(path))

    assert report is not None
    size = log_of(path).stat().st_size
    assert ("ok", size, COMMITS, False, 0) == (
        report.header,
        report.committed,
        report.commits,
        report.damaged,
        report.rest,
    )


def test_no_log_and_an_empty_log_are_the_same(path: Path) -> None:
    log_of(path).write_bytes(b"")
    assert read_wal(log_of(path)) is None
    log_of(path).unlink()
    assert read_wal(log_of(path)) is None


def test_a_log_cut_at_any_byte_keeps_exactly_its_whole_commits(path: Path) -> None:
    log = log_of(path).read_bytes()
    ends = commit_ends(log)
    assert COMMITS == len(ends)
    cut = log_of(path)

    for size in range(len(log) - 1, 64, -1):
        os.truncate(cut, size)
        report = read_wal(cut)
        assert report is not None
        whole = [end for end in ends if end <= size]
        assert ("ok", len(whole), False) == (report.header, report.commits, report.damaged)
        assert not whole or whole[-1] == report.committed


def test_any_flipped_bit_in_the_last_commit_is_seen_as_damage_or_by_duckdb(path: Path) -> None:
    log = log_of(path).read_bytes()
    start = commit_ends(log)[-2]
    flipped = bytearray(log)
    taken_for_torn = []

    for position in range(start, len(log)):
        flipped[position] ^= 1
        log_of(path).write_bytes(flipped)
        flipped[position] ^= 1
        report = read_wal(log_of(path))
        assert report is not None
        if report.rest and not report.damaged:
            taken_for_torn.append(position)

    assert [] == taken_for_torn


def test_the_checksum_is_the_one_of_duckdb(path: Path) -> None:
    log = log_of(path).read_bytes()
    position = header_length(log)
    checked = 0

    while position < len(log):
        length, stored = struct.unpack_from("<QQ", log, position)
        assert stored == checksum(log[position + 16 : position + 16 + length])
        position += 16 + length
        checked += 1

    assert 3 * COMMITS == checked


def test_a_log_of_an_unknown_version_is_left_to_duckdb(path: Path) -> None:
    log = bytearray(log_of(path).read_bytes())
    assert 2 == log[5]
    log[5] = 3
    log_of(path).write_bytes(log)

    report = read_wal(log_of(path))

    assert report is not None
    assert "unknown" == report.header


# --- a torn end: the commit that was under way ---


SOME_CUTS = [1, 10, 36, 37, 40, 60, *random.Random(20).sample(range(64, 3000), 14)]


@pytest.mark.parametrize("size", SOME_CUTS)
def test_a_torn_log_opens_with_every_whole_commit(
    path: Path, size: int, said: pytest.LogCaptureFixture
) -> None:
    log = log_of(path).read_bytes()
    size %= len(log)
    os.truncate(log_of(path), size)
    whole = [end for end in commit_ends(log) if end <= size]

    assert prefix(len(whole)) == opened_seqs(path)

    if size not in {header_length(log), *whole}:
        assert [logging.WARNING] == [record.levelno for record in said.records]


def test_the_bytes_of_a_torn_commit_are_kept(path: Path, said: pytest.LogCaptureFixture) -> None:
    log = log_of(path).read_bytes()
    committed = commit_ends(log)[-2]
    os.truncate(log_of(path), len(log) - 7)

    assert prefix(COMMITS - 1) == opened_seqs(path)

    (tail,) = names_beside(path, "quarantine-")
    assert tail.endswith(".tail")
    assert log[committed:-7] == path.with_name(tail).read_bytes()
    assert f"The {len(log) - 7 - committed} bytes" in said.text
    assert tail in said.text


@pytest.mark.parametrize("zeros", [1, 20, 4096])
def test_blocks_of_zeros_behind_the_last_commit_are_removed(
    path: Path, zeros: int, said: pytest.LogCaptureFixture
) -> None:
    with log_of(path).open("ab") as log:
        log.write(bytes(zeros))

    assert prefix(COMMITS) == opened_seqs(path)

    assert "all zero" in said.text
    assert [] == names_beside(path, "quarantine-")


def test_a_log_of_zeros_only_was_never_written(path: Path) -> None:
    log_of(path).write_bytes(bytes(4096))

    assert [] == opened_seqs(path)


def test_bytes_of_a_foreign_writer_behind_the_last_commit_are_kept_aside(path: Path) -> None:
    noise = random.Random(1).randbytes(300)
    with log_of(path).open("ab") as log:
        log.write(noise)

    assert prefix(COMMITS) == opened_seqs(path)

    (tail,) = names_beside(path, "quarantine-")
    assert noise == path.with_name(tail).read_bytes()


# --- a damaged log: acknowledged commits may be in it ---


def assert_loss_was_reported(path: Path, before: dict[str, bytes], text: str) -> None:
    """Check that the ERROR names a copy of the files as they were found."""
    (copy,) = (name for name in names_beside(path, "quarantine-") if not name.endswith(".wal"))
    kept = path.with_name(copy)
    assert copy in text
    assert list(before.values()) == list(bytes_of(kept).values())
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob(f"{copy}*")}


def test_zeros_over_the_last_commits_are_reported_as_a_loss(
    path: Path, said: pytest.LogCaptureFixture
) -> None:
    log = bytearray(log_of(path).read_bytes())
    third_last = commit_ends(bytes(log))[-3]
    log[third_last + 30 : third_last + 60] = bytes(30)
    log_of(path).write_bytes(log)
    before = bytes_of(path)

    assert prefix(COMMITS - 2) == opened_seqs(path)

    (record,) = said.records
    assert logging.ERROR == record.levelno
    assert f"damaged at byte {third_last}" in record.getMessage()
    assert f"Its {COMMITS - 2} commits before" in record.getMessage()
    assert f"the {len(log) - third_last} bytes behind (at least 2 commits" in record.getMessage()
    assert_loss_was_reported(path, before, said.text)


def test_a_flipped_length_that_duckdb_would_not_mention_is_reported_as_a_loss(
    path: Path, said: pytest.LogCaptureFixture
) -> None:
    log = bytearray(log_of(path).read_bytes())
    fourth = commit_ends(bytes(log))[3]
    log[fourth + 6] ^= 1  # the length of the next frame becomes huge
    log_of(path).write_bytes(log)
    before = bytes_of(path)

    assert prefix(4) == opened_seqs(path)

    assert logging.ERROR == said.records[0].levelno
    assert_loss_was_reported(path, before, said.text)


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_never_a_silent_loss(
    path: Path, seed: int, said: pytest.LogCaptureFixture
) -> None:
    generator = random.Random(seed)
    log = bytearray(log_of(path).read_bytes())
    position = generator.randrange(len(log))
    log[position] ^= 1 << generator.randrange(8)
    log_of(path).write_bytes(log)
    before = bytes_of(path)

    refused = None
    found = []
    try:
        found = opened_seqs(path)
    except StorageFileError as error:
        refused = str(error)

    if refused is not None:
        assert "Nothing was changed" in refused
        assert before == bytes_of(path)
        return
    assert prefix(len(found)) == found
    if len(found) < COMMITS:
        assert logging.ERROR == said.records[0].levelno
        assert_loss_was_reported(path, before, said.text)


@pytest.mark.parametrize("position", [0, 5, 8, 12, 30])
def test_a_damaged_start_of_the_log_is_refused_untouched(path: Path, position: int) -> None:
    log = bytearray(log_of(path).read_bytes())
    log[position] ^= 1
    log_of(path).write_bytes(log)
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match=r"mv .*queue.duckdb.wal"):
        open_database(path)

    assert before == bytes_of(path)


def test_random_bytes_as_a_log_are_refused_untouched(path: Path) -> None:
    log_of(path).write_bytes(random.Random(2).randbytes(3000))
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match="would skip all of it"):
        open_database(path)

    assert before == bytes_of(path)


def test_the_command_in_the_error_opens_the_file_without_its_log(path: Path) -> None:
    log_of(path).write_bytes(random.Random(3).randbytes(3000))
    with pytest.raises(StorageFileError) as caught:
        open_database(path)

    command = str(caught.value).rpartition("commits: ")[2].rstrip(".")
    assert 0 == os.system(command)

    assert [] == opened_seqs(path)


# --- logs that do not belong ---


def test_a_log_that_a_power_cut_brought_back_is_set_aside(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.duckdb"
    stale = tmp_path / "stale"
    killed(
        "opened = open_database(path)\n"
        "add(opened.connection, 1, 5)\n"
        "shutil.copy(path + '.wal', sys.argv[2])\n"
        "opened.connection.execute('CHECKPOINT')\n",
        path,
        stale,
    )
    shutil.copy(stale, log_of(path))  # its deletion was not on disk yet

    assert prefix(5) == opened_seqs(path)

    assert "so it has all of it" in said.text
    (kept,) = names_beside(path, "quarantine-")
    assert stale.read_bytes() == path.with_name(kept).read_bytes()


def test_a_log_newer_than_its_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    old = tmp_path / "old"
    killed(
        "opened = open_database(path)\n"
        "add(opened.connection, 1, 5)\n"
        "shutil.copy(path, sys.argv[2])\n"
        "opened.connection.execute('CHECKPOINT')\n"
        "add(opened.connection, 6, 5)\n",
        path,
        old,
    )
    shutil.copy(old, path)  # a backup of the file alone
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match="restored or copied without the other"):
        open_database(path)

    assert before == bytes_of(path)


def test_the_log_of_another_database_is_refused_untouched(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    shutil.copy(crashed_file(other, 2), log_of(path))
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match="does not belong to the database file"):
        open_database(path)

    assert before == bytes_of(path)


def test_a_second_quarantine_in_the_same_second_gets_a_name_of_its_own(path: Path) -> None:
    first = copy_database(path, "queue.duckdb.quarantine-x")
    second = copy_database(path, "queue.duckdb.quarantine-x")

    assert ["queue.duckdb.quarantine-x", "queue.duckdb.quarantine-x-2"] == [first.name, second.name]
    assert bytes_of(path)[log_of(path).name] == log_of(second).read_bytes()


# --- checkpoints cut short ---


@pytest.mark.parametrize("bytes_left", [0, 4096, 262144, 400000])
def test_a_checkpoint_that_finds_no_space_at_opening_loses_nothing(
    path: Path, bytes_left: int
) -> None:
    message = child_ok(
        "import resource\n"
        "from wopr.domain.errors import StorageFileError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = os.stat(path).st_size + int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    open_database(path)\n"
        "except StorageFileError as error:\n"
        "    print(error)\n"
        "os._exit(0)",
        path,
        str(bytes_left),
    )

    if bytes_left == 0:
        assert "can't be opened" in message
    assert prefix(COMMITS) == opened_seqs(path)
