"""``wopr demo --history``: a week of a shop's queue, made up in seconds: something for every page.

Nothing is put into tables here: each transition goes to the storage as an engine hands it over,
through the journal, so the file is one that a queue could have written.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wopr.calls.schedules import ScheduleMaker
from wopr.config.settings import Settings
from wopr.demo import shop
from wopr.demo.ledger import Ledger
from wopr.demo.plot import Plot
from wopr.demo.week import Week
from wopr.domain.alertrule import AlertCondition, AlertRule
from wopr.domain.clock import SystemClock
from wopr.domain.limits import Limit
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.status import TaskStatus
from wopr.handlers.include import tasks_of
from wopr.queue.queue import TaskQueue, inside
from wopr.storage import open_storage

TASKS = 50_000
DAYS = 7
SEED = 1


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    tasks: int
    transitions: int
    acts: int
    begin: datetime
    end: datetime


async def write_history(
    database: Path,
    *,
    tasks: int = TASKS,
    days: int = DAYS,
    seed: int = SEED,
    now: datetime | None = None,
) -> Written:
    """Fill a new file with the history of a shop; the same one for the same seed and moment.

    Args:
        database: the file; nobody has it open.
        tasks: about so many.
        days: so long before ``now`` it begins.
        seed: of all that is made up.
        now: an aware moment at which it ends, with tasks that run; ``None``: this one.

    Raises:
        StorageError: it could not be written.
    """
    end = (now or SystemClock().now()).astimezone(UTC).replace(tzinfo=None)
    begin = end - timedelta(days=days)
    storage = open_storage(database, Settings())
    await storage.open()
    try:
        ledger = Ledger(storage)
        week = Week(ledger, random.Random(seed), begin)
        rows = list(_schedules(database, begin))
        plot = Plot(week, end, days, tasks, rows)
        for _ in week.until(end):
            await ledger.settle()
            await asyncio.sleep(0)
        _progress(week, end)
        await ledger.finish()
        await storage.save_schedules(rows)
        await storage.save_rules([*_rules(begin), *(one.to_rule() for one in plot.pauses.values())])
    finally:
        await storage.close()
    return Written(
        ledger.tasks,
        ledger.transitions,
        len(ledger.acts),
        begin.replace(tzinfo=UTC),
        end.replace(tzinfo=UTC),
    )


def _schedules(database: Path, begin: datetime) -> Iterator[Schedule]:
    """Yield the rows of the schedules that the shop declares, as of its first start."""
    core = inside(TaskQueue(enabled=True, database=database, tasks=[shop]))
    maker, now = ScheduleMaker(core.registry, core.clock, None), begin.replace(tzinfo=UTC)
    for task, declared in tasks_of(shop):
        for name, options in declared.schedules:
            row = maker.new(name, task.name, options, origin="code")
            row.created_at = row.updated_at = now
            row.plan(now)
            yield row


def _progress(week: Week, end: datetime) -> None:
    """Let what runs at the end say how far it is."""
    for record in week.live.values():
        if record.status is TaskStatus.STARTED and record.started_at is not None:
            seconds = (end - record.started_at).total_seconds()
            percent = min(95.0, 4.0 + seconds)
            week.ledger.progress(record, percent, f"part {int(percent / 5)} of {shop.STEPS}")


def _rules(begin: datetime) -> Iterator[Rule]:
    """Yield what was set at run time: limits and alerts."""
    since = (begin + timedelta(hours=3)).replace(tzinfo=UTC)
    limits = (
        Limit(category="mail", rate=600, per=60.0),
        Limit(category="imports", concurrency=1),
        Limit(category="images", backlog=5_000),
    )
    for limit in limits:
        yield Rule(RuleKind.LIMIT, limit.name, limit.to_json(), since)
    alerts = (
        AlertRule(
            name="payments fail",
            when=AlertCondition.FINAL_FAILURE,
            task="payments.charge",
            every=3_600,
        ),
        AlertRule(
            name="imports fail",
            when=AlertCondition.FINAL_FAILURE,
            category="imports",
            every=3_600,
        ),
        AlertRule(
            name="mail waits", when=AlertCondition.BACKLOG_AGE, category="mail", threshold=600
        ),
        AlertRule(name="missed", when=AlertCondition.SCHEDULE_MISSED),
    )
    for alert in alerts:
        yield Rule(RuleKind.ALERT, alert.name, alert.model_dump_json(), since)
