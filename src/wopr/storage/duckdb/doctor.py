"""The check behind ``wopr doctor``."""

from __future__ import annotations

import os

import duckdb

from wopr.domain.errors import StorageError
from wopr.domain.examination import Problem, Progress, Report, silent
from wopr.storage.duckdb.examination import Examination
from wopr.storage.duckdb.file.location import exposure
from wopr.storage.duckdb.file.memory import physical, to_try
from wopr.storage.duckdb.start import open_settled

__all__ = ["Problem", "Report", "check"]


def check(
    path: str | os.PathLike[str],
    *,
    progress: Progress = silent,
    limit: int = 1_000,
    memory_limit: str = "200MB",
) -> Report:
    """Check a database file that no other process has open.

    Opening it is what every opening is: what its journal holds is brought into it first. Who else
    could put another file in its place is a problem, too.

    Args:
        path: the file.
        progress: called now and then with the transitions done and in all.
        limit: so many problems are listed, the others are counted.
        memory_limit: DuckDB's; it is raised if rows can't be read with that.

    Raises:
        StorageOwnedError: another process has the file open.
        StorageError: the file does not exist or can't be opened, or all memory is too little.
    """
    limits = to_try(memory_limit, physical())
    while True:
        allowed = limits.pop(0)
        opened = open_settled(path, memory_limit=allowed)
        try:
            report = Examination(opened, progress, limit).run()
            if (why := exposure(opened.path)) is not None:
                report.problems.append(Problem("exposed", why))
            return report
        except duckdb.Error as error:
            if not limits:
                raise StorageError(
                    f"{path} can't be checked: DuckDB says that {allowed} of memory are too little "
                    f"for it: {error}. Nothing is known to be wrong with it. Check a copy of it on "
                    "a machine that has more."
                ) from error
        finally:
            opened.close()
