"""What a verb over a filter does to one task: pure functions of a record and the time.

Each returns the transition to write, or says in words why there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from wopr.domain import decide
from wopr.domain.status import CLAIMABLE, LIVE, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition

Decision = Callable[[TaskRecord, datetime], "Transition | str"]
"""What becomes of a task: a transition, or why none."""


class Verb(str, Enum):
    """What can be done to the tasks of a selection. The values are commands, and are stored."""

    CANCEL = "cancel"
    RETRY = "retry"
    RUN_AGAIN = "run-again"
    SET_PRIORITY = "set-priority"
    MOVE = "move"
    DELAY = "delay"

    __str__ = str.__str__


class Takes(NamedTuple):
    """Which tasks a verb can change."""

    statuses: frozenset[TaskStatus]
    unfit: bool = False
    """And those that wait because they do not fit their function."""

    def include(self, record: TaskRecord) -> bool:
        """Whether a task is one of them."""
        return record.status in self.statuses or (self.unfit and decide.is_unfit(record))


TAKES = {
    Verb.CANCEL: Takes(LIVE),
    Verb.RETRY: Takes(frozenset({TaskStatus.FAILED}), unfit=True),
    Verb.RUN_AGAIN: Takes(frozenset({TaskStatus.SUCCESS, TaskStatus.CANCELLED})),
    Verb.SET_PRIORITY: Takes(CLAIMABLE),
    Verb.MOVE: Takes(CLAIMABLE),
    Verb.DELAY: Takes(CLAIMABLE),
}
"""Of the others, :func:`refusal` says why not."""

_PLACES = {
    Verb.SET_PRIORITY: (Move.PRIORITIZE, "priority"),
    Verb.MOVE: (Move.TRANSFER, "category"),
    Verb.DELAY: (Move.DELAY, "run_at"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A verb with what it needs to know."""

    verb: Verb
    priority: int | None = None
    """Of ``set-priority``."""
    category: str | None = None
    """Of ``move``."""
    run_at: datetime | None = None
    """Of ``delay``: when they become due, naive UTC."""
    reason: str | None = None
    """For those who look later; in the history of each task."""

    @property
    def detail(self) -> dict[str, Any]:
        """What it sets, as JSON values."""
        said = {"priority": self.priority, "category": self.category, "run_at": _iso(self.run_at)}
        return {name: value for name, value in said.items() if value is not None}


def refusal(record: TaskRecord) -> str:
    """Say why a task can't be changed so."""
    return f"it is {record.status.value}"


def decision(change: Change, act: int | None) -> Decision:
    """Return what a verb does to each task; ``run-again`` makes new ones instead."""

    def made(record: TaskRecord, now: datetime) -> Transition | str:
        if change.verb in _PLACES:
            move, column = _PLACES[change.verb]
            return place(record, move, column, getattr(change, column), now, change.reason, act)
        name = Move.CANCEL if change.verb is Verb.CANCEL else Move.RENEW
        data: dict[str, Any] = {} if act is None else {"act": act}
        if name is Move.RENEW and (fits := _try_again(record, now, change.reason, act)) is not None:
            return fits
        if name is Move.RENEW and record.depends_on is not None:
            data["waiting"] = True  # its parents are looked at once more
        transition = decide.move(record, name, now, reason=change.reason, data=data or None)
        return transition or refusal(record)

    return made


def _try_again(
    record: TaskRecord, now: datetime, reason: str | None, act: int | None
) -> Transition | None:
    transition = decide.try_again(record, now, reason or "retried by hand")
    if transition is not None and transition.data is not None and act is not None:
        transition.data["act"] = act
    return transition


def place(
    record: TaskRecord,
    move: Move,
    column: str,
    value: Any,
    now: datetime,
    reason: str | None,
    act: int | None,
) -> Transition | str:
    """Change the one thing about a waiting task that says when, where or how soon it starts."""
    before = getattr(record, column)
    if record.status in CLAIMABLE and before == value:
        return f"its {column} is that already"
    data = {column: value, "waiting": record.waiting, "act": act}
    data["before"] = {column: _iso(before) if column == "run_at" else before}
    transition = decide.move(record, move, now, reason=reason, data=data)
    if transition is None:
        return refusal(record)
    if record.status is TaskStatus.RETRY:
        transition.error = record.error  # that of the attempt which it is a retry of
    return transition


def take_back(made: Transition, act: int) -> Decision:
    """Return what takes back what an act did to a task, if it has not run since."""
    reason = f"act {(made.data or {}).get('act')} undone"

    def undone(record: TaskRecord, now: datetime) -> Transition | str:
        if made.to_status is TaskStatus.CANCELLED:
            if record.version != made.seq:
                return f"it is {record.status.value} now"
            data: dict[str, Any] = {"act": act}
            if record.depends_on is not None:
                data["waiting"] = True
            transition = decide.move(record, Move.RESTORE, now, reason=reason, data=data)
            return transition or refusal(record)
        return _replace(record, made, now, reason, act)

    return undone


def _replace(
    record: TaskRecord, made: Transition, now: datetime, reason: str, act: int
) -> Transition | str:
    [(column, before)] = (made.data or {})["before"].items()
    if record.attempt != made.attempt:
        return "it has run since"
    if record.status not in CLAIMABLE:
        return refusal(record)
    if getattr(record, column) != (made.data or {})[column]:
        return f"its {column} was changed again"
    move = next(move for move, name in _PLACES.values() if name == column)
    if column == "run_at" and before is not None:
        before = datetime.fromisoformat(before)
    return place(record, move, column, before, now, reason, act)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
