"""What lies beside the database is this user's own, or it is refused: nothing is followed."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.databases import child_ok, crashed_file
from wopr.domain.clock import boot_id
from wopr.domain.errors import StorageError, StorageFileError, StorageOwnedError
from wopr.storage.duckdb import private
from wopr.storage.duckdb.accept import accept
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.file import location
from wopr.storage.duckdb.file.files import copy_database, copy_private
from wopr.storage.duckdb.file.lock import FileLock, _note, _sector
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.start import open_settled, start

NAMES = (".wal", ".wal.checkpoint", ".wal.recovery", ".blocks", ".lock", ".tmp", ".journal-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Give the names whose files belong to somebody else."""
    names: set[str] = set()
    plain = private.is_trusted

    def is_trusted(path: Path, found: os.stat_result) -> bool:
        return path.name not in names and plain(path, found)

    monkeypatch.setattr(private, "is_trusted", is_trusted)
    monkeypatch.setattr(location, "is_trusted", is_trusted)
    return names


def link(path: Path) -> None:
    path.symlink_to(path.with_name("precious"))


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o666)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("new"))


@pytest.mark.parametrize("suffix", [".lock", ".blocks", ".wal", ".wal.checkpoint"])
@pytest.mark.parametrize("state", ["new", "used"])
def test_a_second_name_of_another_file_is_not_written_to(
    path: Path, suffix: str, state: str
) -> None:
    precious = path.with_name("precious")
    precious.write_text("precious")
    if state == "used":
        start(path).abandon()
    planted = path.with_name(path.name + suffix)
    planted.unlink(missing_ok=True)
    os.link(precious, planted)
    with contextlib.suppress(StorageError):
        start(path).abandon()
    assert "precious" == precious.read_text()


def test_a_lock_that_is_a_second_name_of_another_file_is_refused(path: Path) -> None:
    precious = path.with_name("precious")
    precious.write_text("precious")
    os.link(precious, path.with_name(f"{path.name}.lock"))
    with pytest.raises(StorageFileError, match="one of 2 names of the same file"):
        FileLock(path).acquire()
    assert "precious" == precious.read_text()


@pytest.mark.parametrize("suffix", NAMES)
@pytest.mark.parametrize(
    ("made", "named"),
    [(link, "is a symbolic link"), (dangling, "is a symbolic link"), (pipe, "is a pipe")],
)
@pytest.mark.parametrize("state", ["new", "used"])
def test_a_link_or_a_pipe_is_refused_and_not_followed(
    path: Path, suffix: str, made: Callable[[Path], None], named: str, state: str
) -> None:
    precious = path.with_name("precious")
    precious.write_text("precious")
    if state == "used":
        start(path).abandon()
        for old in path.parent.glob("queue.duckdb.*"):
            if old.name == path.name + suffix:
                old.unlink()
    planted = path.with_name(path.name + suffix)
    made(planted)

    with pytest.raises(StorageFileError, match=rf"{suffix} {named}"):
        start(path)

    assert "precious" == precious.read_text()
    assert not path.with_name("new").exists()
    assert planted.is_symlink() or planted.is_fifo()


@pytest.mark.parametrize("suffix", NAMES)
def test_a_file_of_another_user_is_refused(path: Path, suffix: str, strange: set[str]) -> None:
    planted = path.with_name(path.name + suffix)
    if suffix == ".tmp":
        planted.mkdir(0o777)
    else:
        planted.touch()
    strange.add(planted.name)

    with pytest.raises(StorageFileError, match=rf"{suffix} belongs to user id \d+"):
        start(path)

    assert not path.exists()


def test_a_database_of_another_user_is_refused(path: Path, strange: set[str]) -> None:
    start(path).abandon()
    path.chmod(0o666)
    strange.add(path.name)

    with pytest.raises(StorageFileError, match=r"belongs to user id \d+ \(its mode is 0666\)"):
        open_settled(path)


def test_a_link_of_another_user_to_a_database_of_ours_is_refused(
    path: Path, strange: set[str]
) -> None:
    start(path).abandon()
    named = path.with_name("theirs.duckdb")
    named.symlink_to(path.name)
    open_settled(named).close()  # our own

    strange.add(named.name)
    with pytest.raises(StorageFileError, match=r"theirs\.duckdb belongs to user id"):
        open_settled(named)


