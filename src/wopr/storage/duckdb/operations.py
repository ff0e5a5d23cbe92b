"""Changes that are no transitions, as records of the journal: rules, schedules, deletions.

Each is a line: an exclamation mark and a JSON object. What it does depends on nothing but
the line and what the records before it made of the database, so it can be done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb

from wopr.domain import act as acts
from wopr.domain import schedule as schedules
from wopr.domain.act import Act
from wopr.domain.errors import StorageError
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.status import TERMINAL

Connection = duckdb.DuckDBPyConnection

MARK = b"!"

_TYPES = {
    "priority": "integer",
    "max_retries": "integer",
    "misfire_limit": "integer",
    "max_running": "integer",
    "misfire_grace": "double",
    "jitter": "double",
    "run_on_start": "boolean",
    "last_task_id": "uuid",
    "missed": "bigint",
    "skipped": "bigint",
    **dict.fromkeys(
        ("start_at", "end_at", "paused_at", "next_fire_at", "last_fire_at"), "timestamp"
    ),
    **dict.fromkeys(("created_at", "updated_at"), "timestamp"),
}
_COLUMNS = schedules.COLUMNS
_NEW = ", ".join(f"unnest(?::{_TYPES.get(one, 'varchar')}[]) as {one}" for one in _COLUMNS)
_SAVE_SCHEDULES = (
    f"merge into schedules using (select {_NEW}) as new using (name) "
    f"when matched then update set {', '.join(f'{one} = new.{one}' for one in _COLUMNS[1:])} "
    f"when not matched then insert ({', '.join(_COLUMNS)}) "
    f"values ({', '.join(f'new.{one}' for one in _COLUMNS)})"
)
_SAVE_RULES = """
merge into rules
using (
    select
        unnest(?::varchar[]) as kind,
        unnest(?::varchar[]) as name,
        unnest(?::varchar[]) as value,
        unnest(?::timestamp[]) as updated_at
) as new
using (kind, name)
when matched then update set value = new.value, updated_at = new.updated_at
when not matched then insert (kind, name, value, updated_at)
values (new.kind, new.name, new.value, new.updated_at)
"""
_ACT_TYPES = {
    "began_at": "timestamp",
    "ended_at": "timestamp",
    **dict.fromkeys(("number", "changed", "first_seq", "last_seq", "undoes"), "bigint"),
}
_NEW_ACT = ", ".join(f"?::{_ACT_TYPES.get(one, 'varchar')} as {one}" for one in acts.COLUMNS)
_SAVE_ACT = (
    f"merge into acts using (select {_NEW_ACT}) as new using (number) "
    f"when matched then update set {', '.join(f'{one} = new.{one}' for one in acts.COLUMNS[1:])} "
    f"when not matched then insert ({', '.join(acts.COLUMNS)}) "
    f"values ({', '.join(f'new.{one}' for one in acts.COLUMNS)})"
)
_DELETE_RULES = """
delete from rules
where (kind, name) in (select unnest(?::varchar[]), unnest(?::varchar[]))
"""
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))
_DOOMED = f"""
create or replace temp table doomed as
select id, seq
from tasks
where id in (select unnest(?::uuid[])) and id between ?::uuid and ?::uuid
    and status in ({_ENDED}) and completed_at <= ?::timestamp
"""


def save_rules(rules: Sequence[Rule]) -> bytes:
    """Return the record that makes these rules, new or changed, all or none."""
    newest = {(rule.kind, rule.name): rule for rule in rules}.values()
    rows = [(one.kind.value, one.name, one.value, _utc(one.updated_at)) for one in newest]
    return _line("save rules", columns=_columns(rows))


def delete_rules(keys: Sequence[tuple[RuleKind, str]]) -> bytes:
    """Return the record that deletes rules; those that there are not are no error."""
    return _line("delete rules", columns=_columns([(kind.value, name) for kind, name in keys]))


def save_schedules(rows: Sequence[tuple[object, ...]]) -> bytes:
    """Return the record that makes these schedules, new or changed, all or none."""
    return _line("save schedules", columns=_columns(rows))


def delete_schedule(name: str) -> bytes:
    """Return the record that deletes a schedule."""
    return _line("delete schedule", name=name)


def save_act(act: Act) -> bytes:
    """Return the record that makes an act, new or changed."""
    row = [_utc(one) if isinstance(one, datetime) else one for one in acts.row_of(act)]
    return _line("save act", row=row)


def delete_acts(before: datetime) -> bytes:
    """Return the record that deletes the acts that ended before a moment."""
    return _line("delete acts", before=before.isoformat())


def delete_tasks(ids: Sequence[str], before: datetime, *, keep_history: bool) -> bytes:
    """Return the record that deletes those of the tasks that ended before a moment.

    One that was put back in the queue since it was chosen stays.
    """
    return _line(
        "delete tasks", ids=list(ids), before=before.isoformat(), keep_history=keep_history
    )


def save_fact(key: str, value: str | None) -> bytes:
    """Return the record that notes a fact about the file in ``meta``; ``None`` forgets it."""
    return _line("save fact", key=key, value=value)


def execute(connection: Connection, line: bytes) -> None:
    """Do what a record says, within the caller's transaction."""
    fields = json.loads(line[len(MARK) :])
    _OPERATIONS[fields.pop("operation")](connection, **fields)


