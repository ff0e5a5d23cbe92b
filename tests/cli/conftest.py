"""A database with one task of each kind, and a way to call the command on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.commands import Answer, Call, Database, call, fill


@pytest.fixture(autouse=True)
def _wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def wopr(database: Database) -> Call:
    """Call the command on the database."""

    def run(*words: object, stdin: str | None = None) -> Answer:
        return call(*words, "--database", database.path, stdin=stdin)

    return run


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Give a file with a succeeded, a failed and a waiting task, that nobody has open."""
    return asyncio.run(fill(tmp_path / "tasks.duckdb"))
