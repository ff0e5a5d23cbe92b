"""How the reasons of a status group what is live, and speak of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from wopr.domain.facts import Live
from wopr.domain.spoken import age, local

MOST_TIMES = 100
"""So many missed times are told to programs; all are counted."""


def grouped(live: Iterable[Live], key: Callable[[Live], str]) -> list[tuple[str, list[Live]]]:
    """Return what is live by a key of it, in order of the keys."""
    found: dict[str, list[Live]] = {}
    for one in live:
        found.setdefault(key(one), []).append(one)
    return sorted(found.items())


def due_of(live: Iterable[Live]) -> int:
    """Return how many tasks are due."""
    return sum(one.due for one in live)


def since_of(live: Iterable[Live]) -> datetime | None:
    """Return since when the oldest of them could start, if that is known."""
    return min((one.since for one in live if one.since is not None), default=None)


def since_when(since: datetime | None, now: datetime) -> str:
    """Say since when, and for how long."""
    if since is None:
        return ""
    return f", since {local(since)} ({age((now - since).total_seconds())})"


def aware(moment: datetime | None) -> datetime | None:
    """Return a moment with its zone."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def plain(times: Iterable[datetime]) -> list[str]:
    """Return moments as programs read them."""
    return [one.isoformat() for one in times][:MOST_TIMES]
