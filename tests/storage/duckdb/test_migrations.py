"""Migrations build the schema, upgrades are all or nothing, and views answer rightly."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.databases import bytes_of, child, child_ok, log_of, names_beside, seqs
from support.paths import ROOT
from support.programs import run, run_ok
from wopr import ResultOf, TaskQueue, TaskStatus
from wopr.domain.errors import SchemaError, StorageFileError, StorageOwnedError
from wopr.domain.schedule import COLUMNS as SCHEDULE_COLUMNS
from wopr.domain.task import COLUMNS
from wopr.storage.duckdb import doctor, operations
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.start import start
from wopr.storage.schema import VIEWS, metadata

ALEMBIC: list[str | Path] = [sys.executable, "-m", "alembic", "-c", ROOT / "alembic.ini"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def opened(path: Path) -> Iterator[OpenedDatabase]:
    database = open_database(path)
    yield database
    database.close()


def schema_of(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """Return everything that a schema consists of."""
    return [
        connection.execute(query).fetchall()
        for query in (
            "SELECT table_name, column_name, data_type, is_nullable, column_default "
            "FROM duckdb_columns() WHERE NOT internal ORDER BY table_name, column_index",
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY view_name",
            "SELECT table_name, constraint_text FROM duckdb_constraints() ORDER BY ALL",
            "SELECT index_name FROM duckdb_indexes() ORDER BY ALL",
            "FROM meta ORDER BY ALL",
            "FROM alembic_version",
        )
    ]


# --- one schema, described once ---


def test_a_new_file_has_the_schema_of_the_metadata(path: Path) -> None:
    open_database(path).close()

    run_ok([*ALEMBIC, "-x", f"database={path}", "check"], path.parent)
    assert [] == migrate.check(path)
    assert migrate.head() == migrate.current(path)


def test_a_new_file_is_what_the_migrations_build(opened: OpenedDatabase, tmp_path: Path) -> None:
    built = tmp_path / "built.duckdb"
    duckdb.connect(str(built)).close()
    run_ok([*ALEMBIC, "-x", f"database={built}", "upgrade", "head"], tmp_path)
    with duckdb.connect(str(built)) as migrated:
        expected = schema_of(migrated)

    assert expected == schema_of(opened.connection)


def test_the_sql_of_new_files_is_what_the_migrations_render_to(tmp_path: Path) -> None:
    rendered = run_ok([*ALEMBIC, "upgrade", "head", "--sql"], tmp_path)

    lines = [line.rstrip() for line in rendered.strip().splitlines()]
    assert lines == (ROOT / "migrations" / "head.sql").read_text().splitlines(), (
        "run: alembic upgrade head --sql | sed 's/ *$//' > migrations/head.sql"
    )


def test_a_stale_sql_is_refused_before_anything_is_made(
    path: Path, newer: Path, newer_wopr: str
) -> None:
    shutil.copy(ROOT / "migrations" / "head.sql", newer / "head.sql")

    with pytest.raises(SchemaError, match="Render it: alembic upgrade head --sql"):
        open_database(path)

    assert not path.exists()


def test_check_tells_what_differs(path: Path) -> None:
    open_database(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE meta ADD COLUMN extra VARCHAR")
        connection.execute("ALTER TABLE rules ALTER value TYPE INTEGER")
        connection.execute("ALTER TABLE transitions DROP COLUMN worker CASCADE")
        connection.execute("DROP VIEW failures")
        connection.execute("CREATE VIEW mine AS SELECT 1 AS one")

    assert [
        "column meta.extra is unknown",
        "column rules.value is INTEGER NOT NULL, and should be VARCHAR NOT NULL",
        "column transitions.worker is missing",
        "view failures is missing",
        "view mine is unknown",
    ] == migrate.check(path)


def test_the_columns_of_a_task_are_those_of_its_table() -> None:
    table = metadata.tables["tasks"]
    stored = {column.name for column in table.columns}

    assert stored == set(COLUMNS)


def test_a_file_opens_after_a_crash_right_after_a_migration(path: Path) -> None:
    open_database(path).close()
    child(
        "import duckdb\n"
        "connection = duckdb.connect(str(path), config={'wal_autocheckpoint': '16GB'})\n"
        "connection.execute('ALTER TABLE tasks ADD COLUMN team VARCHAR')\n"
        "os._exit(0)",
        path,
    )
    assert Path(f"{path}.wal").exists(), "the migration must be in the log only"

    database = open_database(path)

    database.connection.execute("SELECT team FROM tasks").fetchall()
    database.close()


def test_the_newest_revision_is_the_one_alembic_knows() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrate.directory()))

    assert script.get_heads() == [migrate.head()]
    assert migrate.revisions() == sorted(step.revision for step in script.walk_revisions())


def test_opening_a_known_file_imports_no_alembic(path: Path) -> None:
    said = child_ok(
        "open_database(path).close(); open_database(path).close()\n"
        "print(sorted({'alembic', 'sqlalchemy', 'mako'} & set(sys.modules)))",
        path,
    )

    assert "[]" == said


# --- alembic's own command ---


def test_alembic_works_on_a_file_from_the_command_line(path: Path) -> None:
    open_database(path).close()

    said = run_ok([*ALEMBIC, "-x", f"database={path}", "current"], path.parent)

    assert "0009 (head)" in said


def test_alembic_builds_a_file_from_the_command_line(path: Path) -> None:
    duckdb.connect(str(path)).close()

    run_ok([*ALEMBIC, "-x", f"database={path}", "upgrade", "head"], path.parent)
    run_ok([*ALEMBIC, "-x", f"database={path}", "check"], path.parent)

    assert [] == migrate.check(path)


def test_alembic_asks_for_the_file_when_none_is_named(tmp_path: Path) -> None:
    done = run([*ALEMBIC, "current"], tmp_path)

    assert 0 != done.returncode
    assert "alembic -x database=wopr.duckdb" in done.stdout + done.stderr


def test_a_file_that_is_open_is_not_migrated_under_its_owner(opened: OpenedDatabase) -> None:
    with pytest.raises(StorageOwnedError):
        migrate.current(opened.path)


def test_a_missing_file_is_not_made_by_asking_for_its_revision(path: Path) -> None:
    with pytest.raises(StorageFileError, match="does not exist"):
        migrate.current(path)

    assert not path.exists()


def test_a_new_migration_gets_the_next_number(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    copy.mkdir()
    shutil.copytree(ROOT / "migrations", copy / "migrations")
    shutil.copy(ROOT / "alembic.ini", copy / "alembic.ini")
    open_database(path).close()
    command = [sys.executable, "-m", "alembic", "-x", f"database={path}", "revision"]

    run_ok([*command, "--autogenerate", "-m", "add a thing"], copy)

    made = (copy / "migrations" / "versions" / "0010_add_a_thing.py").read_text()
    assert "revision = '0010'" in made
    assert "down_revision = '0009'" in made
    assert "    pass" in made, "the schema and the metadata differ"


# --- upgrades ---

MORE = """-- Running upgrade 0009 -> 0010

