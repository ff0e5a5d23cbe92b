"""``wopr export``: all of a database as Parquet files, which other programs read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import Call, Database
from support.owners import end, start_owner
from support.parquet import ids, rows
from wopr import TaskQueue
from wopr.storage.duckdb import wide


@pytest.fixture
def owner(database: Database) -> Iterator[subprocess.Popen[str]]:
    """Have a process own the database."""
    process = start_owner(database.path)
    yield process
    end(process)


def test_an_export_has_every_task_and_transition_by_day(
    wopr: Call, database: Database, tmp_path: Path
) -> None:
    answer = wopr("export", tmp_path / "out")
    assert 0 == answer.code
    assert answer.out.startswith(f"{tmp_path / 'out'}: 3 tasks, 7 transitions, 0 log lines, ")
    assert sorted([database.succeeded, database.failed, database.delayed]) == ids(tmp_path / "out")
    same_day = "bool_and(created_at::date = day), count(*)"
    assert [(True, 3)] == rows(tmp_path / "out", "tasks", same_day)
    assert [(True, 7)] == rows(
        tmp_path / "out", "transitions", "bool_and(occurred_at::date = day), count(*)"
    )


def test_an_export_beside_a_running_owner_is_whole_and_leaves_nothing_beside_the_file(
    wopr: Call, database: Database, tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    made = wopr("export", tmp_path / "out", "--json").json
    assert (3, 7, 0) == (made["tasks"], made["transitions"], made["logs"])
    assert 3 == len(ids(tmp_path / "out"))
    assert [] == list(tmp_path.glob("*.new-*"))


def test_files_and_directories_of_an_export_are_its_users_alone(wopr: Call, tmp_path: Path) -> None:
    assert 0 == wopr("export", tmp_path / 'it\'s "out"').code
    made = [tmp_path / 'it\'s "out"', *(tmp_path / 'it\'s "out"').rglob("*")]
    modes = {(one.is_dir(), stat.S_IMODE(one.stat().st_mode)) for one in made}
    assert {(True, 0o700), (False, 0o600)} == modes
    assert 3 == len(ids(tmp_path / 'it\'s "out"'))


def test_an_export_that_is_there_is_replaced_only_when_asked(wopr: Call, tmp_path: Path) -> None:
    assert 0 == wopr("export", tmp_path / "out").code
    answer = wopr("export", tmp_path / "out")
    assert 3 == answer.code
    assert "wopr export --overwrite" in answer.err
    assert 0 == wopr("export", tmp_path / "out", "--overwrite").code
    assert 3 == len(ids(tmp_path / "out"))


@pytest.mark.parametrize("name", ["notes.txt", "tasks"])
def test_what_is_no_export_is_never_replaced(wopr: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious")
    assert 3 == wopr("export", tmp_path / "out", "--overwrite").code
    assert "precious" == (tmp_path / "out" / name).read_text()


def test_a_link_in_the_place_of_the_directory_is_refused(wopr: Call, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    answer = wopr("export", tmp_path / "out")
    assert 3 == answer.code
    assert "is a symbolic link, not a directory" in answer.err
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_a_name_that_is_read_as_a_pattern_is_refused_before_anything_is_written(
    wopr: Call, tmp_path: Path
) -> None:
    answer = wopr("export", tmp_path / "out[1]")
    assert 3 == answer.code
    assert "pattern" in answer.err
    assert [] == list(tmp_path.glob("out*"))


def test_an_export_that_was_killed_leaves_no_directory_and_the_next_one_clears_up(
    wopr: Call, database: Database, tmp_path: Path
) -> None:
    words = ("-m", "wopr", "export", str(tmp_path / "out"), "-d", str(database.path))
    killed = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"WOPR_CRASH_POINT": "export.written"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert -9 == killed.returncode, killed.stderr
    assert not (tmp_path / "out").exists()
    assert 1 == len(list(tmp_path.glob("out.new-*")))
    assert 0 == wopr("export", tmp_path / "out").code
    assert 3 == len(ids(tmp_path / "out"))
    assert [] == list(tmp_path.glob("out.new-*"))


async def test_large_results_are_whole_in_parts_that_memory_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide, "CHUNK_BYTES", 100_000)
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task
    async def large(number: int) -> str:
        return f"{number:05}" * (4_000 if number % 3 else 1)

    async with queue:
        await queue.start_workers(worker_count=4)
        for handle in await large.enqueue_many([(number,) for number in range(60)]):
            await handle.result()
        made = await queue.export(tmp_path / "out")
    assert 60 == made.tasks
    found = dict(rows(tmp_path / "out", "tasks", "args::varchar, result"))
    want = {f"[{n}]": f'"{f"{n:05}" * (4_000 if n % 3 else 1)}"' for n in range(60)}
    assert want == found
    assert len(list((tmp_path / "out" / "tasks").rglob("*.parquet"))) > 4
