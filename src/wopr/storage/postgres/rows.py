"""Tasks and transitions as the arrays that statements take, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from wopr.domain.fold import apply
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import MUTABLE_COLUMNS, TaskRecord
from wopr.domain.transition import Transition, decode_data, encode_added, encode_data
from wopr.storage.postgres.arrays import array_of
from wopr.storage.postgres.newtasks import ADDED, ALIKE, SAID_ONCE, SELDOM
from wopr.storage.postgres.statements import CHANGED

_apart_from_arguments = attrgetter(*SAID_ONCE, *SELDOM)
_RESULT = {"result"}
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def new_rows(records: Sequence[TaskRecord]) -> dict[str, str | None]:
    """Return the parameters that add tasks."""
    rows: dict[str, str | None] = {
        column: array_of([*map(attrgetter(column), records)]) for column in ADDED[:-1]
    }
    rows[ADDED[-1]] = array_of([readable(encode_added(record)) for record in records])
    return rows


def has_nul(records: Sequence[TaskRecord]) -> bool:
    """Whether the arguments of some task have a NUL, which the server has no text for."""
    return any("\\u0000" in one.args or "\\u0000" in one.kwargs for one in records)


def surely_new_rows(records: Sequence[TaskRecord]) -> dict[str, str | None]:
    """Return the parameters that add tasks which are new for sure, and have no NUL."""
    rows: dict[str, str | None] = {
        column: array_of([*map(attrgetter(column), records)], alike=column in ALIKE)
        for column in ADDED[:-1]
    }
    heads, tails = [], []
    for record in records:
        around = encode_added(record).partition(f'"args":{record.args},"kwargs":{record.kwargs}')
        heads.append(around[0])
        tails.append(readable(around[2]))
    return rows | {"head": array_of(heads, alike=True), "tail": array_of(tails, alike=True)}


def alike_rows(records: Sequence[TaskRecord]) -> dict[str, Any] | None:
    """Return the parameters of new tasks, as ``surely_new_rows`` takes them, that are alike.

    ``None``: they are not, but for their arguments; or they have what few have.
    """
    first = records[0]
    said = _apart_from_arguments(first)
    if any(said[len(SAID_ONCE) :]) or any(_apart_from_arguments(one) != said for one in records):
        return None
    head, _, tail = encode_added(first).partition(f'"args":{first.args},"kwargs":{first.kwargs}')
    kwargs = [record.kwargs for record in records]
    alone = kwargs.count(first.kwargs) == len(kwargs)
    return {
        **dict(zip(SAID_ONCE, said, strict=False)),
        "ids": array_of([record.id for record in records]),
        "args": array_of([record.args for record in records]),
        "kwargs": None if alone else array_of(kwargs),
        "kwargs_1": first.kwargs,
        "head": head,
        "tail": readable(tail),
    }


def new_row(record: TaskRecord) -> dict[str, Any] | None:
    """Return the parameters that add one task; ``None`` if it has what few have."""
    if any(getattr(record, column) for column in SELDOM):
        return None
    data = readable(encode_added(record))
    return {**{column: getattr(record, column) for column in ADDED[:-1]}, "data": data}


def changed_rows(entries: Sequence[tuple[TaskRecord, Transition]]) -> dict[str, str | None]:
    """Return the parameters that change tasks; the records are as they were read."""
    rows = [_changed(record, transition) for record, transition in entries]
    columns = zip(*rows, strict=True)
    return {name: array_of(column) for name, column in zip(CHANGED, columns, strict=True)}


def succeeded_rows(
    entries: Sequence[tuple[TaskRecord, Transition]],
) -> dict[str, str | None] | None:
    """Return the parameters of tasks that succeeded; ``None`` if more is to be said of one."""
    results = []
    for _, made in entries:
        if made.move is not Move.SUCCEED or made.data is None or made.data.keys() != _RESULT:
            return None
        results.append(made.data["result"])
    if any(one is None or "\\u0000" in one for one in results):
        return None
    return {
        "ids": array_of([record.id for record, _ in entries]),
        "expected": array_of([record.version for record, _ in entries]),
        "times": array_of([made.occurred_at for _, made in entries]),
        "results": array_of(results),
    }


def after(record: TaskRecord, transition: Transition) -> TaskRecord:
    """Return the task as a transition leaves it; the record itself stays as it is."""
    new = TaskRecord.from_row(record.row())
    apply(new, transition)
    return new


def _changed(record: TaskRecord, transition: Transition) -> tuple[Any, ...]:
    new = after(record, transition)
    columns = [_text(getattr(new, one)) for one in MUTABLE_COLUMNS if one != "version"]
    start = transition.from_status
    return (
        *columns,
        new.priority,
        new.category,
        record.version,
        None if start is None else start.value,
        transition.occurred_at,
        transition.worker,
        transition.reason,
        _text(transition.error),
        readable(encode_data(transition.data)),
    )


def _text(value: Any) -> Any:
    """Return a value as PostgreSQL takes it: its texts have no NUL."""
    if isinstance(value, TaskStatus):
        return value.value
    return value.replace("\0", "�") if isinstance(value, str) and "\0" in value else value


def readable(text: str | None) -> str | None:
    """Return JSON that PostgreSQL can look into: an escaped NUL would be an error there."""
    if text is None or "\\u0000" not in text:
        return text
    return _ESCAPED_NUL.sub(r"\1\\ufffd", text)


def transition_of(row: Sequence[Any]) -> Transition:
    """Return a transition from a row of the history."""
    seq, task_id, attempt, start, end, at, worker, reason, error, data = row
    found = Transition(
        task_id,
        Move.ADD,  # the move is not stored: reason and statuses say it
        None if start is None else TaskStatus(start),
        TaskStatus(end),
        attempt,
        at,
        worker,
        reason,
        error,
        decode_data(data),
    )
    found.seq = seq
    return found
