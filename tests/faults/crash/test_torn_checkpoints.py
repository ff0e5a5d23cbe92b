"""A checkpoint cut short anywhere: the file opens, with everything that was committed.

Real checkpoints are recorded once: their files when they began, and when they were
over. What a kill or a power cut leaves is the first, with some sectors of the second.
"""

from __future__ import annotations

import errno
import logging
import os
import random
from pathlib import Path

import pytest

from support.checkpoints import Recorded, beside, live, numbers, record
from support.databases import log_of, names_beside
from wopr.domain.clock import SystemClock
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file import healing
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, SLOT_SIZE, is_whole, read_headers
from wopr.storage.duckdb.file.healing import heal
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.file.saved import VOID, unpack

pytestmark = pytest.mark.crash

IMAGES = int(os.environ.get("WOPR_TEST_TORN_IMAGES", "8"))
"""So many of each kind of checkpoint."""

SEED = int(os.environ.get("WOPR_TEST_SEED", "0"))
KINDS = ("first", "small", "growing", "deleting", "shrinking", "many blocks", "dropping")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """Return a checkpoint of each kind."""
    found = []
    with live(tmp_path_factory.mktemp("recorded") / "queue.duckdb") as database:
        database.add(300)
        found.append(record(database, "first"))
        database.add(5)
        found.append(record(database, "small"))
        database.add(2_500, size=800)
        found.append(record(database, "growing"))
        database.delete(every=3)
        found.append(record(database, "deleting"))
        database.delete(every=1)
        database.checkpoint()
        database.add(7)
        found.append(record(database, "shrinking"))
        database.widen(tables=40)
        database.checkpoint()
        database.add(30)
        found.append(record(database, "many blocks"))
        database.narrow()
        database.checkpoint()  # the room of what was dropped is free after this one
        database.add(30)
        found.append(record(database, "dropping"))
    return {one.name: one for one in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="wopr")
    return caplog


def whole(path: Path) -> list[int]:
    """Return what is in the file, after everything in it was read."""
    database = open_database(path)
    try:
        connection = database.connection
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"SELECT sum(hash(t)) FROM {table} t").fetchall()
        return numbers(connection)
    finally:
        database.close()


def torn_blocks(image: bytes) -> list[int]:
    """Return the positions of the blocks that DuckDB would refuse."""
    headers = read_headers(image)
    assert headers is not None
    size = headers.block_size
    starts = range(HEADERS_SIZE, headers.offset(headers.block_count), size)
    return [at for at in starts if not is_whole(image[at : at + size])]


# --- torn anywhere ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_checkpoint_leaves_a_file_that_opens_with_every_row(
    recorded: dict[str, Recorded], kind: str, path: Path
) -> None:
    one = recorded[kind]
    for seed in range(SEED, SEED + IMAGES):
        folder = path.parent / f"{seed}"
        folder.mkdir()
        here = folder / path.name
        one.leave(here, one.torn_somehow(random.Random(seed)))

        heal(here, SystemClock())

        assert one.rows == whole(here), f"seed {seed}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_block_is_put_back_and_the_file_as_found_is_kept(
    recorded: dict[str, Recorded], kind: str, path: Path, said: pytest.LogCaptureFixture
) -> None:
    one = recorded[kind]
    saved = unpack(one.saved)
    assert saved is not None
    torn = one.torn(one.checksums()[:1])  # a checksum, and nothing that it is of
    one.leave(path, torn)

    assert heal(path, SystemClock())

    assert one.before == path.read_bytes()[: len(one.before)]
    (copy,) = (name for name in names_beside(path, "quarantine-") if not name.endswith(".wal"))
    assert torn == path.with_name(copy).read_bytes()
    assert one.log == log_of(path.with_name(copy)).read_bytes()
    (warning,) = said.records
    assert logging.WARNING == warning.levelno
    assert copy in warning.getMessage()
    assert f"checkpoint {saved.headers.iteration}," in warning.getMessage()
    assert not heal(path, SystemClock()), "what is healed needs no healing"
    assert one.rows == whole(path)


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_header_is_no_reason_to_heal(
    recorded: dict[str, Recorded], kind: str, path: Path
) -> None:
    one = recorded[kind]
    one.leave(path, one.torn(one.changed()))

    assert not heal(path, SystemClock())

    assert one.rows == whole(path)


def test_most_of_these_images_would_not_open_by_themselves(recorded: dict[str, Recorded]) -> None:
    images = [recorded[kind].torn_somehow(random.Random(seed)) for kind in KINDS for seed in (1, 2)]

    torn = [image for image in images if 12_288 in torn_blocks(image)]

    assert len(torn) > len(images) / 3


# --- the header ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_header_counts_as_not_written(
    recorded: dict[str, Recorded], kind: str, path: Path, said: pytest.LogCaptureFixture
) -> None:
    one = recorded[kind]
    old, new = one.before[:HEADERS_SIZE], one.after[:HEADERS_SIZE]
    differing = [at for at in range(HEADERS_SIZE) if old[at] != new[at]]
    cut = random.Random(kind).choice(differing[1:])
    one.leave(path, one.torn(one.changed(), headers=new[:cut] + old[cut:]))
    slot = differing[0] // SLOT_SIZE * SLOT_SIZE

    assert heal(path, SystemClock())

    assert f"the header at byte {slot}" in said.text
    assert old == path.read_bytes()[:HEADERS_SIZE]
    assert one.rows == whole(path)


