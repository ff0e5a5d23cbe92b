"""The answer to a query of any size: Arrow batches, made no faster than they are read."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from wopr.domain.errors import QueryError

BATCH_BYTES = 4 * 1024 * 1024
MOST_BATCH_BYTES = 64 * 1024 * 1024
LONGEST_STREAM = 3_600.0
"""Seconds. So long the copy of the database that it reads is there at most."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a stream may cost."""

    seconds: float
    """From its begin to its end, whatever its reader does."""
    batch_seconds: float
    """So long its reader waits for a batch."""
    batch_bytes: int
    """About so large a batch is; one row makes one of any size."""
    archive: Path | None = None
    """The archive that it spans."""


class BatchSource(Protocol):
    """What makes the batches."""

    schema: Any

    def next(self) -> Any | None:
        """Wait for the next batch and return it; ``None`` after the last one.

        Raises:
            QueryError: the query failed, or the source was closed before its end.
            QueryTimeoutError: it took too long.
        """
        ...

    def close(self) -> None:
        """End it at once, also while another thread waits for a batch; any number of times."""
        ...


class QueryStream:
    """Iterates over the batches of an answer, with ``for`` or ``async for``, once.

    Each is a ``pyarrow.RecordBatch``; ``schema`` is there before the first one, ``moment`` tells
    of when the answer is. The process that makes them, and its copy of the database, are gone
    with the last batch, with :meth:`close`, at the end of a ``with`` block, and when nobody has
    the stream any more.
    """

    def __init__(self, source: BatchSource, moment: datetime) -> None:
        self.moment = moment
        self.schema = source.schema
        self._source = source
        self._thread: ThreadPoolExecutor | None = None
        self._end = weakref.finalize(self, source.close)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.schema.names)

    def close(self) -> None:
        """End the stream, whatever was not read of it."""
        self._end()
        self._thread = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            batch = self._source.next()
        except BaseException:
            self.close()
            raise
        if batch is None:
            self.close()
            raise StopIteration
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._thread is None:  # its own: one that waits must not keep others waiting
            self._thread = ThreadPoolExecutor(1, "wopr-stream")
        loop = asyncio.get_running_loop()
        try:
            batch = await loop.run_in_executor(self._thread, self._source.next)
        except BaseException:
            self.close()
            raise
        if batch is None:
            self.close()
            raise StopAsyncIteration
        return batch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def require_arrow() -> None:
    """Raise if there is nothing that batches could be made of.

    Raises:
        QueryError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise QueryError(
            "pyarrow is not installed, and an answer without limit comes in its batches. Install "
            "it: pip install 'wopr[data]'"
        )
