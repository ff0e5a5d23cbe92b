"""Opening a database together with its journal: all of it, or an error that says what to do."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from support.audit import doctor
from wopr import TaskQueue
from wopr.domain.errors import StorageFileError, StorageOwnedError
from wopr.domain.rule import RuleKind
from wopr.storage.duckdb.accept import accept
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.operations import delete_rules
from wopr.storage.duckdb.start import open_settled, start

CHILD = """
import asyncio, os, signal, sys
from wopr import TaskQueue

queue = TaskQueue(enabled=True, database=sys.argv[1])

@queue.task(name="note")
async def note(n: int) -> None: ...

async def main():
    for number in range(int(sys.argv[2])):
        await note.enqueue(number)
    print("acknowledged", flush=True)
    if "wait" in sys.argv:
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.duckdb"


def killed(path: Path, tasks: int = 20) -> None:
    """Let a process acknowledge so many tasks and be killed."""
    done = subprocess.run([sys.executable, "-c", CHILD, path, str(tasks)], check=False)
    assert -signal.SIGKILL == done.returncode


def closed(path: Path, tasks: int) -> None:
    """Let a queue of this process acknowledge so many tasks and shut down."""

    async def work() -> None:
        queue = TaskQueue(enabled=True, database=path)
        queue.register_task("note")(lambda n: None)
        async with queue:
            for number in range(tasks):
                await queue.enqueue("note", (number,))

    asyncio.run(work())


def count(path: Path) -> int:
    """Return how many tasks there are after an opening; the file is settled then."""
    opened = open_settled(path)
    try:
        [(number,)] = opened.connection.execute("select count(*) from tasks").fetchall()
    finally:
        opened.close()
    return int(number)


def names(path: Path) -> list[str]:
    """Return what lies beside the file, but for what is worth nothing: socket and spilled data."""
    found = sorted(one.name.removeprefix(path.name) for one in path.parent.iterdir())
    return [name for name in found if name not in {".sock", ".tmp"}]


# -- what was acknowledged is there ------------------------------------------------------


def test_a_clean_end_leaves_one_complete_file(path: Path) -> None:
    closed(path, 30)
    assert ["", ".lock"] == names(path)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert [(30,)] == connection.execute("select count(*) from tasks").fetchall()
        assert [(30,)] == connection.execute("select count(*) from transitions").fetchall()


def test_after_a_kill_the_journal_has_all_of_it(path: Path) -> None:
    killed(path)
    assert segments(path)
    assert 20 == count(path)
    assert ["", ".lock"] == names(path)
    doctor(path)


