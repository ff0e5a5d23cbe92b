"""Run a query in a process of its own, and read its answer from there batch by batch.

That process writes into a pipe, so it is never further ahead than its reader; it is killed when
its time is over, or when nobody wants the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wopr.domain.errors import QueryError, QueryTimeoutError, StorageError, WoprError
from wopr.ports.storage import QueryLimits
from wopr.ports.stream import StreamLimits
from wopr.storage.duckdb.asked import apart
from wopr.storage.duckdb.asked.child import READY
from wopr.storage.duckdb.asked.frames import BATCH, END, ERROR, HEADER, LONGEST, SCHEMA
from wopr.storage.duckdb.asked.people import late


async def begun(
    path: Path, sql: str, params: Sequence[Any], limits: StreamLimits, memory_limit: str
) -> Stream:
    """Start a query on a copy that is the caller's; return once its columns are known.

    Raises:
        QueryError: it was refused, or it failed; the copy is gone.
        QueryTimeoutError: it took too long.
        StorageError: the process could not be started.
    """
    try:
        cost = QueryLimits(seconds=limits.seconds, archive=limits.archive)
        line = apart.order(str(path), sql, params, cost, memory_limit, limits.batch_bytes)
        stream = Stream(path.parent, limits)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    try:
        await asyncio.to_thread(stream.begin, line)
    except BaseException:
        stream.close()
        raise
    return stream


class Stream:
    """One such process, and the copy that it reads.

    Args:
        folder: where the copy lies; deleted with the process.
        limits: what it may cost.
    """

    def __init__(self, folder: Path, limits: StreamLimits) -> None:
        self.schema: Any = None
        self._folder = folder
        self._limits = limits
        self._until = time.monotonic() + limits.seconds
        self._error: WoprError | None = None
        self._whole = False
        self._reading = threading.Lock()
        self._child = subprocess.Popen(
            apart.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Arrow's own allocator reserves more addresses than the process may have.
            env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
        )

    def begin(self, line: bytes) -> None:
        """Hand the query over, and wait for its columns."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        slow = StorageError(
            f"The process that was to run the query had not opened the copy of the database after "
            f"{apart.BEGINS_SECONDS:g} s. The machine may be overloaded; ask again."
        )
        with self._reading, self._in_time(apart.BEGINS_SECONDS, slow):
            with contextlib.suppress(OSError):  # its end says more
                self._child.stdin.write(line)
                self._child.stdin.flush()
            if self._child.stdout.readline() != READY:
                self._child.kill()
                raise self._error or apart.not_begun(self._child.wait())
        with self._reading:
            kind, content = self._frame()
            if kind != SCHEMA:
                raise QueryError("The process that ran the query sent something else.")
            self.schema = _read(content).schema

    def next(self) -> Any | None:
        """Wait for the next batch and return it; ``None`` after the last one."""
        with self._reading:
            if self._whole:
                return None
            kind, content = self._frame()
        if kind == BATCH:
            import pyarrow

            return pyarrow.concat_batches(list(_read(content)))
        self._whole = True
        self.close()
        return None

    def close(self) -> None:
        """Kill the process, and delete its copy of the database."""
        child = self._child
        self._stop(QueryError("The stream of this query was closed before its end."))
        with contextlib.suppress(OSError):
            child.wait()
        with self._reading:  # who waits for a batch has heard of the end by now
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _frame(self) -> tuple[bytes, bytes]:
        """Return the next frame's kind and content, within the time of a batch and of all."""
        if self._error is not None:
            raise self._error
        left = self._until - time.monotonic()
        slow = late(self._limits.batch_seconds)
        if left < self._limits.batch_seconds:
            slow = _over(self._limits.seconds)
        with self._in_time(max(0.0, min(left, self._limits.batch_seconds)), slow):
            stdout = self._child.stdout
            assert stdout is not None
            header = stdout.read(HEADER.size)
            kind, size = HEADER.unpack(header) if len(header) == HEADER.size else (b"", 0)
            content = stdout.read(size) if size <= LONGEST else b""
        if kind not in (SCHEMA, BATCH, END, ERROR) or len(content) != size:
            self._child.kill()  # if it has not ended: nothing it says can be read any more
            raise self._error or apart.no_answer(self._child.wait())
        if kind == ERROR:
            raise QueryError(content.decode())
        return kind, content

    @contextlib.contextmanager
    def _in_time(self, seconds: float, slow: WoprError) -> Iterator[None]:
        timer = threading.Timer(seconds, self._stop, [slow])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stop(self, why: WoprError) -> None:
        """Let nothing more come, and tell why to who waits for it."""
        self._error = self._error or why
        self._child.kill()


def _read(content: bytes) -> Any:
    import pyarrow

    return pyarrow.ipc.open_stream(content)


def _over(seconds: float) -> QueryTimeoutError:
    return QueryTimeoutError(
        f"The stream was not read to its end within {seconds:g} s and was stopped; what came until "
        "then is not all. Allow more with timeout=, an hour at most, or ask for less at once."
    )
