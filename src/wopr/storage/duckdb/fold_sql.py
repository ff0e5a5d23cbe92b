"""Bring ``transitions`` and ``tasks`` up to journal records, in bulk and in DuckDB itself.

The records of :mod:`wopr.storage.duckdb.journal.records` go in as one parameter: DuckDB splits
and casts them, so that the interpreter's lock is free all the while. Each of them says how its
task stands after it; the last one of each task becomes its row.

What DuckDB spends on a statement before it runs grows with the columns and expressions in it,
and is milliseconds: so there is a shorter form of them for text that has the usual kinds of
records only, and a few records are read here and handed over as rows.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import duckdb

from wopr.storage.duckdb import largeresults
from wopr.storage.duckdb.fold_rows import fold_rows
from wopr.storage.duckdb.journal.records import END, ESCAPE, SEPARATOR

Connection = duckdb.DuckDBPyConnection

FEW_RECORDS = 100
FEW_BYTES = 64 * 1024
"""Up to both of them, reading the records here is the cheaper way, and short."""


def fold(connection: Connection, text: bytes) -> None:
    """Bring the tables up to whole records, in order of seq and with a line's end between them.

    Within the caller's transaction; after an error it has to be rolled back. The tables hold
    none of the records yet. A transition whose task is not there, because it was deleted, is
    kept as history.

    Raises:
        duckdb.Error: a record can't be stored, or the database can't.
        ValueError: the text is not made of records.
    """
    if text.endswith(b"\n"):
        text = text[:-1]
    if not text:
        return
    if len(text) <= FEW_BYTES and text.count(b"\n") < FEW_RECORDS:
        fold_rows(connection, text)
    else:
        _fold_text(connection, text)


# -- many records -----------------------------------------------------------------


def _fold_text(connection: Connection, text: bytes) -> None:
    escaped = ESCAPE.encode() in text
    connection.execute(_STAGE, [text]).fetchall()
    connection.execute(_LATEST).fetchall()
    [(tasks, new, moved, rare, large)] = connection.execute(_COUNTS).fetchall()
    statements = _statements(escaped=escaped, rare=rare, large=large)
    connection.execute(statements.log).fetchall()
    if new:
        connection.execute(statements.new).fetchall()
    if new < tasks:
        connection.execute(statements.known).fetchall()
    if large:
        connection.execute(statements.large).fetchall()
    if moved:
        connection.execute(statements.places).fetchall()
    connection.execute(_DROP).fetchall()


_STAGE = f"""
create temp table staged as
select
    f[1]::bigint as seq,
    f[2] as kind,
    f[3]::uuid as task_id,
    make_timestamp(f[4]::bigint) as occurred_at,
    f[5]::int as attempt,
    f
from (
    select string_split(unnest(string_split(decode(?), '{END}')), '{SEPARATOR}') as f
)
"""
_LATEST = f"""
create temp table latest as
select
    max(seq) as seq,
    max(seq) filter (kind in ('a', 'A')) as added,
    max(seq) filter (kind = 'm') as moved,
    bool_or(kind in ('A', 'f', 'm')) as rare,
    max(strlen(case kind when 's' then f[11] when 'f' then f[19] end)) > {largeresults.LARGE}
        as large
from staged
group by task_id
"""
_COUNTS = "select count(*), count(added), count(moved), bool_or(rare), bool_or(large) from latest"
_DROP = "drop table staged; drop table latest"


class _Statements(NamedTuple):
    """What brings the tables up to some kinds of records."""

    log: str
    new: str
    known: str
    large: str
    places: str


@functools.cache
def _statements(*, escaped: bool, rare: bool, large: bool) -> _Statements:
    """Return the statements; ``l`` is a record in them, and ``a`` that which adds its task."""
    columns = _Columns(escaped=escaped, rare=rare)
    state = columns.state()
    rest = columns.rest()
    result = state["result"]
    if large:
        state["result"] = f"case when not coalesce({columns.is_large()}, false) then {result} end"
    return _Statements(
        _log(columns),
        _new({**state, **rest}),
        _known(state),
        _large(result, columns.is_large()),
        _places(columns),
    )


def _log(columns: _Columns) -> str:
    return f"""
