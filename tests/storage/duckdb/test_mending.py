"""A block that was torn without a saved copy: mended when that is sure, left alone otherwise."""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb
import pytest

from support.checkpoints import Recorded, beside, live, numbers, record
from support.databases import bytes_of, log_of, names_beside
from wopr.domain.clock import SystemClock
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, is_whole
from wopr.storage.duckdb.file.mending import is_torn, mend
from wopr.storage.duckdb.file.opening import open_database


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Return a checkpoint of a file with more than one block of metadata."""
    with live(tmp_path_factory.mktemp("recorded") / "queue.duckdb") as database:
        database.widen(tables=40)
        database.add(3_000)
        database.checkpoint()
        database.add(10)
        return record(database, "some")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


def leave(recorded: Recorded, path: Path, main: bytes) -> dict[str, bytes]:
    """Write the files as a crash of an older wopr left them; return them by name."""
    recorded.leave(path, main)
    beside(path).unlink()
    return bytes_of(path)


def torn(recorded: Recorded) -> bytes:
    """Return a file with a new checksum over old content."""
    return recorded.torn(recorded.checksums()[:1])


def flipped(main: bytes, position: int) -> bytes:
    """Return the file with a bit flipped."""
    return main[:position] + bytes([main[position] ^ 1]) + main[position + 1 :]


def refusal(path: Path) -> duckdb.Error:
    """Return what DuckDB says instead of opening a file."""
    with pytest.raises(duckdb.Error) as caught:
        duckdb.connect(str(path), read_only=True)
    return caught.value


def yes(_: Path) -> bool:
    return True


def test_a_block_torn_by_a_checkpoint_is_mended(
    recorded: Recorded, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = leave(recorded, path, torn(recorded))
    assert is_torn(refusal(path))
    examined: list[list[int]] = []

    def accept(copy: Path) -> bool:
        with duckdb.connect(str(copy)) as connection:
            examined.append(numbers(connection))
        return True

    assert mend(path, SystemClock(), accept)

    assert [recorded.rows] == examined
    (copy,) = (name for name in names_beside(path, "quarantine-") if not name.endswith(".wal"))
    assert before[path.name] == path.with_name(copy).read_bytes()
    assert [] == names_beside(path, "new-")
    (warning,) = caplog.records
    assert (logging.WARNING, True) == (warning.levelno, copy in warning.getMessage())
    database = open_database(path)
    assert recorded.rows == numbers(database.connection)
    database.close()


def test_a_mended_copy_can_be_given_to_the_doctor(recorded: Recorded, path: Path) -> None:
    leave(recorded, path, torn(recorded))

    assert mend(path, SystemClock(), lambda copy: check(copy).clean)

    assert check(path).clean


def test_a_copy_that_is_not_accepted_changes_nothing(recorded: Recorded, path: Path) -> None:
    before = leave(recorded, path, torn(recorded))

    assert not mend(path, SystemClock(), lambda _: False)

    assert before == bytes_of(path)
    assert [path.name, log_of(path).name] == sorted(file.name for file in path.parent.iterdir())


def test_a_flipped_bit_without_a_checkpoint_under_way_stays_an_error(
    recorded: Recorded, path: Path
) -> None:
    before = leave(recorded, path, flipped(recorded.before, 12_288 + 100))
    log = before[log_of(path).name]
    log_of(path).write_bytes(log[: log.rindex(b"\x64\x00\x63\x65\x00") - 16])
    before = bytes_of(path)
    assert is_torn(refusal(path))

    assert not mend(path, SystemClock(), yes)

    assert before == bytes_of(path)


def test_a_flipped_bit_in_a_block_of_data_stays_an_error(recorded: Recorded, path: Path) -> None:
    path.write_bytes(recorded.before)
    with duckdb.connect(str(path), read_only=True) as connection:
        [(block,)] = connection.execute(
            "SELECT max(block_id) FROM pragma_storage_info('task_logs') WHERE persistent"
        ).fetchall()
    data = HEADERS_SIZE + block * 262_144
    before = leave(recorded, path, flipped(recorded.before, data + 1_000))
    assert not is_whole(before[path.name][data : data + 262_144])

    assert not mend(path, SystemClock(), yes)

    assert before == bytes_of(path)


@pytest.mark.parametrize("position", [4096 + 20, 8192 + 20, 20])
def test_a_torn_header_stays_an_error(recorded: Recorded, path: Path, position: int) -> None:
    before = leave(recorded, path, flipped(recorded.before, position))

    assert not mend(path, SystemClock(), yes)

    assert before == bytes_of(path)


def test_a_file_without_a_log_stays_as_it_is(recorded: Recorded, path: Path) -> None:
    leave(recorded, path, torn(recorded))
    log_of(path).unlink()
    before = bytes_of(path)

    assert not mend(path, SystemClock(), yes)

    assert before == bytes_of(path)


def test_other_errors_are_not_about_torn_blocks(path: Path) -> None:
    path.write_bytes(b"no database" * 1_000)

    assert not is_torn(refusal(path))