ALTER TABLE transitions ADD COLUMN team VARCHAR;

CREATE TABLE teams (
    name VARCHAR NOT NULL
);

UPDATE transitions SET team = 'all';

UPDATE alembic_version SET version_num='0010' WHERE alembic_version.version_num = '0009';

COMMIT;
"""

AS_NEWER = """
from wopr.storage.duckdb.file import migrate
from pathlib import Path
migrate.directory = lambda: Path(sys.argv[2])
"""

DYING = """
class Dying:
    # A connection that dies after so many statements of the last step.
    def __init__(self, connection):
        self.connection = connection

    def execute(self, sql, *more):
        if "CREATE TABLE teams" not in sql:
            return self.connection.execute(sql, *more)
        for statement in sql.split(";")[:int(sys.argv[3])]:
            self.connection.execute(statement)
        die()

upgrade = migrate.upgrade
migrate.upgrade = lambda connection: upgrade(Dying(connection))
open_database(path)
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Return the migrations of a wopr that has one more."""
    folder = tmp_path / "newer"
    shutil.copytree(ROOT / "migrations", folder)
    (folder / "versions" / "0010_teams.py").write_text('"""Teams."""\n')
    script = folder / "head.sql"
    script.write_text(script.read_text().replace("COMMIT;\n", MORE))
    return folder


@pytest.fixture
def newer_wopr(newer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let this process be a wopr that has one more migration."""
    migrate.head.cache_clear()
    monkeypatch.setattr(migrate, "directory", lambda: newer)
    yield "0010"
    monkeypatch.undo()
    migrate.head.cache_clear()


