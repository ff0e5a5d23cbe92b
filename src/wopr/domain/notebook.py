"""What a notebook shows of an answer: small tables in HTML, escaped, masked and bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from html import escape
from itertools import islice

from wopr.domain.masking import masked, shortened
from wopr.domain.spoken import counted, local
from wopr.domain.terminal import clean

ROWS = 50
COLUMNS = 40
CELL = 240
"""Characters of a cell."""
LOOKED_AT = 4_096
"""Characters of a text in which secrets are looked for before it is cut to a cell."""
BYTES = 65_536
"""Of all cells together, about: then no more rows follow."""

_HOLDS_NOTHING = (str, tuple, list, dict)  # when it is empty; what users made is not asked


def html_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = ""
) -> str:
    """Return rows as a table with a heading, and below it what is left out and a note."""
    names = columns[:COLUMNS]
    head = "".join(f"<th>{_escaped(name)}</th>" for name in names)
    body = _bounded(
        "".join(f"<td>{_cell(value, name)}</td>" for value, name in zip(row, names, strict=False))
        for row in islice(rows, ROWS)
    )
    left_out = []
    if len(body) < len(rows):
        left_out.append(f"The first {len(body):,} of {counted(len(rows), 'row')}.")
    if len(names) < len(columns):
        left_out.append(f"The first {len(names)} of {counted(len(columns), 'column')}.")
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return _framed(title, table, " ".join([*left_out, *([note] if note else [])]))


def html_pairs(title: str, values: Mapping[str, object], *, note: str = "") -> str:
    """Return names and values, one pair to a line; what is empty is left out."""
    lines = _bounded(
        f"<th>{_escaped(name)}</th><td>{_cell(value, name)}</td>"
        for name, value in values.items()
        if not (value is None or (type(value) in _HOLDS_NOTHING and not value))
    )
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    return _framed(title, f"<table><tbody>{table}</tbody></table>" if table else "", note)


def _bounded(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    left = BYTES
    for line in lines:
        left -= len(line)
        if left < 0:
            break
        kept.append(line)
    return kept


def _framed(title: str, inner: str, note: str) -> str:
    below = f"<p>{_escaped(note)}</p>" if note else ""
    return f"<div><strong>{_cell(title, '')}</strong>{inner}{below}</div>"


def _cell(value: object, name: str) -> str:
    """Return a value as people read it, without secrets: the name it has can make it one."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _escaped(local(value))
    plain = _word(value) if isinstance(value, Enum) else value
    if isinstance(plain, str):
        plain = shortened(plain, LOOKED_AT)
    told = masked(plain, name)
    text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, default=str)
    return _escaped(text)


def _word(value: Enum) -> object:
    return value.name.lower() if isinstance(value.value, int) else value.value


def _escaped(text: str) -> str:
    cut = text if len(text) <= CELL else f"{text[: CELL - 1]}…"
    return escape(clean(cut, lines=True))
