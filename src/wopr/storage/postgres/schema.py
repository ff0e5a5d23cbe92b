"""The tables on the server: made by the first queue that opens the database."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

from wopr.domain.errors import SchemaError
from wopr.storage.postgres.connections import Connections

log = logging.getLogger(__name__)

VERSION = "0009"
"""The revision of the tables: that of the migrations that the tables of a file have then."""
_LOCK = 0x776F7072
"""Of PostgreSQL's advisory locks: so long as a queue looks at the tables, or makes them."""
_SCRIPTS = ("tables.sql", "views.sql")
LEAST_SERVER = 140_000


async def prepare(connections: Connections) -> None:
    """Make the tables, or see that they are those that this wopr knows.

    Any number of processes may do it at once.

    Raises:
        SchemaError: they are others, or the server is too old.
        StorageError: it could not be done; then nothing has changed.
    """

    async def work(connection: Any) -> None:
        if connection.info.server_version < LEAST_SERVER:
            raise SchemaError(
                f"{connections.address} is PostgreSQL {connection.info.server_version // 10_000}, "
                "and wopr needs 14 or newer."
            )
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            found = await version_of(connection)
            if found is None:
                for script in scripts():
                    await connection.execute(script)
                await connection.execute(
                    "insert into wopr.meta (key, value) values ('version', %s)", [VERSION]
                )
                log.info("Made the tables of the queue in %s.", connections.address)
            elif found != VERSION:
                raise SchemaError(
                    f"The tables of the queue in {connections.address} have the revision {found}, "
                    f"and this wopr knows {VERSION}. Use the wopr that made them, or a newer one."
                )

    await connections.lone(work)


async def version_of(connection: Any) -> str | None:
    """Return the revision of the tables; ``None`` if there are none."""
    cursor = await connection.execute("select to_regclass('wopr.meta') is not null")
    if not (await cursor.fetchone())[0]:
        return None
    cursor = await connection.execute("select value from wopr.meta where key = 'version'")
    row = await cursor.fetchone()
    return "" if row is None else str(row[0])


def scripts() -> list[str]:
    """Return what makes the tables, and then the views."""
    folder = files(__package__)
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS]
