"""Verbs that a queue on PostgreSQL does not have: each says so, and what to do instead."""

from __future__ import annotations

from typing import NoReturn

from wopr.domain.errors import StorageError

COPY = (
    "A copy of the database, and what is asked of one, are of a queue in a file. On PostgreSQL: "
    "pg_dump makes a backup, and queue.sql asks the database itself."
)


def absent(why: str) -> NoReturn:
    """Refuse.

    Raises:
        StorageError: always.
    """
    raise StorageError(why)
