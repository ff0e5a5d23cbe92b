"""Spellings of cron that others understand, said as the library that reads cron has them."""

from __future__ import annotations

import re

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_NUMBERS = {
    "month": {name: number for number, name in enumerate(_MONTHS, 1)},
    "day-of-week": {name: number for number, name in enumerate(_DAYS)} | {"7": 7},
}
_LIMITS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day-of-month": (1, 31),
    "month": (1, 12),
    "day-of-week": (0, 6),
}
FIELDS = tuple(_LIMITS)
"""The names of six fields; five are without the first."""

_RANGE = re.compile(r"(\w{1,3})-(\w{1,3})(?:/(\d{1,4}))?", re.ASCII)
_LAST = re.compile(r"L(\w{1,3})|(\w{1,3})L", re.ASCII)


def plain(fields: list[str]) -> str:
    """Return the expression of five or six fields without what only others understand.

    ``?`` becomes ``*``, a range that goes over the end (``SAT-SUN``, ``22-2``) a list, and the
    last of a weekday (``L5``, ``FRIL``) ``5L``. What can't be read stays as it is.
    """
    names = FIELDS[-len(fields) :]
    return " ".join(_field(name, field) for name, field in zip(names, fields, strict=True))


def _field(name: str, text: str) -> str:
    if text == "?" and name.startswith("day-"):
        return "*"
    return ",".join(_term(name, term) for term in text.upper().split(","))


def _term(name: str, term: str) -> str:
    if found := _RANGE.fullmatch(term):
        return _range(name, *found.groups()) or term
    if name == "day-of-week" and (found := _LAST.fullmatch(term)):
        day = _number(name, found[1] or found[2])
        return term if day is None else f"{day}L"
    return term


def _range(name: str, first: str, last: str, step: str | None) -> str | None:
    """Return the values of a range that goes over the end; ``None`` for any other one."""
    start, end, by = _number(name, first), _number(name, last), int(step or 1)
    if start is None or end is None or start <= end or not by:
        return None
    low, high = _LIMITS[name]
    values = [*range(start, high + 1), *range(low, end + 1)]
    if start > high:  # Sunday as 7: the week begins with it
        values = list(range(low, end + 1))
    return ",".join(map(str, values[::by]))


def _number(name: str, text: str) -> int | None:
    number = _NUMBERS.get(name, {}).get(text)
    if number is None and text.isdigit():
        number = int(text)
        low, high = _LIMITS[name]
        return number if low <= number <= high else None
    return number