def _line(operation: str, **fields: Any) -> bytes:
    text = json.dumps(
        {"operation": operation, **fields},
        separators=(",", ":"),
        default=_plain,
        ensure_ascii=False,
    )
    try:
        return MARK + text.encode()
    except UnicodeEncodeError as error:
        raise unwritable(f"To {operation}", error) from error


def unwritable(what: str, error: UnicodeEncodeError) -> StorageError:
    """Return the error for a text that is no text."""
    bad = error.object[error.start : error.start + 1]
    return StorageError(
        f"{what} a text was given that can't be stored: it has {bad!a}, half of a character. "
        "Nothing was acknowledged. Mend it before, as with text.encode('utf-8', 'replace')."
    )


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r:.80} can't be a field of an operation")


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(values) for values in zip(*rows, strict=True)]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _save_rules(connection: Connection, columns: list[list[object]]) -> None:
    connection.execute(_SAVE_RULES, columns).fetchall()


def _delete_rules(connection: Connection, columns: list[list[object]]) -> None:
    connection.execute(_DELETE_RULES, columns).fetchall()


def _save_schedules(connection: Connection, columns: list[list[object]]) -> None:
    lacking = len(_COLUMNS) - len(columns)  # in a record of an older wopr
    nothing: list[list[object]] = [[None] * len(columns[0])] * lacking
    connection.execute(_SAVE_SCHEDULES, [*columns, *nothing]).fetchall()


def _delete_schedule(connection: Connection, name: str) -> None:
    connection.execute("delete from schedules where name = ?", [name]).fetchall()


def _delete_tasks(
    connection: Connection, ids: list[str], before: str, *, keep_history: bool
) -> None:
    connection.execute(_DOOMED, [ids, min(ids), max(ids), before]).fetchall()
    [(count, first, *bounds)] = connection.execute(
        "select count(*), min(seq), min(id), max(id) from doomed"
    ).fetchall()
    if not count:
        return
    connection.execute("delete from tasks where id in (select id from doomed)").fetchall()
    connection.execute(
        "delete from task_logs where task_id between ? and ? "
        "and task_id in (select id from doomed)",
        bounds,
    ).fetchall()
    connection.execute(
        "delete from results where seq >= ? and task_id in (select id from doomed)", [first]
    ).fetchall()
    if not keep_history:
        connection.execute(
            "delete from transitions where seq >= ? and task_id in (select id from doomed)",
            [first],
        ).fetchall()


def _save_act(connection: Connection, row: list[object]) -> None:
    connection.execute(_SAVE_ACT, row).fetchall()


def _delete_acts(connection: Connection, before: str) -> None:
    connection.execute("delete from acts where ended_at <= ?::timestamp", [before]).fetchall()


def _save_fact(connection: Connection, key: str, value: str | None) -> None:
    connection.execute("delete from meta where key = ?", [key]).fetchall()
    if value is not None:
        connection.execute("insert into meta (key, value) values (?, ?)", [key, value]).fetchall()


_OPERATIONS: dict[str, Callable[..., None]] = {
    "save rules": _save_rules,
    "delete rules": _delete_rules,
    "save schedules": _save_schedules,
    "delete schedule": _delete_schedule,
    "delete tasks": _delete_tasks,
    "save act": _save_act,
    "delete acts": _delete_acts,
    "save fact": _save_fact,
}
