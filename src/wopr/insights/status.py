"""Gather what is known of a queue as a whole, and say whether work flows. Writes nothing."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from wopr.domain import selection
from wopr.domain.clock import naive_now
from wopr.domain.controls import Pause
from wopr.domain.errors import QueryError, QueryTimeoutError, WoprError
from wopr.domain.facts import Behind, Facts, Failing, Held, Live, Reached, Usual
from wopr.domain.missing import expected, may_lack
from wopr.domain.rule import RuleKind
from wopr.domain.standing import View
from wopr.domain.status import LIVE, TaskStatus
from wopr.domain.why import reasons
from wopr.engine.engine import Engine
from wopr.insights import failurequeries, queries
from wopr.insights.before import Before
from wopr.ports.status import Status, headline, state_of
from wopr.ports.storage import QueryLimits, TaskFilter

SECONDS = 5.0
"""So long each question may take; what is not answered by then is told as that."""
GRACE = 1.0
"""So much longer its answer is waited for."""
DAYS = 7
MOST_NAMES = 1_000
MOST_FAILING = 20
MOST_BEFORE = 5_000
"""With so many groups of failures of the days before those of the last hour are compared."""
MOST_LIMITS = 20
MOST_SCHEDULES = 50
"""So many late schedules are looked at for what they missed."""
MOST_WITHOUT_SQL = 10_000


class Schedules(Protocol):
    """The schedules, as far as this module is concerned."""

    async def all(self) -> list[View]:
        """Return all of them, each with what it is doing."""
        ...


class StatusOf:
    """Says how one engine is doing."""

    def __init__(self, engine: Engine, schedules: Schedules) -> None:
        self._engine = engine
        self._schedules = schedules
        self._before = Before()

    async def status(self, *, brief: bool = False) -> Status:
        """Return whether work flows, and why not.

        Args:
            brief: leave out what is compared with the past.
        """
        facts = await self.facts(brief=brief)
        found = reasons(facts)
        counts = {
            "waiting": sum(one.waiting for one in facts.live),
            "due": sum(one.due for one in facts.live),
            "running": sum(one.running for one in facts.live),
            "workers": sum(facts.workers.values()),
        }
        state = state_of(found)
        return Status(
            state=state,
            text=headline(state, **counts),
            reasons=found,
            database=facts.database,
            moment=facts.now.replace(tzinfo=UTC),
            owner=facts.owner,
            kept=self._engine.keeping.told,
            **counts,
        )

    async def facts(self, *, brief: bool = False) -> Facts:
        """Return all that is known, each question for itself: one without an answer stops none."""
        self._engine.look_at_clock()
        gathering = _Gathering(self._engine, self._schedules, self._before)
        return await gathering.facts(brief=brief)


async def compared(
    engine: Engine, schedules: Sequence[View], before: Before
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what is known of the past, as fields of facts, and what could not be found out."""
    gathering = _Gathering(engine, None, before)
    return await gathering.past(schedules), tuple(gathering.unanswered)


