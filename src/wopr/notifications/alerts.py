"""What alerts make of what happens: decisions, without any effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.alertrule import ON_BACKLOG, AlertCondition, AlertRule
from wopr.domain.events import TaskEvent, TaskFailed, TaskRetrying
from wopr.domain.task import TaskInfo
from wopr.notifications.event import CATEGORY
from wopr.notifications.occurrence import (
    Backlog,
    Occurrence,
    and_more,
    failure,
    missed_more,
    recovery,
    slow,
    too_much,
)


@dataclass(slots=True)
class _Told:
    at: datetime
    left_out: int = 0
    newest: Occurrence | None = None


class Alarm:
    """What the alerts remember, in memory: no effect, no clock of its own."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], _Told] = {}
        self._failures: dict[str, int] = {}
        self._slow: set[tuple[str, str, int]] = set()

    # -- what happens ---------------------------------------------------------

    def ended(self, rules: Sequence[AlertRule], event: TaskEvent) -> list[Occurrence]:
        """Return what the end of an attempt means to the alerts."""
        if event.category == CATEGORY:  # an alert about a notification would be one more
            return []
        failed = isinstance(event, TaskRetrying | TaskFailed)
        before = self._failures_before(rules, event, failed=failed)
        found: list[Occurrence] = []
        for rule in rules:
            if not rule.about(event.name, event.category):
                continue
            if rule.when is AlertCondition.SLOW:
                found += self._slow_end(rule, event)
            elif failed and (rule.when is AlertCondition.FAILURE or _final(rule, event)):
                found.append(failure(rule, event))
            elif rule.when is AlertCondition.RECOVERY and before and before >= rule.limit:
                found.append(recovery(rule, event, before))
        return found

    def _failures_before(
        self, rules: Sequence[AlertRule], event: TaskEvent, *, failed: bool
    ) -> int:
        """Count a failure; return how many in a row a success ends."""
        if not any(rule.when is AlertCondition.RECOVERY for rule in rules):
            self._failures.clear()  # successes may not be told: what was counted would be wrong
        elif failed:
            self._failures[event.name] = self._failures.get(event.name, 0) + 1
        else:
            return self._failures.pop(event.name, 0)
        return 0

    def _slow_end(self, rule: AlertRule, event: TaskEvent) -> list[Occurrence]:
        run = (rule.name, event.task_id, event.attempt)
        if run in self._slow:  # told while it was running
            self._slow.discard(run)
            return []
        if event.started_at is None:
            return []
        seconds = (event.occurred_at - event.started_at).total_seconds()
        return [slow(rule, event, seconds, "ran")] if seconds > rule.limit else []

    def running(
        self, rules: Sequence[AlertRule], tasks: Sequence[TaskInfo], now: datetime
    ) -> list[Occurrence]:
        """Return which of the tasks that run now are slow, each run once."""
        found: list[Occurrence] = []
        runs = {(info.id, info.attempt) for info in tasks}
        self._slow = {run for run in self._slow if run[1:] in runs}
        for rule in rules:
            if rule.when is not AlertCondition.SLOW:
                continue
            for info in tasks:
                run = (rule.name, info.id, info.attempt)
                if info.started_at is None or info.category == CATEGORY or run in self._slow:
                    continue
                seconds = (now - info.started_at).total_seconds()
                if seconds > rule.limit and rule.about(info.name, info.category):
                    self._slow.add(run)
                    found.append(slow(rule, info, seconds, "has been running for"))
        return found

    # -- what is told, and when -------------------------------------------------

    def take(self, occurrence: Occurrence, now: datetime) -> Occurrence | None:
        """Return what is to be told now: nothing, if it was within the alert's ``every``."""
        key = (occurrence.rule.name, occurrence.subject)
        told = self._told.get(key)
        if told is not None and _within(told.at, now, occurrence.rule.every):
            if not occurrence.lasting:
                told.left_out += 1
                told.newest = occurrence
            return None
        self._told[key] = _Told(now)
        return occurrence if told is None else and_more(occurrence, told.left_out, told.at)

    def due(
        self, rules: Sequence[AlertRule], now: datetime, *, last: bool = False
    ) -> list[Occurrence]:
        """Return what was left out and is to be told now, because its time is over.

        Args:
            rules: all alerts.
            now: aware, in UTC.
            last: whether nobody will look again, so that it is told before its time is over.
        """
        found: list[Occurrence] = []
        known = {rule.name: rule for rule in rules}
        for key, told in list(self._told.items()):
            rule = known.get(key[0])
            if rule is not None and not last and _within(told.at, now, rule.every):
                continue
            del self._told[key]
            if rule is not None and told.newest is not None:
                told.left_out -= 1  # the newest is told itself
                found.append(and_more(told.newest, told.left_out, told.at))
                self._told[key] = _Told(now)
        return found


def of_backlogs(
    rules: Sequence[AlertRule], backlogs: Sequence[Backlog], now: datetime
) -> list[Occurrence]:
    """Return which backlogs are too old or too long."""
    found: list[Occurrence] = []
    for rule in rules:
        for backlog in backlogs:
            name = backlog.category
            if rule.when not in ON_BACKLOG or name == CATEGORY or not rule.about("", name):
                continue
            age = (now - backlog.oldest).total_seconds()
            value = age if rule.when is AlertCondition.BACKLOG_AGE else float(backlog.tasks)
            if value > rule.limit:
                found.append(too_much(rule, backlog, age))
    return found


def of_schedules(
    rules: Sequence[AlertRule], schedules: Sequence[ScheduleInfo]
) -> tuple[list[Occurrence], list[AlertRule]]:
    """Return which schedules have missed more than was told, and the rules that know it then."""
    found: list[Occurrence] = []
    changed: list[AlertRule] = []
    missed = {info.name: info.missed for info in schedules if info.missed}
    for rule in rules:
        if rule.when is not AlertCondition.SCHEDULE_MISSED or rule.seen == missed:
            continue
        changed.append(rule.model_copy(update={"seen": missed}))
        for info in schedules:
            more = info.missed - rule.seen.get(info.name, 0)
            if more > 0 and rule.about(info.task, info.category):
                found.append(missed_more(rule, info, more))
    return found, changed


def _within(earlier: datetime, now: datetime, seconds: float) -> bool:
    return timedelta(0) <= now - earlier < timedelta(seconds=seconds)


def _final(rule: AlertRule, event: TaskEvent) -> bool:
    return rule.when is AlertCondition.FINAL_FAILURE and isinstance(event, TaskFailed)
