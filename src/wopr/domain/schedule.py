"""Schedules: what a row says, and what is to be done about it at a moment. Pure.

The plan is in the row: ``next_fire_at`` is the oldest occurrence that was not decided yet.
That an occurrence was enqueued is said by the task itself, which carries the name of the
schedule and the time it was planned for; :func:`catch_up` brings a row up to its tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from wopr.domain.errors import InvalidScheduleSpecificationError
from wopr.domain.misfire import Due, Misfire, Overlap, due_occurrences
from wopr.domain.missed import LISTED, NOTHING_MISSED, Missed, missed_between
from wopr.domain.snapshot import aware, naive
from wopr.domain.triggerjson import anchored, continued, trigger_from_json
from wopr.domain.triggers import At, Interval, Once, Trigger, TriggerJson

_TICK = timedelta(microseconds=1)

CODE_IS_GONE = "its code is gone"
"""Why a schedule of a decorator is paused that the running code no longer has."""


@dataclass(slots=True, kw_only=True)
class Schedule:
    """One row of ``schedules``: the plan, and where it stands. Times are aware, in UTC.

    Payloads are JSON text, checked when the schedule was made: firing needs no function.
    """

    name: str
    task: str
    category: str
    priority: int
    max_retries: int
    args: str
    kwargs: str
    options: str | None = None
    trigger: Trigger
    misfire: Misfire = Misfire.RUN_ONCE
    misfire_limit: int = 100
    misfire_grace: float = 60.0
    overlap: Overlap = Overlap.SKIP
    jitter: float = 0.0
    start_at: datetime | None = None
    end_at: datetime | None = None
    run_on_start: bool = False
    depends_on: tuple[str, ...] = ()
    run_as: str | None = None
    origin: str = "call"
    """``code`` if a decorator declares it, else ``call``."""
    paused_at: datetime | None = None
    paused_reason: str | None = None
    next_fire_at: datetime | None = None
    last_fire_at: datetime | None = None
    last_task_id: str | None = None
    missed: int = 0
    """How many planned times were left out because they were late."""
    skipped: int = 0
    """How many occurrences were left out because an earlier one had not ended."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    """When the plan was last changed."""
    max_running: int | None = None
    """Most runs at once, unless ``overlap`` allows any number; ``None`` is one."""
    missed_times: tuple[datetime, ...] = ()
    """The newest of the planned times that were missed, in order."""

    def row(self) -> tuple[object, ...]:
        """Return the values in the order of :data:`COLUMNS`, as they are stored."""
        values = {name: getattr(self, name) for name in COLUMNS}
        for name, write in _TO_ROW.items():
            values[name] = write(values[name])
        return tuple(values.values())

    @classmethod
    def from_row(cls, row: Sequence[object]) -> Schedule:
        """Return the schedule of a row in the order of :data:`COLUMNS`."""
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        for name, read in _FROM_ROW.items():
            values[name] = read(values[name])
        return cls(**values)

    def after(self, moment: datetime) -> datetime | None:
        """Return the first planned time after a moment; ``None`` if none comes any more."""
        if self.start_at is not None and self.start_at > moment:
            moment = self.start_at - _TICK
        found = self.trigger.next_after(moment)
        return None if found is None or (self.end_at and found > self.end_at) else found

    def counts(self, moment: datetime) -> bool:
        """Whether a moment is between its start and its end."""
        late = self.end_at is not None and moment > self.end_at
        return not late and (self.start_at is None or moment >= self.start_at)

    def plan(self, now: datetime) -> None:
        """Set the first planned time of a new plan: never one before now, except a missed once."""
        self.trigger = anchored(self.trigger, self.start_at or now)
        if isinstance(self.trigger, Once):
            once = self.trigger.moment
            self.next_fire_at = once if self.counts(once) else None
        else:
            self.next_fire_at = self.after(max(now, self.last_fire_at or now))

    def pause(self, now: datetime, reason: str) -> None:
        """Fire no more until it is resumed."""
        self.paused_at, self.paused_reason = now, reason

    def resume(self, now: datetime) -> None:
        """Go on with the first planned time after now."""
        self.paused_at = self.paused_reason = None
        if self.next_fire_at is not None and self.next_fire_at <= now:
            self.next_fire_at = self.after(max(now, self.last_fire_at or now))


COLUMNS: tuple[str, ...] = tuple(item.name for item in fields(Schedule))
"""All stored columns of a schedule."""
STATE = (
    *("name", "origin", "paused_at", "paused_reason", "next_fire_at", "last_fire_at"),
    *("last_task_id", "missed", "missed_times", "skipped", "created_at", "updated_at"),
)
"""Those that say where it stands. The others are the plan."""
_PLAN = tuple(name for name in COLUMNS if name not in STATE)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a stored trigger that this version can't read: it never fires."""

    stored: str
    problem: str

    def next_after(self, moment: datetime) -> datetime | None:
        """Return no moment."""
        return None

    def to_json(self) -> TriggerJson:
        """Return what was stored."""
        stored: TriggerJson = json.loads(self.stored)
        return stored

    def describe(self) -> str:
        """Return what is wrong."""
        return self.problem


