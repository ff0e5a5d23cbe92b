"""Which columns the tables of the newest schema have, read from the SQL that makes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from wopr.storage.duckdb.file.catalogue import plain

Columns = Mapping[str, Mapping[str, str]]
"""By table and name of the column, its type."""

_TABLE = re.compile(r"^CREATE TABLE (\w+) \(\n(.*?)^\);$", re.MULTILINE | re.DOTALL)
_TYPED = r"(\w+) ([A-Z][A-Z ]*?)(?:\(\d+\))?(?: DEFAULT .*?)?(?: NOT NULL)?"
_COLUMN = re.compile(rf"^    {_TYPED},?$", re.MULTILINE)
_ADDED = re.compile(rf"^ALTER TABLE (\w+) ADD COLUMN {_TYPED};$", re.MULTILINE)
_NAMES = {"TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP", "DOUBLE PRECISION": "DOUBLE"}
"""DuckDB's, where they differ from those of SQL."""


@cache
def columns(script: str) -> Columns:
    """Return the columns that are there when the script has run."""
    found = {
        table: {name: _NAMES.get(kind, kind) for name, kind in _COLUMN.findall(body)}
        for table, body in _TABLE.findall(script)
    }
    for table, name, kind in _ADDED.findall(script):
        found[table][name] = _NAMES.get(kind, kind)
    return found


def differences(wanted: Columns, found: Columns) -> Iterator[str]:
    """Say what of the wanted tables and columns is not there; more may be."""
    for table, types in wanted.items():
        if table not in found:
            yield table
            continue
        for name, kind in types.items():
            there = found[table].get(name)
            if there is None:
                yield f"{table}.{name}"
            elif there != kind:
                yield f"{table}.{name} as {kind} (it is {plain(there)})"


def compared(right: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """Say how what a file holds differs from what it should; both by name, with what each is."""
    for name in sorted({*right, *found}):
        if name not in found:
            yield f"{name} is missing"
        elif name not in right:
            yield f"{name} is unknown"
        elif right[name] != found[name]:
            yield f"{name} is {found[name]}, and should be {right[name]}"
