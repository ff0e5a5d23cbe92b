"""Rules and log lines of a storage that has no tables for them: kept while the process lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from wopr.domain.logline import LogLine
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.status import CLAIMABLE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.storage.seed.schedules import SeedSchedules

MAX_LINES = 100_000
"""The oldest log lines beyond that are forgotten."""


class SeedRules(SeedSchedules):
    """Keeps rules and log lines in memory, and finds what limits ask for."""

    def __init__(self) -> None:
        super().__init__()
        self._rules: dict[tuple[RuleKind, str], Rule] = {}
        self._lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self._log: list[Transition] = []

    async def rules(self) -> list[Rule]:
        """Return all rules, by kind and name."""
        return [self._rules[key] for key in sorted(self._rules)]

    async def save_rules(self, rules: Sequence[Rule]) -> None:
        """Keep new and changed rules."""
        self._rules |= {(rule.kind, rule.name): rule for rule in rules}

    async def delete_rules(self, keys: Sequence[tuple[RuleKind, str]]) -> None:
        """Forget rules."""
        for key in keys:
            self._rules.pop(key, None)

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Keep lines that tasks logged."""
        self._lines.extend(lines)

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines of a task, in order of attempt and number."""
        found = [line for line in self._lines if line.task_id == task_id]
        return sorted(found, key=lambda line: (line.attempt, line.number))[:limit]

    def _forget_lines(self, task_ids: set[str]) -> None:
        kept = [line for line in self._lines if line.task_id not in task_ids]
        self._lines = deque(kept, maxlen=MAX_LINES)

    async def starts(
        self, category: str, since: datetime, *, skip: int = 0, most_bytes: int | None = None
    ) -> list[tuple[datetime, TaskRecord]]:
        """Return when tasks were claimed: all that this process claimed, of others the newest."""
        moments = {
            (item.occurred_at, item.task_id)
            for item in self._log
            if item.to_status is TaskStatus.STARTED
        }
        moments |= {
            (record.started_at, record.id)
            for record in self._records.values()
            if record.started_at is not None
        }
        found = [
            (moment, record)
            for moment, task_id in sorted(moments)
            if moment >= since
            and (record := self._records.get(task_id)) is not None
            and record.category == category
        ]
        return found[skip:]  # they are in memory anyway

    async def backlog(self, category: str) -> int:
        """Return how many tasks of a category are PENDING or RETRY."""
        return sum(
            record.category == category and record.status in CLAIMABLE
            for record in self._records.values()
        )
