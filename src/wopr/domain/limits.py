"""Limits of a category: what a rule says, and whether one more task may start. Pure."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from wopr.domain.checks import check_count, check_label, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.spoken import age, counted


class OnFull(str, Enum):
    """What happens to a call when the backlog of its category is full."""

    WAIT = "wait"
    REFUSE = "refuse"
    DROP_OLDEST = "drop_oldest"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the declaration of a task says about its limit."""

    concurrency: int | None = None
    rate: int | None = None
    per: float | None = None

    def describe(self) -> str:
        """Return what it says about starting, in words."""
        said = []
        if self.concurrency is not None:
            said.append(f"{self.concurrency} at the same time")
        if self.rate is not None:
            said.append(f"{self.rate} per {age(self.per)}")
        return ", ".join(said) or "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is set for a category, for a task or a key inside of it.

    With a ``key``, an expression (JMESPath) over the arguments of a call, ``concurrency`` and
    ``rate`` count for each value of it on its own; a call for which it gives nothing is not
    limited by it. With a ``task``, they count for the tasks of that name only. The other fields
    are of the category as a whole.
    """

    category: str
    task: str | None = None
    """The name of the tasks in the category that it is about; ``None``: all of them."""
    key: str | None = None
    concurrency: int | None = None
    """So many tasks run at most at the same time."""
    rate: int | None = None
    """So many tasks start at most in any span of ``per`` seconds."""
    per: float | None = None
    fair_by: str | None = None
    """An expression: its values take turns."""
    aging: float | None = None
    """A waiting task gains one level of priority every so many seconds."""
    backlog: int | None = None
    """So many tasks wait at most."""
    on_full: OnFull = OnFull.WAIT
    declared: Declared | None = None
    """What the code declares; ``None`` if it declares nothing. What is set counts."""

    @property
    def name(self) -> str:
        """The name of its rule."""
        place = self.category if self.task is None else f"{self.category}//{self.task}"
        return place if self.key is None else f"{place}/{self.key}"

    @property
    def whole(self) -> bool:
        """Whether it is of the category as a whole."""
        return self.key is None and self.task is None

    @property
    def place(self) -> tuple[str, str | None, str | None]:
        """What it is of: a category, a task or a key inside of it."""
        return self.category, self.task, self.key

    @property
    def says(self) -> Declared:
        """What it says about starting."""
        return Declared(concurrency=self.concurrency, rate=self.rate, per=self.per)

    @property
    def differs(self) -> bool:
        """Whether something else was set at run time than the code declares."""
        return self.declared is not None and self.says != self.declared

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        values = (self.concurrency, self.rate, self.fair_by, self.aging, self.backlog)
        return all(value is None for value in values)

    def to_json(self) -> str:
        """Return it as it is stored."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    def changes_to_json(self, names: Iterable[str]) -> str:
        """Return what it is of, and these fields of it; null for what is not limited."""
        values = asdict(self)
        return json.dumps({name: values[name] for name in ("category", "task", "key", *names)})

    @classmethod
    @lru_cache(maxsize=256)  # all are read whenever workers are added
    def from_json(cls, text: str) -> Limit:
        """Return what was stored.

        Raises:
            InvalidCallError: a value can't be what it has to be.
            TypeError: it has no category, or a field that there is not.
        """
        values = json.loads(text)
        given = {name: value for name, value in values.items() if value is not None}
        rate, per = given.pop("rate", None), given.pop("per", None)
        if rate is not None or per is not None:
            given["rate"] = (rate, per)
        fields = check_fields(given)
        limit = cls(**fields)
        return limit if limit.whole else changed(limit, _said(fields))

    def describe(self) -> str:
        """Return what it says about starting, in words."""
        return self.says.describe()

    def words(self) -> str:
        """Return all that it says, in words."""
        if self.empty:
            return "no limits any more"
        started = self.concurrency is not None or self.rate is not None
        said = (
            self.describe() if started else None,
            f"{self.fair_by} takes turns" if self.fair_by else None,
            f"a level of priority per {age(self.aging)}" if self.aging else None,
            f"{self.backlog} wait at most, then {self.on_full.value}" if self.backlog else None,
        )
        return ", ".join(part for part in said if part)


