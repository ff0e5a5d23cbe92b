"""Every decision about a task's status, as pure functions of a record and the time.

Each returns the transition to write, or ``None`` when the state machine has no
such move: the caller then answers "no" and nothing is written.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from wopr.domain.newtask import OnParentFailure
from wopr.domain.outcome import Failed, NotTaken, Outcome, Snoozed, Succeeded, Unfit
from wopr.domain.spoken import counted
from wopr.domain.status import TRANSITIONS, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition

DOES_NOT_FIT = "DoesNotFit"
"""The ``error_type`` of a task that waits because it does not fit its function."""
_GIVEN_BACK = frozenset({Move.INTERRUPT, Move.RECOVER})
"""What a started task goes back by to where it was: it was due, also if the clock was set back."""
_LONGEST_WAIT = timedelta(days=3650)


def move(
    record: TaskRecord,
    name: Move,
    now: datetime,
    *,
    reason: str | None = None,
    data: dict[str, Any] | None = None,
) -> Transition | None:
    """Return the transition of a plain move, or ``None`` if it is not legal now."""
    after = TRANSITIONS.get((record.status, name))
    if after is None:
        return None
    if name in _GIVEN_BACK and record.run_at is not None and record.run_at > now:
        data = {**(data or {}), "run_at": now}
    now = _not_back(record, now)
    if name is Move.CANCEL and record.status is TaskStatus.STARTED:
        data = {**(data or {}), **_progress(record)} or None
    return Transition(
        record.id,
        name,
        record.status,
        after,
        record.attempt,
        now,
        record.worker if record.status is TaskStatus.STARTED else None,
        reason,
        data=data,
    )


def _progress(record: TaskRecord) -> dict[str, Any]:
    """Return how far the attempt came, for the log of what ended it."""
    if not record.progress and not record.progress_message and record.progress_data is None:
        return {}
    said = {"progress": record.progress, "progress_message": record.progress_message}
    return said if record.progress_data is None else said | _reported(record.progress_data)


def _reported(data: str | None) -> dict[str, Any]:
    return {"progress_data": data}


def _not_back(record: TaskRecord, now: datetime) -> datetime:
    """Return ``now``, or when the task last began should the system clock have stepped back."""
    return max(now, record.started_at or record.created_at)


def release(
    record: TaskRecord,
    now: datetime,
    failed: str | None,
    how: OnParentFailure = OnParentFailure.CANCEL,
) -> Transition | None:
    """Let a waiting task go, because its parents have ended.

    If ``failed`` is one that did not succeed the task is cancelled, or fails where
    that was asked for; or one that did not fail, where that was.
    """
    if not record.waiting:
        return None
    if failed is None:
        return move(record, Move.RELEASE, now, reason="parents ended")
    if how is not OnParentFailure.FAIL:
        missed = "fail" if how is OnParentFailure.ONLY else "succeed"
        return move(record, Move.CANCEL, now, reason=f"parent {failed} did not {missed}")
    transition = move(
        record,
        Move.FAIL,
        now,
        reason="parent did not succeed",
        data={"error_type": "ParentFailed"},
    )
    if transition is not None:
        transition.error = (
            f"Task {failed}, which this one depends on, did not succeed. When it has: "
            f"wopr tasks retry {record.id}"
        )
    return transition


def claim(record: TaskRecord, worker: str, now: datetime) -> Transition | None:
    """Give the task to a worker slot: the attempt number goes up by one."""
    after = TRANSITIONS.get((record.status, Move.CLAIM))
    if after is None:
        return None
    now = _not_back(record, now)
    attempt = record.attempt + 1
    data = None if record.progress_data is None else _reported(None)
    return Transition(record.id, Move.CLAIM, record.status, after, attempt, now, worker, data=data)


def settle(record: TaskRecord, attempt: int, outcome: Outcome, elapsed: float) -> Transition | None:
    """Write what attempt number ``attempt`` produced.

    Returns ``None`` when that attempt is no longer the current one: it was
    cancelled, timed out or recovered meanwhile, and must change nothing.
    ``elapsed`` (seconds, monotonic) gives the time of completion, so that a
    system clock that steps back can't make a task end before it began.
    """
    if record.status is not TaskStatus.STARTED or record.attempt != attempt:
        return None
    started = record.started_at
    assert started is not None, "a STARTED task has a start time"
    ended = started + timedelta(seconds=elapsed)
    if type(outcome) is Succeeded:
        data: dict[str, Any] = {"result": outcome.result}
        if record.progress_message:
            data["progress_message"] = record.progress_message
        if record.progress_data is not None:
            data |= _reported(record.progress_data)
        return Transition(
            record.id,
            Move.SUCCEED,
            TaskStatus.STARTED,
            TaskStatus.SUCCESS,
            attempt,
            ended,
            record.worker,
            data=data,
        )
    if type(outcome) is Failed:
        return _failed(record, outcome, ended)
    if type(outcome) is Snoozed:
        return _snoozed(record, outcome, started, ended)
    if type(outcome) is Unfit:
        data = {"waiting": True, "error": outcome.error, "error_type": DOES_NOT_FIT}
        return move(record, Move.INTERRUPT, ended, reason="does not fit the function", data=data)
    if type(outcome) is NotTaken:
        return move(record, Move.INTERRUPT, ended, reason="refused by what was to run it")
    return move(record, Move.INTERRUPT, ended, reason=outcome.reason)  # type: ignore[union-attr]


def try_again(record: TaskRecord, now: datetime, reason: str) -> Transition | None:
    """Let a task go that waits because it did not fit its function."""
    if not is_unfit(record):
        return None
    data = {"waiting": False, "error": None, "error_type": None}
    return move(record, Move.RELEASE, now, reason=reason, data=data)


def is_unfit(record: TaskRecord) -> bool:
    """Whether a task waits because its stored arguments did not fit its function."""
    waits = record.waiting and record.status is TaskStatus.PENDING
    return bool(waits) and record.error_type == DOES_NOT_FIT


def _snoozed(
    record: TaskRecord, outcome: Snoozed, started: datetime, ended: datetime
) -> Transition | None:
    """Let it wait for a span; so the row keeps when that began, which is when the attempt ended."""
    data: dict[str, Any] = {
        "run_at": _due(ended, outcome.delay),
        "started_at": started,
        "elapsed_seconds": (ended - started).total_seconds(),
        **_progress(record),
    }
    return move(record, Move.SNOOZE, ended, reason=outcome.reason, data=data)


def _failed(record: TaskRecord, outcome: Failed, ended: datetime) -> Transition:
    data: dict[str, Any] = {"error_type": outcome.error_type, "traceback": outcome.traceback}
    if outcome.roots is not None:
        data["roots"] = outcome.roots
    data |= _progress(record)
    name = Move.FAIL
    if outcome.delay is not None:
        name = Move.RETRY
        data["retry_count"] = record.retry_count + outcome.counted
        data["run_at"] = _due(ended, outcome.delay)
    return Transition(
        record.id,
        name,
        TaskStatus.STARTED,
        TRANSITIONS[TaskStatus.STARTED, name],
        record.attempt,
        ended,
        record.worker,
        outcome.reason,
        outcome.error,
        data,
    )


def _due(ended: datetime, delay: float) -> datetime:
    return ended + min(timedelta(seconds=delay), _LONGEST_WAIT)


def recover(record: TaskRecord, max_crashes: int, now: datetime) -> Transition | None:
    """Decide about a task whose owner died while it ran.

    It goes back to PENDING, unless it was running in ``max_crashes`` deaths
    already: then it probably causes them, and ends FAILED.
    """
    if record.status is not TaskStatus.STARTED:
        return None
    crashes = record.crashes + 1
    if crashes < max_crashes:
        return move(record, Move.RECOVER, now, reason="worker lost", data={"crashes": crashes})
    transition = move(
        record,
        Move.FAIL,
        now,
        reason="crash loop",
        data={"crashes": crashes, "error_type": "CrashLoop"},
    )
    assert transition is not None, "a STARTED task can fail"
    transition.error = (
        f"The process died {counted(crashes, 'time')} while this task ran "
        f"(max_crashes={max_crashes}), so it is not tried again. Fix the cause, then: "
        f"wopr tasks retry {record.id}"
    )
    return transition
