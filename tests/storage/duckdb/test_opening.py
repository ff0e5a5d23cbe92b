"""Opening a database file: each step of the sequence, and each way it can be refused."""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from support.databases import (
    bytes_of,
    child,
    child_ok,
    crashed_file,
    killed,
    log_of,
    names_beside,
    seqs,
)
from wopr.domain.clock import boot_id
from wopr.domain.errors import (
    SchemaError,
    StorageError,
    StorageFileError,
    StorageForkedError,
    StorageOwnedError,
)
from wopr.storage.duckdb.accept import accept
from wopr.storage.duckdb.failures import is_fatal
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database

TRY_TO_OPEN = """
from wopr.domain.errors import StorageOwnedError
try:
    open_database(path).close()
except StorageOwnedError as error:
    print("owned by", error.pid, error)
else:
    print("opened")
"""

ADD = (
    "INSERT INTO transitions VALUES "
    "(1, uuid(), 0, NULL, 'pending', TIMESTAMP '2026-01-01', NULL, 'add', NULL, '{}')"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def opened(path: Path) -> Iterator[OpenedDatabase]:
    database = open_database(path)
    yield database
    database.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- new files ---


def test_a_new_file_is_usable_and_still_there_after_closing(path: Path) -> None:
    database = open_database(path)
    database.connection.execute(ADD)
    database.close()

    again = open_database(path)

    assert [1] == seqs(again.connection)
    again.close()


def test_all_files_are_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        database = open_database(path)
        database.verify_in_place()
        database.connection.execute(ADD)
        found = {file.name: mode(file) for file in path.parent.iterdir() if file.name != path.name}
        assert 0o600 == mode(path)
        assert {
            "queue.duckdb.blocks": 0o600,
            "queue.duckdb.lock": 0o600,
            "queue.duckdb.tmp": 0o700,
            "queue.duckdb.wal": 0o600,
        } == found
        database.close()
    finally:
        os.umask(before)


def test_the_log_is_private_again_after_each_checkpoint(opened: OpenedDatabase) -> None:
    before = os.umask(0)
    try:
        for _ in range(3):
            opened.connection.execute("CHECKPOINT")
            opened.verify_in_place()
            opened.connection.execute(ADD)
            assert 0o600 == mode(log_of(opened.path))
    finally:
        os.umask(before)


def test_closing_leaves_the_file_and_its_lock_file_only(path: Path) -> None:
    open_database(path).close()

    assert ["queue.duckdb", "queue.duckdb.lock"] == sorted(os.listdir(path.parent))


def test_a_file_of_no_bytes_is_a_new_file(path: Path) -> None:
    path.touch()

    database = open_database(path)

    assert [] == seqs(database.connection)
    database.close()


def test_a_database_without_tables_gets_the_schema(path: Path) -> None:
    duckdb.connect(str(path)).close()

    database = open_database(path)

    assert [] == seqs(database.connection)
    database.close()


def test_a_process_killed_while_it_creates_a_file_leaves_none(path: Path) -> None:
    killed(
        "from wopr.storage.duckdb.file import migrate\n"
        "migrate.install = lambda new, path: die()\n"
        "open_database(path)",
        path,
    )
    assert not path.exists()
    assert 1 == len(names_beside(path, "new-"))

    open_database(path).close()

    assert [] == names_beside(path, "new-")


@pytest.mark.parametrize("emptied", [False, True])
def test_a_log_without_its_database_is_refused(path: Path, emptied: bool) -> None:
    crashed_file(path, 3)
    path.unlink()
    if emptied:
        path.touch()
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match=r"beside it lies queue\.duckdb\.wal"):
        open_database(path)

    assert before == bytes_of(path)


def test_it_can_be_accepted_as_lost(path: Path) -> None:
    crashed_file(path, 3)
    lost = log_of(path).read_bytes()
    path.unlink()

    [aside] = accept(path).moved

    assert lost == aside.read_bytes()
    database = open_database(path)
    assert [] == seqs(database.connection)
    database.close()


# --- settings ---


