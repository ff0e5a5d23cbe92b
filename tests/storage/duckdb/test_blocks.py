"""DuckDB's main file is understood as DuckDB writes it, and never guessed at."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import duckdb
import pytest

from wopr.storage.duckdb.file.blocks import HEADERS_SIZE, SLOTS, is_whole, read_headers
from wopr.storage.duckdb.file.wal import checksum

MAIN, FIRST, SECOND = 0, *SLOTS
VERSION, FLAGS, ITERATION, BLOCK_SIZE = 12, 20, 8, 40
"""Where these are in their headers."""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file with two checkpoints, the second of which is in the second header."""
    path = tmp_path_factory.mktemp("file") / "x.duckdb"
    write(path, "CREATE TABLE t AS SELECT range AS n FROM range(3000)", "INSERT INTO t VALUES (1)")
    return path.read_bytes()


def write(path: Path, *statements: str) -> None:
    """Run statements, each with a checkpoint of its own."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
            connection.execute("CHECKPOINT")


def sealed(content: bytes, header: int, position: int, value: int) -> bytes:
    """Return the file with another number in a header, whose checksum is right again."""
    changed = bytearray(content)
    struct.pack_into("<Q", changed, header + position, value)
    struct.pack_into("<Q", changed, header, checksum(bytes(changed[header + 8 : header + 4096])))
    return bytes(changed)


def flipped(content: bytes, *positions: int) -> bytes:
    """Return the file with a bit flipped at each position."""
    changed = bytearray(content)
    for position in positions:
        changed[position] ^= 4
    return bytes(changed)


def test_the_headers_say_what_duckdb_says(content: bytes) -> None:
    headers = read_headers(content)

    assert headers is not None
    assert (SECOND, 2, 262_144, None) == (
        headers.slot,
        headers.iteration,
        headers.block_size,
        headers.torn,
    )
    assert len(content) == headers.offset(headers.block_count)
    assert any(headers.database)


def test_each_checkpoint_raises_the_iteration_in_the_other_header(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    found = []
    for number in range(4):
        write(path, f"CREATE TABLE t{number} AS SELECT 1 AS one")
        headers = read_headers(path.read_bytes())
        assert headers is not None
        found.append((headers.iteration, headers.slot))

    assert [(1, FIRST), (2, SECOND), (3, FIRST), (4, SECOND)] == found


def test_every_block_of_a_file_is_whole_until_a_bit_of_it_changes(content: bytes) -> None:
    headers = read_headers(content)
    assert headers is not None
    chance = random.Random(1)

    for block in range(headers.block_count):
        start = headers.offset(block)
        found = content[start : start + headers.block_size]
        assert is_whole(found)
        assert not is_whole(flipped(found, chance.randrange(len(found))))
        assert not is_whole(found[:-4096] + bytes(4095) + b"\1")


@pytest.mark.parametrize("version", ["v1.0.0", "v1.2.0", "v1.4.0", "v1.5.0", "v2.0.0"])
def test_the_storage_versions_that_duckdb_can_write_are_known(tmp_path: Path, version: str) -> None:
    path = tmp_path / "x.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS x (STORAGE_VERSION '{version}')")
        connection.execute("CREATE TABLE x.t AS SELECT 1 AS one")
        connection.execute("CHECKPOINT x")
    headers = read_headers(path.read_bytes())

    assert headers is not None
    assert 1 == headers.iteration


def test_a_smaller_size_of_blocks_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS x (BLOCK_SIZE 16384)")
        connection.execute("CREATE TABLE x.t AS SELECT 1 AS one")
    headers = read_headers(path.read_bytes())

    assert headers is not None
    assert 16_384 == headers.block_size
    assert path.stat().st_size == headers.offset(headers.block_count)


@pytest.mark.parametrize(("torn", "iteration"), [(FIRST, 2), (SECOND, 1)])
def test_of_a_torn_header_and_a_whole_one_the_whole_one_counts(
    content: bytes, torn: int, iteration: int
) -> None:
    headers = read_headers(flipped(content, torn + 100))

    assert headers is not None
    assert (torn, iteration) == (headers.torn, headers.iteration)
    assert torn != headers.slot


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_in_a_header_is_seen(content: bytes, seed: int) -> None:
    position = random.Random(seed).randrange(HEADERS_SIZE)

    headers = read_headers(flipped(content, position))

    if position < FIRST:
        assert headers is None
    else:
        assert headers is not None
        assert position // 4096 * 4096 == headers.torn


def test_a_new_file_without_a_checkpoint_has_iteration_0(content: bytes) -> None:
    new = sealed(sealed(content, FIRST, ITERATION, 0), SECOND, ITERATION, 0)
    headers = read_headers(new)

    assert headers is not None
    assert (0, SECOND) == (headers.iteration, headers.slot)  # as DuckDB takes it


@pytest.mark.parametrize(
    ("header", "position", "value"),
    [
        (MAIN, VERSION, 63),
        (MAIN, VERSION, 1000),
        (MAIN, FLAGS, 1),  # encrypted
        (SECOND, BLOCK_SIZE, 0),
        (SECOND, BLOCK_SIZE, 8192),
        (SECOND, BLOCK_SIZE, 200_000),
        (SECOND, BLOCK_SIZE, 524_288),
    ],
)
def test_what_is_not_known_is_not_guessed_at(
    content: bytes, header: int, position: int, value: int
) -> None:
    assert read_headers(sealed(content, header, position, value)) is None


def test_what_is_no_file_of_duckdb_is_not_guessed_at(content: bytes) -> None:
    assert read_headers(b"") is None
    assert read_headers(bytes(HEADERS_SIZE)) is None
    assert read_headers(content[: HEADERS_SIZE - 1]) is None
    assert read_headers(random.Random(1).randbytes(HEADERS_SIZE)) is None
    assert read_headers(flipped(content, FIRST, SECOND)) is None
    assert read_headers(sealed(content, MAIN, 8, 0)) is None  # another magic
