"""Database files as a crash, a power cut or a careless hand leaves them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb

PRELUDE = """
import os, shutil, signal, sys
import duckdb
from wopr.storage.duckdb.file.opening import open_database

path = sys.argv[1]

def add(connection, first, count):
    for seq in range(first, first + count):
        connection.execute(
            "INSERT INTO transitions VALUES "
            "(?, uuid(), 0, NULL, 'pending', TIMESTAMP '2026-01-01', NULL, 'add', NULL, '{}')",
            [seq],
        )

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def child(body: str, path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``body`` in another process; it has ``path``, ``open_database``, ``add`` and ``die``."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + body, str(path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def child_ok(body: str, path: Path, *arguments: str | Path) -> str:
    """Run ``body`` in another process, which has to succeed; return what it printed."""
    done = child(body, path, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def killed(body: str, path: Path, *arguments: str | Path) -> None:
    """Run ``body`` in another process, which has to end by SIGKILL."""
    done = child(body + "\ndie()\n", path, *arguments)
    assert done.returncode == -9, done.stderr


def crashed_file(path: Path, commits: int) -> Path:
    """Leave a wopr file at ``path`` whose last ``commits`` commits are only in its log.

    Commit n wrote the transition with seq n. Return the log.
    """
    killed(f"add(open_database(path).connection, 1, {commits})", path)
    return log_of(path)


def log_of(path: Path) -> Path:
    """Return DuckDB's log of a database file."""
    return path.with_name(path.name + ".wal")


def seqs(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Return the seq of all transitions in order."""
    rows = connection.execute("SELECT seq FROM transitions ORDER BY seq").fetchall()
    return [int(row[0]) for row in rows]


def bytes_of(path: Path) -> dict[str, bytes]:
    """Return the content of the database file and its log, by name."""
    found = (path, log_of(path))
    return {file.name: file.read_bytes() for file in found if file.exists()}


def names_beside(path: Path, kind: str) -> list[str]:
    """Return the names of the files beside ``path`` whose suffix starts with ``kind``."""
    return sorted(file.name for file in path.parent.glob(f"{path.name}.{kind}*"))
