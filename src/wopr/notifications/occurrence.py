"""What an alert tells: its words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain import spoken
from wopr.domain.alertrule import AlertRule
from wopr.domain.events import TaskEvent, TaskFailed
from wopr.domain.masking import mask
from wopr.domain.task import TaskInfo
from wopr.notifications.event import DEDUP_KEY

LONGEST_ERROR = 2_000
"""Characters of a task's error that a message repeats."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something an alert tells."""

    rule: AlertRule
    subject: str
    """What it is about: the name of a task, category or schedule."""
    title: str
    message: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = False
    """A state, which each look finds again, so that repeats are not counted."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The due tasks of one category that wait for a worker."""

    category: str
    tasks: int
    oldest: datetime
    """When the oldest of them became due; aware, in UTC."""


def _of_task(rule: AlertRule, task: TaskEvent | TaskInfo, **more: object) -> dict[str, Any]:
    task_id = task.task_id if isinstance(task, TaskEvent) else task.id
    return {
        "alert": rule.name,
        "when": rule.when.value,
        "task": task.name,
        "category": task.category,
        "task_id": task_id,
        "attempt": task.attempt,
        DEDUP_KEY: f"{rule.name} {task_id} {task.attempt}",
        **more,
    }


def failure(rule: AlertRule, event: TaskEvent) -> Occurrence:
    """Tell that an attempt failed."""
    final = isinstance(event, TaskFailed)
    why = mask(event.error or event.reason or "")[:LONGEST_ERROR]
    then = "It is not tried again." if final else f"Retry {event.retry_count} follows."
    return Occurrence(
        rule,
        event.name,
        f"{event.name} failed{' for good' if final else ''}",
        f"{why}\nAttempt {event.attempt}, category {event.category}. {then}\n"
        f"wopr tasks show {event.task_id}",
        _of_task(rule, event, error_type=event.error_type),
    )


def recovery(rule: AlertRule, event: TaskEvent, failures: int) -> Occurrence:
    """Tell that a task succeeds again."""
    return Occurrence(
        rule,
        event.name,
        f"{event.name} works again",
        f"It succeeded after {spoken.counted(failures, 'failed attempt')}, category "
        f"{event.category}.",
        _of_task(rule, event, failures=failures),
    )


def slow(rule: AlertRule, task: TaskEvent | TaskInfo, seconds: float, verb: str) -> Occurrence:
    """Tell that a run takes, or took, too long."""
    metadata = _of_task(rule, task, seconds=seconds)
    return Occurrence(
        rule,
        task.name,
        f"{task.name} is slow",
        f"It {verb} {spoken.age(seconds)}, more than {spoken.age(rule.limit)}. Attempt "
        f"{task.attempt}, category {task.category}.\nwopr tasks show {metadata['task_id']}",
        metadata,
    )


def too_much(rule: AlertRule, backlog: Backlog, age: float) -> Occurrence:
    """Tell that too many tasks wait, or for too long."""
    name = backlog.category
    return Occurrence(
        rule,
        name,
        f"Backlog in {name}",
        f"{spoken.counted(backlog.tasks, 'due task')} in category {name}; the oldest waits for "
        f"{spoken.age(age)}.\n"
        f"wopr tasks list -c {shlex.quote(name)} --status pending",
        {
            "alert": rule.name,
            "when": rule.when.value,
            "category": name,
            "tasks": backlog.tasks,
            "age": age,
            DEDUP_KEY: f"{rule.name} {name}",
        },
        lasting=True,
    )


def missed_more(rule: AlertRule, info: ScheduleInfo, more: int) -> Occurrence:
    """Tell that a schedule left occurrences out."""
    return Occurrence(
        rule,
        info.name,
        f"Schedule {info.name} missed {more}",
        f"{more} occurrences were left out because they were late; {info.missed} in all. Was no "
        f"worker running?\nwopr schedules show {shlex.quote(info.name)}",
        {
            "alert": rule.name,
            "when": rule.when.value,
            "schedule": info.name,
            "task": info.task,
            "category": info.category,
            "missed": more,
            DEDUP_KEY: f"{rule.name} {info.name} {info.missed}",
        },
    )


def and_more(occurrence: Occurrence, left_out: int, since: datetime) -> Occurrence:
    """Add how many were left out."""
    if not left_out:
        return occurrence
    text = f"{occurrence.message}\nAnd {left_out} more since {spoken.local(since)}."
    return Occurrence(
        occurrence.rule,
        occurrence.subject,
        occurrence.title,
        text,
        {**occurrence.metadata, "left_out": left_out},
        occurrence.lasting,
    )
