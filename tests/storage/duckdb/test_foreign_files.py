"""A file of somebody else is rows, not code: nothing in it runs, and none of it gets out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.databases import bytes_of, names_beside
from wopr import TaskQueue
from wopr.domain.errors import SchemaError, StorageError, StorageFileError
from wopr.storage.duckdb import doctor
from wopr.storage.duckdb.accept import accept
from wopr.storage.duckdb.compact import compact
from wopr.storage.duckdb.file import layout, migrate
from wopr.storage.duckdb.file.catalogue import TABLES, tables
from wopr.storage.duckdb.file.connecting import connect, connect_to_copy
from wopr.storage.duckdb.file.opening import open_database
from wopr.storage.duckdb.start import open_settled, start

GOBSTOPPER = """
    select '01a22801-7f47-7000-b59e-69c87bc29cb5' as id, 'send' as name, 'c' as category,
        2::integer as priority, 'pending' as status, timestamp '2026-01-01' as created_at,
        null::timestamp as started_at, null::timestamp as completed_at,
        null::double as elapsed_seconds, null::json as result,
        (select content from read_text('{secret}'))::varchar as error, 0::integer as retry_count,
        0::integer as max_retries, '[]'::json as args, '{{}}'::json as kwargs,
        0.0::double as progress, ''::varchar as progress_message