def test_the_working_settings_hold_and_are_locked(opened: OpenedDatabase) -> None:
    wanted = {
        "threads": "1",
        "enable_external_access": "false",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "fsync_mode": "STANDARD",
        "lock_configuration": "true",
        "wal_autocheckpoint": "14.9 GiB",
        "max_vacuum_tasks": "0",
        "memory_limit": "190.7 MiB",
    }
    rows = opened.connection.execute("SELECT name, value FROM duckdb_settings()").fetchall()

    assert wanted == {name: value for name, value in rows if name in wanted}
    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        opened.connection.execute("SET threads = 2")
    with pytest.raises(duckdb.PermissionException):
        opened.connection.execute(f"SELECT * FROM read_text('{opened.path}.lock')")


def test_what_the_writer_needs_works_with_locked_settings(opened: OpenedDatabase) -> None:
    connection = opened.connection
    connection.execute(ADD)
    update = connection.appender(
        "transitions", columns=["seq", "reason"], action="update", key=["seq"]
    )
    connection.execute("BEGIN")
    update.append_rows([(1, "changed")])
    update.flush()
    connection.execute("COMMIT")
    connection.execute("CHECKPOINT")
    cursor = opened.cursor()
    cursor.execute("BEGIN TRANSACTION READ ONLY")

    assert [("changed",)] == cursor.execute("SELECT reason FROM transitions").fetchall()
    with pytest.raises(duckdb.Error, match="read-only"):
        cursor.execute("WITH gone AS (DELETE FROM transitions RETURNING *) SELECT * FROM gone")


def test_a_file_system_that_does_not_sync_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr.storage.duckdb.file import connecting

    plain = connecting.settings
    monkeypatch.setattr(connecting, "settings", lambda *args: plain(*args) | {"fsync_mode": "NONE"})

    with pytest.raises(StorageFileError, match="fsync_mode"):
        open_database(path)

    assert not FileLock(path).held


# --- paths ---


