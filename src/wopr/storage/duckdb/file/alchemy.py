"""Alembic on a connection to a file; import it only when there is something to migrate.

Alembic and SQLAlchemy take a quarter of a second to import, and their dialect
leaves a second DuckDB instance with nine threads behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from wopr.storage.schema import VIEWS, metadata


def upgrade(connection: duckdb.DuckDBPyConnection, scripts: Path, target: str) -> None:
    """Run the migrations in ``scripts`` that are missing up to ``target``."""
    _run(connection, scripts, lambda config: command.upgrade(config, target))


def stamp(connection: duckdb.DuckDBPyConnection, scripts: Path, revision: str) -> None:
    """Write into the file that it has the schema of ``revision``, changing nothing else."""
    _run(connection, scripts, lambda config: command.stamp(config, revision))


def differences(connection: Connection, include_object: Callable[..., bool]) -> list[str]:
    """Return how the connected file differs from the schema; empty if it does not."""
    options = {"include_object": include_object, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    found = [str(difference) for difference in compare_metadata(context, metadata)]
    return found + _view_differences(connection)


def _view_differences(connection: Connection) -> list[str]:
    rows = connection.execute(
        text("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name")
    )
    found = {str(row[0]) for row in rows}
    lacking = [f"view {name} is missing" for name in sorted(set(VIEWS) - found)]
    return lacking + [f"view {name} is unknown" for name in sorted(found - set(VIEWS))]


@contextmanager
def wrapped(connection: duckdb.DuckDBPyConnection) -> Iterator[Connection]:
    """Give the same connection to SQLAlchemy: a second one could not have its configuration."""
    engine = create_engine(
        "duckdb://",
        creator=lambda: ConnectionWrapper(connection.cursor()),
        poolclass=StaticPool,
    )
    try:
        with engine.connect() as inner:
            yield inner
    finally:
        engine.dispose()


def _run(
    connection: duckdb.DuckDBPyConnection, scripts: Path, action: Callable[[Config], None]
) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with wrapped(connection) as inner:
        config.attributes["connection"] = inner
        try:
            action(config)
        except DBAPIError as error:
            raise (error.orig or error) from error
