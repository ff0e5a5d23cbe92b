"""All rows of a question as a file: CSV or Parquet, of any size that the disk has room for."""

from __future__ import annotations

import asyncio
import csv
import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from wopr.domain.csvcells import cell
from wopr.domain.errors import InvalidCallError, QueryError
from wopr.domain.jsontext import shown
from wopr.domain.spoken import size
from wopr.ports.stream import QueryStream
from wopr.queue.queue import TaskQueue
from wopr.web.pages.forms import form_of, needed
from wopr.web.pages.questions import noted, questions_of
from wopr.web.routing import queue_of

MOST_BYTES = 1024 * 1024 * 1024
SECONDS = 600.0
KINDS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


async def download(request: Request) -> Response:
    """Answer with all rows of a question, in one file.

    Raises:
        QueryError: it failed, or is too large. Nothing is left of the file.
        InvalidCallError: the format is none.
    """
    form = await form_of(request)
    kind = form.get("format", "csv")
    if kind not in KINDS:
        raise InvalidCallError(f"format must be one of {', '.join(KINDS)}, not {shown(kind)}.")
    query = needed(form, "query", "what to ask")
    making = _made(queue_of(request), query, kind)
    path = await questions_of(request).ask(form.get("key", "")[:100], making)
    return Once(
        path,
        media_type=KINDS[kind],
        filename=f"answer.{kind}",
        headers={"cache-control": "no-store"},
    )


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class Once(FileResponse):
    """Sends a file, of which nothing is left then, whatever became of sending it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            _remove(Path(self.path))


async def _made(queue: TaskQueue, query: str, kind: str) -> Path:
    """Write the file; if somebody stops that, nothing is left of it."""
    await noted(queue, query)
    stream = await queue.sql(query, limit=None, timeout=SECONDS)
    writing = asyncio.ensure_future(asyncio.to_thread(_written, stream, kind))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        stream.close()  # that ends the thread
        writing.add_done_callback(_forget)
        raise


def _forget(writing: asyncio.Future[Path]) -> None:
    if not writing.cancelled() and writing.exception() is None:
        writing.result().unlink(missing_ok=True)


def _written(stream: QueryStream, kind: str) -> Path:
    """Write a stream to a file of its own, which only this user can read."""
    number, name = tempfile.mkstemp(prefix="wopr-answer-", suffix=f".{kind}")
    os.close(number)
    path = Path(name)
    try:
        with stream:
            _WRITERS[kind](stream, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _write_csv(stream: QueryStream, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(cell, stream.columns))
        for batch in stream:
            columns = [batch.column(at).to_pylist() for at in range(batch.num_columns)]
            writer.writerows(map(cell, row) for row in zip(*columns, strict=True))
            _check(file.tell())


def _write_parquet(stream: QueryStream, path: Path) -> None:
    parquet = import_module("pyarrow.parquet")
    with parquet.ParquetWriter(path, stream.schema) as writer:
        for batch in stream:
            writer.write_batch(batch)
            _check(path.stat().st_size)


_WRITERS: dict[str, Callable[[QueryStream, Path], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def _check(written: int) -> None:
    if written > MOST_BYTES:
        raise QueryError(
            f"The answer is larger than {size(MOST_BYTES)}, so the download was given up. Narrow "
            "the question, or have the files: wopr export DIRECTORY writes all tables as Parquet."
        )