@pytest.fixture
def older_file(path: Path) -> Path:
    """Leave a file of revision 0009 with two commits in its log."""
    child(AS_OLDER, path)
    assert log_of(path).exists()
    return path


AS_OLDER = "add(open_database(path).connection, 1, 2)\ndie()"


def test_an_older_file_is_upgraded_with_all_its_rows(older_file: Path, newer_wopr: str) -> None:
    database = open_database(older_file)
    teams = database.connection.execute("SELECT seq, team FROM transitions").fetchall()
    database.close()

    assert [(1, "all"), (2, "all")] == teams
    assert newer_wopr == migrate.current(older_file)


def test_an_older_file_is_copied_as_it_was_before_it_is_upgraded(
    older_file: Path, newer_wopr: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = bytes_of(older_file)

    with caplog.at_level(logging.WARNING, logger="wopr"):
        open_database(older_file).close()

    backup = older_file.with_name("queue.duckdb.backup-0009")
    assert list(before.values()) == list(bytes_of(backup).values())
    assert {0o600} == {file.stat().st_mode & 0o777 for file in (backup, log_of(backup))}
    assert str(backup) in caplog.text


def test_the_copy_opens_with_the_older_wopr(
    older_file: Path, newer_wopr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_database(older_file).close()
    monkeypatch.undo()
    migrate.head.cache_clear()

    database = open_database(older_file.with_name("queue.duckdb.backup-0009"))

    assert [1, 2] == seqs(database.connection)
    database.close()


@pytest.mark.parametrize("statements", [0, 1, 3])
def test_an_upgrade_killed_midway_leaves_the_old_schema(
    older_file: Path, newer: Path, statements: int
) -> None:
    done = child(AS_NEWER + DYING, older_file, newer, str(statements))
    assert -9 == done.returncode, done.stderr

    with duckdb.connect(str(older_file)) as connection:
        assert [("0009",)] == connection.execute("FROM alembic_version").fetchall()
        assert 10 == len(connection.execute("FROM transitions").description or ())
    said = child_ok(
        AS_NEWER + "opened = open_database(path)\n"
        "print(opened.connection.execute('SELECT count(team) FROM transitions').fetchone()[0])",
        older_file,
        newer,
    )
    assert "2" == said


def test_an_upgrade_that_fails_leaves_the_old_schema_and_says_so(
    older_file: Path, newer: Path, newer_wopr: str
) -> None:
    script = newer / "head.sql"
    right = script.read_text()
    script.write_text(right.replace("COMMIT;", "SELECT no_such_function();\n\nCOMMIT;"))

    with pytest.raises(SchemaError, match="from schema 0009 to 0010, and still has the old one"):
        open_database(older_file)

    assert "0009" == migrate.current(older_file)
    script.write_text(right)
    database = open_database(older_file)
    assert [1, 2] == seqs(database.connection)
    database.close()


def test_a_file_of_a_newer_wopr_is_refused_untouched(older_file: Path, newer: Path) -> None:
    child_ok(AS_NEWER + "open_database(path).close()", older_file, newer)
    before = bytes_of(older_file)

    with pytest.raises(SchemaError, match="has schema 0010; this wopr knows 0001, 0002, 000"):
        open_database(older_file)

    assert before == bytes_of(older_file)


def test_there_is_no_way_back_but_the_copy(older_file: Path) -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrate.directory()))

    for step in script.walk_revisions():
        with pytest.raises(
            NotImplementedError, match=f"backup-{int(step.revision) - 1:04}|first schema"
        ):
            step.module.downgrade()