@pytest.mark.parametrize(
    ("answer", "me", "owner", "mode"),
    [
        ("yes", 7, 7, 0o100666),
        ("yes", 7, 0, 0o100666),
        ("no", 7, 8, 0o100600),
        ("no", 7, 8, 0o100666),
        ("yes", 0, 0, 0o100666),
        ("no", 0, 8, 0o100600),
        ("yes", 0, 5, 0o100600),  # a container's root in a folder of its host
        ("no", 0, 5, 0o100666),
        ("no", 0, 5, 0o040777),
        ("yes", 0, 5, 0o120777),
    ],
)
def test_who_is_trusted(
    monkeypatch: pytest.MonkeyPatch, answer: str, me: int, owner: int, mode: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_uid=5))
    found = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))

    assert (answer == "yes") == private.is_trusted(Path("/folder/file"), found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_real_file_of_another_user_is_refused(path: Path) -> None:
    start(path).abandon()
    os.chown(path, 65534, 65534)
    path.chmod(0o666)

    with pytest.raises(StorageFileError, match="belongs to user id 65534"):
        open_settled(path)


def test_what_others_could_write_is_ours_alone_from_then_on(path: Path) -> None:
    crashed_file(path, 3)
    for suffix in (".wal", ".lock"):
        path.with_name(path.name + suffix).chmod(0o666)
    spilled = path.with_name(path.name + ".tmp")
    spilled.mkdir(exist_ok=True)
    spilled.chmod(0o777)

    opened = open_database(path)
    opened.verify_in_place()

    modes = {
        found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.glob("*.duckdb.*")
    }
    opened.close()
    assert {0o600, 0o700} == set(modes.values())
    assert 0o700 == modes["queue.duckdb.tmp"]


def test_the_spill_folder_is_ours_alone_while_a_log_is_read(path: Path) -> None:
    crashed_file(path, 3)
    seen = child_ok(
        "from wopr.storage.duckdb.file import opening\n"
        "plain = opening.connect\n"
        "def connect(path, *given, **more):\n"
        "    if not str(path).count('.new-'):\n"
        "        print(oct(os.stat(str(path) + '.tmp').st_mode))\n"
        "    return plain(path, *given, **more)\n"
        "opening.connect = connect\n"
        "open_database(path).close()",
        path,
    )
    assert "0o40700" == seen


def test_a_log_that_becomes_a_link_while_it_is_open_is_refused(path: Path) -> None:
    opened = open_database(path)
    opened.log.path.unlink()
    link(opened.log.path)

    with pytest.raises(StorageFileError, match=r"\.wal is a symbolic link"):
        opened.verify_in_place()

    opened.close()
    assert not path.with_name("precious").exists()


def test_what_is_no_file_is_set_aside_with_the_journal(path: Path) -> None:
    start(path).abandon()
    pipe(path.with_name("queue.duckdb.journal-7"))

    moved = accept(path).moved

    assert [True] == [one.is_fifo() for one in moved if one.name.endswith("journal-7")]
    start(path).abandon()


def test_a_copy_takes_no_name_that_is_a_link(path: Path) -> None:
    open_database(path).close()
    dangling(path.with_name("queue.duckdb.backup-1"))

    assert "queue.duckdb.backup-1-2" == copy_database(path, "queue.duckdb.backup-1").name
    assert not path.with_name("new").exists()


def test_the_lock_is_quoted_no_further_than_numbers_and_times(path: Path) -> None:
    lock = FileLock(path)
    lock.acquire()
    line = {"pid": "1; rm -rf ~", "boot_id": boot_id(), "started_at": "now; reboot"}
    lock.path.write_text(json.dumps(line))

    with pytest.raises(StorageOwnedError, match="stop it, or set") as raised:
        FileLock(path).acquire()

    lock.release()
    assert raised.value.pid is None
    assert not {"rm", "reboot"} & set(str(raised.value).split())


@pytest.mark.parametrize("fields", [["zz", 1, True], [1, 2, 3], ["00"], ["00", "1", True], []])
def test_what_the_lock_says_of_the_journal_is_not_believed_unless_it_reads_so(
    path: Path, fields: list[object]
) -> None:
    lock = FileLock(path)
    lock.acquire()
    line = {"acknowledged": fields, "checksum": zlib.crc32(repr(fields).encode())}
    assert lock._descriptor is not None
    _note(lock._descriptor, _sector(line))

    assert lock.remembered() is None
    lock.release()


def test_a_copy_is_made_for_its_owner_only_and_over_nothing(path: Path) -> None:
    old = os.umask(0)
    try:
        os.close(private.create_own(path))
    finally:
        os.umask(old)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    for planted in (path, path.with_name("linked"), path.with_name("piped")):
        if planted.name == "linked":
            dangling(planted)
        elif planted.name == "piped":
            pipe(planted)
        with pytest.raises(FileExistsError):
            private.create_own(planted)
    assert not path.with_name("new").exists()


@pytest.mark.parametrize("made", [link, dangling, pipe])
@pytest.mark.parametrize("opens", [private.read_own, lambda path: copy_private(path, Path("x"))])
def test_what_is_read_is_no_link_and_no_pipe(
    path: Path, made: Callable[[Path], None], opens: Callable[[Path], object], tmp_path: Path
) -> None:
    path.with_name("precious").write_text("precious")
    made(path)
    with (
        pytest.raises(StorageFileError, match=r"is a (symbolic link|pipe)"),
        contextlib.chdir(tmp_path),
    ):
        opens(path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("mode", "found"),
    [(0o700, None), (0o755, None), (0o1777, None), (0o777, "mode 0777, without the sticky bit")],
)
@pytest.mark.parametrize("where", ["its directory", "one above"])
def test_a_directory_where_every_user_may_write_is_told_once_and_by_the_doctor(
    tmp_path: Path, mode: int, found: str | None, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "shared"
    inner = directory / "inner" if where == "one above" else directory
    inner.mkdir(parents=True)
    directory.chmod(mode)
    path = inner / "queue.duckdb"

    start(path).abandon()
    start(path).abandon()

    said = [one.getMessage() for one in caplog.records if "not safe from other" in one.getMessage()]
    problems = [(one.kind, one.text) for one in check(path).problems]
    if found is None:
        assert ([], []) == (said, problems)
    else:
        assert 1 == len(said)
        assert f"every user can write to {directory} ({found})" in said[0]
        assert [("exposed", location.exposure(path))] == problems


@pytest.mark.parametrize(("me", "told"), [(7, True), (8, False), (0, False)])
def test_a_directory_of_another_user_is_told(
    monkeypatch: pytest.MonkeyPatch, me: int, told: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_uid=8, st_mode=0o40755))

    why = private.why_exposed(Path("/folder"))

    assert why == ("/folder belongs to user id 8" if told else None)
