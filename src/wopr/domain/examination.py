"""Examine stored tasks: each row of ``tasks`` is the fold of its transitions. Pure.

Both are read in the order of the task ids and merged like two sorted lists, so that memory holds
one task and its row at a time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from operator import itemgetter
from typing import Any
from uuid import UUID

from wopr.domain.errors import InvalidCallError
from wopr.domain.fold import apply
from wopr.domain.plain import LONGEST, is_plain
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.spoken import counted
from wopr.domain.status import TERMINAL, TRANSITIONS, Move, TaskStatus
from wopr.domain.stored import check_rule, payload_fault, read_schedule, task_fault
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition
from wopr.domain.written import record_from_add, transition_from_row

Progress = Callable[[int, int], None]
"""Called with how many transitions were checked, of how many."""

Row = tuple[Any, ...]

_LEGAL = frozenset((before, after) for (before, _), after in TRANSITIONS.items())
_JSON = frozenset({"args", "kwargs", "options", "result"})
_PAYLOADS = itemgetter(*(COLUMNS.index(name) for name in ("args", "kwargs", "result")))
_UNLOGGED = frozenset({"progress", "progress_message", "progress_data"})
"""Not in the log while a task is STARTED: they change too often to be history."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is off. ``task_id`` is ``None`` when it is about the file as a whole."""

    kind: str
    text: str
    task_id: str | None = None
    expected: Any = None
    actual: Any = None

    def __str__(self) -> str:
        about = f"task {self.task_id}: " if self.task_id else ""
        return f"{self.kind}: {about}{self.text}"