def check_place(new: Limit, stored: Limit | None) -> None:
    """Refuse a limit whose name is that of another one: it would take that one's place.

    Raises:
        InvalidCallError: there is one, of something else.
    """
    if stored is not None and stored.place != new.place:
        raise InvalidCallError(
            f"The limit of {_spoken(new)} and that of {_spoken(stored)} have one name, "
            f"{new.name!r}, and the second is set already. Remove it, or leave the '/' out of "
            "the name of the category or of the key."
        )


def _spoken(limit: Limit) -> str:
    parts = [("category", limit.category), ("task", limit.task), ("key", limit.key)]
    return ", ".join(f"{what} {value!r}" for what, value in parts if value is not None)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(
    r"\s*(\d{1,9})\s*/\s*(\d+(?:\.\d+)?)?\s*"
    r"(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\s*",
    re.IGNORECASE,
)
MOST_STARTS = 100_000
"""A rate remembers this many starts at most, for each value of its key."""


def parse_rate(value: object) -> tuple[int, float]:
    """Return how many starts per how many seconds: ``"100/min"``, ``"5/2s"``, ``(100, 60)``.

    Raises:
        InvalidCallError: it is neither.
    """
    number, seconds = 0, 0.0
    if isinstance(value, str) and (found := _RATE.fullmatch(value)):
        number = int(found[1])
        seconds = float(found[2] or 1) * _UNITS[found[3][0].lower()]
    elif isinstance(value, tuple | list) and len(value) == 2:
        given, per = value
        if type(given) is int and isinstance(per, int | float | timedelta):
            number = given
            seconds = per.total_seconds() if isinstance(per, timedelta) else float(per)
    if not 1 <= number <= MOST_STARTS or not 0.001 <= seconds <= 366 * 86400:
        raise InvalidCallError(
            f"rate must be 1 to {MOST_STARTS:,} starts per period, like '100/minute', '5/2s' or "
            f"(100, 60.0) with seconds, at most a year; not {shown(value)}."
        )
    return number, seconds


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def check_expression(expression: object, what: str) -> str:
    """Return an expression over the arguments of a call, if it is one.

    Raises:
        InvalidCallError: it is not.
    """
    if isinstance(expression, str) and 0 < len(expression) <= 500:
        try:
            _compiled(str.__str__(expression))
        except JMESPathError as error:
            raise InvalidCallError(
                f"{what}={expression!r} is no JMESPath expression: {error}. Name an argument, like "
                "'customer', or a part of one, like 'order.customer.id'."
            ) from None
        return str.__str__(expression)
    raise InvalidCallError(
        f"{what} must be an expression over the arguments, like 'customer' or 'order.customer.id', "
        f"not {shown(expression)}."
    )


def _declared(value: Mapping[str, Any]) -> Declared:
    given = {name: one for name, one in value.items() if one is not None}
    rate, per = given.pop("rate", None), given.pop("per", None)
    fields = check_fields({**given, "rate": None if rate is None else (rate, per)})
    return Declared(**fields)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "category": lambda value: check_label(value, "category"),
    "task": lambda value: check_label(value, "task"),
    "key": lambda value: check_expression(value, "key"),
    "concurrency": lambda value: check_count(value, "concurrency", least=1),
    "fair_by": lambda value: check_expression(value, "fair_by"),
    "aging": lambda value: check_seconds(value, "aging", zero="refuse"),
    "backlog": lambda value: check_count(value, "backlog", least=1),
    "declared": _declared,
}


def check_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a limit, if they can be what was given; ``per`` comes with ``rate``.

    Raises:
        InvalidCallError: one can't.
        TypeError: there is no such field.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name == "on_full":
            fields[name] = _on_full(value)
        elif name == "rate":
            fields["rate"], fields["per"] = (None, None) if value is None else parse_rate(value)
        elif name in _CHECKS:
            fields[name] = None if value is None else _CHECKS[name](value)
        else:
            raise TypeError(f"A limit has no field {shown(name)}")
    return fields


def _on_full(value: object) -> OnFull:
    try:
        return OnFull(value)
    except ValueError:
        names = ", ".join(policy.value for policy in OnFull)
        raise InvalidCallError(f"on_full must be one of {names}, not {shown(value)}.") from None


