"""What a process does that runs one query: it can be killed, and has an end to its memory."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from wopr.domain.errors import PayloadError, QueryError
from wopr.domain.jsontext import decode_plain, encode_plain
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb.asked.frames import BATCH, END, ERROR, SCHEMA, frame, packed, portions
from wopr.storage.duckdb.asked.reading import check, reader, run
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.connecting import connect
from wopr.storage.duckdb.file.memory import bytes_of

if sys.platform != "win32":
    import resource

READY = b"ready\n"
ROOM_BYTES = 256 * 1024 * 1024
"""So much address space it gets beside what it has and DuckDB's memory limit."""
MOST_LEVELS = 200
ANSWER_BYTES = 1024 * 1024
"""An answer of one row may have so much, whatever the limit."""
Say = Callable[..., None]
_CARRIED = (bool, int, str, bytes, UUID, Decimal, datetime, date, time, timedelta)


def main() -> None:
    """Answer the order on stdin with a line on stdout; end at once when stdin is closed."""
    order: Any = decode_plain(sys.stdin.buffer.readline().decode())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    say = _only_way_out()
    if order["batch_bytes"]:
        importlib.import_module("pyarrow")  # before there is an end to the memory
    _limit(order)
    cursor = _open(order)
    say(READY)
    if order["batch_bytes"]:
        _stream(cursor, order, say)
    else:
        say(_answered(cursor, order))
    os._exit(0)  # nothing here is worth the time that it takes to be torn down


def _answered(cursor: duckdb.DuckDBPyConnection, order: Mapping[str, Any]) -> bytes:
    try:
        answer: dict[str, Any] = {"ok": _answer(cursor, order)}
    except QueryError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"The query needed more memory than {order['memory_limit']}."}
    most = 8 * order["bytes"] + ANSWER_BYTES
    try:
        text = encode_plain(answer, "the answer", most, MOST_LEVELS)
    except PayloadError as error:
        text = encode_plain({"error": f"The answer can't be used: {error}"}, "the error", most, 9)
    return text.encode() + b"\n"


def _stream(cursor: duckdb.DuckDBPyConnection, order: Mapping[str, Any], say: Say) -> None:
    """Send the answer as it is made; the pipe is full as long as nobody reads it."""
    try:
        check(cursor, order["sql"])
        with reader(cursor, order["sql"], order["params"], _archive(order)) as batches:
            say(*frame(SCHEMA, packed(batches.schema, ())))
            for portion in portions(batches, order["batch_bytes"]):
                say(*frame(BATCH, packed(batches.schema, portion)))
        say(*frame(END))
    except QueryError as error:
        say(*frame(ERROR, str(error).encode()))
    except MemoryError:
        say(*frame(ERROR, f"The query needed more memory than {order['memory_limit']}.".encode()))


def _answer(cursor: duckdb.DuckDBPyConnection, order: Mapping[str, Any]) -> list[Any]:
    sql = order["sql"]
    if order["path"] is not None:
        check(cursor, sql)
    elif sql.lstrip()[:7].lower() != "explain":  # who has it planned has looked at it
        sql = f"explain {sql}"
    limits = QueryLimits(
        rows=order["rows"],
        bytes=order["bytes"],
        archive=_archive(order),
        since=order["since"] and date.fromisoformat(order["since"]),
    )
    found: QueryRows = run(cursor, sql, order["params"], limits)
    if order["path"] is None:
        return []
    rows = [[_carried(value) for value in row] for row in found.rows]
    return [list(found.columns), rows, found.cut and found.cut.value]


def _open(order: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open the snapshot; or an empty database of the same tables, to plan a query on."""
    limit = order["memory_limit"]
    if order["path"] is not None:
        archive = _archive(order)
        reach = [] if archive is None else [archive]
        connection = connect(Path(order["path"]), limit, read_only=True, reach=reach)
    else:
        connection = connect(Path(":memory:"), limit)
        migrate.upgrade(connection)
    return connection


def _archive(order: Mapping[str, Any]) -> Path | None:
    return None if order["archive"] is None else Path(order["archive"])


def _limit(order: Mapping[str, Any]) -> None:
    """Give this process an end to its memory and, should nobody kill it, to its time."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = int(order["seconds"]) + 60
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(seconds)  # also while it waits for somebody who does not read
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + bytes_of(order["memory_limit"]) + ROOM_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _carried(value: Any) -> Any:
    """Return a value as it can travel; what JSON has no form for becomes text."""
    if isinstance(value, dict):
        return {str(key): _carried(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_carried(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return value if value is None or isinstance(value, _CARRIED) else str(value)


def _only_way_out() -> Say:
    """Return what writes to who asked.

    What DuckDB prints, a progress bar, goes where its errors go: nowhere.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(*parts: bytes | memoryview) -> None:
        for part in parts:
            out.write(part)
        out.flush()

    return say


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
