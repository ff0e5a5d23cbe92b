"""The tasks of a selection, as SQL. Each runs on folded tables; what people wrote is asked before.

A condition of people's is a query of its own, which gives numbers of tasks: so nothing of its
text stands in a statement of wopr's.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from wopr.domain.act import Tally
from wopr.domain.change import Takes
from wopr.domain.errors import QueryError
from wopr.domain.selection import Selection, bounds, digits_of
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.ports.selecting import Found
from wopr.storage.duckdb import reads
from wopr.storage.duckdb.asked.reading import parse
from wopr.storage.duckdb.asked.shape import shape_of

Connection = duckdb.DuckDBPyConnection

_KNOWN = {status.value: status for status in TaskStatus}
_UNFIT = "(status = 'pending' and waiting and error_type = 'DoesNotFit')"
FINGERPRINT = r"""
regexp_replace(
    regexp_replace(
        regexp_replace(
            roots,
            '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
        ),
        '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b', '<hex>', 'g'
    ),
    '[0-9]+', '<n>', 'g'
)
"""
"""As in the view ``failures``."""
_FAILED_SO = f"""id in (
    select task_id from (
        select
            task_id,
            arg_max(
                coalesce(
                    case when contains(data, '"roots":') then data ->> '$.roots' end, error, ''
                ),
                seq
            ) as roots
        from transitions
        where to_status in ('failed', 'retry') and from_status is distinct from 'retry'
            and occurred_at >= coalesce(?::timestamp, timestamp '-infinity')
        group by task_id
    )
    where {FINGERPRINT} = ?
)"""
_NOT_AGAIN = """id::varchar not in (
    select options ->> '$.again_of' from tasks
    where seq > ? and contains(options, '"again_of"') and options ->> '$.again_of' is not null
)"""

WHOLE = 32
"""Digits of a whole id."""
_BEGINNING = """
select replace(id::varchar, '-', ''), [id::varchar] from tasks
where id in (select unnest(?::uuid[]))
union all
select begin, min(id, ?)::varchar[]
from (
    select id, left(replace(id::varchar, '-', ''), length) as begin
    from tasks, (select unnest(?::integer[]) as length)
    where id between ?::uuid and ?::uuid
)
where begin in (select unnest(?::varchar[]))
group by begin
"""
"""By equal beginnings of a length, as ranges that are joined take 40 times as long."""


def people_ask(where: str) -> str:
    """Return the query that says which tasks a condition of people's holds for."""
    return f"select seq from tasks where (\n{where}\n)"


def check_condition(cursor: Connection, where: str) -> None:
    """Refuse what is no condition: whatever closes the bracket around it and goes on.

    Raises:
        QueryError: it is none.
    """
    for text in (f"select seq from tasks where {where}\n", people_ask(where)):
        shape_of(text)
        try:
            parse(cursor, text)
        except QueryError as error:
            raise QueryError(
                f"{where!r:.200} is no condition in SQL over the columns of tasks, like "
                f"\"priority = 1 and name like 'mail%'\". {error}"
            ) from error


def tally(
    cursor: Connection, which: Selection, takes: Takes, among: Sequence[int] | None
) -> list[Tally]:
    """Count what is selected, by name and status."""
    condition, params = _condition(which, among)
    # Of each row it is looked at no more than has to be: that is half of it for all that there are.
    unfit = f"count(*) filter ({_UNFIT})" if takes.unfit else "0"
    rows = cursor.execute(
        f"select name, status, count(*), {unfit} from tasks "
        f"where {condition} group by all order by name, status",
        params,
    ).fetchall()
    return [
        Tally(name, status, count, count if status in takes.statuses else unfitting)
        for name, text, count, unfitting in rows
        if (status := _KNOWN.get(text)) is not None
    ]


def select(
    cursor: Connection,
    which: Selection,
    takes: Takes | None,
    limit: int,
    after: int,
    unless_again_since: int | None,
    among: Sequence[int] | None,
) -> list[Found]:
    """Return selected tasks that a verb takes, in enqueue order."""
    condition, params = _condition(which, among)
    if takes is not None:
        condition += f" and {_taken(takes)}"
    if unless_again_since is not None:
        condition += f" and seq <= ? and {_NOT_AGAIN}"
        params += [unless_again_since, unless_again_since]
    asked = cursor.execute(
        f"select seq, id::varchar from tasks where {condition} and seq > ? order by seq limit ?",
        [*params, after, limit],
    )
    found: list[Found] = []
    while rows := asked.fetchmany(2_000):  # the interpreter's lock is held for one of them
        found += [Found(*row) for row in rows]
    return found


def newest(
    cursor: Connection,
    which: Selection,
    limit: int,
    before: int | None,
    among: Sequence[int] | None,
) -> list[TaskRecord]:
    """Return a page of the selected tasks, newest first."""
    condition, params = _condition(which, among)
    return reads.selected(cursor, condition, params, limit, before)


def beginnings(cursor: Connection, prefixes: Sequence[str], limit: int) -> dict[str, list[str]]:
    """Return for each of these the ids that begin so."""
    digits = {prefix: digits_of(prefix) for prefix in prefixes}
    given = {one for one in digits.values() if one is not None}
    short = sorted(one for one in given if len(one) < WHOLE)
    ends = [end for one in short for end in bounds(one) or ()]
    rows = cursor.execute(
        _BEGINNING,
        [
            [one for one in given if len(one) == WHOLE],
            limit,
            sorted({len(one) for one in short}),
            min(ends, default=None),
            max(ends, default=None),
            short,
        ],
    ).fetchall()
    found = dict(rows)
    return {prefix: found.get(begin, []) for prefix, begin in digits.items()}


def _taken(takes: Takes) -> str:
    statuses = ", ".join(f"'{status.value}'" for status in sorted(takes.statuses))
    taken = f"status in ({statuses})"
    return f"({taken} or {_UNFIT})" if takes.unfit else taken


def _condition(which: Selection, among: Sequence[int] | None) -> tuple[str, list[object]]:
    """Return what holds for the selected tasks, and its parameters."""
    conditions = ["true"]
    params: list[object] = []
    for column, values in (
        ("name", which.name),
        ("category", which.category),
        ("status", [one.value for one in which.status]),
    ):
        if values:  # one by one: a list that is unnested is joined, which is 100 times slower
            conditions.append(f"{column} in ({', '.join('?' * len(values))})")
            params += values
    for text, value in (
        ("created_at >= ?", which.since),
        ("created_at < ?", which.until),
        ("flow_id = try_cast(? as uuid)", which.flow),
        ("schedule = ?", which.schedule),
        ("list_contains(json_extract_string(options, '$.tags[*]'), ?)", which.tag),
    ):
        if value is not None:
            conditions.append(text)
            params.append(value)
    if which.error is not None:  # no task failed before it was enqueued
        conditions.append(_FAILED_SO)
        params += [which.since, which.error]
    if which.ids is not None:
        conditions.append("id in (select unnest(?::uuid[]))")
        params.append([one for one in which.ids if reads.is_id(one)])
    if among is not None:
        conditions.append("seq in (select unnest(?::bigint[]))")
        params.append(among)
    return " and ".join(conditions), params
