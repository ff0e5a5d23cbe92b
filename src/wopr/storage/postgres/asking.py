"""SQL of people: in a transaction that can't write, on a connection of its own, for so long.

It has the rights of a role that may read the schema ``wopr``, as far as the server has one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

from wopr.domain.errors import QueryError, QueryTimeoutError
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.postgres.connections import Connections, Patience
from wopr.storage.postgres.guarding import check
from wopr.storage.postgres.meter import Meter, metered
from wopr.storage.postgres.reader import ROLE, USABLE
from wopr.storage.postgres.times import times

_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?(?:\*/|\Z)"
    r"|(?<![\w$])(\$(?:[^\W\d]\w*)?\$).*?(?:\1|\Z)|\?",
    re.DOTALL,
)
"""What has no parameters in it, or is one. What never ends, goes to the end: a text of many
beginnings would be searched from each of them."""
_PASSING = ("08", "40", "57")
"""Classes of errors behind which the same query may succeed."""
_VALUES = "08P01"
"""Of those classes, and yet it does not: there are more parameters than values, or less."""
_VALUE_BYTES = 16


_BEGIN = f"""
select set_config('statement_timeout', %s, true), set_config('search_path', 'wopr', true),
    case when ({USABLE}) then set_config('role', '{ROLE}', true) end
"""


async def ask(
    connections: Connections,
    text: str,
    params: Sequence[Any],
    limits: QueryLimits,
    *,
    own: bool = False,
) -> QueryRows:
    """Run one query; ``?`` stands for the next of the params.

    Args:
        connections: the queue's; it gets one of its own.
        text: the query.
        params: its values.
        limits: of its time and of its answer.
        own: whether it is wopr's own question, and not of people.

    Raises:
        QueryError: it is none, it would write, or it failed.
        QueryTimeoutError: it took too long.
        StorageError: the server does not answer.
    """
    import psycopg

    if not own:
        check(text)

    async def work(connection: Any) -> QueryRows:
        async with metered(connection, limits.bytes) as meter:
            await connection.execute("begin read only")
            await connection.execute(_BEGIN, [str(max(1, round(limits.seconds * 1000)))])
            try:
                return await _answer(connection, _numbered(text), params, limits, meter)
            except psycopg.errors.QueryCanceled as error:
                raise QueryTimeoutError(
                    f"The query took longer than {limits.seconds:g} s, so it was given up. Ask for "
                    "less, or allow more: WOPR_TASKS_QUERY_SECONDS."
                ) from error
            except psycopg.OperationalError as error:
                if connection.closed or _may_succeed(error.sqlstate):
                    raise
                raise QueryError(f"The query failed: {error}") from error
            except (psycopg.Error, UnicodeError) as error:
                raise QueryError(f"The query failed: {error}") from error

    return await connections.lone(work, patience=Patience.ALWAYS)


async def check_condition(connections: Connections, where: str, limits: QueryLimits) -> None:
    """Refuse what is no condition over the columns of tasks, but closes a bracket around it.

    Raises:
        QueryError: it is none.
        QueryTimeoutError: it took too long.
    """
    try:
        await ask(connections, f"select seq from tasks where {where}\nlimit 0", [], limits)
    except QueryTimeoutError:
        raise
    except QueryError as error:
        raise no_condition(where, error) from error


def no_condition(where: str, error: QueryError) -> QueryError:
    """Return the error that a text is no condition."""
    return QueryError(
        f"{where!r:.200} is no condition in SQL over the columns of tasks, like "
        f"\"priority = 1 and name like 'mail%'\". {error}"
    )


def _may_succeed(state: str | None) -> bool:
    return state is None or (state[:2] in _PASSING and state != _VALUES)


def _numbered(text: str) -> str:
    """Return the text with the numbers of its parameters, as the server takes them."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _QUOTED.sub(number, text)


async def _answer(
    connection: Any, text: str, params: Sequence[Any], limits: QueryLimits, meter: Meter
) -> QueryRows:
    from psycopg import AsyncRawCursor, OperationalError

    rows: list[tuple[Any, ...]] = []
    cursor = AsyncRawCursor(connection)
    for kind, loader in times().items():
        cursor.adapters.register_loader(kind, loader)
    try:
        coming = cursor.stream(text, list(params))  # which takes one statement only
        cut = await _read(coming, rows, limits, meter)
    except OperationalError as error:
        if not meter.is_over:
            raise
        if not rows:
            raise meter.error() from error
        cut = Cut.BYTES
    if cursor.description is None:  # there are no rows, so it costs nothing to look once more
        await cursor.execute(text, list(params), prepare=True)
    columns = tuple(one.name for one in cursor.description or ())
    if not columns:
        raise QueryError("The query returns no rows. Only one that reads is answered.")
    return QueryRows(columns, rows, cut)


async def _read(
    coming: AsyncIterator[Any], rows: list[tuple[Any, ...]], limits: QueryLimits, meter: Meter
) -> Cut | None:
    """Put what comes into ``rows``, up to the limits; return which one it was."""
    size = 0
    async for row in coming:
        meter.next()
        if len(rows) == limits.rows:
            return Cut.ROWS
        size += sum(map(_size, row))
        if size > limits.bytes:
            return Cut.BYTES
        rows.append(row)
    return None


def _size(value: Any) -> int:
    """Return about how many bytes a value has, with all that is in it."""
    size, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, Decimal):
            size += len(one.as_tuple().digits)
        elif isinstance(one, list | tuple):
            left += one
        elif isinstance(one, dict):
            left += one
            left += one.values()
        size += _VALUE_BYTES
    return size