@pytest.mark.parametrize("harm", ["gone", "cut", "zeroed", "flipped", "of nothing"])
def test_whatever_happens_to_the_log_of_duckdb_nothing_is_lost(path: Path, harm: str) -> None:
    killed(path)
    log = path.with_name(path.name + ".wal")
    content = bytearray(log.read_bytes())
    if harm == "gone":
        log.unlink()
    elif harm == "cut":
        log.write_bytes(content[: len(content) // 2])
    elif harm == "zeroed":
        log.write_bytes(bytes(len(content)))
    elif harm == "flipped":
        for at in range(0, len(content), 50):
            content[at] ^= 4
        log.write_bytes(content)
    else:
        log.write_bytes(b"nothing of duckdb" * 100)
    assert 20 == count(path)
    doctor(path)


def test_several_lives_that_end_badly_add_up(path: Path) -> None:
    for life in range(1, 4):
        killed(path, 10)
        if life == 2:
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
    assert 30 == count(path)


def test_positions_go_on_after_a_clean_end(path: Path) -> None:
    closed(path, 5)
    started = start(path)
    assert 5 == started.segments.position
    started.close()
    assert 5 == count(path)


# -- what does not fit is refused ----------------------------------------------------------


def test_a_missing_journal_is_refused_until_somebody_accepts_it(path: Path) -> None:
    killed(path)
    for segment in segments(path):
        segment.unlink()
    before = names(path)
    for _ in range(2):
        with pytest.raises(StorageFileError, match=r"is missing.*wopr db accept"):
            start(path)
        assert {*before} - {*names(path)} <= {".wal"}, "it was read into the file"
    accept(path)
    assert count(path) <= 20


@pytest.mark.parametrize("emptied", [False, True])
def test_a_journal_without_its_database_is_no_new_database(path: Path, emptied: bool) -> None:
    killed(path)
    path.unlink()
    if emptied:
        path.touch()
    with pytest.raises(StorageFileError, match=r"tasks\.duckdb\.journal"):
        start(path)
    assert segments(path)
    accept(path)
    assert 0 == count(path)
    assert any("quarantine" in name for name in names(path)), "nothing is deleted"


def test_a_backup_that_was_put_back_is_refused_once(path: Path) -> None:
    closed(path, 10)
    backup = path.with_name("backup")
    shutil.copyfile(path, backup)
    closed(path, 10)
    shutil.copyfile(backup, path)
    with pytest.raises(StorageFileError, match=r"record 10 .*record 20 was acknowledged"):
        start(path)
    assert 10 == accept(path).position
    closed(path, 1)
    assert 11 == count(path)


def test_a_backup_beside_a_newer_journal_is_refused_and_the_journal_kept(path: Path) -> None:
    closed(path, 10)
    backup = path.with_name("backup")
    shutil.copyfile(path, backup)
    killed(path, 10)
    shutil.copyfile(backup, path)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    with pytest.raises(StorageFileError, match="older copy"):
        start(path)
    moved = accept(path).moved
    assert any(".journal-" in one.name and one.exists() for one in moved)
    assert 10 == count(path)


def test_the_journal_of_another_database_is_refused(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    killed(path)
    closed(other, 3)
    shutil.copyfile(other, path)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    path.with_name(path.name + ".blocks").unlink(missing_ok=True)
    with pytest.raises(StorageFileError, match="belongs to another database"):
        start(path)
    accept(path)
    assert 3 == count(path)


def test_a_live_copy_without_the_journal_is_refused(path: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, path, "5", "wait"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert b"acknowledged\n" == child.stdout.readline()
        copy = tmp_path / "copy.duckdb"
        shutil.copyfile(path, copy)
    finally:
        child.communicate()
    with pytest.raises(StorageFileError, match="is missing"):
        start(copy)
    assert 5 == count(path)


# -- nobody else has it --------------------------------------------------------------------


@pytest.mark.parametrize("lost", [".lock", ".lock and the database"])
def test_a_live_owner_is_found_although_its_lock_file_is_gone(path: Path, lost: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, path, "5", "wait"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert b"acknowledged\n" == child.stdout.readline()
        path.with_name(path.name + ".lock").unlink()
        if lost != ".lock":
            path.rename(path.with_name("moved"))
        before = names(path)
        with pytest.raises(StorageOwnedError):
            start(path)
        assert before == names(path), "nothing was touched"
    finally:
        child.communicate()


def test_this_process_is_found_too_although_the_lock_file_is_gone(path: Path) -> None:
    started = start(path)
    os.unlink(path.with_name(path.name + ".lock"))
    with pytest.raises(StorageOwnedError, match="this process"):
        start(path)
    started.close()
    assert 0 == count(path)


# -- accepting keeps what fits ---------------------------------------------------------------


def test_accepting_after_a_kill_replays_the_journal_first(path: Path) -> None:
    killed(path)
    assert 20 == accept(path).position
    assert 20 == count(path)


def test_a_backup_with_its_journal_is_accepted_with_all_of_it(path: Path, tmp_path: Path) -> None:
    killed(path, 5)
    backup = tmp_path / "backup"
    backup.mkdir()
    belongs = [path, path.with_name(path.name + ".wal"), *segments(path)]
    for one in belongs:
        if one.exists():
            shutil.copyfile(one, backup / one.name)
    closed(path, 5)
    for one in backup.iterdir():
        shutil.copyfile(one, path.with_name(one.name))
    with pytest.raises(StorageFileError, match="record 10 was acknowledged"):
        start(path)
    accept(path)
    assert 5 == count(path)


def test_accepting_a_damaged_journal_keeps_what_is_before_the_damage(path: Path) -> None:
    killed(path)
    content = bytearray(segments(path)[0].read_bytes())
    content[content.index(b"wgrp", 3000) + 60] ^= 1
    segments(path)[0].write_bytes(content)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    with pytest.raises(StorageFileError, match="is damaged at byte"):
        start(path)
    assert 0 < accept(path).position < 20
    assert 0 < count(path) < 20


def test_there_is_nothing_to_accept_where_nothing_is(path: Path) -> None:
    with pytest.raises(StorageFileError, match="nothing was accepted"):
        accept(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["it's.duckdb", "a b.duckdb", "*.duckdb"])
def test_the_command_in_a_message_can_be_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    killed(path, 3)
    for segment in segments(path):
        segment.unlink()
    with pytest.raises(StorageFileError) as caught:
        start(path)
    command = str(caught.value).rsplit("wopr db accept ", 1)[1]
    assert ["-d", str(path)] == shlex.split(command)


def test_a_database_is_not_named_like_the_journal_of_another(path: Path) -> None:
    with pytest.raises(StorageFileError, match="named like a part of the journal"):
        start(path.with_name("tasks.duckdb.journal-1"))


def test_an_unsynced_journal_with_a_hole_opens_with_what_is_before_it(path: Path) -> None:
    started = start(path, synced=False)
    for number in range(40):
        started.segments.append(Group(number + 1, 1, delete_rules([(RuleKind.LIMIT, "a")]), True))
    segment = segments(path)[0].read_bytes()
    started.opened.lock.release()
    copy = path.with_name("copy.duckdb")
    shutil.copyfile(path, copy)
    shutil.copyfile(path.with_name(path.name + ".lock"), copy.with_name(copy.name + ".lock"))
    os.setxattr(
        copy.with_name(copy.name + ".lock"),
        "user.wopr.acknowledged",
        os.getxattr(path.with_name(path.name + ".lock"), "user.wopr.acknowledged"),
    )
    segments_of_copy = copy.with_name(copy.name + ".journal-1")
    segments_of_copy.write_bytes(segment[:2000] + bytes(500) + segment[2500:])
    started.abandon()
    assert 0 == count(copy)


def test_a_command_says_so_when_only_the_journal_is_left(path: Path) -> None:
    from wopr.cli.common import require_file

    killed(path, 1)
    path.unlink()
    with pytest.raises(StorageFileError, match=r"is gone, but its journal .*wopr db accept"):
        require_file(path)
