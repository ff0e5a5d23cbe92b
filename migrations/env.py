"""Run the migrations: on the connection wopr hands over, or on the file of ``-x database=FILE``.

After adding one, render what a new file is made from:
``alembic upgrade head --sql | sed 's/ *$//' > migrations/head.sql``.
"""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError
from sqlalchemy.engine import Connection

from wopr.storage.duckdb.file import alchemy, migrate
from wopr.storage.schema import metadata


def run(connection: Connection) -> None:
    """Run all steps in one transaction, so a crash leaves the old schema or the new one."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=migrate.include_object,
        process_revision_directives=migrate.number_revision,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    """Lock and open the file named by ``-x database=FILE``, as it is."""
    database = context.get_x_argument(as_dictionary=True).get("database")
    if not database:
        raise CommandError("Name the file: alembic -x database=wopr.duckdb <command>")
    with migrate.connected(database) as connection, alchemy.wrapped(connection) as inner:
        run(inner)


handed_over = context.config.attributes.get("connection")
if context.is_offline_mode():
    context.configure(dialect_name="duckdb", target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
elif handed_over is not None:
    run(handed_over)
else:
    run_from_command_line()