class _Gathering:
    """One round of questions."""

    def __init__(self, engine: Engine, schedules: Schedules | None, before: Before) -> None:
        self._engine = engine
        self._storage = engine.shared.storage
        self._schedules = schedules
        self._before = before
        self._now = naive_now(engine.shared.clock)
        self.unanswered: list[str] = []
        self._trouble: str | None = None
        self._sql = True

    async def facts(self, *, brief: bool) -> Facts:
        engine = self._engine
        live = await self._live()
        disk = self._storage.disk()
        known = self._trouble is None
        schedules = await self._asked_schedules() if known else ()
        past = await self.past(schedules) if known and self._sql and not brief else {}
        refusals = engine.shared.refusals
        return Facts(
            now=self._now,
            database="the storage" if disk is None else disk.path,
            owner=os.getpid(),
            stopping=engine.stopping,
            workers={name: len(pool.workers) for name, pool in engine.pools.items()},
            registered=frozenset(engine.shared.registry.definitions),
            unfound=self._unfound(live),
            live=live,
            pauses=tuple(Pause.from_rule(rule) for rule in engine.rules.of(RuleKind.PAUSE)),
            standing_back=self._standing_back(),
            limits=self._limits(live),
            refused=tuple(Held(str(one), tuple(refusals.names(one))) for one in refusals),
            unfit=engine.unfit.counts,
            stuck=self._stuck(),
            schedules=schedules,
            disk=disk,
            behind=self._behind(),
            storage=self._trouble,
            overdue=None if engine.keeping.told is None else engine.keeping.told.trouble,
            unanswered=tuple(self.unanswered),
            **past,
        )

    def _unfound(self, live: Sequence[Live]) -> dict[str, str]:
        registry = self._engine.shared.registry
        names = {one.name for one in live} - registry.definitions.keys()
        return {name: registry.missing(name) for name in names}

    # -- what memory knows -----------------------------------------------------

    def _standing_back(self) -> frozenset[str]:
        if not self._engine.shared.foreground.active:
            return frozenset()
        return frozenset(name for name, pool in self._engine.pools.items() if pool.background)

    def _limits(self, live: Sequence[Live]) -> tuple[Reached, ...]:
        """Return the limits that hold tasks back from workers that are free."""
        now = self._engine.shared.steady.now()
        due = Counter[str]()
        for one in live:
            due[one.category] += one.due
        found = []
        for category, pool in self._engine.pools.items():
            busy = sum(attempt.slot is not None for attempt in pool.running.values())
            if pool.gate is None or busy >= len(pool.workers):
                continue
            for meter, held in pool.gate.reached(now):
                count = due[category] if held is None else held
                limit, value, why = meter.limit, meter.value or None, meter.why(now)
                found.append(Reached(limit.name, category, limit.key, value, count, why))
        return tuple(sorted(found, key=lambda one: -one.held)[:MOST_LIMITS])

    def _stuck(self) -> tuple[tuple[str, str, str], ...]:
        joins = self._engine.joins
        found = []
        for attempt in joins.stuck():
            _, why = joins.told(attempt)
            found.append((attempt.record.id, attempt.record.category, why))
        return tuple(sorted(found))

    def _behind(self) -> Behind | None:
        state = self._storage.journal
        if state is None or not (state.rows or state.trouble):
            return None
        return Behind(state.rows, round(state.seconds, 3), state.trouble)

    # -- what the tables know ----------------------------------------------------

    async def _live(self) -> tuple[Live, ...]:
        try:
            try:
                rows = await self._query(queries.LIVE_BY_NAME, self._now, MOST_NAMES)
            except QueryTimeoutError:
                raise
            except QueryError:
                self._sql = False
                return await self._live_without_sql()
        except (WoprError, TimeoutError) as error:
            self._trouble = _text(error)
            return ()
        return tuple(Live(*row) for row in rows)

    async def _live_without_sql(self) -> tuple[Live, ...]:
        """Count tasks one by one, where nobody can be asked in SQL."""
        found: dict[tuple[str, str], list[Any]] = {}
        async with asyncio.timeout(SECONDS):
            for status in sorted(LIVE):
                query = TaskFilter(status=status, limit=MOST_WITHOUT_SQL)
                for record in await self._storage.find(query):
                    counts = found.setdefault((record.category, record.name), [0, 0, 0, None])
                    began = max(record.created_at, record.run_at or record.created_at)
                    due = status is not TaskStatus.STARTED and not record.waiting
                    due = due and began <= self._now
                    counts[2 if status is TaskStatus.STARTED else 0] += 1
                    counts[1] += due
                    if due:
                        counts[3] = min(counts[3] or began, began)
        return tuple(Live(*key, *counts) for key, counts in sorted(found.items()))

    async def _asked_schedules(self) -> tuple[View, ...]:
        assert self._schedules is not None, "the whole is asked for"
        try:
            async with asyncio.timeout(SECONDS):
                return tuple(await self._schedules.all())
        except (WoprError, TimeoutError) as error:
            self.unanswered.append(f"The schedules could not be read: {_text(error)}")
            return ()

    async def past(self, schedules: Sequence[View]) -> dict[str, Any]:
        """Return what is known of the past."""
        now, week, hour = self._now, timedelta(days=DAYS), timedelta(hours=1)
        first = await self._told("since when there is a history", queries.FIRST_TRANSITION)
        if first is None:
            return {}
        begin = max(now - week, first[0][0] or now)
        usual, before, failing, records, missed = await asyncio.gather(
            self._told_before(
                "how long tasks wait", queries.USUAL_WAITS, begin, now - hour, now.hour
            ),
            self._told_before(
                "what failed before", failurequeries.FAILED_BEFORE, begin, now - hour, MOST_BEFORE
            ),
            self._told("what fails", failurequeries.FAILING, now - hour, now - hour, MOST_FAILING),
            self._told("what the tables lack", queries.REFUSED_RECORDS),
            self._missing(schedules),
        )
        since = begin
        if before and before[0][4] >= selection.MOST_COMPARED:
            since = before[0][5]
        counts = {row[:3]: row[3] for row in before or ()}
        return {
            "usual": {row[0]: Usual(row[1], row[2]) for row in usual or ()},
            "failing": tuple(_failing(row, counts) for row in failing or () if before is not None),
            "days": max((now - hour - since) / timedelta(days=1), hour / timedelta(days=1)),
            "refused_records": records[0][0] if records else 0,
            "missing": missed,
        }

    async def _missing(self, schedules: Sequence[View]) -> dict[str, tuple[datetime, ...]]:
        now = self._now.replace(tzinfo=UTC)
        late = [row for row, _ in schedules if may_lack(row, now)]
        if not late:
            return {}
        gone = await self._told("which tasks were deleted", queries.GONE_UNTIL)
        if gone is None:
            return {}
        until = gone[0][0] and gone[0][0].replace(tzinfo=UTC)
        plans: dict[str, tuple[datetime, ...]] = {}
        for row in late[:MOST_SCHEDULES]:
            if times := expected(row, now, until):
                plans[row.name] = times
            await asyncio.sleep(0)  # a plan may take some milliseconds
        since = [times[0].replace(tzinfo=None) for times in plans.values()]
        rows = await self._told(
            "what schedules missed", queries.SCHEDULED_SINCE, list(plans), since
        )
        if rows is None:
            return {}
        had = {(name, planned.replace(tzinfo=UTC)) for name, planned in rows}
        found = {
            name: tuple(one for one in times if (name, one) not in had)
            for name, times in plans.items()
        }
        return {name: times for name, times in found.items() if times}

    async def _told(self, what: str, sql: str, *params: Any) -> list[tuple[Any, ...]] | None:
        try:
            return await self._query(sql, *params)
        except (WoprError, TimeoutError) as error:
            self.unanswered.append(f"It could not be found out {what}: {_text(error)}")
        return None

    async def _told_before(self, what: str, sql: str, *params: Any) -> list[tuple[Any, ...]] | None:
        return await self._before.rows(sql, self._now, lambda: self._told(what, sql, *params))

    async def _query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        limits = QueryLimits(SECONDS, own=True)
        async with asyncio.timeout(SECONDS + GRACE):
            return (await self._storage.query(sql, params, limits)).rows


def _failing(row: tuple[Any, ...], counts: Mapping[tuple[Any, ...], int]) -> Failing:
    name, error_type, fingerprint, recent, _, since, sample, error = row
    before = counts.get((name, error_type, fingerprint), 0)
    text = " ".join(error.split())
    return Failing(name, error_type, fingerprint, recent, before, since, sample, text)


def _text(error: BaseException) -> str:
    return str(error) or f"there was no answer within {SECONDS + GRACE:g} s"
