"""The garbage collector in a process that is wopr's own."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

OBJECTS = 2_000
"""So many new objects, and not Python's 700, until the youngest are looked through.

Hundreds of tasks are under way at once, so with 700 most of what is looked through is in use: a
tenth of all work went there. With 2,000 that takes a third of the time, and 1 ms at once."""


@contextlib.contextmanager
def collecting_seldom() -> Iterator[None]:
    """Take what was imported out of the garbage collector's sight, and let it run less often.

    What was imported never becomes garbage, and each full collection of it pauses the event loop
    for 10 to 20 ms. What the application has set itself counts, if it is less often, or never.
    """
    before = first, *others = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if first:
        gc.set_threshold(max(first, OBJECTS), *others)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