insert into transitions (
    seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, error, data
)
select
    l.seq, l.task_id, l.attempt, nullif(l.f[6], ''), l.f[7], l.occurred_at,
    {columns.nullable("l", 8)}, {columns.text("l", 9)}, {columns.error()}, {columns.data()}
from staged as l
"""


def _new(values: dict[str, str]) -> str:
    return f"""
insert into tasks (id, {", ".join(values)})
select l.task_id, {", ".join(values.values())}
from latest
join staged as l on l.seq = latest.seq
join staged as a on a.seq = latest.added
order by a.seq
"""


def _known(values: dict[str, str]) -> str:
    return f"""
update tasks
set {", ".join(f"{column} = {value}" for column, value in values.items())}
from latest
join staged as l on l.seq = latest.seq
where latest.added is null and tasks.id = l.task_id
"""


def _large(result: str, is_large: str) -> str:
    return f"""
insert into results (seq, task_id, result)
select l.seq, l.task_id, {result}
from latest
join staged as l on l.seq = latest.seq
where {is_large}
order by l.seq
"""


def _places(columns: _Columns) -> str:
    return f"""
update tasks
set category = {columns.text("l", 25)}, priority = l.f[26]::int
from latest
join staged as l on l.seq = latest.moved
where tasks.id = l.task_id
"""


class _Columns:
    """What the columns are made of, as SQL.

    Unless some records are rare, which are those of the kinds ``A``, ``f`` and ``m``, the fields
    that only those have are left out. Unless the text is escaped, so is what takes that back.
    """

    def __init__(self, *, escaped: bool, rare: bool) -> None:
        self._escaped = escaped
        self._rare = rare

    def text(self, record: str, number: int) -> str:
        """Return a field that is a text."""
        return self._unescaped(f"{record}.f[{number}]")

    def nullable(self, record: str, number: int) -> str:
        """Return a field that can be NULL."""
        return self._unescaped(f"nullif({record}.f[{number}], '')")

    def _unescaped(self, text: str) -> str:
        if self._escaped:
            for escape, meant in (("3", ""), ("2", SEPARATOR), ("1", END), ("0", ESCAPE)):
                text = f"replace({text}, '{ESCAPE}{escape}', '{meant}')"
        return text

    def error(self) -> str:
        """Return the error of a transition."""
        if not self._rare:
            return "null"
        return f"case when l.kind in ('f', 'm') then {self.nullable('l', 10)} end"

    def data(self) -> str:
        """Return the data of a transition as JSON text; payloads as they are."""
        more = f"when l.kind in ('f', 'm') then {self.nullable('l', 11)}" if self._rare else ""
        return f"""
case
    when l.kind = 's' then concat('{{"result":', {self.text("l", 11)}, '}}')
    when l.kind = 'c' then null
    {more}
    else concat(
        '{{"name":', to_json({self.text("l", 10)}),
        ',"category":', to_json({self.text("l", 11)}),
        ',"priority":', l.f[12], ',"max_retries":', l.f[13],
        ',"args":', {self.text("l", 14)}, ',"kwargs":', {self.text("l", 15)},
        {self._more_data() if self._rare else ""}
        '}}'
    )
end
"""

    def _more_data(self) -> str:
        return f"""
        case when l.f[17] <> '' then concat(',"options":', {self.text("l", 17)}) end,
        case when l.f[18] <> '' then concat(',"unique_key":', to_json({self.text("l", 18)})) end,
        case when l.f[16] <> '' then concat(',"run_at":', {_iso(16)}) end,
        case
            when l.f[20] <> ''
            then concat(
                ',"depends_on":', {self.text("l", 20)},
                ',"waiting":', case l.f[19] when '1' then 'true' else 'false' end
            )
        end,
        case when l.f[21] <> '' then concat(',"flow_id":"', l.f[21], '"') end,
        case
            when l.f[22] <> ''
            then concat(
                ',"schedule":', to_json({self.text("l", 22)}),
                case when l.f[23] <> '' then concat(',"scheduled_for":', {_iso(23)}) end
            )
        end,
