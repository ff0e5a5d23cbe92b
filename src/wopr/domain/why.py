"""Why work does not flow: facts in, reasons out, the most harmful first. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from wopr.domain.facts import Facts, Failing, Live
from wopr.domain.reason import Reason, Severity
from wopr.domain.spoken import age, counted, listed, local, size
from wopr.domain.whywords import aware, due_of, grouped, plain, since_of, since_when

MANY_FAILURES = 5
"""Fewer in an hour are told of by nobody."""
MORE = 3.0
"""So many times as many, or as long, is more than usual."""
FEWEST_WAITS = 20
"""Of fewer starts nobody knows what is usual."""
SHORT_WAIT = 60.0
"""A backlog that is younger, in seconds, is none to tell of."""
LITTLE_DISK = 512 * 1024 * 1024
NO_DISK = 64 * 1024 * 1024
BEHIND_SECONDS = 10.0

_ORDER = (
    *("refused record", "disk", "shutting down", "no worker process", "storage"),
    *("journal behind", "unregistered", "no workers", "paused", "refused", "does not fit"),
    *("stuck", "no scheduler", "foreground", "failing", "backlog", "limited", "missed"),
    *("schedule", "keeping", "unanswered"),
)
"""Of kinds that do the same harm, the first is told first."""


def reasons(facts: Facts) -> tuple[Reason, ...]:
    """Return all that holds work back, or soon may, the most harmful first."""
    found = [reason for rule in _RULES for reason in rule(facts)]
    severities = list(Severity)
    return tuple(
        sorted(
            found,
            key=lambda one: (
                severities.index(one.severity),
                _ORDER.index(one.kind),
                -one.tasks,
                one.key,
            ),
        )
    )


# -- the process and its disk --------------------------------------------------


def _process(facts: Facts) -> Iterator[Reason]:
    due = sum(one.due for one in facts.live)
    if facts.stopping:
        yield Reason(
            kind="shutting down",
            severity=Severity.STOPPED,
            text=f"Process {facts.owner}, which has the database, is shutting down and starts "
            "nothing more. Another one may take over when it is gone.",
            tasks=due,
        )
    elif not any(facts.workers.values()):
        planned = any(row.paused_at is None and row.next_fire_at for row, _ in facts.schedules)
        waiting = sum(one.waiting for one in facts.live)
        yield Reason(
            kind="no worker process",
            severity=Severity.STOPPED if waiting or planned else Severity.WARNING,
            text="No worker process: nobody runs tasks of this queue.",
            command="wopr worker module:queue",
            tasks=due,
        )


def _disk(facts: Facts) -> Iterator[Reason]:
    disk = facts.disk
    if disk is None or disk.free >= LITTLE_DISK:
        return
    full = disk.free < NO_DISK
    yield Reason(
        kind="disk",
        severity=Severity.STOPPED if full else Severity.WARNING,
        text=f"The disk of {facts.database} has {size(disk.free)} left; the database and its "
        f"journal take {size(disk.used)}. When it is full, nothing more is accepted.",
        command="wopr cleanup --days 30 --dry-run",
        about={"free_bytes": disk.free, "used_bytes": disk.used},
    )


def _journal(facts: Facts) -> Iterator[Reason]:
    behind = facts.behind
    if behind is not None and (behind.trouble or behind.seconds >= BEHIND_SECONDS):
        why = f", because {behind.trouble.rstrip('.')}" if behind.trouble else ""
        yield Reason(
            kind="journal behind",
            severity=Severity.HELD if behind.trouble else Severity.WARNING,
            text=f"The tables are {counted(behind.changes, 'change')} behind the journal since "
            f"{age(behind.seconds)}{why}. What was acknowledged is safe; questions wait.",
            command="wopr doctor" if behind.trouble else None,
            about={"changes": behind.changes, "seconds": behind.seconds},
        )
    if facts.refused_records:
        yield Reason(
            kind="refused record",
            severity=Severity.HELD,
            text=f"{counted(facts.refused_records, 'change')} of the journal could not be brought "
            "into the tables, so the tables lack them: the file is damaged, or wopr has a fault.",
            command="wopr doctor",
            about={"records": facts.refused_records},
        )


def _storage(facts: Facts) -> Iterator[Reason]:
    if facts.storage is not None:
        yield Reason(
            kind="storage",
            severity=Severity.HELD,
            text=f"The tables can't be asked, so what waits is not known: {facts.storage}",
            command="wopr doctor",
        )


def _unanswered(facts: Facts) -> Iterator[Reason]:
    for why in facts.unanswered:
        yield Reason(kind="unanswered", severity=Severity.WARNING, text=why)
    if facts.overdue is not None:
        text = f"Tasks that were kept long enough are still there: {facts.overdue}"
        yield Reason(kind="keeping", severity=Severity.WARNING, text=text)


# -- tasks that don't start ----------------------------------------------------


def _unregistered(facts: Facts) -> Iterator[Reason]:
    if not facts.registered and not any(facts.workers.values()):  # which is said already
        return
    for name, tasks in grouped(facts.live, lambda one: one.name):
        if name in facts.registered or not (due := due_of(tasks)):
            continue
        since = since_of(tasks)
        yield Reason(
            kind="unregistered",
            severity=Severity.HELD,
            text=f"{counted(due, 'due task')} of the name {name!r}, which no function of process "
            f"{facts.owner} has{since_when(since, facts.now)}. They wait until one is registered: "
            "import its module, restore the old name, or cancel them. "
            f"{facts.unfound.get(name, '')}".rstrip(),
            command=f"wopr tasks list --name {shlex.quote(name)}",
            tasks=due,
            since=aware(since),
            about={"name": name},
        )


def _no_workers(facts: Facts) -> Iterator[Reason]:
    if not any(facts.workers.values()):
        return
    for category, tasks in grouped(facts.live, lambda one: one.category):
        if facts.workers.get(category) or not (due := due_of(tasks)):
            continue
        since = since_of(tasks)
        yield Reason(
            kind="no workers",
            severity=Severity.HELD,
            text=f"Category {category!r} has no workers, and holds {counted(due, 'due task')}"
            f"{since_when(since, facts.now)}.",
            command=f"wopr worker module:queue -c {shlex.quote(f'{category}:4')}",
            tasks=due,
            since=aware(since),
            about={"category": category},
        )


def _paused(facts: Facts) -> Iterator[Reason]:
    for pause in facts.pauses:
        of_name = pause.category is None
        target = pause.task if of_name else pause.category
        held = due_of(
            [one for one in facts.live if (one.name if of_name else one.category) == target]
        )
        option = f"--task {shlex.quote(target or '')}" if of_name else shlex.quote(target or "")
        what = "Tasks" if of_name else "Category"
        yield Reason(
            kind="paused",
            severity=Severity.HELD if held else Severity.WARNING,
            text=f"{what} {target!r} {'are' if of_name else 'is'} paused {pause.told}. It holds "
            f"{counted(held, 'due task')}.",
            command=f"wopr resume {option}",
            tasks=held,
            since=pause.since,
            about={"name" if of_name else "category": target, **pause.about},
        )


def _held(facts: Facts) -> Iterator[Reason]:
    for one in facts.refused:
        held = due_of([live for live in facts.live if live.name in one.names])
        yield Reason(
            kind="refused",
            severity=Severity.HELD,
            text=f"{one.text} {counted(held, 'due task')} of {listed(map(repr, one.names))} wait "
            "for it.",
            tasks=held,
            about={"names": list(one.names)},
        )
    for name, count in facts.unfit.items():
        yield Reason(
            kind="does not fit",
            severity=Severity.HELD,
            text=f"{counted(count, 'task')} {name!r} do not fit the function of this name any "
            "more. They go on after a deploy that they fit again.",
            command=f"wopr tasks list --name {shlex.quote(name)}",
            tasks=count,
            about={"name": name},
        )
    for task, category, why in facts.stuck:
        yield Reason(
            kind="stuck",
            severity=Severity.HELD,
            text=f"Task {task} runs and can't go on: {why}",
            command=f"wopr tasks cancel {task}",
            tasks=1,
            about={"task": task, "category": category},
        )


def _standing_back(facts: Facts) -> Iterator[Reason]:
    for category, tasks in grouped(facts.live, lambda one: one.category):
        if category in facts.standing_back and (due := due_of(tasks)):
            yield Reason(
                kind="foreground",
                severity=Severity.WARNING,
                text=f"Category {category!r} stands back while something in the foreground is "
                f"done (queue.foreground()): {counted(due, 'due task')}.",
                tasks=due,
                about={"category": category},
            )


def _limited(facts: Facts) -> Iterator[Reason]:
    for one in facts.limits:
        if one.held:
            yield Reason(
                kind="limited",
                severity=Severity.WARNING,
                text=f"A limit is reached: {one.why}. It holds {counted(one.held, 'task')}.",
                command="wopr limits list",
                tasks=one.held,
                about={
                    "limit": one.name,
                    "category": one.category,
                    "key": one.key,
                    "value": one.value,
                },
            )


# -- more than usual -----------------------------------------------------------


def _backlog(facts: Facts) -> Iterator[Reason]:
    for category, tasks in grouped(facts.live, lambda one: one.category):
        since, usual = since_of(tasks), facts.usual.get(category)
        if (
            since is None
            or usual is None
            or usual.tasks < FEWEST_WAITS
            or not facts.workers.get(category)
        ):
            continue
        waited = (facts.now - since).total_seconds()
        if waited < SHORT_WAIT or waited < MORE * usual.seconds:
            continue
        yield Reason(
            kind="backlog",
            severity=Severity.WARNING,
            text=f"The oldest of {counted(due_of(tasks), 'due task')} of category {category!r} "
            f"waits for {age(waited)}; at this hour 99 of 100 waited no longer than "
            f"{age(usual.seconds)}.{_more_workers(facts, category, tasks)}",
            command="wopr workers list",
            tasks=due_of(tasks),
            since=aware(since),
            about={"category": category, "seconds": waited, "usual_seconds": usual.seconds},
        )


def _more_workers(facts: Facts, category: str, tasks: Sequence[Live]) -> str:
    """Say that more workers would help, where all that there are run something."""
    if sum(one.running for one in tasks) < (workers := facts.workers[category]):
        return ""  # it is held back by something else, which is told
    return f" Each of its {counted(workers, 'worker')} runs a task: more of them would help."


def _failing(facts: Facts) -> Iterator[Reason]:
    hours = facts.days * 24
    for one in facts.failing:
        if one.recent < max(MANY_FAILURES, MORE * one.before / hours):
            continue
        yield Reason(
            kind="failing",
            severity=Severity.WARNING,
            text=f"{one.name!r} fails more than usual: {one.recent:,} times within the last hour, "
            f"since {local(one.since)}, and {_rate(one, hours)} before. The last error: "
            f"{one.error}",
            command=f"wopr tasks history {one.sample} --traceback",
            since=aware(one.since),
            about={
                "name": one.name,
                "fingerprint": one.fingerprint,
                "error_type": one.error_type,
                "failures": one.recent,
                "example": one.sample,
            },
        )


def _rate(one: Failing, hours: float) -> str:
    return f"{one.before / hours:.2g} times an hour" if one.before else "never"


# -- schedules -----------------------------------------------------------------


def _scheduled(facts: Facts) -> Iterator[Reason]:
    idle = [row.name for row, standing in facts.schedules if standing.reason == "no scheduler"]
    if idle and any(facts.workers.values()):
        yield Reason(
            kind="no scheduler",
            severity=Severity.HELD,
            text=f"No scheduler runs, so nothing fires {counted(len(idle), 'schedule')}: "
            f"{listed(map(repr, idle))}. Is WOPR_TASKS_SCHEDULER off?",
            command="wopr config show --origin",
            about={"schedules": idle},
        )
    for row, standing in facts.schedules:
        times = facts.missing.get(row.name, ())
        if times:
            yield Reason(
                kind="missed",
                severity=Severity.WARNING,
                text=f"Schedule {row.name!r} missed {counted(len(times), 'time')}, for which there "
                f"is no task: {listed(map(local, times))}.",
                command=f"wopr schedules run {shlex.quote(row.name)}",
                since=aware(times[0]),
                about={"schedule": row.name, "missed": len(times), "times": plain(times)},
            )
        if standing.reason in ("unreadable", "unregistered") and facts.registered:
            yield Reason(
                kind="schedule",
                severity=Severity.WARNING,
                text=f"Schedule {row.name!r}: {standing.text}",
                command=f"wopr schedules show {shlex.quote(row.name)}",
                about={"schedule": row.name, "name": row.task},
            )


_RULES: tuple[Callable[[Facts], Iterator[Reason]], ...] = (
    *(
        _process,
        _disk,
        _storage,
        _journal,
        _unregistered,
        _no_workers,
        _paused,
        _held,
        _standing_back,
    ),
    *(_limited, _backlog, _failing, _scheduled, _unanswered),
)
