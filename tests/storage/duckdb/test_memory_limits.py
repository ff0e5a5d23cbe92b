"""Memory limits as DuckDB reads them, and which are tried when a file needs more."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from wopr.storage.duckdb.failures import lacks_memory
from wopr.storage.duckdb.file.memory import bytes_of, physical, shown, to_try

GB = 1_000_000_000


@pytest.mark.parametrize(
    "limit",
    [
        "200MB",
        "200 MB",
        "1.5GiB",
        "200mb",
        "80000000B",
        "0.2GB",
        "190MiB",
        "204800KB",
        "90M",
        "2gb",
    ],
)
def test_a_limit_is_as_many_bytes_as_for_duckdb(limit: str) -> None:
    with duckdb.connect(config={"memory_limit": limit}) as connection:
        [(said,)] = connection.execute("select current_setting('memory_limit')").fetchall()
    with duckdb.connect(config={"memory_limit": f"{bytes_of(limit)}B"}) as connection:
        assert [(said,)] == connection.execute("select current_setting('memory_limit')").fetchall()


@pytest.mark.parametrize("limit", ["200", "MB", "", "-1MB", "80%", "many", "1PB2"])
def test_what_is_no_limit_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match="as in 500MB"):
        bytes_of(limit)


@pytest.mark.parametrize(
    ("limit", "available", "expected"),
    [
        ("200MB", 2 * GB, ["200MB", "400MB", "800MB", "1600MB"]),
        ("200MB", GB, ["200MB", "400MB", "800MB"]),
        ("200MB", 1_100_000_000, ["200MB", "400MB", "800MB", "880MB"]),
        ("0.5 GB", GB, ["0.5 GB", "800MB"]),
        ("200MB", 250_000_000, ["200MB"]),
        ("4GB", GB, ["4GB"]),
    ],
)
def test_twice_as_much_is_tried_up_to_most_of_what_there_is(
    limit: str, available: int, expected: list[str]
) -> None:
    assert expected == to_try(limit, available)


def test_what_is_tried_is_a_limit_for_duckdb() -> None:
    for limit in to_try("100MB", 3 * GB):
        duckdb.connect(config={"memory_limit": limit}).close()
    assert "1234MB" == shown(1_234_999_999)


def test_the_memory_of_the_machine_is_known() -> None:
    assert 100_000_000 < physical()


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("line", "folder", "name"),
    [
        ("0::/system.slice/wopr.service", "", "memory.max"),
        ("4:memory:/docker/abc", "memory", "memory.limit_in_bytes"),
    ],
)
def test_a_container_has_less(
    tmp_path: Path, line: str, folder: str, name: str, inside: bool
) -> None:
    groups, limits = tmp_path / "cgroup", tmp_path / "limits"
    groups.write_text(f"12:pids:/somewhere\n{line}\n")
    # The path is that of the host; in a container only the top of the tree is there.
    own = limits / folder / (line.split(":")[2].strip("/") if inside else "")
    own.mkdir(parents=True)
    (own / name).write_text("64000000\n")
    assert 64_000_000 == physical(groups, limits)


def test_a_group_above_counts_too_and_no_limit_is_none(tmp_path: Path) -> None:
    groups, limits = tmp_path / "cgroup", tmp_path / "limits"
    groups.write_text("0::/user.slice/session.scope\n")
    (limits / "user.slice/session.scope").mkdir(parents=True)
    (limits / "user.slice/session.scope/memory.max").write_text("max\n")
    assert physical(tmp_path / "none", limits) == physical(groups, limits)
    (limits / "user.slice/memory.max").write_text("32000000\n")
    assert 32_000_000 == physical(groups, limits)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data"), True),
        (duckdb.FatalException("Failed to create checkpoint: failed to pin block of size"), True),
        (duckdb.FatalException("Failed to create checkpoint: could not allocate block"), True),
        (duckdb.IOException("No space left on device"), False),
        (ValueError("no"), False),
    ],
)
def test_it_is_told_apart_whether_memory_was_short(error: Exception, expected: bool) -> None:
    assert expected is lacks_memory(error)
