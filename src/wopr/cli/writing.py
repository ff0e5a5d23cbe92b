"""All rows of an answer, written as they come: CSV, one JSON document, or Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from wopr.cli.errors import UsageError
from wopr.cli.output import VERSION, plain
from wopr.domain.csvcells import cell
from wopr.domain.terminal import clean
from wopr.ports.stream import QueryStream
from wopr.queue.queue import TaskQueue


class Form(str, Enum):
    """What is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"

    __str__ = str.__str__


async def write_all(queue: TaskQueue, text: str, form: Form) -> datetime:
    """Write all rows that a query has, a batch at a time; return of when they are."""
    stream = await queue.sql(text, limit=None)
    async with stream:
        if form is Form.CSV:
            await _csv(stream)
        elif form is Form.JSON:
            await _json(stream)
        else:
            await _parquet(stream)
    return stream.moment


class CSVRows:
    """Writes CSV as it is into files and pipes, without control characters on a terminal.

    What a spreadsheet would take for a formula gets a ``'`` before it.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(map(cell, columns))

    def add(self, row: tuple[Any, ...]) -> None:
        """Write a row."""
        values = [cell(plain(value)) for value in row]
        self._writer.writerow([clean(value) for value in values] if self._on_terminal else values)


def distinct(names: tuple[str, ...]) -> list[str]:
    """Return the names with a number behind each that came before: JSON keys are unique."""
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found.append(unique)
    return found


async def _csv(stream: QueryStream) -> None:
    rows = CSVRows(stream.columns)
    async for batch in stream:
        for row in _rows(batch):
            rows.add(row)


async def _json(stream: QueryStream) -> None:
    names, begin = distinct(stream.columns), ""
    sys.stdout.write(f'{{"version": {VERSION}, "columns": {json.dumps(names)}, "rows": [\n')
    async for batch in stream:
        for row in _rows(batch):
            values = plain(dict(zip(names, row, strict=True)))
            sys.stdout.write(begin + json.dumps(values, allow_nan=False))
            begin = ",\n"
    sys.stdout.write('\n], "truncated": false}\n')
    sys.stdout.flush()


async def _parquet(stream: QueryStream) -> None:
    from pyarrow import parquet

    if sys.stdout.isatty():
        raise UsageError("Parquet is not for terminals: wopr sql --parquet '…' > rows.parquet")
    names = distinct(stream.columns)
    with parquet.ParquetWriter(sys.stdout.buffer, _renamed(stream.schema, names)) as writer:
        async for batch in stream:
            writer.write_batch(batch.rename_columns(names))


def _renamed(schema: Any, names: list[str]) -> Any:
    return schema.empty_table().rename_columns(names).schema


def _rows(batch: Any) -> Iterator[tuple[Any, ...]]:
    columns = [[_number(value) for value in column.to_pylist()] for column in batch.columns]
    return zip(*columns, strict=True)


def _number(value: Any) -> Any:
    """Return whole numbers as such: those of more than 64 bits are decimals in Arrow."""
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0:
        return int(value)
    return value
