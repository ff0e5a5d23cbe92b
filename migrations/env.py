"""Run the migrations on the file of ``-x database=FILE``, or render them, for who writes one.

After adding one, render what files are made from and upgraded with:
``alembic upgrade head --sql | sed 's/ *$//' > migrations/head.sql``.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.util import CommandError
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.catalogue import VERSION_TABLE
from wopr.storage.schema import metadata


def include_object(item: Any, name: str | None, kind: str, reflected: Any, other: Any) -> bool:
    """Tell alembic's comparison what to compare: all but its own table."""
    return not (kind == "table" and name == VERSION_TABLE)


def number_revision(context: Any, revision: Any, directives: list[Any]) -> None:
    """Give a new migration the next number instead of a random one."""
    if directives:
        directives[0].rev_id = f"{int(migrate.revisions()[-1]) + 1:04d}"


def run() -> None:
    """Lock and open the file as it is, and run all steps in one transaction."""
    database = context.get_x_argument(as_dictionary=True).get("database")
    if not database:
        raise CommandError("Name the file: alembic -x database=wopr.duckdb <command>")
    with migrate.connected(database) as connection:
        engine = create_engine(
            "duckdb://",  # the same connection: a second one could not have its configuration
            creator=lambda: ConnectionWrapper(connection.cursor()),
            poolclass=StaticPool,
        )
        with engine.connect() as inner:
            context.configure(
                connection=inner,
                target_metadata=metadata,
                include_object=include_object,
                compare_server_default=True,
                process_revision_directives=number_revision,
            )
            with context.begin_transaction():
                context.run_migrations()
        engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="duckdb", target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