EARLIER = """
from wopr.storage.duckdb.file import migrate

def row(seq, task, attempt, before, after, reason, data=None):
    # One of the log as older versions of wopr wrote it.
    connection.execute(
        "INSERT INTO transitions VALUES (?, ?, ?, ?, ?, TIMESTAMP '2026-03-01 12:00:00' + "
        "to_seconds(?), ?, ?, NULL, ?)",
        [seq, task, attempt, before, after, seq, "w" if attempt else None, reason, data],
    )

added = '{"name":"step","category":"c","priority":2,"max_retries":0,"args":[7],"kwargs":{}}'
connection = duckdb.connect(path)
migrate.upgrade(connection, sys.argv[2])
ids = [f"00000000-0000-7000-8000-00000000000{n}" for n in range(4)]
row(1, ids[0], 0, None, "pending", "add", added)
row(2, ids[1], 0, None, "pending", "add", added)
row(3, ids[0], 1, "pending", "started", "claim")
row(4, ids[0], 1, "started", "success", "succeed", '{"result":7}')
columns = "id, version, seq, name, category, priority, max_retries, args, kwargs, created_at"
values = "?, ?, ?, 'step', 'c', 2, 0, '[7]', '{}', TIMESTAMP '2026-03-01 12:00:00' + to_seconds(?)"
for seq, task in enumerate(ids[:2], 1):
    connection.execute(
        f"INSERT INTO tasks ({columns}) VALUES ({values})", [task, seq, seq, seq]
    )
connection.execute("UPDATE meta SET value = '2' WHERE key = 'folded'")
connection.execute("CHECKPOINT")
row(5, ids[2], 0, None, "pending", "add", added)  # none of these is folded, or in the file itself
row(6, ids[1], 1, "pending", "started", "claim")
row(7, ids[3], 0, None, "pending", "add", added)
row(8, ids[3], 0, "pending", "cancelled", "cancel")
die()
"""


@pytest.fixture(params=["0001", "0002"])
def earlier(request: pytest.FixtureRequest) -> str:
    """Return a schema that files in the world have."""
    return str(request.param)


@pytest.fixture
def earlier_file(path: Path, earlier: str) -> Path:
    """Leave a file of an earlier schema with rows, and a log that is not folded."""
    done = child(EARLIER, path, earlier)
    assert -9 == done.returncode, done.stderr
    assert log_of(path).exists()
    return path


def test_a_file_of_an_earlier_schema_keeps_every_task(earlier_file: Path, earlier: str) -> None:
    before = bytes_of(earlier_file)

    assert [] == doctor.check(earlier_file).problems

    backup = earlier_file.with_name(f"queue.duckdb.backup-{earlier}")
    assert list(before.values()) == list(bytes_of(backup).values())
    assert [] == migrate.check(earlier_file)
    with duckdb.connect(str(earlier_file)) as connection:
        found = connection.execute(
            "SELECT status, result, waiting, depends_on, flow_id, schedule, scheduled_for "
            "FROM tasks ORDER BY seq"
        ).fetchall()
        assert list(range(1, 9)) == seqs(connection)
    rest = (False, None, None, None, None)
    assert [
        ("success", "7", *rest),
        ("started", None, *rest),
        ("pending", None, *rest),
        ("cancelled", None, *rest),
    ] == found


async def test_a_queue_goes_on_with_a_file_of_an_earlier_schema(earlier_file: Path) -> None:
    ran: list[int] = []
    queue = TaskQueue(enabled=True, database=earlier_file)

    @queue.register_task("step", "c")
    async def step(value: int) -> int:
        ran.append(value)
        return value + 1

    async with queue:
        done, started, pending, cancelled = reversed(await queue.get_tasks())
        await queue.start_workers("c", 1)
        child_of_both = await queue.enqueue("step", (ResultOf(pending.id),), depends_on=[done.id])
        assert 9 == await child_of_both.result(20)
        assert (8, 1) == ((await queue.wait(started.id)).result, started.crashes)
        assert TaskStatus.CANCELLED is cancelled.status
    assert [7, 7, 8] == ran
    assert [] == doctor.check(earlier_file).problems


def test_a_file_of_the_second_schema_keeps_its_schedules_and_takes_rules_and_lines(
    path: Path,
) -> None:
    with duckdb.connect(str(path)) as connection:
        migrate.upgrade(connection, "0002")
        connection.execute(
            "INSERT INTO schedules SELECT 'nightly', 'step', 'c', 2, 0, '[]', '{}', NULL, '{}', "
            "'skip', 1, 1, 'allow', 0, NULL, NULL, false, NULL, NULL, 'call', NULL, NULL, NULL, "
            "NULL, NULL, 3, 4, TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02'"
        )
        before = connection.execute("FROM schedules").fetchall()

    database = open_database(path)

    after = database.connection.execute("FROM schedules").fetchall()
    assert [(*row, None, None) for row in before] == after
    for table in ("rules", "task_logs"):
        assert [] == database.connection.execute(f"FROM {table}").fetchall()
    database.close()
    assert "0009" == migrate.current(path)


