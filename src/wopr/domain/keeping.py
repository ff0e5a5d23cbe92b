"""How long tasks that have ended are kept, and what becomes of them then. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from wopr.domain.spoken import age
from wopr.domain.status import TERMINAL, TaskStatus

FOREVER = "forever"
LONGEST = timedelta(days=100_000)
_EPOCH = datetime.fromordinal(date(1970, 1, 1).toordinal())
_RULE = re.compile(r"(\d{1,6}) ?(min|h|d|w)(?: (archive|delete))?", re.ASCII)
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """Which tasks that have ended; times are naive UTC."""

    before: datetime
    """Those that ended then or earlier."""
    statuses: frozenset[TaskStatus] = TERMINAL
    category: str | None = None
    other_than: tuple[str, ...] = ()
    """Not of these categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long tasks of one status are kept, in one category or in all that have no rule."""

    status: TaskStatus
    age: timedelta
    archived: bool
    """Whether they are archived then, or only deleted."""
    category: str | None = None
    other_than: tuple[str, ...] = ()

    def old(self, now: datetime) -> Old:
        """Return which tasks have been kept long enough.

        By whole days, or hours where they are kept for less than a day: what leaves together
        lies together in few files, and is one act.
        """
        step = timedelta(days=1) if self.age >= timedelta(days=1) else timedelta(hours=1)
        until = now - min(self.age, now - _EPOCH)
        until -= (until - _EPOCH) % step
        return Old(
            before=until,
            statuses=frozenset({self.status}),
            category=self.category,
            other_than=self.other_than,
        )

    def __str__(self) -> str:
        where = "" if self.category is None else f" of {self.category!r}"
        then = "archived" if self.archived else "deleted"
        days, rest = divmod(self.age, timedelta(days=1))
        kept = age(self.age.total_seconds()) if rest else f"{days:,} d"
        return f"{self.status.value}{where} {kept}, then {then}"


def check_rule(text: str) -> str:
    """Return a rule as it is, if it is one.

    Raises:
        ValueError: it is none.
    """
    found = _RULE.fullmatch(text)
    if text != FOREVER and (not found or int(found[1]) * _UNITS[found[2]] > LONGEST):
        raise ValueError(
            "how long to keep is a number of min, h, d or w, and perhaps what is done then, as in "
            "30d, 12h delete or 52w archive; or forever"
        )
    return text


def retentions(
    general: Mapping[TaskStatus, str | None],
    categories: Mapping[str, Mapping[TaskStatus, str]],
    *,
    archive: bool,
) -> Iterator[Retention]:
    """Yield what checked rules come to: those of a category count there instead of the general.

    Args:
        general: a rule by status.
        categories: the same by category.
        archive: whether there is an archive: then what has no word for it is archived.
    """
    for status in sorted(general):
        own = {name: rules[status] for name, rules in categories.items() if status in rules}
        for category, text in own.items():
            yield from _retention(status, text, archive=archive, category=category)
        yield from _retention(
            status, general[status] or FOREVER, archive=archive, other_than=tuple(sorted(own))
        )


def _retention(
    status: TaskStatus,
    text: str,
    *,
    archive: bool,
    category: str | None = None,
    other_than: tuple[str, ...] = (),
) -> Iterator[Retention]:
    found = _RULE.fullmatch(text)
    if found is not None:
        yield Retention(
            status=status,
            age=int(found[1]) * _UNITS[found[2]],
            archived=archive if found[3] is None else found[3] == "archive",
            category=category,
            other_than=other_than,
        )