@pytest.mark.parametrize("kind", KINDS)
def test_with_its_header_a_checkpoint_is_over_and_what_was_saved_is_void(
    recorded: dict[str, Recorded], kind: str, path: Path
) -> None:
    one = recorded[kind]
    one.leave(path, one.after)

    assert not heal(path, SystemClock())

    assert one.rows == whole(path)


def test_two_torn_headers_are_no_work_of_a_checkpoint(
    recorded: dict[str, Recorded], path: Path
) -> None:
    one = recorded["small"]
    image = bytearray(one.before)
    image[4096 + 20] ^= 1
    image[8192 + 20] ^= 1
    one.leave(path, bytes(image))

    assert not heal(path, SystemClock())

    assert image == path.read_bytes()


# --- while it saves, and while it heals ---


@pytest.mark.parametrize("seed", range(6))
def test_what_was_half_saved_is_ignored_for_nothing_was_overwritten_yet(
    recorded: dict[str, Recorded], seed: int, path: Path
) -> None:
    one, earlier = recorded["growing"], recorded["small"]
    chance = random.Random(seed)
    cut = chance.randrange(len(one.saved))
    rest = chance.choice([b"", bytes(len(one.saved) - cut), (VOID + earlier.saved[8:])[cut:]])
    one.leave(path, one.before, saved=one.saved[:cut] + rest)

    assert not heal(path, SystemClock())

    assert one.rows == whole(path)


@pytest.mark.parametrize("write", [1, 2])
def test_healing_that_is_cut_short_itself_goes_on_the_next_time(
    recorded: dict[str, Recorded], write: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recorded["many blocks"]
    one.leave(path, one.torn([at for at in one.changed() if at != one.checksums()[0]]))
    original, writes = healing.write_all, 0

    def cut_short(descriptor: int, content: bytes, offset: int) -> None:
        nonlocal writes
        writes += 1
        if writes == write:
            original(descriptor, content[: len(content) // 2], offset)
            raise KeyboardInterrupt
        original(descriptor, content, offset)

    with monkeypatch.context() as patch:
        patch.setattr(healing, "write_all", cut_short)
        with pytest.raises(KeyboardInterrupt):
            heal(path, SystemClock())

    heal(path, SystemClock())

    assert one.rows == whole(path)


def test_without_room_for_a_copy_only_what_is_overwritten_is_kept(
    recorded: dict[str, Recorded],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: pytest.LogCaptureFixture,
) -> None:
    one = recorded["growing"]
    torn = one.torn(one.checksums()[:1])
    one.leave(path, torn)

    def full(path: Path, name: str) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(healing, "copy_database", full)

    assert heal(path, SystemClock())

    (copy,) = names_beside(path, "quarantine-")
    assert copy in said.text
    kept = unpack(path.with_name(copy).read_bytes())
    assert kept is not None
    assert kept.content == torn[:HEADERS_SIZE]
    for block, found in kept.blocks.items():
        start = kept.headers.offset(block)
        assert found == torn[start : start + kept.headers.block_size]
    assert one.rows == whole(path)


def test_without_any_room_nothing_is_changed(
    recorded: dict[str, Recorded], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recorded["growing"]
    torn = one.torn(one.checksums()[:1])
    one.leave(path, torn)

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(healing, "copy_database", full)
    monkeypatch.setattr(healing, "write_all", full)

    with pytest.raises(StorageFileError, match="Free some space"):
        heal(path, SystemClock())

    assert torn == path.read_bytes()
    assert [] == names_beside(path, "quarantine-")


# --- copies that do not belong ---


@pytest.mark.parametrize("other", ["small", "deleting"])
def test_what_another_checkpoint_saved_is_not_put_into_the_file(
    recorded: dict[str, Recorded], other: str, path: Path
) -> None:
    one = recorded["growing"]
    torn = one.torn(one.checksums()[:1])
    one.leave(path, torn, saved=recorded[other].saved)

    assert not heal(path, SystemClock())

    assert torn == path.read_bytes()


def test_what_was_saved_of_another_database_is_not_put_into_the_file(
    recorded: dict[str, Recorded], tmp_path: Path, path: Path
) -> None:
    with live(tmp_path / "other" / "queue.duckdb") as database:
        database.add(300)
        other = record(database, "of another database")
    one = recorded["first"]
    torn = one.torn(one.checksums()[:1])
    one.leave(path, torn, saved=other.saved)

    assert not heal(path, SystemClock())

    assert torn == path.read_bytes()


def test_without_a_file_there_is_nothing_to_heal(recorded: dict[str, Recorded], path: Path) -> None:
    assert not heal(path, SystemClock())

    beside(path).write_bytes(recorded["first"].saved)

    assert not heal(path, SystemClock())
    assert not path.exists()
