"""What a queue did over time: ``queue.series(…)``."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from wopr.core.core import Core
from wopr.core.past import Past
from wopr.domain.checks import check_label, check_moment, check_seconds
from wopr.domain.errors import InvalidCallError, QueryError
from wopr.domain.guarded import shown
from wopr.domain.spoken import counted, local
from wopr.domain.status import CLAIMABLE, TERMINAL
from wopr.insights import seriesqueries
from wopr.ports.cut import why_cut
from wopr.ports.series import Point, Resolution, Series, TimeSeries
from wopr.ports.storage import QueryLimits

WEEK = timedelta(days=7)
SPANS = {Resolution.MINUTE: 3_600.0, Resolution.HOUR: 86_400.0, Resolution.DAY: 14 * 86_400.0}
"""So many seconds a series goes back, unless it is said."""
MOST_STEPS = 1_500
MOST_PARTS = 50
"""So many categories or names, those with the most tasks."""
EXACT_UP_TO = 400_000
"""Of more tasks than these the percentiles are about right,"""
SAMPLED = 200_000
"""and of about so many of them, if it is asked about all together."""
MOST_ROWS = 1_000_000
TIMES = ("wait_p50", "wait_p95", "run_p50", "run_p95")

_MICROSECONDS = 1_000_000
_TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the file holds times
_WAITING = frozenset(one.value for one in CLAIMABLE)
_ENDED = frozenset(one.value for one in TERMINAL)

Several = str | Iterable[str]
Split = Literal["category", "name"]
Key = tuple[str | None, int]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a series is about. Times are naive UTC, at the beginning of a step."""

    by: Resolution
    since: datetime
    until: datetime
    category: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    split: Split | None = None

    @property
    def steps(self) -> range:
        """The numbers of its steps, counted from 1970."""
        seconds = self.by.seconds
        first = int((self.since - _EPOCH).total_seconds() // seconds)
        last = int(-(-(self.until - _EPOCH).total_seconds() // seconds))
        return range(first, last)

    def shifted(self, by: timedelta) -> Asked:
        """Return the same, so much earlier."""
        return replace(self, since=self.since - by, until=self.until - by)

    def only(self, parts: Sequence[str]) -> Asked:
        """Return the same of some of its series."""
        if self.split == "category":
            return replace(self, category=tuple(parts))
        return replace(self, name=tuple(parts))

    @property
    def params(self) -> tuple[Any, ...]:
        """What the questions about it are given."""
        width = self.by.seconds * _MICROSECONDS
        of = (list(self.category) or None, list(self.name) or None, self.split)
        return (self.since, self.until, width, *of)

    def part(self, category: str, name: str) -> str | None:
        """Return of which series a task of this category and name is."""
        return {"category": category, "name": name, None: None}[self.split]

    def about(self, category: str, name: str) -> bool:
        """Whether tasks of this category and name are counted."""
        return (not self.category or category in self.category) and (
            not self.name or name in self.name
        )


@dataclass(slots=True)
class Told:
    """What was answered, by series and step."""

    waiting: dict[str | None, int] = field(default_factory=lambda: defaultdict(int))
    """When the first step begins."""
    moves: dict[Key, list[tuple[str | None, str, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    times: dict[Key, dict[str, float | None]] = field(default_factory=dict)
    ages: dict[Key, float] = field(default_factory=dict)
    about: bool = False
    """Whether percentiles are about right."""
    each: int = 1
    """Of one in so many tasks they are."""
    log_kept: bool = False
    """Whether the log has tasks that were deleted."""

    def parts(self) -> dict[str | None, int]:
        """Return the series that there are, each with how much was heard of it."""
        found: dict[str | None, int] = defaultdict(int)
        for part, count in self.waiting.items():
            found[part] += count
        for (part, _), moves in self.moves.items():
            found[part] += sum(count for _, _, count in moves)
        return found


def points(asked: Asked, told: Told, part: str | None) -> Iterator[Point]:
    """Yield the points of one series. Pure."""
    waiting = told.waiting.get(part, 0)
    for step in asked.steps:
        counts: dict[str, int] = defaultdict(int)
        for before, after, count in told.moves.get((part, step), ()):
            waiting += ((after in _WAITING) - (before in _WAITING)) * count
            counts[_what(before, after)] += count
        ended = counts["succeeded"] + counts["failed"]
        yield Point(
            at=(_EPOCH + timedelta(seconds=step * asked.by.seconds)).replace(tzinfo=UTC),
            arrivals=counts["arrivals"],
            starts=counts["starts"],
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            retried=counts["retried"],
            cancelled=counts["cancelled"],
            success_rate=counts["succeeded"] / ended if ended else None,
            backlog=waiting,
            backlog_age=told.ages.get((part, step)) if waiting else None,
            **told.times.get((part, step), {}),
        )


def _what(before: str | None, after: str) -> str:
    """Return what a move is counted as; nothing that is told, if it is a change of place."""
    if before is None:
        return "arrivals"
    if before in _ENDED:
        return "renewed"
    return {
        "started": "starts",
        "success": "succeeded",
        "failed": "failed",
        "cancelled": "cancelled",
        "retry": "retried" if before == "started" else "changed",
    }.get(after, "returned")


async def series_of(core: Core, asked: Asked, *, compare: bool) -> TimeSeries:
    """Return what happened, and with ``compare`` what had seven days before."""
    asked, left_out = await _busiest(core, asked, compare=compare)
    earlier = asked.shifted(WEEK)
    if compare:
        told, before = await asyncio.gather(_told(core, asked), _told(core, earlier))
    else:
        told, before = await _told(core, asked), Told()
    found = told.parts()
    for part in before.parts():
        found.setdefault(part, 0)
    if asked.split is None:
        found = {None: 0}
    parts = sorted(found, key=lambda one: (-found[one], one or ""))
    series = []
    for part in parts[:MOST_PARTS]:
        await asyncio.sleep(0)  # the points of one take milliseconds
        week = tuple(points(earlier, before, part)) if compare else ()
        series.append(Series(part=part, points=tuple(points(asked, told, part)), week_before=week))
    return TimeSeries(
        by=asked.by,
        since=asked.since.replace(tzinfo=UTC),
        until=asked.until.replace(tzinfo=UTC),
        series=tuple(series),
        approximate=("backlog_age", *(TIMES if told.about else ())),
        left_out=left_out + max(0, len(parts) - MOST_PARTS),
        notes=_notes(told),
    )


async def _busiest(core: Core, asked: Asked, *, compare: bool) -> tuple[Asked, int]:
    """Return what is asked of the categories or names with the most tasks, and how many more."""
    if asked.split is None:
        return asked, 0
    tasks = Counter[str]()
    for span in (asked, asked.shifted(WEEK)) if compare else (asked,):
        tasks.update(dict(await _ask(core, seriesqueries.PARTS, *span.params)))
    if len(tasks) <= MOST_PARTS:
        return asked, 0
    chosen = asked.only([part for part, _ in tasks.most_common(MOST_PARTS)])
    return chosen, len(tasks) - MOST_PARTS


def _notes(told: Told) -> tuple[str, ...]:
    said = [
        "backlog_age is of tasks that depend on no others and had not started once.",
        "wait_p50 and wait_p95 are of such tasks that started at their first attempt.",
    ]
    if told.log_kept:
        said.append(
            "Tasks were deleted and their log was kept (cleanup with keep_history): what they did "
            "is counted here, and in no single category or name."
        )
    if told.about:
        of = f", those of one task in {told.each:,}" if told.each > 1 else ""
        said.append(
            f"More than {counted(EXACT_UP_TO, 'task')} ended in this span, so that percentiles of "
            f"waits and runs are about right{of}: for exact ones ask for a shorter one."
        )
    return tuple(said)


async def _told(core: Core, asked: Asked) -> Told:
    """Return what is known."""
    told = Told()
    params = asked.params
    span = params[:3]
    begin = asked.since - _TICK
    for category, name, count in await Past(core, begin).waiting():
        if asked.about(category, name):
            told.waiting[asked.part(category, name)] += count
    if any(params[3:]):
        rows = await _ask(core, seriesqueries.MOVES_OF, *params)
    else:
        rows = await _ask(core, seriesqueries.MOVES, *span)
        kept = await _ask(core, seriesqueries.LOG_KEPT)
        told.log_kept = bool(kept and kept[0][0])
    if told.log_kept:
        [(count,)] = await _ask(core, seriesqueries.LEFT_IN_LOG, begin)
        told.waiting[None] += int(count)
    for step, part, before, after, count in rows:
        told.moves[part, step].append((before, after, count))
    ended = await _ask(core, seriesqueries.ENDED, *span)
    count = ended[0][0] if ended else 0
    told.about = count > EXACT_UP_TO
    question, each = seriesqueries.TIMES, 1
    if told.about and any(params[3:]):
        question = seriesqueries.TIMES_ABOUT
    elif told.about:
        told.each = each = max(1, count // SAMPLED)
    for step, part, waits, runs in await _ask(core, question, *params, each):
        values = [*(waits or (None, None)), *(runs or (None, None))]
        told.times[part, step] = dict(zip(TIMES, values, strict=True))
    for step, part, age in await _ask(core, seriesqueries.AGES, *params):
        told.ages[part, step] = age
    return told


async def _ask(core: Core, question: str, *params: Any) -> list[Row]:
    settings = core.settings
    limits = QueryLimits(settings.query_seconds, MOST_ROWS, archive=settings.archive)
    answer = await core.ask(lambda backend: backend.sql(question, params, limits), None)
    if answer is not None and answer.cut is not None:
        raise QueryError(
            f"{why_cut(answer.cut, len(answer))} Counts of a part would be too low, so nothing is "
            "told. Ask for a shorter span, for longer steps, by category instead of name, or for "
            "some names only."
        )
    return [] if answer is None else list(answer.rows)


def asked_of(
    now: datetime,
    by: object,
    since: object,
    until: object,
    category: Several | None,
    name: Several | None,
    split: object,
) -> Asked:
    """Return what a call asks for, checked.

    Raises:
        InvalidCallError: a value can't be what it has to be, or there are too many steps.
    """
    step = _step(by)
    if split not in (None, "category", "name"):
        raise InvalidCallError(f"split must be None, 'category' or 'name', not {shown(split)}.")
    end = now + _TICK if until is None else _moment(until, "until", now)  # with what is now
    begin = end - timedelta(seconds=SPANS[step])
    if since is not None:
        begin = _moment(since, "since", now)
    if begin < _EPOCH:
        raise InvalidCallError(f"since={local(begin)} is before 1970, when there was no queue.")
    if begin >= end:
        raise InvalidCallError(
            f"since={local(begin)} is not before until={local(end)}, so there is nothing between."
        )
    asked = Asked(
        by=step,
        since=_begun(begin, step),
        until=end,
        category=_labels(category, "category"),
        name=_labels(name, "name"),
        split=split,
    )
    if len(asked.steps) > MOST_STEPS:
        raise InvalidCallError(
            f"From {local(begin)} to {local(end)} there are {len(asked.steps):,} steps of a "
            f"{step.value}, and a series has {MOST_STEPS:,} at most. Ask for a shorter span, or "
            "for longer steps: by='hour', by='day'."
        )
    return asked


def _step(by: object) -> Resolution:
    try:
        return Resolution(by)
    except ValueError:
        raise InvalidCallError(f"by must be minute, hour or day, not {shown(by)}.") from None


def _begun(moment: datetime, step: Resolution) -> datetime:
    since = int((moment - _EPOCH).total_seconds() // step.seconds)
    return _EPOCH + timedelta(seconds=since * step.seconds)


def _moment(value: object, what: str, now: datetime) -> datetime:
    if isinstance(value, datetime):
        return check_moment(value, what)
    return now - timedelta(seconds=check_seconds(value, what, zero="allow"))


def _labels(value: Several | None, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(check_label(one, what) for one in values)
