"""New files of queues: the first is made as always, the others are copies of it."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.files import install, workshop

ANEW = re.compile(r"faults|simulation|storage/duckdb/test_(?!sql_)")
"""Tests in which each file is made anew: how that is done is what they are about."""

_make = migrate.create_file


@functools.cache
def _pattern() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pattern.duckdb")
        _make(path)
        return path.read_bytes()


def copy_file(path: Path) -> None:
    """Put a new file in place, as ``create_file`` does, which builds the whole schema."""
    with workshop(path) as new:
        new.write_bytes(_pattern())
        install(new, path)