def test_a_schedule_in_the_journal_of_an_older_wopr_has_fewer_columns(path: Path) -> None:
    values = dict.fromkeys(SCHEDULE_COLUMNS, None) | {
        **dict.fromkeys(("name", "task", "category", "args", "kwargs", "trigger"), "x"),
        **dict.fromkeys(("misfire", "overlap", "origin"), "skip"),
        **dict.fromkeys(("priority", "max_retries", "misfire_limit", "missed", "skipped"), 1),
        **dict.fromkeys(("misfire_grace", "jitter"), 1.0),
        **dict.fromkeys(("created_at", "updated_at"), datetime(2026, 1, 1)),
        "run_on_start": False,
    }
    older = [name for name in SCHEDULE_COLUMNS if name not in {"max_running", "missed_times"}]
    assert older == list(SCHEDULE_COLUMNS[: len(older)])  # they go by their place

    database = open_database(path)
    line = operations.save_schedules([tuple(values[name] for name in older)])
    operations.execute(database.connection, line)
    found = database.connection.execute("select name, missed, max_running from schedules")
    assert [("x", 1, None)] == found.fetchall()
    database.close()


# --- compaction ---


def fill_and_empty(path: Path) -> None:
    start(path).close()  # it knows of its journal: nothing is folded from these rows
    database = open_database(path)
    database.connection.execute(
        "INSERT INTO transitions SELECT i, uuid(), 0, NULL, 'pending', TIMESTAMP '2026-01-01', "
        "NULL, 'add', NULL, repeat('x', 200) || i FROM range(60000) t(i)"
    )
    database.connection.execute("CHECKPOINT")
    database.connection.execute("DELETE FROM transitions WHERE seq >= 100")
    database.close()


def test_compacting_gives_the_space_of_deleted_rows_back(path: Path) -> None:
    fill_and_empty(path)
    size = path.stat().st_size
    said: list[str] = []

    before, after = compact(path, said.append)

    assert size == before
    assert path.stat().st_size == after
    assert after < before / 2
    assert f"{before - after:,} fewer" in said[-1]
    assert ["queue.duckdb", "queue.duckdb.lock"] == sorted(f.name for f in path.parent.iterdir())
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_compacted_file_has_every_row_and_the_whole_schema(path: Path) -> None:
    fill_and_empty(path)
    database = open_database(path)
    expected = schema_of(database.connection)
    database.close()

    compact(path)

    database = open_database(path)
    assert list(range(100)) == seqs(database.connection)
    assert expected == schema_of(database.connection)
    database.close()
    assert [] == migrate.check(path)


def test_an_open_file_is_not_compacted(opened: OpenedDatabase) -> None:
    with pytest.raises(StorageOwnedError):
        compact(opened.path)


def test_a_missing_file_is_not_made_by_compacting_it(path: Path) -> None:
    with pytest.raises(StorageFileError, match="does not exist"):
        compact(path)

    assert not path.exists()


def test_a_compaction_that_finds_no_space_leaves_the_file_as_it_was(path: Path) -> None:
    fill_and_empty(path)
    before = bytes_of(path)

    said = child_ok(
        "import resource\n"
        "from wopr.domain.errors import StorageFileError\n"
        "from wopr.storage.duckdb.compact import compact\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    compact(path)\n"
        "except StorageFileError as error:\n"
        "    print('refused')\n",
        path,
    )

    assert "refused" == said
    assert before == bytes_of(path)
    assert [] == names_beside(path, "new-")


def test_a_copy_that_lacks_rows_is_never_put_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wopr.storage.duckdb import compact as module

    fill_and_empty(path)
    plain = module._count
    monkeypatch.setattr(
        module,
        "_count",
        lambda connection, database, table: (
            plain(connection, database, table) - (database == "new" and table == "transitions")
        ),
    )
    before = bytes_of(path)

    with pytest.raises(StorageFileError, match="99 rows in transitions where the file has 100"):
        compact(path)

    assert before == bytes_of(path)


