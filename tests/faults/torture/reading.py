"""A process that opens damaged databases and says what is in them: it may die of one, or hang."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb

from support.paths import ROOT
from wopr.domain.errors import SchemaError, StorageError
from wopr.storage.duckdb.start import open_settled

LIFE_SECONDS = 60.0
"""A reading that takes longer hangs."""
TABLES = ("tasks", "transitions", "rules", "schedules", "task_logs", "refused_records")

Content = dict[str, list[list[object]]]


@dataclass(frozen=True)
class Seen:
    """What a reading came to: one of the first three."""

    content: Content | None = None
    refused: str = ""
    """The error, if it was one that says what is wrong."""
    wrong: str = ""
    """Any other end."""
    told: str = ""
    """What was logged about damage."""


class Reader:
    """One such process at a time, and the next one when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> Seen:
        """Return what comes of opening the database as every tool does."""
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        stuck = threading.Timer(LIFE_SECONDS, process.kill)
        stuck.start()
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        stuck.cancel()
        stuck.join()
        if answer:
            return Seen(**json.loads(answer))
        self.close()
        return Seen(wrong=f"the process ended with {process.returncode}")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WOPR_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
        return subprocess.Popen(
            [sys.executable, "-m", "faults.torture.reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )


def content_of(path: Path) -> Content:
    """Open the database as every tool does; return all that it holds."""
    opened = open_settled(path)
    try:
        ask = opened.connection.execute
        found = {table: ask(f"select * from {table} order by all").fetchall() for table in TABLES}
        found["meta"] = ask("select * from meta where key <> 'journal' order by all").fetchall()
    finally:
        opened.close()
    plain: Content = json.loads(json.dumps(found, default=str))
    return plain


class _Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _seen(path: Path, told: _Told) -> dict[str, object]:
    told.lines.clear()
    try:
        return {"content": content_of(path), "told": "\n".join(told.lines)}
    except (StorageError, SchemaError, duckdb.Error) as error:
        return {"refused": str(error)}
    except BaseException as error:
        return {"wrong": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Serve until the standard input ends."""
    told = _Told()
    logging.getLogger("wopr").addHandler(told)
    logging.getLogger("wopr").propagate = False
    for line in sys.stdin:
        print(json.dumps(_seen(Path(line.removesuffix("\n")), told)), flush=True)


if __name__ == "__main__":
    main()
