"""What the command prints: one JSON document, or text that is safe for a terminal.

Texts from the database were written by anybody. Before a person sees them, control
characters are taken out (:func:`wopr.domain.terminal.clean`). In JSON they are escaped
instead.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wopr.domain.terminal import clean

STYLES = {
    "success": "green",
    "failed": "red",
    "retry": "yellow",
    "started": "cyan",
    "cancelled": "dim",
}
"""How a status looks; everything else is plain."""

LONGEST_CELL = 160
"""Characters of a cell in a table; JSON and CSV hold all of it."""

WIDEST = 100_000  # columns: more than any table has


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints texts as they are: no markup, no highlighting."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def say(text: object, *, lines: bool = False) -> None:
    """Print one line for people; with ``lines`` its line breaks stay, and what follows is moved in.

    So nobody can write a line that looks like one of its own.
    """
    shown = clean(text, lines=lines).replace("\n", "\n    ")
    console().print(Text(shown), soft_wrap=True)


def complain(text: object) -> None:
    """Print a line on standard error."""
    console(stderr=True).print(Text(clean(text, lines=True)), soft_wrap=True)


def utc(moment: datetime | None) -> str:
    """Return a time for people: UTC, to the second."""
    if moment is None:
        return ""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.strftime("%Y-%m-%d %H:%M:%SZ")


def age(seconds: float | None) -> str:
    """Return a duration in its largest two units: ``3 h 20 min``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, one line per row: a narrow terminal wraps lines, nothing is left out.

    Cells are cut at :data:`LONGEST_CELL` characters, which no id has.
    """
    cells = [list(row) for row in rows]
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[number], int | float) for row in cells)
        out.add_column(clean(column), no_wrap=True, justify="right" if numeric else "left")
    for row in cells:
        out.add_row(*map(_cell, row))
    printer = console()
    printer.width = WIDEST
    printer.width = max(1, printer.measure(out).maximum)
    printer.print(out, crop=False)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, one pair per line; values may have several lines."""
    width = max((len(name) for name in values), default=0)
    out = console()
    for name, value in values.items():
        text = clean(shown(value), lines=True).replace("\n", "\n" + " " * (width + 2))
        out.print(
            Text(f"{clean(name):{width}}  ") + Text(text, STYLES.get(text, "")), soft_wrap=True
        )


def _cell(value: object) -> Text:
    text = clean(shown(value))
    if len(text) > LONGEST_CELL:
        text = text[: LONGEST_CELL - 1] + "…"
    return Text(text, STYLES.get(text, ""))


def shown(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str | int | UUID | Decimal):
        return str(value)
    return json.dumps(plain(value), ensure_ascii=False)


def document(value: object) -> None:
    """Print one JSON document: ASCII, no NaN, times in ISO 8601."""
    sys.stdout.write(json.dumps(plain(value), allow_nan=False, indent=2) + "\n")
    sys.stdout.flush()


_WRITTEN: dict[type | tuple[type, ...], Callable[[Any], object]] = {
    float: lambda number: number if math.isfinite(number) else None,
    Decimal: lambda number: float(number) if number.is_finite() else None,
    (date, time): lambda moment: moment.isoformat(),  # a datetime is a date
    timedelta: lambda duration: duration.total_seconds(),
    (bytes, bytearray, memoryview): lambda data: bytes(data).hex(),
}
"""Types that JSON has no word for -> what is written of such a value."""


def plain(value: Any) -> Any:
    """Return the value as JSON can hold it."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    for kinds, written in _WRITTEN.items():
        if isinstance(value, kinds):
            return written(value)
    return _plain_parts(value)


def _plain_parts(value: Any) -> Any:
    """Return what consists of other values, part by part; of anything else, its text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, Path):
        return [plain(item) for item in value]
    return str(value)