"""

VIEW = "drop table if exists {name} cascade; create view {name} as from {calls}"
HOSTILE = {
    VIEW.format(name="tasks", calls="read_text('{secret}')"): "place of the table tasks",
    VIEW.format(name="meta", calls="enable_profiling(save_location := '{secret}')"): "table meta",
    VIEW.format(name="alembic_version", calls="glob('{secret}')"): "table alembic_version",
    VIEW.format(name="rules", calls="(select 1 as kind)"): "place of the table rules",
    VIEW.format(name="mine", calls="read_text('{secret}')"): r"read_text\(\) in the view mine",
    VIEW.format(name="mine", calls="\"glob\"('{secret}')"): r"glob\(\) in the view mine",
    "create view mine as select setseed(0.5) as a": r"setseed\(\) in the view mine",
    "create view mine as select 1 as a where \"write_log\"('x') is null": r"write_log\(\) in",
    "create sequence n; create view mine as select nextval('n') as a": r"nextval\(\) in the view",
    "create view mine as select sleep_ms(1000) as a": r"sleep_ms\(\) in the view mine",
    "drop view backlog; create view backlog as from checkpoint()": r"checkpoint\(\) in the view",
    "create macro count(x) as 7": "the function count",
    "create macro duckdb_tables() as table select 'tasks' as table_name": "function duckdb_tables",
    "create trigger more after insert on tasks for each statement "
    "insert into meta values ('a', 'b')": "the trigger more",
    "create index odd on tasks ((length(name) + 1))": "an expression in the index odd",
    "drop table rules; create table rules (kind varchar check (length(kind) > 1))": "a check in",
    "alter table tasks alter worker set default version()": "an expression for tasks.worker",
    "drop table rules; create table rules (kind varchar, name varchar as (kind || version()))": (
        "an expression for rules.name"
    ),
}
USERS: dict[str, Callable[[Path], Any]] = {
    "open": open_database,
    "start": start,
    "settle": open_settled,
    "accept": accept,
    "compact": compact,
    "doctor": doctor.check,
    "current": migrate.current,
    "check": migrate.check,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("CANARY")
    return file


def planted(path: Path, statement: str, *, logged: bool = False) -> Path:
    """Leave a file of wopr in which somebody has run a statement, or its log has it."""
    if not path.exists():
        open_database(path).close()
    with duckdb.connect(str(path), config={"wal_autocheckpoint": "16GB"}) as connection:
        connection.execute(statement)
        if logged:
            connection.execute("pragma disable_checkpoint_on_shutdown")
    return path


@pytest.mark.parametrize(("statement", "named"), HOSTILE.items())
def test_what_would_run_is_refused_by_name(
    path: Path, secret: Path, statement: str, named: str
) -> None:
    planted(path, statement.format(secret=secret))
    before = bytes_of(path)

    with pytest.raises(SchemaError, match=named):
        open_database(path)

    assert before == bytes_of(path)
    assert "CANARY" == secret.read_text()
    assert [] == names_beside(path, "quarantine-") + names_beside(path, "backup-")


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
def test_whatever_opens_a_file_refuses_it(
    path: Path, secret: Path, use: Callable[[Path], Any]
) -> None:
    planted(path, VIEW.format(name="alembic_version", calls=f"read_text('{secret}')"))

    with pytest.raises(SchemaError, match="a view in the place of the table alembic_version"):
        use(path)

    assert "CANARY" not in path.read_bytes().decode("latin-1")


def test_it_is_refused_when_only_the_log_has_it(path: Path, secret: Path) -> None:
    planted(path, VIEW.format(name="tasks", calls=f"read_text('{secret}')"), logged=True)
    assert path.with_name("queue.duckdb.wal").stat().st_size

    with pytest.raises(SchemaError, match="table tasks"):
        open_database(path)


def test_a_view_in_the_place_of_the_one_table_of_gobstopper_is_not_taken_over(
    path: Path, secret: Path
) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create view tasks as" + GOBSTOPPER.format(secret=secret))
    before = bytes_of(path)

    with pytest.raises(SchemaError, match="a view in the place of the table tasks"):
        open_database(path)

    assert before == bytes_of(path)


def test_a_name_in_a_hostile_file_is_quoted_and_cut(path: Path) -> None:
    planted(path, 'create macro "\x1b[2J; rm -rf ~"(x) as 7')
    planted(path, f'create macro "{"m" * 300}"(x) as 7')
    for number in range(9):
        planted(path, f"create macro m{number}(x) as 7")

    with pytest.raises(SchemaError, match="and 6 more") as raised:
        open_database(path)

    said = str(raised.value)
    assert said.isprintable()
    assert "m" * 100 not in said


def test_what_a_user_added_and_nothing_runs_stays(path: Path) -> None:
    planted(path, "create view mine as select name, unnest([1, 2]) as n from tasks")
    planted(path, "create table notes (text varchar default 'none', done boolean default false)")
    planted(path, "create index by_name on notes (text)")

    opened = open_database(path)

    assert [] == opened.connection.execute("select * from mine").fetchall()
    assert [] == opened.connection.execute("select * from notes").fetchall()
    opened.close()


def test_a_table_with_other_columns_is_refused_by_their_names(path: Path) -> None:
    planted(path, "alter table rules alter value type integer")
    planted(path, "alter table task_logs drop column level")

    with pytest.raises(SchemaError, match=r"rules\.value as VARCHAR \(it is INTEGER\)") as raised:
        open_database(path)

    assert "task_logs.level" in str(raised.value)


def test_the_columns_are_known_from_the_sql_that_makes_them(path: Path) -> None:
    opened = open_database(path)
    made = tables(opened.connection)
    opened.close()
    known = layout.columns((migrate.directory() / "head.sql").read_text(encoding="utf-8"))

    assert {name: made[name] for name in TABLES} == {name: known[name] for name in TABLES}


CONNECTIONS: dict[str, Callable[[Path], duckdb.DuckDBPyConnection]] = {
    "own": connect,
    "read only": lambda path: connect(path, read_only=True),
    "copy": lambda path: connect_to_copy(path, path.parent / "new" / path.name, "200MB"),
}


@pytest.mark.parametrize("made", CONNECTIONS.values(), ids=CONNECTIONS)
@pytest.mark.parametrize(
    "statement",
    [
        "from read_text('{secret}')",
        "attach '{secret}.duckdb' as other",
        "load httpfs",
        "set enable_external_access = true",
        "set threads = 2",
    ],
)
def test_no_connection_has_a_way_out(
    path: Path,
    secret: Path,
    statement: str,
    made: Callable[[Path], duckdb.DuckDBPyConnection],
) -> None:
    open_database(path).close()
    with (
        made(path) as connection,
        pytest.raises(duckdb.Error, match=r"disabled|locked"),
    ):
        connection.execute(statement.format(secret=secret))


def other_tables(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table other (a integer)")


def no_database(path: Path) -> None:
    path.write_text("Dear diary, " * 2_000)


def newer(path: Path) -> None:
    """Leave a file of a wopr that is to come, as somebody would copy it: alone."""
    open_database(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    for one in path.parent.iterdir():
        if one != path:
            one.unlink()


async def copied_alone(path: Path) -> None:
    """Leave a file as it is while a queue is open, without the journal that belongs to it."""
    original = path.with_name("original.duckdb")
    async with TaskQueue(enabled=True, database=original) as queue:
        await queue.get_task_stats()
        shutil.copy(original, path)
    for one in path.parent.iterdir():
        if one != path:
            one.unlink()


@pytest.mark.parametrize("use", ["start", "settle", "doctor", "compact"])
async def test_nothing_stays_beside_a_copy_that_lacks_its_journal(path: Path, use: str) -> None:
    await copied_alone(path)
    with pytest.raises(StorageFileError, match="is missing"):
        USERS[use](path)
    assert [path] == list(path.parent.iterdir())


REFUSED = [
    (name, make)
    for name in USERS
    for make in (other_tables, no_database, newer)
    if name != "current" and (name, make) != ("check", newer)  # these tell what they find
]


@pytest.mark.parametrize(("use", "make"), REFUSED)
def test_nothing_stays_beside_a_file_that_was_refused(
    path: Path, use: str, make: Callable[[Path], None]
) -> None:
    make(path)
    before = bytes_of(path)
    with pytest.raises(StorageError):
        USERS[use](path)
    assert before == bytes_of(path)
    assert [path] == list(path.parent.iterdir())
