"""A checkpoint saves first what it will overwrite, and is believed only when it shows."""

from __future__ import annotations

import errno
import logging
import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from support.checkpoints import Live, beside, live, numbers
from support.databases import log_of
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file import checkpoint as module
from wopr.storage.duckdb.file.blocks import read_headers
from wopr.storage.duckdb.file.checkpoint import forget
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.file.saved import Saved, unpack


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path / "queue.duckdb") as database:
        yield database


def iteration(database: Live) -> int:
    """Return what the file says."""
    headers = read_headers(database.content())
    assert headers is not None
    return headers.iteration


def saved_by(database: Live) -> Saved | None:
    """Return what is kept beside the file."""
    return unpack(beside(database.path).read_bytes())


def test_a_checkpoint_raises_the_iteration_and_empties_the_log(database: Live) -> None:
    before = iteration(database)
    database.add(100)

    assert before + 1 == database.checkpoint()

    assert before + 1 == iteration(database)
    assert not log_of(database.path).exists()


def test_without_anything_to_write_the_iteration_stays(database: Live) -> None:
    database.add(100)
    first = database.checkpoint()

    assert first == database.checkpoint()


def test_a_log_with_nothing_but_its_header_is_nothing_to_write(tmp_path: Path) -> None:
    path = tmp_path / "queue.duckdb"
    database = open_database(path)
    database.connection.execute("INSERT INTO meta VALUES ('a', 'b')")
    log = log_of(path).read_bytes()
    database.close()
    with live(path) as again:
        log_of(path).write_bytes(log[: log.index(b"\xff\xff") + 2])

        assert iteration(again) == again.checkpoint()


def test_before_it_begins_all_blocks_with_room_are_beside_the_file(database: Live) -> None:
    database.widen(tables=40)
    database.checkpoint()
    database.add(100)
    found: list[Saved | None] = []
    database.connection.before = lambda: found.append(saved_by(database))

    before = database.content()
    database.checkpoint()

    (saved,) = found
    assert saved is not None
    assert 2 == len(saved.blocks)
    assert read_headers(before) == saved.headers
    for block, content in saved.blocks.items():
        start = saved.headers.offset(block)
        assert before[start : start + saved.headers.block_size] == content


def test_all_that_is_overwritten_of_what_the_header_needs_was_saved(database: Live) -> None:
    """Put the old header and the saved blocks back: all that it needs is there."""
    path = database.path.with_name("copy.duckdb")
    for step in range(12):
        database.add(700)
        database.delete(every=2 + step % 3)
        database.checkpoint()
        rows = database.rows()
        database.add(30)
        found: list[Saved | None] = []
        database.connection.before = lambda found=found: found.append(saved_by(database))
        database.checkpoint()
        database.connection.before = lambda: None
        (saved,) = found
        assert saved is not None
        image = bytearray(database.content())
        image[: len(saved.content)] = saved.content
        for block, content in saved.blocks.items():
            start = saved.headers.offset(block)
            image[start : start + len(content)] = content
        path.write_bytes(image)
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("SELECT sum(hash(t)) FROM task_logs t").fetchall()
            assert rows == numbers(connection)


def test_afterwards_what_was_saved_is_void_and_the_file_is_used_again(database: Live) -> None:
    database.add(10)
    database.checkpoint()
    first = beside(database.path).stat()
    assert saved_by(database) is None
    assert 0o600 == stat.S_IMODE(first.st_mode)
    database.add(10)
    database.checkpoint()

    second = beside(database.path).stat()

    assert (first.st_ino, first.st_size) == (second.st_ino, second.st_size)
    assert saved_by(database) is None


def test_a_shorter_copy_over_a_longer_one_is_read_as_it_is(database: Live) -> None:
    database.widen(tables=40)
    database.checkpoint()
    database.add(1)
    database.checkpoint()
    beside(database.path).write_bytes(beside(database.path).read_bytes() + bytes(1_000_000))
    found: list[Saved | None] = []
    database.connection.before = lambda: found.append(saved_by(database))
    database.add(1)
    database.checkpoint()

    assert found[0] is not None
    assert beside(database.path).stat().st_size > 1_000_000


