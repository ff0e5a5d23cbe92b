"""All thresholds so low that folds, checkpoints, rotations, pages and waits happen all the time."""

from __future__ import annotations

import pytest

from wopr.engine import adding, memory
from wopr.storage.duckdb import applied, base, checkpoints, folding, portions
from wopr.storage.duckdb.journal import journal, segments

LOW = {
    segments: {"FIRST_BYTES": 4 * 1024, "SEGMENT_BYTES": 16 * 1024},
    journal: {"INLINE_BYTES": 1024, "MAX_GROUP_RECORDS": 20, "MAX_GROUP_BYTES": 16 * 1024},
    folding: {"FOLD_ROWS": 10, "FOLD_BYTES": 4 * 1024, "AT_ONCE_ROWS": 20, "QUIET_SECONDS": 0.002},
    applied: {"PIECE_BYTES": 8 * 1024},
    checkpoints: {"QUIET_BYTES": 1, "QUIET_SECONDS": 0.002, "AGAIN_SECONDS": 0.01, "SHARE": 2_000},
    portions: {"PORTION_BYTES": 16 * 1024},
    base: {"LAG_ROWS": 200, "LAG_BYTES": 256 * 1024},
    adding: {"BULK_ROWS": 50, "BULK_BYTES": 64 * 1024},
    memory: {"MEMORY_BYTES": 256 * 1024, "PAGE_BYTES": 32 * 1024},
}


def lower_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower all of them for one test."""
    for module, values in LOW.items():
        for name, value in values.items():
            assert hasattr(module, name), f"{module.__name__} has no {name} any more"
            monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("WOPR_TASKS_WINDOW", "20")
