"""Bring the schema of a file to the newest revision.

A file of the newest revision is recognised with one plain query. A new one is made from the SQL
that the migrations render to, and an older one is upgraded with the part of it that it lacks.
Alembic and SQLAlchemy render it, where migrations are written; who runs wopr needs neither.
"""

from __future__ import annotations

import ast
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import duckdb

from wopr.domain.errors import SchemaError
from wopr.storage.duckdb.file import layout
from wopr.storage.duckdb.file.catalogue import (
    TABLES,
    VERSION_TABLE,
    plain,
    refuse_code,
    shape,
    tables,
)
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.files import (
    copy_database,
    install,
    refuse_things_of_others,
    workshop,
)
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.file.repair import explain

log = logging.getLogger(__name__)

_FILE = re.compile(r"(\d{4})_\w+\.py")
_STEP = re.compile(r"^-- Running upgrade \w* -> (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FileState:
    """What schema a file has, read without writing.

    ``revision`` is ``None`` in a file that alembic never saw; ``tables`` then maps
    each of its tables to its columns and their types, in order.
    """

    revision: str | None
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def directory() -> Path:
    """Return the folder of the migrations: in the installed package or in the repository."""
    package = Path(str(files("wopr")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def revisions() -> list[str]:
    """Return the known revisions, oldest first: the numbers their files start with."""
    found = (_FILE.fullmatch(entry.name) for entry in os.scandir(directory() / "versions"))
    return sorted(match[1] for match in found if match)


def summaries() -> dict[str, str]:
    """Return the first line of what each known revision says of itself, oldest first."""
    found = {}
    for entry in sorted((directory() / "versions").glob("*.py")):
        if match := _FILE.fullmatch(entry.name):
            text = ast.get_docstring(ast.parse(entry.read_text(encoding="utf-8"))) or ""
            found[match[1]] = text.partition("\n")[0]
    return found


@cache
def head() -> str:
    """Return the newest revision, the one that this wopr works with."""
    return revisions()[-1]


def _script() -> str:
    """Return the SQL that makes the newest schema: what ``alembic upgrade head --sql`` prints."""
    return (directory() / "head.sql").read_text(encoding="utf-8")


def steps() -> dict[str, str]:
    """Return the SQL of each revision, oldest first: what takes the one before to it.

    Raises:
        SchemaError: The SQL was not rendered after the last migration was written.

    """
    text = _script().removeprefix("BEGIN;").rstrip().removesuffix("COMMIT;")
    first, *rest = _STEP.split(text)
    found = dict(zip(rest[::2], rest[1::2], strict=True))
    if list(found) != revisions():
        raise SchemaError(
            f"{directory() / 'head.sql'} has the revisions {', '.join(found)}, and the migrations "
            f"beside it are {', '.join(revisions())}. Render it: alembic upgrade head --sql"
        )
    oldest = next(iter(found))
    found[oldest] = first + found[oldest]
    return found


def examine(connection: duckdb.DuckDBPyConnection) -> FileState:
    """Return the state of the connected file, which holds no code; writes nothing."""
    try:
        rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall()
    except duckdb.CatalogException:
        rows = []
    if not rows:
        return FileState(None, tables(connection))
    revision = ", ".join(str(row[0]) for row in rows)
    if revision != head():
        return FileState(revision)
    found = tables(connection)
    wanted = {name: layout.columns(_script()).get(name, {}) for name in TABLES}
    return FileState(revision, found, tuple(layout.differences(wanted, found)))


def refuse_unknown(path: Path, state: FileState) -> None:
    """Raise unless the file's revision is one that this wopr can upgrade.

    Raises:
        SchemaError: It is of a newer wopr, or of another program.

    """
    if state.missing:
        there = ", ".join(map(plain, state.tables)) or "no table"
        raise SchemaError(
            f"{path} says it has schema {state.revision} of wopr, but it lacks "
            f"{', '.join(state.missing)}; it has {there}. It was not changed. Restore a backup, "
            f"or set WOPR_TASKS_DATABASE to another file."
        )
    if state.revision not in revisions():
        raise SchemaError(
            f"{path} has schema {plain(str(state.revision))}; this wopr knows "
            f"{', '.join(revisions())}. It was written by a newer wopr, or by another program that "
            f"uses alembic. It was not changed. Upgrade (pip install --upgrade wopr), or set "
            f"WOPR_TASKS_DATABASE to another file."
        )


def back_up(path: Path, revision: str) -> Path:
    """Copy a file that is not open to ``<file>.backup-<revision>`` and return the copy."""
    copy = copy_database(path, f"{path.name}.backup-{revision}")
    log.warning(
        "%s has schema %s, this wopr has %s: it is upgraded now. A copy as it was: %s.",
        path,
        revision,
        head(),
        copy,
    )
    return copy


def create_file(path: Path) -> None:
    """Build a new file aside and put it in place when it is whole."""
    with workshop(path) as new:
        with connect(new) as connection:
            upgrade(connection)
            connection.execute("CHECKPOINT")
        install(new, path)


def bring_up(connection: duckdb.DuckDBPyConnection, revision: str | None) -> None:
    """Give a connected file of an older schema, or of none, the newest."""
    if revision is not None:
        begin_log(connection)
    upgrade(connection)


def begin_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Have the head of DuckDB's log on disk before a long commit comes, where no journal is yet.

    The first commit writes the head. When the power goes meanwhile, and what is lost is the first
    sector of many, the log looks like one whose head was damaged, and is refused. This commit
    changes nothing and fits in one sector, which is there or not.
    """
    connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = version_num").fetchall()


def upgrade(connection: duckdb.DuckDBPyConnection, target: str | None = None) -> None:
    """Bring a connected file to the newest revision, or to ``target``, in one transaction."""
    state = examine(connection)
    missing = [
        sql
        for revision, sql in steps().items()
        if revision > (state.revision or "") and (target is None or revision <= target)
    ]
    connection.execute("BEGIN")
    try:
        for sql in missing:
            connection.execute(sql).fetchall()
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def current(path: str | os.PathLike[str]) -> str | None:
    """Return the revision of a file that nobody has open, ``None`` if alembic never saw it.

    Raises:
        StorageOwnedError: A process has it open.
        SchemaError: It holds code of somebody.
        StorageFileError: It does not exist or can't be opened.

    """
    with connected(path) as connection:
        return examine(connection).revision


def check(path: str | os.PathLike[str]) -> list[str]:
    """Return how a file that nobody has open differs from the schema; empty if it does not.

    Raises:
        StorageOwnedError: A process has it open.
        SchemaError: It holds code of somebody, or is none of wopr.
        StorageFileError: It does not exist or can't be opened.

    """
    with connected(path) as connection:
        state = examine(connection)
        if state.revision is None:
            raise SchemaError(
                f"{path} is not a wopr file: it has no schema version, and its tables are "
                f"{', '.join(map(plain, state.tables)) or 'none'}. Name yours with --database PATH "
                f"or WOPR_TASKS_DATABASE."
            )
        with connect(Path(":memory:")) as right:
            upgrade(right)
            return list(layout.compared(shape(right), shape(connection)))


@contextmanager
def connected(path: str | os.PathLike[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lock a file that nobody has open, and connect to it as it is."""
    real = locate(path, create=False)
    lock = FileLock(real)
    lock.acquire()
    try:
        refuse_things_of_others(real)
        with connect(real) as connection:
            refuse_code(connection, real)
            yield connection
    except duckdb.Error as error:
        lock.withdraw()
        raise explain(real, error) from error
    except BaseException:
        lock.withdraw()
        raise
    finally:
        lock.release()
