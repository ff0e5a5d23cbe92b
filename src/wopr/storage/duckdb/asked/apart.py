"""Run a query in a process of its own, which is killed when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from wopr.domain.errors import PayloadError, QueryError, StorageError
from wopr.domain.jsontext import decode_plain, encode_plain
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.duckdb.asked.child import MOST_LEVELS, READY
from wopr.storage.duckdb.asked.people import late
from wopr.storage.duckdb.parquet.layout import check_name

MOST = 4
"""So many run at once for those who use a queue: each may take the memory that a queue may, and has
a copy of the database. Others wait, for no longer than a query may run."""
BEGINS_SECONDS = 30.0
"""So long the process may take to start and to open its database."""
PLAN_SECONDS = 2.0
PLAN_MEMORY = "100MB"
_PROGRAM = """
import json, sys
from importlib import util
sys.path[:] = json.loads(sys.argv[1])
for name in ("wopr", "wopr.storage"):
    sys.modules[name] = util.module_from_spec(util.find_spec(name))
from wopr.storage.duckdb.asked.child import main
main()
"""
"""Those two packages are not run: to import all of wopr takes longer than most queries.

It is run with ``-P``: else a ``json.py`` of the working directory would be imported here, and
that may be somebody else's.
"""
_ORDER_BYTES = 256 * 1024 * 1024
_READ = 1024 * 1024


async def ask(
    path: Path,
    sql: str,
    params: Sequence[Any],
    limits: QueryLimits,
    memory_limit: str,
) -> QueryRows:
    """Run a query on a snapshot, and on what is archived.

    Raises:
        QueryError: it was refused, it failed, or it needed more memory than it may have.
        QueryTimeoutError: it took too long.
    """
    columns, rows, cut = await _run(str(path), sql, params, limits, memory_limit)
    return QueryRows(tuple(columns), [tuple(row) for row in rows], cut and Cut(cut))


async def plan(sql: str, params: Sequence[Any], seconds: float) -> None:
    """Have DuckDB plan a query on empty tables, and see that this comes to an end.

    Its planner takes time and memory without a bound for some texts, and can't be stopped.

    Raises:
        QueryError: it can't be planned, or not within ``seconds`` and :data:`PLAN_SECONDS`.
    """
    limits = QueryLimits(seconds=min(seconds, PLAN_SECONDS))
    try:
        await _run(None, sql, params, limits, PLAN_MEMORY)
    except TimeoutError:
        raise QueryError(
            f"The query was not run: it was planned in a process of its own first, and that took "
            f"longer than {limits.seconds:g} s. Its parts multiply each other: ask for less at "
            "once, in several queries."
        ) from None


def order(
    path: str | None,
    sql: str,
    params: Sequence[Any],
    limits: QueryLimits,
    memory_limit: str,
    batch_bytes: int = 0,
) -> bytes:
    """Return what the process is told to do.

    Raises:
        QueryError: the parameters can't travel.
    """
    told = {
        "path": path,
        "archive": None if limits.archive is None else str(check_name(limits.archive)),
        "since": None if limits.since is None else limits.since.isoformat(),
        "sql": sql,
        "params": list(params),
        "rows": limits.rows,
        "bytes": limits.bytes,
        "seconds": limits.seconds,
        "memory_limit": memory_limit,
        "batch_bytes": batch_bytes,
    }
    try:
        return encode_plain(told, "the query", _ORDER_BYTES, MOST_LEVELS).encode() + b"\n"
    except PayloadError as error:
        raise QueryError(f"The query's parameters can't be used: {error}") from error


def command() -> tuple[str, ...]:
    """Return what starts the process."""
    return (_executable(), "-P", "-c", _PROGRAM, json.dumps(sys.path))


def not_begun(code: int) -> StorageError:
    """Return the error that the process ended before it was ready."""
    return StorageError(
        f"The process that was to run the query ended before it began (exit code {code}). Run "
        f"wopr doctor, and see that {_executable()} can import wopr."
    )


def no_answer(code: int) -> QueryError:
    """Return the error that the process ended in the middle of its answer."""
    return QueryError(
        f"The process that ran the query ended without an answer (exit code {code}): it needed "
        "more memory than WOPR_TASKS_MEMORY_LIMIT allows, or DuckDB crashed. Nothing else is "
        "affected. Narrow the query."
    )


async def _run(
    path: str | None, sql: str, params: Sequence[Any], limits: QueryLimits, memory_limit: str
) -> list[Any]:
    line = order(path, sql, params, limits, memory_limit)
    async with _process() as child:
        answer = await _conversation(child, line, limits)
    found: Any = await asyncio.to_thread(decode_plain, answer.decode())
    if "error" in found:
        raise QueryError(found["error"])
    rows: list[Any] = found["ok"]
    return rows


@contextlib.asynccontextmanager
async def _process() -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the process; however this ends, it is gone."""
    child = await asyncio.create_subprocess_exec(
        *command(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_READ,
    )
    assert child.stdout is not None
    try:
        yield child
    finally:
        if not child.stdout.at_eof():  # else it is ending by itself
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            while await child.stdout.read(_READ):
                pass  # what is left in the pipe would keep its end from being seen
        await asyncio.shield(child.wait())


def _executable() -> str:
    return os.fsdecode(spawn.get_executable() or sys.executable)


async def _conversation(
    child: asyncio.subprocess.Process, line: bytes, limits: QueryLimits
) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(ConnectionError):  # its end says more
        child.stdin.write(line)
        await child.stdin.drain()
    try:
        async with asyncio.timeout(BEGINS_SECONDS):
            begun = await child.stdout.readline()
    except TimeoutError:
        raise StorageError(
            f"The process that was to run the query had not opened the copy of the database after "
            f"{BEGINS_SECONDS:g} s. The machine may be overloaded; ask again."
        ) from None
    if begun != READY:
        raise not_begun(await child.wait())
    try:
        async with asyncio.timeout(limits.seconds):
            return await _answer(child, child.stdout, limits)
    except TimeoutError:
        raise late(limits.seconds) from None


async def _answer(
    child: asyncio.subprocess.Process, stdout: asyncio.StreamReader, limits: QueryLimits
) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stdout.read(_READ):
        parts.append(part)
        size += len(part)
        if size > 8 * limits.bytes + _READ:
            raise QueryError(f"The answer is larger than {8 * limits.bytes:,} bytes of JSON.")
    answer = b"".join(parts)
    if answer.endswith(b"\n"):
        return answer
    raise no_answer(await child.wait())