@pytest.mark.parametrize("name", ["", ":memory:", "a\0b"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(StorageFileError, match="is not a file name"):
        open_database(name)


def test_a_missing_directory_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(StorageFileError, match=f"mkdir -p '{tmp_path}/no/where'"):
        open_database(tmp_path / "no" / "where" / "queue.duckdb")

    assert [] == os.listdir(tmp_path)


def test_a_file_where_the_directory_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageFileError, match="is not a directory"):
        open_database(tmp_path / "file" / "queue.duckdb")


def test_a_directory_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(StorageFileError, match="is a directory"):
        open_database(tmp_path)


def test_a_pipe_is_not_a_database(path: Path) -> None:
    os.mkfifo(path)

    with pytest.raises(StorageFileError, match="not a regular file"):
        open_database(path)


def test_a_name_too_long_is_refused_by_its_reason(tmp_path: Path) -> None:
    with pytest.raises(StorageFileError, match="name too long"):
        open_database(tmp_path / ("q" * 300))


def test_a_file_with_a_second_hard_link_is_refused(path: Path) -> None:
    open_database(path).close()
    os.link(path, path.with_name("other.duckdb"))

    with pytest.raises(StorageFileError, match="2 hard links"):
        open_database(path)


def test_a_symbolic_link_leads_to_the_lock_of_the_file(path: Path, opened: OpenedDatabase) -> None:
    link = path.with_name("link.duckdb")
    link.symlink_to(path)

    with pytest.raises(StorageOwnedError, match="This process"):
        open_database(link)


def test_without_create_a_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(StorageFileError, match="does not exist"):
        open_database(path, create=False)

    assert [] == os.listdir(path.parent)


def test_a_file_name_of_pattern_signs_cleans_up_after_itself_only(tmp_path: Path) -> None:
    other = tmp_path / "queue.duckdb.new-1"
    other.mkdir()

    open_database(tmp_path / "q*.duckdb").close()

    assert other.is_dir()


AS_NOBODY = """
from wopr.domain.errors import StorageFileError
from wopr.storage.duckdb.file import migrate

if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_database(path)
except StorageFileError as error:
    print(error)
"""


@pytest.fixture
def public_directory(tmp_path: Path) -> Iterator[Path]:
    """Give a directory that another user can reach, unlike those of pytest."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


def test_a_directory_that_can_not_be_written_is_refused(public_directory: Path) -> None:
    public_directory.chmod(0o555)

    message = child_ok(AS_NOBODY, public_directory / "queue.duckdb")

    assert f"The directory {public_directory} can't be written (Permission denied)" in message
    assert [] == os.listdir(public_directory)


def test_a_file_of_somebody_else_is_refused_with_its_mode(public_directory: Path) -> None:
    path = public_directory / "queue.duckdb"
    open_database(path).close()
    path.chmod(0o400)
    public_directory.chmod(0o777)

    message = child_ok(AS_NOBODY, path)

    assert "can't be read and written by user id" in message
    assert "its mode is 0400" in message


def test_a_read_only_file_system_is_refused_by_its_reason(tmp_path: Path) -> None:
    script = (
        f"mount -t tmpfs -o ro none {tmp_path} && exec {sys.executable} -c '"
        "from wopr.storage.duckdb.file.opening import open_database\n"
        f'open_database("{tmp_path}/queue.duckdb")\''
    )
    done = child(
        "import subprocess\n"
        "sys.exit(subprocess.call(['unshare', '-Urm', 'sh', '-c', sys.argv[2]]))",
        tmp_path,
        script,
    )
    if "StorageFileError" not in done.stderr:
        pytest.skip(f"this system lets no test mount anything: {done.stderr[-200:]}")

    assert "can't be written (Read-only file system)" in done.stderr


# --- files that are not ours ---


def assert_refused_untouched(path: Path, expected: type[StorageError], match: str) -> None:
    before = bytes_of(path)
    with pytest.raises(expected, match=match):
        open_database(path)
    assert before == bytes_of(path)
    assert [] == names_beside(path, "quarantine-") + names_beside(path, "backup-")


def test_random_bytes_are_refused_untouched(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))

    assert_refused_untouched(path, StorageFileError, "is not a DuckDB database")


def test_a_file_of_sqlite_is_refused_untouched(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tasks (id TEXT)")
    connection.close()

    assert_refused_untouched(path, StorageFileError, "is not a DuckDB database")


def test_a_database_of_another_program_is_refused_untouched(path: Path) -> None:
    killed(
        "c = duckdb.connect(path)\n"
        "c.execute('CREATE TABLE customers (id INTEGER)')\n"
        "c.execute('INSERT INTO customers VALUES (1)')",
        path,
    )
    assert log_of(path).exists()

    assert_refused_untouched(path, SchemaError, "is not a wopr file.*customers")


def test_a_database_of_another_program_with_alembic_is_refused_untouched(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE alembic_version AS SELECT 'ae1027a6acf' AS version_num")

    assert_refused_untouched(path, SchemaError, "has schema ae1027a6acf; this wopr knows 0001")


def test_a_file_that_lacks_a_table_of_its_schema_is_refused_untouched(path: Path) -> None:
    open_database(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP VIEW backlog")
        connection.execute("DROP TABLE meta")

    assert_refused_untouched(path, SchemaError, "it lacks meta")


def header_checksum(header: bytes | bytearray) -> int:
    """Return what DuckDB writes before a header of whole 8-byte words."""
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", header):
        checksum ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return checksum


def test_a_file_of_a_newer_duckdb_is_refused_untouched(path: Path) -> None:
    open_database(path).close()
    content = bytearray(path.read_bytes())
    assert header_checksum(content[8:4096]) == int.from_bytes(content[:8], "little")
    content[12:20] = (5000).to_bytes(8, "little")
    content[:8] = header_checksum(content[8:4096]).to_bytes(8, "little")
    path.write_bytes(content)

    assert_refused_untouched(path, StorageFileError, "storage version 5000.*upgrade duckdb")


@pytest.mark.parametrize("position", [20, 4096 + 20, 8192 + 20])
def test_a_damaged_header_is_refused_untouched(path: Path, position: int) -> None:
    open_database(path).close()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)

    assert_refused_untouched(path, StorageFileError, "restore a backup")


# --- one owner ---


def test_a_second_process_is_told_who_has_the_file(opened: OpenedDatabase) -> None:
    answer = child_ok(TRY_TO_OPEN, opened.path)

    assert answer.startswith(f"owned by {os.getpid()} ")
    assert f"kill {os.getpid()}" in answer
    assert "WOPR_TASKS_DATABASE" in answer


def test_a_second_process_is_refused_after_ours_read_the_file_past_duckdb(
    opened: OpenedDatabase,
) -> None:
    opened.path.read_bytes()  # closing the descriptor drops DuckDB's own lock
    assert "opened" == child_ok("duckdb.connect(path).close(); print('opened')", opened.path), (
        "DuckDB keeps its lock now: our own may be superfluous"
    )

    assert child_ok(TRY_TO_OPEN, opened.path).startswith(f"owned by {os.getpid()} ")


def test_a_second_queue_in_this_process_is_refused(opened: OpenedDatabase) -> None:
    with pytest.raises(StorageOwnedError, match="This process") as caught:
        open_database(opened.path)

    assert os.getpid() == caught.value.pid


def test_a_file_that_this_process_has_open_through_duckdb_is_refused(path: Path) -> None:
    open_database(path).close()
    with (
        duckdb.connect(str(path)),
        pytest.raises(StorageOwnedError, match=r"duckdb.connect\(\) has it open"),
    ):
        open_database(path)


def test_a_file_that_the_duckdb_command_line_has_open_is_refused(path: Path) -> None:
    open_database(path).close()
    with duckdb.connect(str(path)):
        answer = child_ok(TRY_TO_OPEN, path)

    assert answer.startswith(f"owned by {os.getpid()} ")
    assert "which is not a queue" in answer


def test_the_lock_says_who_holds_it_and_is_empty_when_nobody_does(
    path: Path, opened: OpenedDatabase
) -> None:
    lock = path.with_name("queue.duckdb.lock")

    owner = json.loads(lock.read_text())
    opened.close()

    assert (os.getpid(), boot_id()) == (owner["pid"], owner["boot_id"])
    assert owner["started_at"].endswith("+00:00")
    assert "" == lock.read_text()


def test_the_lock_ends_with_its_process(path: Path) -> None:
    crashed_file(path, 1)

    assert "opened" == child_ok(TRY_TO_OPEN, path)


def test_a_lock_held_by_another_machine_is_not_offered_to_kill(path: Path) -> None:
    lock = FileLock(path)
    lock.acquire()
    lock.path.write_text(json.dumps({"pid": 1, "boot_id": "other"}))

    with pytest.raises(StorageOwnedError, match="process 1 of another machine"):
        FileLock(path).acquire()
    lock.release()


def test_a_lock_file_deleted_before_it_is_locked_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(path)
    plain = lock._lock
    deleted: list[int] = []

    def delete_first(descriptor: int) -> None:
        plain(descriptor)
        if not deleted:
            lock.path.unlink()
            deleted.append(descriptor)

    monkeypatch.setattr(lock, "_lock", delete_first)
    lock.acquire()

    assert 1 == len(deleted)
    with pytest.raises(StorageOwnedError):
        FileLock(path).acquire()
    lock.release()


def test_a_lock_file_that_leads_elsewhere_is_refused(path: Path) -> None:
    path.with_name("queue.duckdb.lock").symlink_to(path.with_name("precious"))

    with pytest.raises(StorageFileError, match="lock file"):
        open_database(path)

    assert not path.with_name("precious").exists()


def test_a_failed_opening_gives_the_lock_free(path: Path) -> None:
    path.write_bytes(b"not a database at all")
    with pytest.raises(StorageFileError):
        open_database(path)

    lock = FileLock(path)
    lock.acquire()

    assert lock.held
    lock.release()


# --- while it is open ---


def test_a_deleted_file_is_noticed_before_the_next_commit(opened: OpenedDatabase) -> None:
    opened.verify_in_place()
    opened.path.unlink()

    with pytest.raises(StorageFileError, match=r"was deleted or moved.*/fd"):
        opened.verify_in_place()


def test_a_replaced_file_is_noticed_before_the_next_commit(opened: OpenedDatabase) -> None:
    copy = opened.path.with_name("copy")
    copy.write_bytes(b"restored from somewhere")
    copy.replace(opened.path)

    with pytest.raises(StorageFileError, match="was replaced by another file"):
        opened.verify_in_place()


def test_closing_does_not_write_past_a_replaced_file(opened: OpenedDatabase) -> None:
    opened.connection.execute(ADD)
    copy = opened.path.with_name("copy")
    copy.write_bytes(b"restored from somewhere")
    copy.replace(opened.path)

    opened.close()

    assert b"restored from somewhere" == opened.path.read_bytes()


def test_a_forked_child_owns_nothing_and_harms_nothing(opened: OpenedDatabase) -> None:
    opened.connection.execute(ADD)
    reader, writer = os.pipe()
    child_id = os.fork()
    if child_id == 0:  # in the child: report and end as a script does, with finalizers
        for call in (opened.verify_in_place, opened.reopen, opened.cursor):
            try:
                call()
                os.write(writer, b"allowed ")
            except StorageForkedError:
                os.write(writer, b"refused ")
        opened.close()
        os.write(writer, b"held" if opened.lock.held else b"free")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child_id, 0)

    assert "refused refused refused free" == said
    assert child_ok(TRY_TO_OPEN, opened.path).startswith("owned by")
    assert [1] == seqs(opened.connection)


def test_a_forked_child_that_ends_normally_leaves_the_log_alone(path: Path) -> None:
    said = child_ok(
        "opened = open_database(path)\n"
        "add(opened.connection, 1, 3)\n"
        "cursor = opened.cursor()\n"
        "before = os.stat(path + '.wal').st_size\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    sys.exit(0)\n"
        "print(os.waitpid(pid, 0)[1], before == os.stat(path + '.wal').st_size)\n"
        "add(opened.connection, 4, 1)\n"
        "print(opened.connection.execute('SELECT count(*) FROM transitions').fetchone()[0])\n"
        "opened.close()",
        path,
    )

    assert ["0", "True", "4"] == said.split()


def test_an_orphan_does_not_keep_the_lock_of_its_dead_parent(path: Path) -> None:
    said = child_ok(
        "opened = open_database(path)\n"
        "parent = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    while os.getppid() == parent: pass\n"  # its locks are free when it is gone
        "    os.execv(sys.executable, [sys.executable, '-c', sys.argv[2], path])\n"
        "opened.connection.close()\n"
        "os._exit(0)\n",
        path,
        "import sys\n"
        "from wopr.storage.duckdb.file.opening import open_database\n"
        "open_database(sys.argv[1]).close(); print('opened')",
    )

    assert "opened" == said


def test_an_orphan_does_not_keep_the_lock_while_it_lives(path: Path) -> None:
    said = child_ok(
        "from wopr.storage.duckdb.file.lock import FileLock\n"
        "opened = open_database(path)\n"
        "parent = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    while os.getppid() == parent: pass\n"
        "    lock = FileLock(opened.path)\n"
        "    lock.acquire()\n"
        "    print('acquired', flush=True)\n"
        "    os._exit(0)\n"
        "os._exit(0)\n",
        path,
    )

    assert "acquired" == said


def test_closing_twice_is_closing_once(path: Path) -> None:
    database = open_database(path)
    database.connection.execute(ADD)

    database.close()
    database.close()

    assert {path.name} == set(bytes_of(path))


def test_closing_without_a_checkpoint_leaves_the_log_for_the_next_opening(path: Path) -> None:
    database = open_database(path)
    database.connection.execute(ADD)
    database.close(checkpoint=False)
    assert log_of(path).stat().st_size > 0

    again = open_database(path)

    assert [1] == seqs(again.connection)
    again.close()


def test_closing_closes_every_cursor(opened: OpenedDatabase) -> None:
    cursor = opened.cursor()

    opened.close()

    with pytest.raises(duckdb.ConnectionException):
        cursor.execute("SELECT 1")


# --- fatal errors ---


def test_only_errors_that_end_the_database_are_fatal() -> None:
    chained = StorageError("wrapped")
    chained.__cause__ = duckdb.FatalException("FATAL Error: disk")

    assert is_fatal(duckdb.FatalException("FATAL Error: disk"))
    assert is_fatal(duckdb.InternalException("INTERNAL Error: assertion"))
    assert is_fatal(duckdb.Error("the database has been invalidated because of a fatal error"))
    assert is_fatal(chained)
    assert not is_fatal(duckdb.TransactionException("Conflict on update!"))
    assert not is_fatal(OSError("database has been invalidated"))


FILL_THE_DISK = """
from wopr.storage.duckdb.failures import is_fatal
import resource
opened = open_database(path)
add(opened.connection, 1, 20)
cursor = opened.cursor()
size = os.stat(path).st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    opened.connection.execute("CHECKPOINT")
except duckdb.Error as error:
    print("fatal" if is_fatal(error) else "not fatal: " + str(error))
try:
    opened.connection.execute("SELECT 1")
except duckdb.Error as error:
    print("fatal" if is_fatal(error) else "not fatal: " + str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
let_go = []
opened.before_reopen = lambda: let_go.append("readers")
opened.reopen()
print(let_go[0], opened.lock.held)
print(opened.connection.execute("SELECT count(*) FROM transitions").fetchone()[0])
try:
    cursor.execute("SELECT 1")
except duckdb.Error as error:
    print(type(error).__name__)
add(opened.connection, 21, 1)
opened.close()
"""


def test_a_full_disk_in_a_checkpoint_is_survived_by_reopening(path: Path) -> None:
    said = child_ok(FILL_THE_DISK, path).splitlines()

    assert ["fatal", "fatal", "readers True", "20", "ConnectionException"] == said
    again = open_database(path)
    assert list(range(1, 22)) == seqs(again.connection)
    again.close()


# --- after a crash ---


def test_everything_committed_before_a_kill_is_there(path: Path) -> None:
    crashed_file(path, 25)

    database = open_database(path)

    assert list(range(1, 26)) == seqs(database.connection)
    assert [] == names_beside(path, "quarantine-")
    database.close()


def test_the_log_is_in_the_file_before_anything_else_is_written(path: Path) -> None:
    crashed_file(path, 5)
    size = log_of(path).stat().st_size
    assert size > 0

    killed("open_database(path)", path)

    assert 0 == log_of(path).stat().st_size


CRASHED_INDEX = """
c = duckdb.connect(path)
c.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, k VARCHAR)")
c.execute("CREATE UNIQUE INDEX u ON t (k)")
c.execute("INSERT INTO t SELECT range, 'b' || range FROM range(1000)")
c.execute("CHECKPOINT")
for i in range(3000, 3020):
    c.execute("INSERT INTO t VALUES (?, ?)", [i, f"k{i}"])
"""

WRITE_ANOTHER_TABLE = """
c.execute("CREATE TABLE other (i INTEGER)")
for _ in range(5):
    c.execute("INSERT INTO other SELECT range FROM range(500)")
c.close()
"""

LOOK_UP = """
c = duckdb.connect(path)
print(sum(len(c.execute("SELECT 1 FROM t WHERE k = ?", [f"k{i}"]).fetchall())
          for i in range(3000, 3020)))
"""


def test_duckdb_alone_saves_explicit_indexes_stale_after_a_crash(path: Path) -> None:
    """Show why CHECKPOINT comes first; when this fails, DuckDB has mended it."""
    killed(CRASHED_INDEX, path)
    child_ok(
        "c = duckdb.connect(path, config={'wal_autocheckpoint': '1KB'})" + WRITE_ANOTHER_TABLE,
        path,
    )

    assert "0" == child_ok(LOOK_UP, path)


def test_explicit_indexes_are_right_after_a_crash_when_opened_our_way(path: Path) -> None:
    killed(CRASHED_INDEX, path)
    child_ok(
        "from wopr.storage.duckdb.file import migrate\n"
        "from wopr.storage.duckdb.file.connecting import connect\n"
        "from pathlib import Path\n"
        "from wopr.storage.duckdb.file import connecting\n"
        "plain = connecting.settings\n"
        "connecting.settings = lambda limit: plain(limit) | {'wal_autocheckpoint': '1KB'}\n"
        "c = connect(Path(path), '200MB')\n"
        "migrate.examine(c)\n"
        "c.execute('CHECKPOINT')\n" + WRITE_ANOTHER_TABLE,
        path,
    )

    assert "20" == child_ok(LOOK_UP, path)


def test_our_tables_have_no_explicit_index_that_could_go_stale(opened: OpenedDatabase) -> None:
    assert [] == opened.connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall()
