"""Files with tasks that together are far larger than the memory that DuckDB may use."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from support.records import NOW
from wopr.domain.clock import IdFactory
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import encode_added
from wopr.storage.duckdb.start import start

WIDE = 250_000
"""Characters: about as many as the arguments of a task may have by default."""
LITTLE = "50MB"
"""A memory limit of DuckDB that a file can be opened with, and not much more."""
_LOG = ["seq", "task_id", "attempt", "to_status", "occurred_at", "reason", "data"]
_PORTION = 40


def fill(path: Path, sizes: Sequence[int], *statements: str) -> list[str]:
    """Write new tasks with arguments of these sizes, then run SQL; return the ids in order."""
    rng, ids = random.Random(1), IdFactory()
    records: list[TaskRecord] = []
    started = start(path, memory_limit="1GB")
    connection = started.opened.connection
    for seq, size in enumerate(sizes, 1):
        args = f'["{rng.randbytes(size // 2).hex()}"]'  # what compresses well is not wide
        record = TaskRecord(ids.new(NOW), "work", "c", 2, 3, args, "{}", NOW)
        record.seq = record.version = seq
        records.append(record)
    tasks = connection.appender("tasks", columns=list(COLUMNS))
    log = connection.appender("transitions", columns=_LOG)
    for at in range(0, len(records), _PORTION):
        part = records[at : at + _PORTION]
        tasks.append_rows([record.row() for record in part])
        log.append_rows(
            [
                (record.seq, record.id, 0, "pending", NOW, "add", encode_added(record))
                for record in part
            ]
        )
        tasks.flush()
        log.flush()
    highest = "update meta set value = (select max(seq) from transitions) where key = 'seq'"
    for statement in (*statements, highest):
        connection.execute(statement).fetchall()
    started.close()
    return [record.id for record in records]
