"""What happens to a storage that a program leaves open when it ends."""

from __future__ import annotations

import atexit
import functools
import logging
import weakref
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def close_at_exit(storage: Any) -> Callable[[], None]:
    """Close ``storage`` when the interpreter ends; return what calls that off.

    Nothing is lost without it. But the interpreter would take an open database
    apart in no order, and DuckDB's client reports that with a page of noise.
    """
    close = functools.partial(_close, weakref.ref(storage))
    atexit.register(close)
    return functools.partial(atexit.unregister, close)


def _close(reference: weakref.ref[Any]) -> None:
    storage = reference()
    if storage is None or not storage.is_open:
        return
    log.warning(
        "The queue on %s was not shut down: use `async with queue` or `await queue.shutdown()`. "
        "What ran is recovered at the next opening.",
        storage.path,
    )
    storage.close_sync()
