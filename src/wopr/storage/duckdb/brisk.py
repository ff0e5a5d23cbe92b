"""Ask for the interpreter sooner while a writer has work.

DuckDB works without the interpreter's lock, and each statement needs it back once.
A busy event loop would keep it for Python's whole switch interval of 5 ms, which
is longer than the commit itself.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

SECONDS = 0.0005

_lock = threading.Lock()
_busy = 0
_usual = 0.0


@contextlib.contextmanager
def brisk() -> Iterator[None]:
    """Shorten the switch interval; the last writer that is busy restores it."""
    global _busy, _usual  # noqa: PLW0603 - the interval is the process's, not ours
    with _lock:
        if not _busy:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual, SECONDS))
        _busy += 1
    try:
        yield
    finally:
        with _lock:
            _busy -= 1
            if not _busy:
                sys.setswitchinterval(_usual)
