"""What is kept of the end of a journal that a killed process was just writing."""

from __future__ import annotations

import logging
from pathlib import Path

from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.file.files import free_name, write_private
from wopr.storage.duckdb.journal.scan import Found
from wopr.storage.duckdb.private import read_own

log = logging.getLogger(__name__)


def keep_torn_end(path: Path, found: Found, end: int) -> None:
    """Copy what lies behind the last whole group, where a process was killed while it wrote."""
    with read_own(found.path) as file:
        file.seek(end)
        content = file.read().rstrip(b"\0")
    copy = free_name(beside(found.path, ".torn"))
    write_private(copy, content)
    log.warning(
        "The journal %s of %s ends in the middle of a write, as it does when a process is killed. "
        "The %d bytes behind its last whole group were never acknowledged; a copy is in %s.",
        found.path.name,
        path,
        len(content),
        copy,
    )
