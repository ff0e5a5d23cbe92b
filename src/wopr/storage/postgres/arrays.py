"""Arrays as the texts that PostgreSQL reads: a driver takes five times as long to write one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any


def array_of(values: Sequence[Any], *, alike: bool = False) -> str | None:
    """Return an array of texts, numbers, truth values and naive moments; ``None`` if all are.

    Args:
        values: one after the other.
        alike: whether it may have one element where all are the same.
    """
    first = values[0] if values else None
    if values.count(first) == len(values):  # as names and categories are
        if first is None:
            return None
        return "{" + ",".join([_element(first)] * (1 if alike else len(values))) + "}"
    if type(first) is str and (texts := _texts(values)) is not None:
        return texts
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _texts(values: Sequence[Any]) -> str | None:
    """Return an array of texts, which are escaped all at once; ``None`` if there is more in it."""
    try:
        whole = "\0".join(values)  # which no text of PostgreSQL has in it
    except TypeError:
        return None
    if whole.count("\0") != len(values) - 1:
        return None
    if "\\" in whole:
        whole = whole.replace("\\", "\\\\")
    if '"' in whole:
        whole = whole.replace('"', '\\"')
    return '{"' + whole.replace("\0", '","') + '"}'


def _element(value: Any) -> str:
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)
