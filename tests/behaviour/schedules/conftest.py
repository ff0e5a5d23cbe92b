"""Queues whose schedules fire when the test says what time it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.homes import on_postgres
from support.queues import DuckDBHome, Home, MemoryStorage, SeedHome


@pytest.fixture(params=["duckdb", "four-calls", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a place that queues can be opened on, one after the other."""
    if request.param == "postgres":
        return on_postgres(monkeypatch)
    if request.param == "duckdb":
        return DuckDBHome(tmp_path / "tasks.duckdb")
    return SeedHome(MemoryStorage())
