"""Rows that can't be read: they are left out of every answer, and told once."""

from __future__ import annotations

import logging
from functools import lru_cache

log = logging.getLogger(__name__)


class UnreadableRowsError(Exception):
    """Some of the rows asked for can't be read: ask again without them."""

    def __init__(self, seqs: list[int]) -> None:
        super().__init__(f"rows of tasks with seq {seqs}")
        self.seqs = seqs


@lru_cache(maxsize=1_000)
def set_aside(what: str, why: str) -> None:
    """Say that a row is left out, once per process: it is met again at every page."""
    log.error(
        "The row of %s can't be read, so it is left out of what is listed and run: %s. Was it "
        "written by another program? It stays in the file; wopr doctor lists all such rows.",
        what,
        why,
    )
