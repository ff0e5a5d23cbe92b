"""The tables on the server: made, and brought up to date, by the first queue that opens them.

What was released is never edited: ``tables.sql`` made the first tables, and each script in
``upgrades`` adds to what the one before has left. It only adds, and what is added does without
a value from those who don't know it: so hosts with the last release go on meanwhile. The views of
``views.sql`` take the place of those before, whose columns they all have, and more behind them.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from importlib.resources import files
from typing import Any

from wopr.domain.errors import SchemaError, StorageError
from wopr.storage.postgres import reader
from wopr.storage.postgres.connections import Connections, Patience

log = logging.getLogger(__name__)

FIRST = "0009"
"""The revision of ``tables.sql``: that of a file when they were made first."""
_LOCK = 0x776F7072
"""Of PostgreSQL's advisory locks: so long as somebody changes the tables."""
LEAST_SERVER = 140_000
TAKE_SECONDS = 0.9
"""So long a change waits for those that use a table; then these go first, and it tries again.

It is less than the second after which a server looks whether two wait for each other, so no
statement of anybody fails.
"""
LOCK_SECONDS = 3
"""So long it waits for another lock, once it has begun."""
MOST_TRIES = 50


_ARE_THERE = """
select exists (select from pg_catalog.pg_tables where schemaname = 'wopr' and tablename = 'meta')
"""
"""``to_regclass`` would not do: after waiting for a lock it may answer from before the wait."""

_VIEWS = """
select format('%I.%I', schemaname, viewname) from pg_catalog.pg_views
where schemaname = 'wopr' order by viewname
"""


@cache
def steps() -> dict[str, str]:
    """Return what makes the tables, by revision, in order."""
    folder = files(__package__)
    found = {FIRST: folder.joinpath("tables.sql").read_text(encoding="utf-8")}
    scripts = [one for one in folder.joinpath("upgrades").iterdir() if one.name.endswith(".sql")]
    for script in sorted(scripts, key=lambda one: one.name):
        found[script.name.removesuffix(".sql")] = script.read_text(encoding="utf-8")
    return found


def views() -> str:
    """Return what makes the views."""
    return files(__package__).joinpath("views.sql").read_text(encoding="utf-8")


def head() -> str:
    """Return the newest revision that this wopr knows."""
    return list(steps())[-1]


def summaries() -> dict[str, str]:
    """Return what each revision brings, by revision, in order."""
    return {one: text.partition("\n")[0].removeprefix("-- ") for one, text in steps().items()}


async def prepare(connections: Connections) -> tuple[str | None, str]:
    """Make the tables, or bring them to the newest revision; return that before, and their name.

    Any number of processes may do it at once, beside hosts at work.

    Raises:
        SchemaError: they are of a newer wopr, or the server is too old.
        StorageError: it could not be done; then nothing has changed.
    """
    import psycopg

    async def work(connection: Any) -> tuple[str | None, str]:
        _check_server(connections, connection)
        found = await version_of(connection)
        if found != head():
            refuse_unknown(connections, found)
            for _ in range(MOST_TRIES):
                try:
                    found = await _bring_up(connections, connection)
                    break
                except psycopg.errors.LockNotAvailable:
                    await asyncio.sleep(TAKE_SECONDS / 3)
            else:
                raise StorageError(
                    f"The tables of the queue in {connections.address} are in use by long "
                    f"transactions, so they can't get the revision {head()}. End these (see "
                    "pg_stat_activity) and try again: wopr db upgrade"
                )
        cursor = await connection.execute("select value from wopr.meta where key = 'identity'")
        return found, str((await cursor.fetchone())[0])

    return await connections.lone(work, patience=Patience.ALWAYS)


async def current(connections: Connections) -> str | None:
    """Return the revision of the tables; ``None`` if there are none. Changes nothing."""
    return await connections.lone(version_of)


async def version_of(connection: Any) -> str | None:
    """Return the revision of the tables; ``None`` if there are none."""
    cursor = await connection.execute(_ARE_THERE)
    if not (await cursor.fetchone())[0]:
        return None
    cursor = await connection.execute("select value from wopr.meta where key = 'version'")
    row = await cursor.fetchone()
    return "" if row is None else str(row[0])


def missing(found: str | None) -> list[str]:
    """Return the revisions that tables of one revision lack, in order."""
    known = list(steps())
    return known if found is None else known[known.index(found) + 1 :]


def refuse_unknown(connections: Connections, found: str | None) -> None:
    """Raise unless this wopr knows a revision.

    Raises:
        SchemaError: it does not.
    """
    if found is not None and found not in steps():
        raise SchemaError(
            f"The tables of the queue in {connections.address} have the revision {found!r}, and "
            f"this wopr knows {', '.join(steps())}: a newer wopr has upgraded them. They were not "
            "changed. Install that one: pip install --upgrade wopr"
        )


def _check_server(connections: Connections, connection: Any) -> None:
    if connection.info.server_version < LEAST_SERVER:
        raise SchemaError(
            f"{connections.address} is PostgreSQL {connection.info.server_version // 10_000}, "
            "and wopr needs 14 or newer."
        )


async def _take(connection: Any) -> None:
    """Lock what hosts and people use, in the order in which their statements do.

    Else one that has begun with the first, and is kept from the next, waits for an upgrade that
    waits for it: the server ends one of them, which may be the upgrade after minutes of work.
    """
    await connection.execute(f"set local lock_timeout = '{TAKE_SECONDS}s'")
    for (view,) in await (await connection.execute(_VIEWS)).fetchall():
        await connection.execute(f"alter view {view} reset (security_barrier)")  # it has none
    await connection.execute("lock table wopr.tasks, wopr.transitions in access exclusive mode")
    await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")


async def _bring_up(connections: Connections, connection: Any) -> str | None:
    """Make what lacks, in one transaction; return the revision before."""
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
        await connection.execute("set local client_min_messages = 'warning'")
        await connection.execute("set local statement_timeout = 0")  # an index of much takes long
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        found = await version_of(connection)
        refuse_unknown(connections, found)
        lacking = missing(found)
        if lacking:
            if found is not None:
                await _take(connection)
            for one in lacking:
                await connection.execute(steps()[one])
            await connection.execute(views())
            await connection.execute(
                "insert into wopr.meta (key, value) values ('version', %s) "
                "on conflict (key) do update set value = excluded.value",
                [head()],
            )
            await reader.allow(connection)
    if lacking and found is None:
        log.info("Made the tables of the queue in %s.", connections.address)
    elif lacking:
        text = "The tables of the queue in %s had the revision %s and have %s now."
        log.warning(text, connections.address, found, head())
    return found