def _text(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _read_trigger(text: str) -> Trigger:
    try:
        return trigger_from_json(from_json(text))
    except InvalidScheduleSpecificationError as error:
        return Unreadable(text, str(error))


_TIMES = (
    *("start_at", "end_at", "paused_at", "next_fire_at"),
    *("last_fire_at", "created_at", "updated_at"),
)
_TO_ROW: dict[str, Callable[[Any], object]] = {
    "trigger": lambda trigger: json.dumps(trigger.to_json()),
    "misfire": lambda misfire: misfire.value,
    "overlap": lambda overlap: overlap.value,
    "depends_on": lambda names: json.dumps(names) if names else None,
    "missed_times": lambda times: json.dumps([_text(one) for one in times]) if times else None,
    **dict.fromkeys(_TIMES, naive),
}
_FROM_ROW: dict[str, Callable[[Any], object]] = {
    "trigger": _read_trigger,
    "misfire": Misfire,
    "overlap": Overlap,
    "depends_on": lambda text: tuple(from_json(text)) if text else (),
    "missed_times": lambda text: tuple(map(_moment, from_json(text))) if text else (),
    "last_task_id": lambda task_id: None if task_id is None else str(task_id),
    **dict.fromkeys(_TIMES, aware),
}


# -- change ------------------------------------------------------------------


def same_plan(old: Schedule, new: Schedule) -> bool:
    """Whether a newly declared schedule says what the stored one says."""
    return all(
        _plan_trigger(old, new) == old.trigger
        if name == "trigger"
        else getattr(old, name) == getattr(new, name)
        for name in _PLAN
    )


def redefined(old: Schedule, new: Schedule, now: datetime) -> Schedule:
    """Return the old schedule with the new plan; it keeps where it stands.

    The plan is made anew only if when it fires has changed.
    """
    found = replace(old, **{name: getattr(new, name) for name in _PLAN})
    found.trigger = _plan_trigger(old, new)
    when = ("trigger", "start_at", "end_at")
    found.updated_at = now
    if any(getattr(found, name) != getattr(old, name) for name in when):
        found.plan(now)
    return found


def _plan_trigger(old: Schedule, new: Schedule) -> Trigger:
    """Return the new trigger; what counts from somewhere goes on from where it began."""
    same = old.start_at == new.start_at
    return continued(old.trigger, new.trigger) if same else new.trigger


# -- decide ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a schedule that is due."""

    fire: tuple[datetime, ...]
    """Planned times to enqueue a task for, oldest first."""
    next_fire_at: datetime | None
    after: tuple[str, ...] = ()
    """Tasks that have to end first."""
    cancel: tuple[str, ...] = ()
    """Tasks to cancel before."""
    missed: Missed = NOTHING_MISSED
    skipped: int = 0


def decide(
    schedule: Schedule, now: datetime, live: Sequence[str] = (), start: datetime | None = None
) -> Decision:
    """Decide about a schedule that is not paused.

    Args:
        schedule: it is not changed.
        now: the current time.
        live: ids of its tasks that have not ended.
        start: when the scheduler started, if it runs on start and has not yet.
    """
    due = _due(schedule, now)
    missed, fire = _missed(schedule, due, now), due.fire
    if start is not None and schedule.counts(start) and start not in fire:
        fire = [*fire, start]
    if schedule.overlap is Overlap.ALLOW or not fire:
        return Decision(tuple(fire), due.next_at, missed=missed)
    most = schedule.max_running or 1
    room = most - len(live)
    if schedule.overlap is Overlap.CANCEL_RUNNING:
        newest = tuple(fire[-most:])
        cancel = tuple(live[: max(0, len(newest) - room)])
        return Decision(newest, due.next_at, (), cancel, missed, len(fire) - len(newest))
    if room < (schedule.overlap is Overlap.SKIP):
        return Decision((), due.next_at, missed=missed, skipped=len(fire))
    if schedule.overlap is Overlap.QUEUE_ONE:  # the next one is decided when this one is known
        next_at = fire[1] if len(fire) > 1 else due.next_at
        after = () if room else (live[0],)
        return Decision((fire[0],), next_at, after, missed=missed)
    return Decision(tuple(fire[:room]), due.next_at, missed=missed, skipped=len(fire[room:]))


def _missed(schedule: Schedule, due: Due, now: datetime) -> Missed:
    """Return which of the planned times up to now are left out."""
    if not due.missed or schedule.next_fire_at is None:
        return NOTHING_MISSED
    last = now if schedule.end_at is None else min(now, schedule.end_at)
    return missed_between(schedule.trigger, schedule.next_fire_at - _TICK, last, due.fire)


def _due(schedule: Schedule, now: datetime) -> Due:
    planned = schedule.next_fire_at
    if planned is None or planned > now:
        return Due([], missed=False, next_at=planned)
    grace = timedelta(seconds=schedule.misfire_grace)
    upcoming = schedule.after(planned)
    if upcoming is None or upcoming > now:  # just one, usually
        left_out = schedule.misfire is Misfire.SKIP and now - planned > grace
        return Due([] if left_out else [planned], missed=left_out, next_at=upcoming)
    return due_occurrences(
        schedule.trigger,
        planned - _TICK,
        now,
        misfire=schedule.misfire,
        limit=schedule.misfire_limit,
        grace=grace,
        end_at=schedule.end_at,
    )


def settle(schedule: Schedule, decision: Decision, last_task_id: str | None) -> None:
    """Note in the row what was decided and done."""
    schedule.next_fire_at = decision.next_fire_at
    schedule.missed += decision.missed.number
    schedule.missed_times = (*schedule.missed_times, *decision.missed.times)[-LISTED:]
    schedule.skipped += decision.skipped
    if decision.fire:
        schedule.last_fire_at = decision.fire[-1]
        schedule.last_task_id = last_task_id


def catch_up(schedule: Schedule, newest: datetime | None, task_id: str | None) -> bool:
    """Bring a row that lags behind its tasks up to them; return whether it did.

    Args:
        schedule: is changed.
        newest: the newest planned time that was enqueued under the present plan.
        task_id: of that task.
    """
    if newest is None or newest == schedule.last_fire_at:
        return False
    if schedule.next_fire_at is not None and schedule.next_fire_at <= newest:
        schedule.next_fire_at = schedule.after(newest)
    elif schedule.last_fire_at is not None and schedule.last_fire_at > newest:
        return False
    schedule.last_fire_at, schedule.last_task_id = newest, task_id
    return True


def behind_of(schedule: Schedule, now: datetime) -> timedelta:
    """Return how far the wall clock must have been set back since the row was written."""
    written = (schedule.last_fire_at, schedule.updated_at, schedule.created_at)
    return max(now, *(moment for moment in written if moment is not None)) - now


def fired_at_once(schedule: Schedule, now: datetime) -> Schedule:
    """Return a new plan with its first occurrence, if that is now."""
    new, trigger = replace(schedule), schedule.trigger
    if isinstance(trigger, Interval):
        new.trigger, new.next_fire_at = trigger.anchored(now), now
    elif isinstance(trigger, At):
        minute = now.replace(second=0, microsecond=0)
        found = trigger.next_after(minute - timedelta(microseconds=1))
        new.next_fire_at = found if found is not None and found <= now else None
    return new


def follow_clock(schedule: Schedule, back: timedelta, now: datetime) -> bool:
    """Move an interval that has begun with a wall clock that was set back; return whether it is.

    It measures a span: it goes on as if the clock had not been set. All other plans are of fixed
    times: what fired does not fire again when the clock shows its time once more.
    """
    trigger, planned = schedule.trigger, schedule.next_fire_at
    if not back or not isinstance(trigger, Interval) or trigger.anchor is None or planned is None:
        return False
    if schedule.start_at is not None and planned <= schedule.start_at:
        return False
    schedule.trigger = replace(trigger, anchor=trigger.anchor - back)
    schedule.next_fire_at = planned - back
    for name in ("last_fire_at", "updated_at", "created_at"):
        moment = getattr(schedule, name)
        if moment is not None and moment > now:
            setattr(schedule, name, moment - back)
    return True


def preview(schedule: Schedule, count: int, after: datetime) -> list[datetime]:
    """Return the next planned times after a moment, at most ``count``."""
    times: list[datetime] = []
    found = schedule.after(after)
    while found is not None and len(times) < count:
        times.append(found)
        found = schedule.after(found)
    return times


def planned(
    trigger: Trigger,
    count: int,
    now: datetime,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> list[datetime]:
    """Return the next times of a plan that is not stored, as if it were stored now."""
    trigger = anchored(trigger, start_at or now)
    moment = now if start_at is None or start_at <= now else start_at - _TICK
    times: list[datetime] = []
    found = trigger.next_after(moment)
    while found is not None and len(times) < count and (end_at is None or found <= end_at):
        times.append(found)
        found = trigger.next_after(found)
    return times
