"""Queues whose schedules fire when the test says what time it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.queues import DuckDBHome, Home, MemoryStorage, SeedHome, SteppableClock


@pytest.fixture(params=["duckdb", "four-calls"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Return a place that queues can be opened on, one after the other."""
    if request.param == "duckdb":
        return DuckDBHome(tmp_path / "tasks.duckdb")
    return SeedHome(MemoryStorage())


@pytest.fixture
def durable_home(tmp_path: Path) -> DuckDBHome:
    """Return a home whose schedules outlive the process."""
    return DuckDBHome(tmp_path / "tasks.duckdb")


@pytest.fixture
def clock() -> SteppableClock:
    """Return a clock that only the test moves."""
    return SteppableClock()
