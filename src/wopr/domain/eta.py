"""When a backlog will be done: a decision about measured rates. Pure.

What can be done is bounded by the workers: so many, each at the pace of the last hour; or by a
limit. What was done is measured. The truth is between the two, and so is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from statistics import median

from wopr.domain.spoken import age, counted, local

FOREVER = timedelta(days=3650)
HALF = 0.5
"""Workers that were idle before do at least so large a part of what they can."""
BUSY = 0.2
"""Who did less than this part of what can be done was idle, or has just begun."""


class EtaReason(str, Enum):
    """Why an estimate is as it is. The values are what is told."""

    DONE = "done"
    """Nothing is left."""
    FLOWING = "flowing"
    DELAYED = "delayed"
    """The last task is not due before."""
    PAUSED = "paused"
    NO_WORKERS = "no workers"
    GROWING = "arrivals faster than work"
    UNKNOWN = "no rate yet"
    """No task of its category has ended in the last hour."""

    __str__ = str.__str__


NEVER = frozenset({EtaReason.PAUSED, EtaReason.NO_WORKERS, EtaReason.GROWING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is known of the tasks that are left in one category. Rates are per second."""

    category: str
    left: int
    """So many wait."""
    running: int = 0
    blocked: int = 0
    """So many of those that wait do so for other tasks."""
    ahead: int = 0
    """So many other tasks of the category start before the last of them."""
    last_due: datetime | None = None
    """When the last of those becomes due that are not; aware."""
    workers: int = 0
    at_once: int | None = None
    """So many may run at once by a limit."""
    rate_limit: float | None = None
    """So many may start in a second by a limit."""
    paused: str | None = None
    """Since when and why; ``None``: it is not."""
    run_seconds: float | None = None
    """How long a task ran on average in the last hour."""
    done: float = 0.0
    """So many ended in a second of the last ten minutes."""
    arrivals: float = 0.0
    """So many come in a second, usually: see :func:`usual`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When the tasks of one category will be done. Times are aware, in UTC."""

    category: str
    left: int
    reason: EtaReason
    text: str
    at: datetime | None = None
    """Probably then; ``None``: never, or it can't be told."""
    earliest: datetime | None = None
    latest: datetime | None = None
    """``None``: it may take for ever, if it goes on as in the last ten minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eta:
    """When all of a selection will be done: the latest of its categories."""

    moment: datetime
    left: int
    reason: EtaReason
    text: str
    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    categories: tuple[Estimate, ...] = ()

    def __str__(self) -> str:
        return self.text


def usual(by_minute: Sequence[int]) -> float:
    """Return how many usually arrive in a second, by the counts of the last minutes, in order.

    Medians: what was enqueued at once is the backlog itself, and does not go on.
    """
    if not by_minute:
        return 0.0
    return max(median(by_minute), median(by_minute[-10:])) / 60


def estimate(work: Work, now: datetime) -> Estimate:
    """Return when the tasks of one category will be done."""
    if not work.left and not work.running:
        return _said(work, EtaReason.DONE, "nothing is left", now, now, now)
    if work.left and work.paused is not None:
        return _said(work, EtaReason.PAUSED, f"never, for it is paused {work.paused}")
    if not work.workers:
        return _said(work, EtaReason.NO_WORKERS, "never, for nobody works on it")
    if work.run_seconds is None and not work.done:
        why = "no task of it has ended in the last hour, so there is no rate to go by"
        return _said(work, EtaReason.UNKNOWN, why)
    fast, slow = _speeds(work)
    if work.left and work.arrivals >= fast:
        more = f"{work.arrivals * 60:.3g} tasks arrive in a minute"
        why = f"never, for {more}, and no more than {fast * 60:.3g} can be done"
        return _said(work, EtaReason.GROWING, why)
    return _between(work, now, fast, slow)


def _speeds(work: Work) -> tuple[float, float]:
    """Return how many tasks can be done in a second, and how many are."""
    seconds = work.run_seconds
    if not seconds:
        return work.done, work.done
    slots = min(work.workers, work.at_once or work.workers)
    fast = slots / seconds
    if work.rate_limit is not None:
        fast = min(fast, work.rate_limit)
    fast = max(fast, work.done)
    busy = work.done >= BUSY * fast
    return fast, work.done if busy else HALF * fast


def _between(work: Work, now: datetime, fast: float, slow: float) -> Estimate:
    tail = timedelta(seconds=work.run_seconds or 0.0)  # the last one runs, too
    tasks = work.left + work.ahead
    floor = max(work.last_due or now, now) + tail
    earliest = max(_after(now, tasks / fast) + tail, floor)
    likely = max(_after(now, tasks / (fast * slow) ** 0.5) + tail, floor)
    net = slow - work.arrivals
    latest = max(_after(now, tasks / net) + tail, floor) if net > 0 or not tasks else None
    if latest is not None:
        latest = max(latest, likely)
    reason = EtaReason.DELAYED if likely == floor and work.last_due else EtaReason.FLOWING
    said = f"in {age((likely - now).total_seconds())}, {about(likely, earliest, latest)}"
    if work.blocked:
        said += f"; {counted(work.blocked, 'task')} of it wait for others first"
    return _said(work, reason, said, likely, earliest, latest)


def _after(now: datetime, seconds: float) -> datetime:
    return now + min(timedelta(seconds=min(seconds, 1e11)), FOREVER)


def _said(
    work: Work,
    reason: EtaReason,
    text: str,
    at: datetime | None = None,
    earliest: datetime | None = None,
    latest: datetime | None = None,
) -> Estimate:
    return Estimate(
        category=work.category,
        left=work.left + work.running,
        reason=reason,
        text=f"{work.category}: {counted(work.left + work.running, 'task')} left, {text}.",
        at=at,
        earliest=earliest,
        latest=latest,
    )


def about(likely: datetime, earliest: datetime | None, latest: datetime | None) -> str:
    """Return when it will be, and between which moments, where those are others as it is told."""
    said = []
    if earliest is not None and local(earliest) != local(likely):
        said.append(f"earliest {local(earliest)}")
    if latest is None:
        said.append("latest open")
    elif local(latest) != local(likely):
        said.append(f"latest {local(latest)}")
    return f"about {local(likely)}" + (f" ({', '.join(said)})" if said else "")


def altogether(parts: Sequence[Estimate], now: datetime) -> Eta:
    """Return when all of them will be done: when the last one is, or never if one never is."""
    left = sum(one.left for one in parts)
    if not left:
        text = "Nothing is left to be done."
        return Eta(
            moment=now, left=0, reason=EtaReason.DONE, text=text, at=now, earliest=now, latest=now
        )
    live = [one for one in parts if one.left]
    worst = max(live, key=lambda one: (one.at is None, one.at or now))
    ends = [one.latest for one in live]
    starts = [one.earliest for one in live if one.earliest is not None]
    known = [one for one in ends if one is not None]
    return Eta(
        moment=now,
        left=left,
        reason=worst.reason,
        text=" ".join(one.text for one in sorted(live, key=lambda one: one is not worst)),
        at=worst.at,
        earliest=max(starts) if worst.at is not None else None,
        latest=max(known) if worst.at is not None and len(known) == len(ends) else None,
        categories=tuple(live),
    )
