"""What the tests of handlers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.queues import DuckDBHome


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    """Return a database file that queues can be opened on, one after the other."""
    return DuckDBHome(tmp_path / "tasks.duckdb")