@dataclass(slots=True)
class Report:
    """What the check found. ``unlisted`` counts the problems beyond the limit of the list."""

    problems: list[Problem] = field(default_factory=list)
    tasks: int = 0
    transitions: int = 0
    unlisted: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is off."""
        return not self.problems


def silent(done: int, total: int) -> None:
    """Report to nobody."""


class Examining:
    """One examination.

    Args:
        limit: so many problems are listed, the others are counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.report = Report()

    def _found(
        self,
        kind: str,
        text: str,
        task_id: object = None,
        expected: Any = None,
        actual: Any = None,
    ) -> None:
        if len(self.report.problems) >= self._limit:
            self.report.unlisted += 1
            return
        about = None if task_id is None else str(task_id)
        self.report.problems.append(Problem(kind, text, about, expected, actual))

    def _check_settings(self, rules: Iterable[Row], schedules: Iterable[Row]) -> None:
        """Find rules and schedules that count for nothing, because they can't be read."""
        for kind, name, value, updated_at in rules:
            try:
                check_rule(Rule(RuleKind(kind), name, value, updated_at.replace(tzinfo=UTC)))
            except (ValueError, TypeError) as error:
                self._found("unreadable", f"rule {kind} {name!r:.80}: {error}")
        for row in schedules:
            try:
                read_schedule(row)
            except InvalidCallError as error:
                self._found("unreadable", str(error))

    def _check_keys(self, live: Iterable[tuple[str, Sequence[object]]]) -> None:
        """Find unique keys that several live tasks have; these come with each key."""
        for key, ids in live:
            shown = [str(task_id) for task_id in ids]
            text = f"{counted(len(ids), 'live task')} of the key {key!r}: {', '.join(shown[:5])}"
            self._found("unique key", text, shown[0], expected=1, actual=len(ids))

    # -- the tasks -----------------------------------------------------------

    def _merge(self, rows: Iterator[Row], log_rows: Iterator[Row]) -> None:
        """Check tasks by their rows and their transitions, both in the order of their ids."""
        row = next(rows, None)
        for task_id, log in itertools.groupby(log_rows, key=itemgetter(1)):
            while row is not None and row[0] < task_id:
                row = self._without_history(row, rows)
            own = []
            while row is not None and row[0] == task_id:
                own.append(row)
                row = next(rows, None)
            self._check_task(task_id, own, log)
        while row is not None:
            row = self._without_history(row, rows)

    def _without_history(self, row: Row, rows: Iterator[Row]) -> Row | None:
        self.report.tasks += 1
        self._check_readable(row)
        self._found("no history", "there is a row, but not one transition", row[0])
        return next(rows, None)

    def _check_task(self, task_id: UUID, rows: list[Row], log: Iterator[Row]) -> None:
        self.report.tasks += len(rows)
        first = list(itertools.islice(log, LONGEST + 1))
        if len(rows) == 1 and _fault(rows[0]) is None and is_plain(rows[0], first):
            self.report.transitions += len(first)
            return
        record = self._fold(task_id, itertools.chain(first, log))
        if len(rows) > 1:
            text = f"`tasks` has {counted(len(rows), 'row')} with this id"
            self._found("duplicate id", text, task_id, 1, len(rows))
        for row in rows:
            self._check_readable(row)
        if record is None:
            return
        if rows and task_fault(rows[0]) is None:
            self._compare(record, rows[0])
        elif rows:
            return  # said already
        elif record.status not in TERMINAL:
            text = f"its history ends with {record.status.value}, but it has no row"
            self._found("no row", text, task_id, record.status.value)

    def _check_readable(self, row: Row) -> None:
        """Find what makes a row be left out when it is listed or run, or its task fail."""
        if (fault := _fault(row)) is not None:
            self._found("unreadable", f"its row can't be read: {fault}", row[0])

    def _fold(self, task_id: UUID, log: Iterator[Row]) -> TaskRecord | None:
        """Return the task as its transitions say it is, ``None`` if they can't be followed."""
        record: TaskRecord | None = None
        before: Transition | None = None
        for count, row in enumerate(log):
            self.report.transitions += 1
            if count and record is None:
                continue  # said already; the others are only counted
            try:
                transition = transition_from_row(row)
                self._check_move(transition, before)
                if before is None and transition.from_status is None:
                    record = record_from_add(transition)
                elif record is not None:
                    apply(record, transition)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                text = f"transition {row[0]} can't be read: {type(error).__name__}: {error}"
                self._found("unreadable", text, task_id)
                record = None
            else:
                before = transition
        return record

    def _check_move(self, transition: Transition, before: Transition | None) -> None:
        after = transition.to_status
        came_from = transition.from_status
        expected = before.to_status if before is not None else None
        if came_from is not expected:
            self._illegal(transition, "from", _name(expected), _name(came_from))
        elif before is None and transition.reason == "takeover":
            return  # of another program's file: its history before is not known
        elif transition.reason == Move.SAVE.value:
            return  # a storage's own call sets the row as a whole
        elif (came_from, after) not in _LEGAL:
            legal = sorted(to.value for source, to in _LEGAL if source is came_from)
            self._illegal(transition, "to", legal, after.value)
        attempt = before.attempt if before is not None else 0
        attempt += after is TaskStatus.STARTED
        if transition.attempt != attempt:
            self._illegal(transition, "attempt", attempt, transition.attempt)

    def _illegal(self, transition: Transition, what: str, expected: Any, actual: Any) -> None:
        text = (
            f"transition {transition.seq} ({_name(transition.from_status)} → "
            f"{transition.to_status.value}, {transition.reason}): {what}"
        )
        self._found("illegal move", text, transition.task_id, expected, actual)

    def _compare(self, record: TaskRecord, row: Row) -> None:
        expected = record.row()
        actual = TaskRecord.from_row(row).row()  # ids as texts
        if expected == actual:
            return
        for column, wanted, found in zip(COLUMNS, expected, actual, strict=True):
            if wanted == found or (column in _JSON and _same_json(wanted, found)):
                continue
            if column in _UNLOGGED and record.status is TaskStatus.STARTED:
                continue
            self._found("row differs", column, record.id, wanted, found)


def _fault(row: Row) -> str | None:
    return task_fault(row) or payload_fault(*_PAYLOADS(row))


def _same_json(one: str | None, other: str | None) -> bool:
    """Whether two JSON texts say the same; no text and ``null`` are both no value."""
    try:
        return _canonical(one) == _canonical(other)
    except (ValueError, TypeError, RecursionError):
        return False


def _canonical(text: str | None) -> str:
    return json.dumps(None if text is None else json.loads(text), sort_keys=True)


def _name(status: TaskStatus | None) -> str:
    return status.value if status is not None else "nothing"
