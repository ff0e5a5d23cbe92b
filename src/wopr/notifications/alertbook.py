"""Alerts on disk: rows that can be added, changed and removed at run time."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from pydantic import ValidationError

from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.checks import check_label
from wopr.domain.clock import Clock
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.leftout import names_options
from wopr.domain.level import NotificationLevel
from wopr.domain.rule import Rule, RuleKind
from wopr.ports.backend import RuleBackend
from wopr.queue.queue import TaskQueue, inside


class AlertOptions(TypedDict, total=False):
    """What an alert can be told; ``when`` has to be given."""

    when: AlertCondition | str
    """failure, final_failure, recovery, slow, backlog_age, backlog_size or schedule_missed."""
    task: str | None
    """Only tasks whose names match; ``*`` stands for any letters: ``"mail.*"``."""
    category: str | None
    """Only tasks of this category."""
    level: NotificationLevel | str | None
    """Of the notification; default error for final_failure, info for recovery, else warning."""
    threshold: float | None
    """Seconds for slow and backlog_age, due tasks for backlog_size; for recovery the failed
    attempts before, default 1. The others have none."""
    every: float
    """Seconds, default 300: for so long nothing more is told about the same task name, category
    or schedule. What was left out meanwhile is counted and told at the end."""
    emits: str
    """The category of the notification, default ``alerts``: routes choose by it."""


class AlertBook:
    """The alerts of one queue, in this process or through the one that owns the file."""

    def __init__(self, queue: TaskQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    @names_options(AlertOptions)
    async def add(self, name: str, **options: Unpack[AlertOptions]) -> AlertRule:
        """Add an alert, or change the one of this name.

        Raises:
            InvalidCallError: a value can't be what it has to be.
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        given: dict[str, Any] = {"name": check_label(name, "the name of an alert"), **options}
        given.pop("seen", None)
        rule = _rule(given)
        rules = await self._rules()
        if rule.when is AlertCondition.SCHEDULE_MISSED:  # what is missed from now on
            infos = await self._queue.schedules.list()
            seen = {info.name: info.missed for info in infos if info.missed}
            rule = rule.model_copy(update={"seen": seen})
        await rules.save([self._row(rule)])
        return rule

    async def keep(self, changed: list[AlertRule]) -> None:
        """Store what alerts have told, unless they were changed or removed meanwhile.

        Raises:
            StorageError: nothing has changed.
        """
        known = {rule.name: rule for rule in await self.all()}
        still = [
            rule
            for rule in changed
            if rule.name in known
            and known[rule.name].model_copy(update={"seen": rule.seen}) == rule
        ]
        if still:
            await (await self._rules()).save([self._row(rule) for rule in still])

    async def remove(self, name: str) -> bool:
        """Remove an alert; whether there was one.

        Raises:
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        label = check_label(name, "the name of an alert")
        return bool(await (await self._rules()).delete(RuleKind.ALERT, [label]))

    async def all(self) -> list[AlertRule]:
        """Return all alerts, by name; empty if the queue is switched off."""
        backend = await inside(self._queue).reader()
        if backend is None:
            return []
        rows = await backend.rules.all(RuleKind.ALERT)
        return [AlertRule.model_validate_json(row.value) for row in rows]

    async def _rules(self) -> RuleBackend:
        return (await inside(self._queue).writer()).rules

    def _row(self, rule: AlertRule) -> Rule:
        return Rule(RuleKind.ALERT, rule.name, rule.model_dump_json(), self._clock.now())


def _rule(given: dict[str, Any]) -> AlertRule:
    try:
        return AlertRule(**given)
    except ValidationError as error:
        raise InvalidCallError(
            f"Alert {given['name']!r} can't be added: {_told(error)}. Right is, for example: "
            "when='final_failure', task='mail.*', level='error', every=300."
        ) from None


def _told(error: ValidationError) -> str:
    """Return what is wrong, and with which values: who reads it has given them."""
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        reason = item["msg"].removeprefix("Value error, ")
        names = [str(part) for part in item["loc"]]
        value = f", not {shown(item['input'])}" if names else ""
        lines.append(": ".join([*names, f"{reason}{value}"]))
    return "; ".join(lines)
