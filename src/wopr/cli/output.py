"""What the command prints: one JSON document, or text that is safe for a terminal.

Texts from the database were written by anybody. Before a person sees them, control
characters are taken out (:func:`wopr.domain.terminal.clean`). In JSON they are escaped
instead.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from wopr.cli.fitting import GAP, Kind, Table, fit
from wopr.cli.places import cut, places, wrapped
from wopr.domain.act import OBJECT
from wopr.domain.spoken import aware, local
from wopr.domain.terminal import clean

STYLES: dict[str, dict[str, Any]] = {
    "success": {"fg": "green"},
    "failed": {"fg": "red"},
    "retry": {"fg": "yellow"},
    "started": {"fg": "cyan"},
    "cancelled": {"dim": True},
}
"""How a status looks; everything else is plain."""

VERSION = 1
"""Of the documents: another one when a field goes or means something else, not when one comes."""

LONGEST_CELL = 160
"""Characters of a cell in a table; JSON and CSV hold all of it."""

WHOLE_ID = 36
"""Characters of an id."""


def say(text: object, *, lines: bool = False) -> None:
    """Print one line for people; with ``lines`` its line breaks stay, and what follows is moved in.

    So nobody can write a line that looks like one of its own.
    """
    _put(clean(text, lines=lines).replace("\n", "\n    ").expandtabs())


def complain(text: object) -> None:
    """Print a line on standard error."""
    print(clean(text, lines=True).expandtabs(), file=sys.stderr, flush=True)


def _put(line: str) -> None:
    print(line, flush=True)


def _colored() -> bool:
    """Say whether colours are seen: on a terminal that knows them, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def _styled(text: str, **style: Any) -> str:
    return click.style(text, **style) if style and _colored() else text


def room() -> int | None:
    """Return how many places a line has; ``None``: it is for no terminal, and as long as it is.

    ``COLUMNS`` says it where standard output is no terminal, as ``watch`` does.
    """
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else None


def table(form: Table, rows: Iterable[Sequence[object]], *, prefix: int = WHOLE_ID) -> None:
    """Print a table under its title, one line per row, no line wider than the terminal.

    What gives way is said by its columns; what is left out is told below. Cells are cut at
    :data:`LONGEST_CELL` characters, which no id has.

    Args:
        form: its title and columns.
        rows: what is shown, a value per column.
        prefix: so many characters of an id are enough.
    """
    values = [list(row) for row in rows]
    cells = [[_cell(value) for _, value in zip(form.columns, row, strict=True)] for row in values]
    names = [clean(column.name) for column in form.columns]
    columns = range(len(names))
    fitted = fit(
        form.columns,
        [max(map(places, [names[at], *(row[at] for row in cells)])) for at in columns],
        room(),
        empty=[bool(cells) and not any(row[at] for row in cells) for at in columns],
        prefix=prefix,
    )
    numeric = [
        bool(values) and all(isinstance(row[at], int | float) for row in values) for at in columns
    ]
    kept = [(at, width) for at, width in enumerate(fitted.widths) if width is not None]
    _title(form.title)
    for number, row in enumerate([names, *cells]):
        line = ""
        for at, width in kept:
            id_ = number > 0 and form.columns[at].kind is Kind.ID
            text = row[at][:width].rstrip("-") if id_ else cut(row[at], width)
            fill = " " * (width - places(text))
            gap = " " * GAP if at != kept[0][0] else ""
            looks = _styled(text, **STYLES.get(row[at], {})) if number else text
            line += gap + (fill + looks if numeric[at] else looks + fill)
        _put(line.rstrip())
    if fitted.left_out:
        for part in wrapped(f"No room for: {', '.join(fitted.left_out)}.", room()):
            _put(_styled(part, dim=True))


def _title(text: str) -> None:
    for line in wrapped(clean(text), room()):
        _put(_styled(line, bold=True))


def pairs(title: str, values: Mapping[str, object]) -> None:
    """Print names and values under a title, one pair per line; values may have several lines.

    What has no room beside its name begins on the line below it.
    """
    _title(title)
    beside = max((len(name) for name in values), default=0) + GAP
    wide = room()
    for name, value in values.items():
        text = clean(shown(value), lines=True).replace("\t", "    ")
        below = wide is not None and max(map(places, text.split("\n"))) > wide - beside
        indent = GAP if below else beside
        head = f"{clean(name):{beside}}"
        if below:
            _put(head.rstrip())
            head = " " * indent
        for line in wrapped(text, None if wide is None else wide - indent):
            _put((head + _styled(line, **STYLES.get(text, {}))).rstrip())
            head = " " * indent


def _cell(value: object) -> str:
    text = clean(shown(value))
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def shown(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str | int | UUID | Decimal):
        return str(value)
    return json.dumps(plain(value), ensure_ascii=False)


def document(value: object) -> None:
    """Print one JSON document: an object with its version, ASCII, no NaN, times in ISO 8601.

    What it consists of is told by ``docs/reference/wopr.schema.json``.
    """
    said = {"version": VERSION, **plain(value)}
    sys.stdout.write(json.dumps(said, allow_nan=False, indent=2) + "\n")
    sys.stdout.flush()


_WRITTEN: dict[type | tuple[type, ...], Callable[[Any], object]] = {
    float: lambda number: number if math.isfinite(number) else None,
    Decimal: lambda number: float(number) if number.is_finite() else None,
    datetime: lambda moment: aware(moment).isoformat(),
    (date, time): lambda moment: moment.isoformat(),
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
        return {
            item.name: json.loads(found) if item.metadata == OBJECT else plain(found)
            for item in fields(value)
            for found in [getattr(value, item.name)]
        }
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, Path):
        return [plain(item) for item in value]
    return str(value)