def test_a_compaction_killed_before_its_last_step_changes_nothing(path: Path) -> None:
    fill_and_empty(path)
    before = bytes_of(path)

    done = child(
        "from wopr.storage.duckdb import compact\n"
        "compact.install = lambda new, path: die()\n"
        "compact.compact(path)",
        path,
    )

    assert -9 == done.returncode
    assert before == bytes_of(path)


# --- views ---

NOON = datetime(2026, 3, 1, 12)
A, B, C = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def task(database: OpenedDatabase, name: str, **columns: Any) -> str:
    """Insert a row into ``tasks`` as the fold would; return its id."""
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "seq": 1,
        "name": name,
        "category": "default",
        "priority": 2,
        "status": "pending",
        "attempt": 0,
        "retry_count": 0,
        "max_retries": 0,
        "crashes": 0,
        "args": "[]",
        "kwargs": "{}",
        "created_at": NOON,
        "progress": 0.0,
        "progress_message": "",
        "version": 1,
    }
    row |= columns
    database.connection.execute(
        f"INSERT INTO tasks ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})",
        list(row.values()),
    )
    return str(row["id"])


def moved(
    database: OpenedDatabase,
    task_id: str,
    attempt: int,
    statuses: tuple[str | None, str],
    seconds: float,
    error: str | None = None,
    **data: Any,
) -> None:
    """Insert a transition that happened so many seconds after noon."""
    database.connection.execute(
        "INSERT INTO transitions VALUES (?, ?, ?, ?, ?, ?, 'w', 'test', ?, ?)",
        [
            int(seconds * 10),
            task_id,
            attempt,
            *statuses,
            NOON + timedelta(seconds=seconds),
            error,
            json.dumps(data) if data else None,
        ],
    )


def rows(database: OpenedDatabase, query: str) -> list[dict[str, Any]]:
    answer = database.connection.execute(query)
    columns = [column[0] for column in answer.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]


@pytest.fixture
def retried(opened: OpenedDatabase) -> OpenedDatabase:
    """One task that was due 10 s after noon, failed once and then succeeded."""
    due = NOON + timedelta(seconds=10)
    task(
        opened,
        "mail",
        id=A,
        status="success",
        attempt=2,
        retry_count=1,
        run_at=due,
        started_at=NOON + timedelta(seconds=20),
        completed_at=NOON + timedelta(seconds=25),
    )
    moved(opened, A, 0, (None, "pending"), 0, name="mail", run_at=due.isoformat())
    moved(opened, A, 1, ("pending", "started"), 12)
    moved(
        opened,
        A,
        1,
        ("started", "retry"),
        15,
        "no route to 10.0.0.7",
        error_type="OSError",
        traceback="Traceback …",
    )
    moved(opened, A, 2, ("retry", "started"), 20)
    moved(opened, A, 2, ("started", "success"), 25, result={"sent": 1})
    return opened


def test_history_tells_each_move_of_a_task(retried: OpenedDatabase) -> None:
    history = rows(retried, "SELECT * FROM history ORDER BY seq")

    assert ["pending", "started", "retry", "started", "success"] == [
        row["to_status"] for row in history
    ]
    assert {("mail", "default")} == {(row["name"], row["category"]) for row in history}
    failed, done = history[2], history[4]
    assert ("OSError", "Traceback …", "no route to 10.0.0.7", None) == (
        failed["error_type"],
        failed["traceback"],
        failed["error"],
        failed["result"],
    )
    assert '{"sent":1}' == done["result"].replace(" ", "")


def test_task_times_count_from_when_the_task_was_due(retried: OpenedDatabase) -> None:
    (times,) = rows(retried, "SELECT * FROM task_times")

    assert (2, 2.0, 8.0, 15.0) == (
        times["attempts"],
        times["wait_seconds"],
        times["run_seconds"],
        times["total_seconds"],
    )


def test_task_times_of_a_waiting_task_are_unknown(opened: OpenedDatabase) -> None:
    task(opened, "mail", id=A)
    moved(opened, A, 0, (None, "pending"), 0, name="mail")

    (times,) = rows(opened, "SELECT * FROM task_times")

    assert (0, None, None, None, NOON) == (
        times["attempts"],
        times["wait_seconds"],
        times["run_seconds"],
        times["total_seconds"],
        times["due_at"],
    )