def key_of(expression: str, arguments: Mapping[str, object]) -> str | None:
    """Return what an expression says about a call, as JSON text; ``None`` if nothing.

    One that fails for these arguments (a function of JMESPath may) says nothing.
    """
    if expression.isidentifier():  # a parameter, usually
        found = arguments.get(expression)
    else:
        try:
            found = _compiled(expression).search(arguments)
        except (JMESPathError, TypeError, ValueError):
            return None
    if found is None:
        return None
    if type(found) is int:
        return str(found)
    return json.dumps(found) if type(found) is str else json.dumps(found, sort_keys=True)


def value_of(limit: Limit, name: str, arguments: Mapping[str, object]) -> str | None:
    """Return which of the counts of a limit a call has its place in; ``None``: in none of them.

    That is a value of its key; without one all tasks of its name are counted together.
    """
    if limit.task is not None and limit.task != name:
        return None
    return "" if limit.key is None else key_of(limit.key, arguments)


class Meter:
    """Counts what runs and what started under one limit, for one value of its key."""

    __slots__ = ("limit", "parked", "running", "starts", "value")

    def __init__(self, limit: Limit, value: str | None = None) -> None:
        self.limit = limit
        self.value = value
        self.running = 0
        self.starts: deque[datetime] = deque()
        self.parked: list[Any] = []
        """What waits for it; the engine's."""

    def next_at(self, now: datetime) -> datetime | None:
        """Return when one more may start: ``now``, later, or ``None`` once one has ended."""
        limit = self.limit
        if limit.concurrency is not None and self.running >= limit.concurrency:
            return None
        if limit.rate is None or len(self.starts) < limit.rate:
            return now
        assert limit.per is not None, "a rate has a period"
        oldest = self.starts[len(self.starts) - limit.rate]
        return max(now, min(oldest, now) + timedelta(seconds=limit.per))

    def start(self, now: datetime) -> None:
        """Count one that starts."""
        self.running += 1
        rate = self.limit.rate
        if rate is not None:
            self.starts.append(now)
            while len(self.starts) > rate:
                self.starts.popleft()

    def take_back(self, at: datetime) -> None:
        """Forget the start of that moment: it came to nothing."""
        self.running -= 1
        if at in self.starts:
            self.starts.remove(at)

    def idle(self, now: datetime) -> bool:
        """Whether it has nothing left to remember."""
        if self.running or self.parked:
            return False
        per = self.limit.per
        return not self.starts or (
            per is not None and self.starts[-1] + timedelta(seconds=per) <= now
        )

    def why(self, now: datetime) -> str:
        """Say why nothing may start, with the numbers."""
        limit = self.limit
        whose = f"'{limit.category}'"
        if limit.task is not None:
            whose += f" named {limit.task}"
        if limit.key is not None:
            whose += f" with {limit.key} = {self.value}"
        if limit.differs and limit.declared is not None:
            whose += f" (set at run time; the code declares {limit.declared.describe()})"
        at = self.next_at(now)
        if at is None:
            most = counted(limit.concurrency or 0, "task")
            return f"{self.running} of at most {most} of {whose} run"
        return (
            f"{counted(limit.rate or 0, 'start')} of {whose} within {age(limit.per)} is the "
            f"most, and so many were made; the next may start in {age((at - now).total_seconds())}"
        )


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without the one that is stored though nobody gave it."""
    return {name: value for name, value in fields.items() if value is not OnFull.WAIT}


def changed(limit: Limit, changes: Mapping[str, Any]) -> Limit:
    """Return the limit with some of its fields changed.

    Raises:
        InvalidCallError: a field of the category was given with a task or a key.
    """
    if not limit.whole and (
        wrong := sorted(changes.keys() & {"fair_by", "aging", "backlog", "on_full"})
    ):
        part, left_out = ("each key", "key=") if limit.task is None else ("one task", "task=")
        raise InvalidCallError(
            f"{', '.join(wrong)} can't be set for {part}: they are of the category as a whole. "
            f"Set them without {left_out}: set_limit({limit.category!r}, {wrong[0]}=…)."
        )
    return replace(limit, **changes)
