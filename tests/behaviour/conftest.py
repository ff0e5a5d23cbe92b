"""The homes that the behavioural suite runs on: a subject may choose fewer of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.homes import is_asked, on_postgres
from support.queues import (
    AsyncMemoryStorage,
    DuckDBHome,
    Home,
    MemoryStorage,
    SeedHome,
    SteppableClock,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked of a home."""
    everything = bool(config.getoption("--postgres"))
    left = [item for item in items if not is_asked(item, everything=everything)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if is_asked(item, everything=everything)]


@pytest.fixture(params=["duckdb", "four-calls", "four-coroutines", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a place that queues can be opened on, one after the other."""
    if request.param == "postgres":
        return on_postgres(monkeypatch)
    if request.param == "duckdb":
        return DuckDBHome(tmp_path / "tasks.duckdb")
    return SeedHome(MemoryStorage() if request.param == "four-calls" else AsyncMemoryStorage())


@pytest.fixture
def durable_home(tmp_path: Path) -> DuckDBHome:
    """Return a home whose history and SQL outlive the process."""
    return DuckDBHome(tmp_path / "tasks.duckdb")


@pytest.fixture
def clock() -> SteppableClock:
    """Return a clock that only the test moves."""
    return SteppableClock()
