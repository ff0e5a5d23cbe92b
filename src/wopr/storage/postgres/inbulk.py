"""Many new tasks in one transaction: the server adds the first while the next are written out.

They go as a few statements in the pipeline of a connection. What comes between two of its ends is
one transaction of the server, which drops all of it where one statement fails, or where the
connection ends before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wopr.domain.task import TaskRecord
from wopr.storage.postgres.newtasks import ADD_ALIKE, ADD_NEW
from wopr.storage.postgres.rows import alike_rows, surely_new_rows

FIRST_PART = 300
"""So few tasks go first, so that the server begins at once."""
GROWTH = 3
"""Each part is so many times the last: the server is slower than who writes the next one out."""


async def add(
    connection: Any, records: Sequence[TaskRecord], errors: type[Exception]
) -> list[tuple[Any, ...]]:
    """Add tasks that are new for sure, all or none; return a row of the numbers of each part.

    Args:
        connection: in no transaction; it is closed if that fails.
        records: of at least one task.
        errors: that the driver raises.
    """
    try:
        return await _sent(connection, records, errors)
    except BaseException:
        # The driver takes for prepared what the server did not come to any more.
        await connection.close()
        raise


async def _sent(
    connection: Any, records: Sequence[TaskRecord], errors: type[Exception]
) -> list[tuple[Any, ...]]:
    failure: Exception | None = None
    cursors: list[Any] = []
    try:
        async with connection.pipeline():
            try:
                cursors = [await connection.execute(*said(part)) for part in in_parts(records)]
            except errors as error:
                failure = error  # what comes behind it in the pipeline fails only because of it
            except BaseException:
                await connection.close()  # the end of the pipeline would commit the first parts
                raise
    except errors as error:
        failure = failure or error
    if failure is not None:
        raise failure
    return [await cursor.fetchone() for cursor in cursors]


def said(records: Sequence[TaskRecord]) -> tuple[str, dict[str, Any]]:
    """Return the statement that adds tasks which are new for sure, and its values."""
    alike = alike_rows(records)
    return (ADD_NEW, surely_new_rows(records)) if alike is None else (ADD_ALIKE, alike)


def in_parts(records: Sequence[TaskRecord]) -> Iterator[Sequence[TaskRecord]]:
    """Return records in parts, in order: a small one first, then larger ones."""
    at, size = 0, FIRST_PART
    while at < len(records):
        yield records[at : at + size]
        at, size = at + size, size * GROWTH
