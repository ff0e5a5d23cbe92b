"""How the process that runs a query sends batches of its answer: frames with a kind and a size.

Each frame of batches is a whole stream of Arrow's own format, so that it can be read by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from wopr.domain.errors import QueryError

SCHEMA, BATCH, END, ERROR = b"s", b"b", b".", b"e"
HEADER = struct.Struct(">cQ")
LONGEST = 256 * 1024 * 1024
"""Bytes of a frame. Only one row can make one that is much longer than was asked for."""


def frame(kind: bytes, content: bytes | memoryview = b"") -> Iterator[bytes | memoryview]:
    """Yield the parts of a frame."""
    yield HEADER.pack(kind, len(content))
    yield content


def packed(schema: Any, batches: Iterable[Any]) -> memoryview:
    """Return batches as the content of one frame.

    Raises:
        QueryError: it is too long.
    """
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    content = memoryview(sink.getvalue())
    if len(content) > LONGEST:
        raise QueryError(
            f"One row of the answer takes {len(content):,} bytes, and at most {LONGEST:,} can be "
            "sent. Ask for less of it at once."
        )
    return content


def portions(batches: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Put batches together, and cut them, to portions of so many bytes, or of one row."""
    held: list[Any] = []
    size = 0
    for batch in batches:
        for part in _parts(batch, most):
            if held and size + part.nbytes > most:
                yield held
                held, size = [], 0
            held.append(part)
            size += part.nbytes
    if held:
        yield held


def _parts(batch: Any, most: int) -> Iterator[Any]:
    if batch.nbytes <= most or batch.num_rows < 2:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half), most)
    yield from _parts(batch.slice(half), most)