def test_latency_gives_percentiles_by_name_and_hour(opened: OpenedDatabase) -> None:
    for number in range(1, 101):
        task_id = task(
            opened,
            "mail",
            status="success",
            completed_at=NOON + timedelta(seconds=number),
            started_at=NOON,
        )
        moved(opened, task_id, 0, (None, "pending"), 0)
        moved(opened, task_id, 1, ("pending", "started"), 0)
        moved(opened, task_id, 1, ("started", "success"), number)
    task(opened, "mail", status="failed", completed_at=NOON + timedelta(hours=2), started_at=NOON)
    task(opened, "mail", status="cancelled", completed_at=NOON)

    first, second = rows(opened, "SELECT * FROM latency ORDER BY hour")

    assert (NOON, 100, 0.0) == (first["hour"], first["tasks"], first["wait_p99"])
    assert (50.5, 95.05, 99.01) == tuple(
        round(first[column], 6) for column in ("run_p50", "run_p95", "total_p99")
    )
    assert (NOON + timedelta(hours=2), 1) == (second["hour"], second["tasks"])


def test_backlog_counts_live_tasks_and_their_age(opened: OpenedDatabase) -> None:
    task(opened, "a", created_at=NOON)
    task(opened, "b", created_at=NOON + timedelta(hours=1))
    task(opened, "c", run_at=datetime(2999, 1, 1))
    task(opened, "d", status="started", priority=4)
    task(opened, "e", status="success", completed_at=NOON)

    started, pending = rows(opened, "SELECT * FROM backlog ORDER BY priority DESC")

    assert ("default", 2, "pending", 3, 2, NOON) == tuple(
        pending[key]
        for key in ("category", "priority", "status", "tasks", "due", "oldest_created_at")
    )
    now = opened.connection.execute("SELECT epoch(now())").fetchone()
    assert now is not None
    age = now[0] - (NOON - datetime(1970, 1, 1)).total_seconds()
    assert age == pytest.approx(pending["oldest_age_seconds"], abs=60)
    assert (4, "started", 1) == (started["priority"], started["status"], started["tasks"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("order 17 not found", "order 23456 not found"),
        (f"no row {uuid.UUID(int=5)}", f"no row {uuid.UUID(int=99)}"),
        ("object at 0x7f10aa", "object at 0x55D3C1"),
        ("commit 3f2a9c failed", "commit b07d1e failed"),
        ("10.0.0.1:5432 refused", "10.0.12.9:5433 refused"),
    ],
)
def test_failures_that_differ_in_numbers_only_are_one_group(
    opened: OpenedDatabase, first: str, second: str
) -> None:
    task(opened, "mail", id=A, status="failed")
    task(opened, "mail", id=B, status="retry")
    moved(opened, A, 1, ("started", "failed"), 1, first, error_type="LookupError")
    moved(opened, B, 1, ("started", "retry"), 2, second, error_type="LookupError")

    (group,) = rows(opened, "SELECT * FROM failures")

    assert ("mail", "LookupError", 2, 1, 2) == tuple(
        group[key] for key in ("name", "error_type", "failures", "final_failures", "tasks")
    )
    assert (NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)) == (
        group["first_seen"],
        group["last_seen"],
    )
    assert (B, second) == (str(group["sample_task_id"]), group["sample_error"])


def test_failures_of_other_words_types_or_names_are_other_groups(opened: OpenedDatabase) -> None:
    task(opened, "mail", id=A)
    task(opened, "post", id=B)
    moved(opened, A, 1, ("started", "failed"), 1, "face not found", error_type="LookupError")
    moved(opened, A, 1, ("started", "failed"), 2, "feed not found", error_type="LookupError")
    moved(opened, A, 1, ("started", "failed"), 3, "face not found", error_type="ValueError")
    moved(opened, B, 1, ("started", "failed"), 4, "face not found", error_type="LookupError")

    assert 4 == len(rows(opened, "SELECT * FROM failures"))


def test_every_documented_view_exists_and_no_other(opened: OpenedDatabase) -> None:
    found = opened.connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal"
    ).fetchall()

    assert set(VIEWS) == {name for (name,) in found}
