"""Which tasks a verb is about: one language for Python, the command line and the socket. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from wopr.domain.checks import check_label, check_moment, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import shown
from wopr.domain.snapshot import decode_options
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord

MOST_VALUES = 1_000
"""So many names, categories or statuses one selection has at most."""
MOST_IDS = 10_000
MOST_FAILURES = 50_000
"""So many failures are put in groups, the newest: of more it would take seconds."""
MOST_COMPARED = 10_000
"""With so many of the days before, the newest, those of the last hour are compared."""
LONGEST_ERROR = 64 * 1024
LONGEST_CONDITION = 64 * 1024

_PREFIX = re.compile(r"[0-9a-f]{1,32}").fullmatch
SAME = (
    (re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII), "<uuid>"),
    (
        re.compile(
            r"0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b", re.ASCII
        ),
        "<hex>",
    ),
    (re.compile(r"[0-9]+", re.ASCII), "<n>"),
)
"""What the view ``failures`` puts in the place of what differs between failures of one kind."""


def fingerprint(error: str) -> str:
    """Return the text of an error without its numbers, as the view ``failures`` shows it."""
    for pattern, instead in SAME:
        error = pattern.sub(instead, error)
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which tasks: all conditions that are given hold. Of several values one is enough.

    Times are naive UTC. ``ids`` of ``None`` are no condition; those that it has may be prefixes.
    """

    name: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    status: tuple[TaskStatus, ...] = ()
    since: datetime | None = None
    """Enqueued then or later."""
    until: datetime | None = None
    """Enqueued before that."""
    flow: str | None = None
    schedule: str | None = None
    tag: str | None = None
    error: str | None = None
    """What its newest failure says, without the numbers: see :func:`fingerprint`."""
    where: str | None = None
    """A condition in SQL over the columns of ``tasks``."""
    ids: tuple[str, ...] | None = None

    @property
    def everything(self) -> bool:
        """Whether it has no condition at all."""
        return self == Selection()

    def to_json(self) -> str:
        """Return what is asked for, as it is shown and stored; without what is not."""
        found: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or value == ():
                continue
            if isinstance(value, datetime):
                value = value.replace(tzinfo=UTC).isoformat()
            elif isinstance(value, tuple):
                value = [str(one) for one in value]
                if item.name != "ids" and len(value) == 1:
                    [value] = value
            found[item.name] = value
        return json.dumps(found, ensure_ascii=False)


def select(given: Mapping[str, Any], now: datetime) -> Selection:
    """Return the selection of what a call gave, checked; ``None`` values are not given.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    found = {name: _CHECKS[name](value, now) for name, value in given.items() if value is not None}
    selection = Selection(**found)
    if selection.since and selection.until and selection.since >= selection.until:
        raise InvalidCallError(
            f"since={shown(given['since'])} is not before until={shown(given['until'])}, so no "
            "task can have been enqueued in between."
        )
    return selection


def _labels(what: str) -> Callable[[Any, datetime], tuple[str, ...]]:
    def check(value: Any, now: datetime) -> tuple[str, ...]:
        return tuple(check_label(one, what) for one in _several(value, what, MOST_VALUES))

    return check


def _label(what: str, longest: int = 200) -> Callable[[Any, datetime], str]:
    return lambda value, now: check_label(value, what, longest=longest)


def _several(value: Any, what: str, most: int) -> list[Any]:
    """Return one value or several as a list."""
    if isinstance(value, str):
        return [value]
    try:
        found = list(value) if isinstance(value, Iterable) else [value]
    except Exception as error:
        raise InvalidCallError(f"{what} can't be read: {shown(value)}") from error
    if not found or len(found) > most:
        raise InvalidCallError(
            f"{what} takes one value, or a list of 1 to {most:,}; this one has {len(found):,}."
        )
    return found


def _statuses(value: Any, now: datetime) -> tuple[TaskStatus, ...]:
    return tuple(check_status(one) for one in _several(value, "status", MOST_VALUES))


def check_status(value: object) -> TaskStatus:
    """Return a status, given as such or as its text.

    Raises:
        InvalidCallError: there is no such status.
    """
    try:
        if isinstance(value, str):
            return TaskStatus(str.__str__(value))
    except ValueError:
        pass
    names = ", ".join(status.value for status in TaskStatus)
    raise InvalidCallError(f"status must be one of {names}, not {shown(value)}.")


def _moment(what: str) -> Callable[[Any, datetime], datetime]:
    def check(value: Any, now: datetime) -> datetime:
        if isinstance(value, datetime):
            return check_moment(value, what)
        return now - timedelta(seconds=check_seconds(value, what, zero="allow"))

    return check


def _ids(value: Any, now: datetime) -> tuple[str, ...]:
    found = _several(value, "ids", MOST_IDS)
    return tuple(dict.fromkeys(check_label(one, "an id").strip().lower() for one in found))


_CHECKS: dict[str, Callable[[Any, datetime], Any]] = {
    "name": _labels("name"),
    "category": _labels("category"),
    "status": _statuses,
    "since": _moment("since"),
    "until": _moment("until"),
    "flow": _label("flow"),
    "schedule": _label("schedule"),
    "tag": _label("tag"),
    "error": lambda value, now: fingerprint(check_label(value, "error", longest=LONGEST_ERROR)),
    "where": _label("where", LONGEST_CONDITION),
    "ids": _ids,
}


def bounds(prefix: str) -> tuple[str, str] | None:
    """Return the first and the last id that begin so; ``None`` if none can."""
    digits = prefix.replace("-", "")
    if not _PREFIX(digits):
        return None
    return tuple(_dashed(digits.ljust(32, fill)) for fill in "0f")  # type: ignore[return-value]


def digits_of(prefix: str) -> str | None:
    """Return the beginning of an id without its dashes; ``None`` if none can begin so."""
    return None if bounds(prefix) is None else prefix.replace("-", "")


def _dashed(digits: str) -> str:
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    return "-".join(parts)


def matches(selection: Selection, record: TaskRecord, failure: str | None) -> bool:
    """Whether a task is selected, where there is no SQL; ``failure`` is its newest one's text.

    Its ids have to be whole by then, and a condition in SQL can't be asked.
    """
    one = selection
    since, until = one.since or record.created_at, one.until
    options = decode_options(record.options) if record.options else {}
    return (
        (not one.name or record.name in one.name)
        and (not one.category or record.category in one.category)
        and (not one.status or record.status in one.status)
        and since <= record.created_at
        and (until is None or record.created_at < until)
        and one.flow in (None, record.flow_id)
        and one.schedule in (None, record.schedule)
        and (one.tag is None or one.tag in options.get("tags", ()))
        and (one.error is None or (failure is not None and fingerprint(failure) == one.error))
        and (one.ids is None or record.id in one.ids)
    )
