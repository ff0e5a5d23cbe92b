"""How much memory DuckDB may use, and what to try when a file needs more to be opened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb

from wopr.storage.duckdb.failures import lacks_memory

T = TypeVar("T")

SHARE_OF_ALL = 0.8
"""Of the machine's memory, at most so much; it is what DuckDB takes when it is not told."""

_SIZE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?)b?(?:ytes?)?\s*", re.IGNORECASE)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_GROUPS = Path("/proc/self/cgroup")
_LIMITS = Path("/sys/fs/cgroup")


def bytes_of(limit: str) -> int:
    """Return a memory limit as DuckDB takes it, such as ``200MB`` or ``1.5 GiB``, in bytes.

    Raises:
        ValueError: It is no number with a unit.

    """
    found = _SIZE.fullmatch(limit)
    if found is None or not limit.strip()[-1:].isalpha():
        raise ValueError(f"A memory limit is a number and a unit, as in 500MB, not {limit!r}.")
    number, unit, binary = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * float(base ** _EXPONENTS[unit.lower()]))


def physical(groups: Path = _GROUPS, limits: Path = _LIMITS) -> int:
    """Return how much memory this process can have: the machine's, or less in a container."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(groups, limits)])


def _limits(groups: Path, limits: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:  # there are none on this system
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        root, name = limits, "memory.max"
        if controllers:
            root, name = limits / controllers, "memory.limit_in_bytes"
        inside = path.strip("/")
        # In a container the path may be that of the host: then only the top is there.
        for folder in {root, root / inside, *(root / part for part in Path(inside).parents)}:
            try:
                text = (folder / name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if text.isdecimal():  # not "max"
                yield int(text)


def to_try(limit: str, available: int) -> list[str]:
    """Return the limits to open a file with, one after the other: as asked, then more.

    Twice as much each time, up to :data:`SHARE_OF_ALL` of what is available. The first is
    what was asked for, also if the machine has less.
    """
    asked = bytes_of(limit)
    most = int(available * SHARE_OF_ALL)
    found = [limit]
    more = 2 * asked
    while more < most:
        found.append(shown(more))
        more *= 2
    if most > asked:
        found.append(shown(most))
    return found


def shown(size: int) -> str:
    """Return bytes as DuckDB and people read them: in whole megabytes, rounded down."""
    return f"{size // 1_000_000}MB"


def with_enough(asked: str, attempt: Callable[[str], T]) -> tuple[T, str]:
    """Return what ``attempt`` returns, and the limit that it needed for that.

    Raises:
        duckdb.Error: All that there is, is too little; or it failed for another reason.
    """
    limits = to_try(asked, physical())
    for limit in limits[:-1]:
        try:
            return attempt(limit), limit
        except duckdb.Error as error:
            if not lacks_memory(error):
                raise
    return attempt(limits[-1]), limits[-1]