"""

    def is_large(self) -> str:
        """Return whether the result lies apart: see :mod:`wopr.storage.duckdb.largeresults`."""
        field = "case l.kind when 's' then l.f[11] when 'f' then l.f[19] end"
        return f"(strlen({field}) > {largeresults.LARGE} and l.f[7] in {largeresults.ENDED_SQL})"

    def state(self) -> dict[str, str]:
        """Return the columns that change; what only rare records set is NULL unless one did."""
        usual = {
            "status": "l.f[7]",
            "attempt": "l.attempt",
            "version": "l.seq",
            "retry_count": "0",
            "crashes": "0",
            "run_at": "null",
            "started_at": """
case l.kind
    when 'c' then l.occurred_at
    when 's' then make_timestamp(l.f[4]::bigint - l.f[10]::bigint)
end
""",
            "completed_at": "case l.kind when 's' then l.occurred_at end",
            "elapsed_seconds": "case l.kind when 's' then l.f[10]::bigint / 1000000 end",
            "worker": self.nullable("l", 8),
            "result": f"case l.kind when 's' then {self.text('l', 11)} end",
            "error": "null",
            "error_type": "null",
            "progress": "case l.kind when 's' then 100 else 0 end",
            "progress_message": "''",
            "waiting": "false",
        }
        return {**usual, **self._rare_state(usual)} if self._rare else usual

    def _rare_state(self, usual: dict[str, str]) -> dict[str, str]:
        full = {
            "retry_count": "l.f[12]::int",
            "crashes": "l.f[13]::int",
            "run_at": _time("l", 14),
            "started_at": _time("l", 15),
            "completed_at": _time("l", 16),
            "elapsed_seconds": "nullif(l.f[17], '')::double",
            "worker": self.nullable("l", 18),
            "result": self.nullable("l", 19),
            "error": self.nullable("l", 20),
            "error_type": self.nullable("l", 21),
            "progress": "l.f[22]::double",
            "progress_message": self.text("l", 23),
            "waiting": "nullif(l.f[24], '')::boolean",
            "progress_data": f"""
case l.kind when 'f' then {self.nullable("l", 25)} else {self.nullable("l", 27)} end
""",
        }
        new = {"run_at": _time("l", 16), "waiting": "nullif(l.f[19], '')::boolean"}
        return {
            column: f"""
case
    when l.kind in ('f', 'm') then {value}
    when l.kind = 'A' then {new.get(column, usual.get(column, "null"))}
    else {usual.get(column, "null")}
end
"""
            for column, value in full.items()
        }

    def rest(self) -> dict[str, str]:
        """Return the other columns of a new task; what is left out is NULL."""
        usual = {
            "seq": "a.seq",
            "name": self.text("a", 10),
            "category": self.text("a", 11),
            "priority": "a.f[12]::int",
            "max_retries": "a.f[13]::int",
            "args": self.text("a", 14),
            "kwargs": self.text("a", 15),
            "created_at": "a.occurred_at",
        }
        if not self._rare:
            return usual
        return {
            **usual,
            "options": self.nullable("a", 17),
            "unique_key": self.nullable("a", 18),
            "depends_on": self.nullable("a", 20),
            "flow_id": "nullif(a.f[21], '')::uuid",
            "schedule": self.nullable("a", 22),
            "scheduled_for": _time("a", 23),
        }


def _time(record: str, number: int) -> str:
    return f"make_timestamp(nullif({record}.f[{number}], '')::bigint)"


def _iso(number: int) -> str:
    """Return a time in quotes, as JSON has it."""
    return (
        f"""concat('"', replace(make_timestamp(l.f[{number}]::bigint)::varchar, ' ', 'T'), '"')"""
    )
