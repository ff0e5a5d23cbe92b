"""A file of an older version, with tasks that wait, some of them in DuckDB's log only."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from faults.torture.scenario import digest, say
from wopr.storage.duckdb.file import migrate

REVISION = "0002"


def write_older_file(path: Path) -> None:
    """Write it as its version did, and say what that said."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        migrate.upgrade(connection, REVISION)
        for seq in range(1, 7):
            task, text = f"00000000-0000-7000-8000-{seq:012}", f"{seq:010}" + "x" * 40 * seq
            if seq == 4:
                connection.execute("CHECKPOINT")
            _add(connection, seq, task, text)
            say("task", task, digest(text))


def _add(connection: duckdb.DuckDBPyConnection, seq: int, task: str, text: str) -> None:
    added = {"name": "measure", "category": "c", "priority": 2, "max_retries": 0}
    connection.execute(
        "INSERT INTO transitions VALUES "
        "(?, ?, 0, NULL, 'pending', TIMESTAMP '2026-03-01 12:00:00', NULL, 'add', NULL, ?)",
        [seq, task, json.dumps(added | {"args": [text], "kwargs": {}})],
    )