def test_a_copy_that_was_cut_or_changed_anywhere_is_none(database: Live) -> None:
    found: list[bytes] = []
    database.connection.before = lambda: found.append(beside(database.path).read_bytes())
    database.add(10)
    database.checkpoint()
    (copy,) = found
    saved, chance = unpack(copy), random.Random(1)
    assert saved is not None
    assert copy == saved.pack()

    for position in [*range(60), *(chance.randrange(len(copy)) for _ in range(60))]:
        changed = bytearray(copy)
        changed[position] ^= 1 << chance.randrange(8)
        assert unpack(bytes(changed)) is None, f"bit flipped at {position}"
        assert unpack(copy[:position]) is None, f"cut at {position}"


def test_a_forgotten_copy_is_gone(database: Live) -> None:
    database.add(10)
    database.checkpoint()

    forget(database.path)
    forget(database.path)

    assert not beside(database.path).exists()


def test_the_name_is_on_disk_before_the_content_is(
    database: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("sync_directory", "write_all", "sync", "write_synced"):
        original = getattr(module, name)

        def noted(*args: object, name: str = name, original: object = original) -> None:
            done.append(name)
            original(*args)  # type: ignore[operator]

        monkeypatch.setattr(module, name, noted)
    database.connection.before = lambda: done.append("checkpoint")
    database.add(1)
    database.checkpoint()
    database.add(1)
    database.checkpoint()

    new, known = ["sync_directory", "write_all", "sync"], ["write_synced"]
    assert [*new, "checkpoint", *known, "checkpoint"] == done


def test_duckdb_keeps_its_lock(database: Live) -> None:
    database.add(10)
    database.checkpoint()
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"

    other = subprocess.run(
        [sys.executable, "-c", program, str(database.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Conflicting lock is held" in other.stderr


@pytest.mark.parametrize("busy", ["reads", "writes"])
def test_another_transaction_does_not_hold_a_checkpoint_up(database: Live, busy: str) -> None:
    other = database.opened.cursor()
    database.add(10)
    other.execute("BEGIN")
    other.execute("FROM meta" if busy == "reads" else "INSERT INTO meta VALUES ('a', 'b')")
    before = iteration(database)

    assert before + 1 == database.checkpoint()

    other.execute("ROLLBACK")
    assert list(range(1, 11)) == database.rows()


# --- what goes wrong ---


def test_without_room_to_save_no_checkpoint_is_begun(
    database: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    database.add(10)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_all", full)
        with pytest.raises(StorageFileError, match=r"No checkpoint .* was made.*No space left"):
            database.checkpoint()
    assert 0 == database.connection.asked

    database.checkpoint()

    assert list(range(1, 11)) == database.rows()


def test_a_link_in_the_place_of_the_copy_is_not_followed(database: Live, tmp_path: Path) -> None:
    target = tmp_path / "something else"
    target.write_text("precious")
    beside(database.path).symlink_to(target)
    database.add(10)

    with pytest.raises(StorageFileError, match=r"queue\.duckdb\.blocks"):
        database.checkpoint()

    assert "precious" == target.read_text()


def test_what_was_saved_for_a_checkpoint_that_failed_stays_good(database: Live) -> None:
    database.add(10)
    database.connection.refuse = duckdb.FatalException("no more")

    with pytest.raises(duckdb.FatalException):
        database.checkpoint()

    saved = saved_by(database)
    assert saved is not None
    assert iteration(database) == saved.headers.iteration


def test_a_success_that_does_not_show_in_the_file_is_not_believed(database: Live) -> None:
    database.add(10)
    database.connection.skip = True

    with pytest.raises(StorageFileError, match=r"reported a checkpoint .* but it is not"):
        database.checkpoint()

    assert saved_by(database) is not None


def test_a_file_of_an_unknown_format_gets_its_checkpoint_and_a_warning(
    database: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = iteration(database)
    database.add(10)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_headers", lambda _: None)

        assert database.checkpoint() is None

    assert before + 1 == iteration(database)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert not beside(database.path).exists()
