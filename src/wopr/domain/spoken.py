"""Times and durations as people read them; the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

NAMED = 5
"""So many of a kind are named; all are counted."""


def aware(moment: datetime) -> datetime:
    """Return a time with its zone; one without is UTC, as all times in the file are."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def local(moment: datetime | None, *, timespec: str = "seconds") -> str:
    """Return a time as the clock on the wall shows it here, with its offset, to the second."""
    if moment is None:
        return ""
    return aware(moment).astimezone().isoformat(sep=" ", timespec=timespec)


def local_short(moment: datetime, now: datetime) -> str:
    """Return a time as short as its age allows: today's as a time, this week's with its day."""
    there, here = aware(moment).astimezone(), aware(now).astimezone()
    if there.date() == here.date():
        return f"{there:%H:%M:%S}"
    if abs(here - there) < timedelta(days=6):
        return f"{there:%a %H:%M}"
    return f"{there.day} {there:%b}" + (f" {there:%Y}" if there.year != here.year else "")


def local_mark(moment: datetime, *, days: bool) -> str:
    """Return what stands at a mark of an axis: the day, or the time of it."""
    there = aware(moment).astimezone()
    return f"{there:%a} {there.day}" if days else f"{there:%H:%M}"


_UNITS = (
    (48 * 3600, 86_400, "d", 3600, "h"),
    (3600, 3600, "h", 60, "min"),
    (60, 60, "min", 1, "s"),
)
"""From so many seconds on, the larger unit of a duration and the smaller one."""


def age(seconds: float | None) -> str:
    """Return a duration in its largest two units: ``3 h 20 min``, ``1 min``."""
    if seconds is None:
        return ""
    for least, size, unit, small, below in _UNITS:
        if seconds >= least:
            rest = int(seconds % size // small)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {below}" if rest else "")
    return "< 0.0001 s" if 0 < seconds < 0.0001 else f"{seconds:.3g} s"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return a number with its word: ``1 task``, ``2,000 tasks``."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def size(number: float) -> str:
    """Return a number of bytes in its largest unit: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def named(values: Mapping[str, object]) -> list[str]:
    """Return values of JSON with their names, flat: ``name=mail``, ``headers.accept=text/plain``.

    A text that could be taken for more than one is in quotes.
    """
    parts = (part for key, value in values.items() for part in _parts(key, value))
    return [f"{name}={_value(value)}" for name, value in parts]


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Return what a value consists of, each with its name."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        items = enumerate(value)
    for key, part in items:
        yield from _parts(f"{name}.{_value(key)}", part)
    if not items:
        yield name, value


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_value, value)) or "none"
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    plain = text != "" and not any(letter in text for letter in " \t\r\n\"'=,")
    return text if plain else json.dumps(text, ensure_ascii=False)


def listed(texts: Iterable[str]) -> str:
    """Return the first of several texts, and how many more there are; each once."""
    distinct = list(dict.fromkeys(texts))
    more = f" and {len(distinct) - NAMED:,} more" if len(distinct) > NAMED else ""
    return ", ".join(distinct[:NAMED]) + more
