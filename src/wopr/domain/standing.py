"""Why a schedule is not firing right now: pure answers for whoever looks at 3 a.m."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import CycleError, TopologicalSorter

from wopr.domain.errors import InvalidCallError, ScheduleNotFoundError
from wopr.domain.jsontext import shown
from wopr.domain.misfire import Overlap
from wopr.domain.schedule import CODE_IS_GONE, Schedule, Unreadable
from wopr.domain.spoken import counted, local


@dataclass(frozen=True, slots=True)
class Standing:
    """What a schedule is doing.

    ``reason`` is one of: planned, due, paused, ended, unreadable, no scheduler,
    waiting, overlap, unregistered.
    """

    reason: str
    text: str
    live: tuple[str, ...] = ()
    """Its tasks that have not ended."""


View = tuple[Schedule, Standing]
"""A row and what it is doing."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the answer depends on besides the row."""

    now: datetime
    running: bool
    """Whether the owner's scheduler runs."""
    registered: bool
    """Whether the owner has the function."""
    live: Sequence[str] = ()
    lacking: Mapping[str, str] | None = None
    """Schedules that have to succeed first, with what is known of each."""


def standing(schedule: Schedule, around: Circumstances) -> Standing:
    """Say what the schedule is doing, and what has to happen for it to fire."""
    reason, text = _standing(schedule, around)
    return Standing(reason, text, tuple(around.live))


def _standing(schedule: Schedule, around: Circumstances) -> tuple[str, str]:
    if schedule.paused_at is not None:
        return "paused", _paused(schedule)
    if isinstance(schedule.trigger, Unreadable):
        return "unreadable", schedule.trigger.problem
    if schedule.next_fire_at is None:
        ended = f"Its end was {local(schedule.end_at)}." if schedule.end_at else ""
        return "ended", f"It never fires again: {schedule.trigger.describe()}. {ended}".rstrip()
    return _planned(schedule, schedule.next_fire_at, around)


def _planned(schedule: Schedule, planned: datetime, around: Circumstances) -> tuple[str, str]:
    """Say when it fires, and what is in the way of that."""
    when = f"It is due since {local(planned)}"
    if planned > around.now:
        when = f"It fires at {local(planned)}, {schedule.trigger.describe()}"
    if not around.running:
        return (
            "no scheduler",
            f"{when}, but no scheduler runs in the process that owns the database. It starts with "
            "the workers (unless WOPR_TASKS_SCHEDULER is off), or with `await "
            "queue.start_scheduler()`.",
        )
    if around.lacking:
        whom = "; ".join(f"{parent!r}, {state}" for parent, state in around.lacking.items())
        return "waiting", f"{when}. It waits for the first success of: {whom}."
    if _is_full(schedule, len(around.live)):
        return "overlap", f"{when}. {_full(schedule, around.live)}"
    if not around.registered:
        return (
            "unregistered",
            f"{when}. Its tasks will wait: no function is registered under the name "
            f"{schedule.task!r} in the process that owns the database.",
        )
    return ("planned" if planned > around.now else "due"), f"{when}."


def _is_full(schedule: Schedule, live: int) -> bool:
    """Whether what is due now is left out because of earlier runs."""
    if schedule.overlap not in {Overlap.SKIP, Overlap.QUEUE_ONE}:
        return False
    return live >= (schedule.max_running or 1) + (schedule.overlap is Overlap.QUEUE_ONE)


def _full(schedule: Schedule, live: Sequence[str]) -> str:
    which, said = f"task {live[0]} has not ended", f"overlap={schedule.overlap.value}"
    if schedule.max_running is not None:
        which = f"{len(live)} runs have not ended, of which {live[0]} is the oldest,"
        said += f", max_running={schedule.max_running}"
    return (
        f"What is due while {which} is left out ({said}); so far "
        f"{counted(schedule.skipped, 'time')}. See: wopr tasks explain {live[0]}"
    )


def _paused(schedule: Schedule) -> str:
    name = shlex.quote(schedule.name)
    since = f"It is paused since {local(schedule.paused_at)}: {schedule.paused_reason}."
    if schedule.paused_reason == CODE_IS_GONE:
        return (
            f"{since} No decorator declares it any more in the process that owns the database. It "
            f"goes on when one does; or remove it: wopr schedules remove {name}"
        )
    return f"{since} To go on: wopr schedules resume {name}"


def unknown(name: str, known: Iterable[str]) -> ScheduleNotFoundError:
    """Return the error for a name that no schedule has."""
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f" Did you mean {near[0]!r}?" if near else " See: wopr schedules list"
    return ScheduleNotFoundError(f"There is no schedule {shown(name)}.{hint}")


def check_dependencies(depends_on: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse schedules that would wait for ever.

    Args:
        depends_on: what each schedule waits for, by name.

    Raises:
        InvalidCallError: one waits for a schedule that there is not, or for itself.
    """
    for name, parents in depends_on.items():
        for parent in parents:
            if parent not in depends_on:
                raise InvalidCallError(
                    f"Schedule {name!r} depends on {parent!r}. {unknown(parent, depends_on)}"
                )
    try:
        TopologicalSorter(depends_on).prepare()
    except CycleError as error:
        circle = " -> ".join(map(repr, reversed(error.args[1])))
        raise InvalidCallError(
            f"These schedules would wait for each other for ever: {circle}. Take one of the "
            "depends_on= away."
        ) from error
