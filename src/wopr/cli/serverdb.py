"""What ``wopr db`` asks and does where a queue is on PostgreSQL."""

from __future__ import annotations

import asyncio

from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress


def upgrade(address: PostgresAddress) -> tuple[str | None, str]:
    """Bring the tables to the newest revision, beside hosts at work; return before and after."""
    from wopr.storage.postgres import schema
    from wopr.storage.postgres.connections import Connections

    before, _ = asyncio.run(schema.prepare(Connections(address, 1, Settings().call_seconds)))
    return before, schema.head()


def current(address: PostgresAddress) -> tuple[str | None, dict[str, str]]:
    """Return the revision of the tables, and what each that this wopr knows brings."""
    from wopr.storage.postgres import schema
    from wopr.storage.postgres.connections import Connections

    found = asyncio.run(schema.current(Connections(address, 1, Settings().call_seconds)))
    return found, schema.summaries()


def check(address: PostgresAddress) -> list[str]:
    """Return how the tables and views differ from what they should be."""
    from wopr.storage.postgres import shape
    from wopr.storage.postgres.connections import Connections

    return asyncio.run(shape.differences(Connections(address, 1, Settings().call_seconds)))
